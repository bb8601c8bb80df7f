package packet

import (
	"testing"
	"time"
)

// Rules that lead to one chain are joined before the chain is: else each of them
// would make the chain's diagram anew, around all that was made before.
func TestRulesThatLeadToOneChain(t *testing.T) {
	single := func(f Field, n int) Cond {
		return In{f, Ranges{Single(Number(uint64(n) * 2654435761 % (1 << 32)))}} //nolint:gosec // not negative
	}
	const n = 400
	to := &Chain{Name: "to"}
	base := &Chain{Name: "input", Policy: OutcomeDrop}
	for i := range n {
		to.Rules = append(to.Rules, Step{Cond: single(FieldDst, i+1), Outcome: OutcomeAccept})
		base.Rules = append(base.Rules, Step{Cond: single(FieldSrc, n+i+1), Outcome: OutcomeJump, Chain: "to"})
	}
	f := &Filter{Hook: Input, Base: []*Chain{base}, Chains: map[string]*Chain{"to": to}}
	s := NewSpace(false, HostAddrs{}, 60_000, f)
	if _, err := s.Build(f); err != nil {
		t.Errorf("%d sources and %d destinations: %v", n, n, err)
	}
}

// Where two filters differ whether a limit is spent or not, it is not.
func TestWitnessSpendsNoLimit(t *testing.T) {
	unspent := Unspent("service.ssh", 5, time.Minute, false)
	limited := &Filter{Hook: Input, Base: []*Chain{{Policy: OutcomeReject, Rules: []Step{{Cond: unspent, Outcome: OutcomeAccept}}}}}
	none := &Filter{Hook: Input, Base: []*Chain{{Policy: OutcomeDrop}}}
	s := NewSpace(false, HostAddrs{}, 1<<16, limited, none)
	a, _ := s.Build(limited)
	b, _ := s.Build(none)
	d, err := s.Compare(a, b, True)
	if err != nil || d.Kind != Different {
		t.Fatal(err, d.Kind)
	}
	if got := limited.Decide(d.Witness.Facts).Outcome; got != OutcomeAccept {
		t.Errorf("%v, want accept", got)
	}
}
