package laws

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/audit/plan"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// others are rules that fwctl finds on a host: they refuse some of what a policy
// accepts.
const others = `table inet others {
	chain i { type filter hook input priority 10; policy accept; tcp dport { 443, 8005 } drop; ip saddr 198.51.100.64/27 drop; }
	chain o { type filter hook output priority 10; policy accept; udp dport 53 drop; }
}
`

// What plan says of a change of policy the kernel shows: packets that it calls
// newly reachable get in after the change and did not before, and the other way
// round; and where it says nothing, nothing changes.
func TestPlannedPacketsFareSo(t *testing.T) {
	for _, i := range []int{0, 2, 3} {
		t.Run(backends[i].name, func(t *testing.T) { plannedPacketsFareSo(t, backends[i], gen.Seed(t)+uint64(i)) })
	}
}

func plannedPacketsFareSo(t *testing.T, backend backend, seed uint64) {
	h := gen.Host()
	lab := netlab.New(t, h)
	lab.Early = true // policies may enforce published ports
	if _, err := lab.NFT(others, "-f", "-"); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 13))
	tried, quiet := 0, 0
	for i := range gen.Dose(t, "FWCTL_POLICIES", 40) {
		a := gen.Policy(r, gen.Options{})
		b := lessOne(r, a, h)
		rsA, _ := gen.Load(a, h)
		rsB, _ := gen.Load(b, h)
		if err := backend.load(lab, rsA); err != nil {
			t.Fatalf("pair %d: %v", i, err)
		}
		p := planned(t, lab, rsB)
		said := examples(p, h)
		sample := gen.Packets(rsB, r, 150)
		before := probed(t, lab, said, sample)
		if err := backend.load(lab, rsB); err != nil {
			t.Fatalf("pair %d: %v", i, err)
		}
		after := probed(t, lab, said, sample)
		for j, x := range said {
			tried++
			if open := x.kind == plan.Opened; (before[j] == packet.Accept) == open || (after[j] == packet.Accept) != open {
				t.Errorf("pair %d, %s: %s is %s, but the kernel says %v, then %v\n%s\n--- then\n%s", i, backend.name, x.packet, x.kind, before[j], after[j], a, b)
			}
		}
		for j, x := range sample {
			if k := len(said) + j; !likely(x, h) || (before[k] == packet.Accept) == (after[k] == packet.Accept) || speaksOf(p, x.Hook) {
				continue
			}
			t.Errorf("pair %d: plan says nothing of %s, but the kernel %v, then %v\n%s\n--- then\n%s", i, x, before[len(said)+j], after[len(said)+j], a, b)
		}
		if len(p.Exposure) == 0 {
			quiet++
		}
		if again := planned(t, lab, rsB); len(again.Exposure) > 0 {
			t.Errorf("pair %d, %s: after the change plan still says %+v\n%s", i, backend.name, again.Exposure, b)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d changes replayed; %d pairs without any", tried, quiet)
	if tried < 20 {
		t.Errorf("only %d changes", tried)
	}
}

func planned(t *testing.T, lab *netlab.Lab, rs *rules.Ruleset) *plan.Plan {
	t.Helper()
	var p *plan.Plan
	err := lab.Do(func() error {
		host, err := live.Rules(context.Background())
		if err != nil {
			return err
		}
		p, err = plan.Make(plan.Question{Policy: rs, Host: host, Now: gen.Host().Time, Route: func(netip.Addr) string { return "eth0" }})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Undecided)+len(p.Unread) > 0 {
		t.Fatal(p.Undecided, p.Unread)
	}
	return p
}

// example is a packet of a change.
type example struct {
	kind   plan.Kind
	packet packet.Packet
}

func examples(p *plan.Plan, h *rules.Host) []example {
	var out []example
	for _, c := range p.Exposure {
		if slices.ContainsFunc(c.If, func(s string) bool { return strings.HasPrefix(s, "not ") }) {
			continue
		}
		x, err := packet.Parse(c.Example)
		if err == nil && likely(x, h) {
			out = append(out, example{c.Kind, x})
		}
	}
	return out
}

// likely reports whether the laboratory can show what becomes of a first packet.
func likely(x packet.Packet, h *rules.Host) bool {
	return x.State == packet.New && unlikely(compare.Part{Example: &compare.Example{Packet: x}}, h) == ""
}

func speaksOf(p *plan.Plan, h packet.Hook) bool {
	return slices.ContainsFunc(p.Exposure, func(c plan.Change) bool { return c.Hook == h.String() })
}

func probed(t *testing.T, lab *netlab.Lab, said []example, sample []packet.Packet) []packet.Verdict {
	t.Helper()
	var ps []packet.Packet
	for _, x := range said {
		ps = append(ps, x.packet)
	}
	got, err := lab.Probe(append(ps, sample...))
	if err != nil {
		t.Fatal(err)
	}
	return got
}
