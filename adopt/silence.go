package adopt

import (
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// silence holds the chains from which packets come back in any case: they log, count
// or mark.
type silence map[string]bool

// silentChains finds them. One that leads back to itself is none.
func silentChains(f *packet.Filter) silence {
	q := silence{}
	for again := true; again; {
		again = false
		for name, c := range f.Chains {
			if !q[name] && !slices.ContainsFunc(c.Rules, func(s packet.Step) bool { return q.ends(&s) }) {
				q[name], again = true, true
			}
		}
	}
	return q
}

// ends reports whether a packet may not come back from a rule.
func (q silence) ends(s *packet.Step) bool {
	switch s.Outcome {
	case packet.OutcomeContinue, packet.OutcomeReturn:
		return len(s.Cases) > 0
	case packet.OutcomeJump, packet.OutcomeGoto:
		return len(s.Cases) > 0 || !q[s.Chain]
	}
	return true
}

// decides reports whether a rule can end a packet's way or lead it elsewhere, rather
// than log, count or mark it, or lead it through a chain that does nothing else.
func (q silence) decides(s *packet.Step) bool {
	return len(s.Cases) > 0 || s.Outcome != packet.OutcomeContinue && !(s.Outcome == packet.OutcomeJump && q[s.Chain])
}
