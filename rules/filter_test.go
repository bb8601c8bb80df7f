package rules_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
)

// The filter that a policy is compiled to decides as the reference does, for
// every packet that can be told apart, and so does its diagram.
func TestFilterIsDecide(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	h := gen.Host()
	decided := 0
	for range 150 {
		text := gen.Policy(r, gen.Options{})
		rs, ps := gen.Load(text, h)
		if ps.Err() != nil {
			t.Fatalf("%v\n%s", ps, text)
		}
		for _, is6 := range []bool{false, true} {
			for _, hook := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
				fl := rs.Filter(hook, is6)
				s := packet.NewSpace(is6, h.HostAddrs(is6), packet.DefaultBudget, fl)
				d, err := s.Build(fl)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range gen.Packets(rs, r, 300) {
					if p.Hook != hook || p.Is6() != is6 {
						continue
					}
					decided++
					want := rs.Decide(p, h.Time)
					f := p.Facts()
					f.SetKinds(h.HostAddrs(is6))
					// As in Decide, limits are unspent and the time is the host's.
					f.Unknowns = map[string]bool{}
					for k := range fl.Unknowns() {
						at, isTime := strings.CutPrefix(k, "before ")
						end, _ := time.Parse(time.RFC3339, at)
						f.Unknowns[k] = !isTime || h.Time.Before(end)
					}
					if got := packet.Outcome(s.Eval(d, f)); got.String() != want.Verdict.String() {
						t.Fatalf("diagram %v, reference %v by %s for %v\n%s", got, want.Verdict, want.Reason, p, text)
					}
					if got := fl.Decide(f); got.Outcome.String() != want.Verdict.String() {
						t.Fatalf("filter %v by %v, reference %v by %s for %v\n%s", got.Outcome, got.By, want.Verdict, want.Reason, p, text)
					}
				}
			}
		}
	}
	t.Logf("%d packets", decided)
	if decided < 20_000 {
		t.Errorf("only %d packets", decided)
	}
}
