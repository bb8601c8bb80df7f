package rules_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// What lint calls useless can be left out, all of it together, and nothing
// changes; and of what remains nothing can be left out: proved for every packet,
// limits and dates being what they may.
func TestUselessIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	h := gen.Host()
	useless, needed := 0, 0
	for range 120 {
		text := gen.Policy(r, gen.Options{})
		p, _ := rules.Load(gen.FS(text), gen.Name, rules.LoadOptions{Profiles: policies.Profiles()})
		rs, ps := rules.Resolve(p, h)
		if ps.Err() != nil {
			t.Fatalf("%v\n%s", ps, text)
		}
		told := map[string]bool{}
		for _, w := range rules.Lint(p, rs, h.Time) {
			id, rest, _ := strings.Cut(w.Summary, " ")
			if strings.HasPrefix(rest, "opens nothing") || strings.HasPrefix(rest, "refuses nothing") {
				told[id] = true
			}
		}
		useless += len(told)
		less := without(rs, told)
		if w := differ(t, rs, less, h); w != nil {
			t.Fatalf("without %v %v fares otherwise\n%s", told, w, text)
		}
		for _, rule := range slices.Concat(less.Services, less.Blocks, less.OutboundBlocks, less.Outbounds, less.Routes) {
			if rule.Log || rule.From.None() || rule.To.None() || !rule.Expires.IsZero() && !h.Time.Before(rule.Expires) || parts(less, rule) > 1 || byDefault(less, rule) {
				continue
			}
			needed++
			// A block of what nothing else opens does something as long as that stands there.
			if alone := map[string]bool{rule.ID(): true}; differ(t, less, without(less, alone), h) == nil && differ(t, rs, without(rs, alone), h) == nil {
				t.Fatalf("%s is useless, but lint does not say so\n%s", rule.ID(), text)
			}
		}
	}
	t.Logf("%d useless, %d needed", useless, needed)
	if useless < 50 || needed < 300 {
		t.Error("too few to tell")
	}
}

// byDefault reports whether the default does what the rule does.
func byDefault(rs *rules.Ruleset, r *rules.Rule) bool {
	switch r.Kind {
	case rules.Service:
		return rs.Inbound == packet.Accept
	case rules.Outbound:
		return rs.Outbound == packet.Accept
	case rules.Route:
		return rs.Routed != rules.RoutedDrop
	}
	return false
}

// parts counts the rules of a service: they do not make each other useless.
func parts(rs *rules.Ruleset, r *rules.Rule) int {
	n := 0
	for _, o := range rs.Services {
		if o.Kind == r.Kind && o.Name == r.Name {
			n++
		}
	}
	return n
}

func without(rs *rules.Ruleset, ids map[string]bool) *rules.Ruleset {
	out := *rs
	for _, list := range []*[]*rules.Rule{&out.Services, &out.Blocks, &out.OutboundBlocks, &out.Outbounds, &out.Routes} {
		*list = slices.DeleteFunc(slices.Clone(*list), func(r *rules.Rule) bool { return ids[r.ID()] })
	}
	return &out
}

// differ returns a packet that two rulesets decide differently.
func differ(t *testing.T, a, b *rules.Ruleset, h *rules.Host) *packet.Witness {
	t.Helper()
	for _, hook := range []packet.Hook{packet.Prerouting, packet.Input, packet.Output, packet.Forward} {
		for _, is6 := range []bool{false, true} {
			fa, fb := a.AtHook(hook, is6), b.AtHook(hook, is6)
			s := packet.NewSpace(is6, h.HostAddrs(is6), packet.DefaultBudget, fa, fb)
			must(t, s.Assume(packet.Clock(h.Time, fa, fb)))
			na, err := s.Build(fa)
			must(t, err)
			nb, err := s.Build(fb)
			must(t, err)
			over, err := s.Set(s.Frame(hook))
			must(t, err)
			d, err := s.Compare(na, nb, over)
			must(t, err)
			if d.Kind != packet.Equal {
				return d.Witness
			}
		}
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
