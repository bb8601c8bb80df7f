package laws

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/apply/nftables"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/packet"
	render "github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// While the kernel goes from one policy to another and back, not one packet fares
// otherwise than by the one or the other: those that both accept come through, those
// that both refuse do not.
func TestNoPacketFallsBetween(t *testing.T) {
	lab := netlab.New(t, gen.Host())
	var open, closed netlab.Poured
	for i := range gen.Dose(t, "FWCTL_PAIRS", 12) {
		r := rand.New(rand.NewPCG(gen.Seed(t)+uint64(i), 51))
		textA := gen.Policy(r, gen.Options{})
		textB := []func() string{
			func() string { return gen.Policy(r, gen.Options{}) },
			func() string { return lessOne(r, textA, gen.Host()) },
			func() string { return otherMembers(r, textA) },
		}[i%3]()
		a, _ := gen.Load(textA, gen.Host())
		b, _ := gen.Load(textB, gen.Host())
		kinds := alikeInBoth(a, b, r)
		got := goingBetween(t, lab, a, b, kinds)
		open.Reached, open.Passed = open.Reached+got[0].Reached, open.Passed+got[0].Passed
		closed.Reached, closed.Passed = closed.Reached+got[1].Reached, closed.Passed+got[1].Passed
		if got[0].Passed != got[0].Reached || got[1].Passed != 0 {
			t.Errorf("pair %d: accepted by both %+v, refused by both %+v\n%s\n--- and\n%s\n%v", i, got[0], got[1], textA, textB, kinds)
		}
	}
	t.Logf("accepted by both: %d, lost %d; refused by both: %d, in %d", open.Reached, open.Reached-open.Passed, closed.Reached, closed.Passed)
	if open.Reached < 10_000 || closed.Reached < 10_000 {
		t.Error("too few packets")
	}
}

// otherMembers gives one or two groups of the policy one address more, if it has any.
func otherMembers(r *rand.Rand, text string) string {
	const list = "addresses = ["
	n := strings.Count(text, list)
	for range min(n, 1+r.IntN(2)) {
		parts := strings.Split(text, list)
		i := 1 + r.IntN(n)
		parts[i] = fmt.Sprintf("\"10.%d.%d.0/24\", ", r.IntN(256), r.IntN(256)) + parts[i]
		if more := strings.Join(parts, list); loads(more) {
			text = more
		}
	}
	return text
}

func loads(text string) bool {
	_, problems := gen.Load(text, gen.Host())
	return problems.Err() == nil
}

// alikeInBoth returns packets that both policies accept and those that both refuse.
func alikeInBoth(a, b *rules.Ruleset, r *rand.Rand) (kinds [2][]packet.Packet) {
	const each = 20
	for range 50 {
		for _, p := range append(gen.Packets(a, r, 100), gen.Packets(b, r, 100)...) {
			if p.Hook == packet.Output || p.In == "lo" || p.State != packet.New {
				continue
			}
			inA, inB := a.Decide(p, a.Host.Time), b.Decide(p, b.Host.Time)
			if limited(inA) || limited(inB) || (inA.Verdict == packet.Accept) != (inB.Verdict == packet.Accept) {
				continue
			}
			kind := &kinds[0]
			if inA.Verdict != packet.Accept {
				kind = &kinds[1]
			}
			if len(*kind) < each {
				*kind = append(*kind, p)
			}
		}
	}
	return kinds
}

// limited reports whether a flood would find the limit of the rule spent.
func limited(d rules.Decision) bool { return d.Rule != nil && d.Rule.Limit != (rules.Limit{}) }

// goingBetween applies the policies in turn while packets are poured.
func goingBetween(t *testing.T, lab *netlab.Lab, a, b *rules.Ruleset, kinds [2][]packet.Packet) []netlab.Poured {
	t.Helper()
	var programs [2]*render.Program
	for i, rs := range []*rules.Ruleset{a, b} {
		var problems rules.Problems
		if programs[i], problems = render.Render(rs); problems.Err() != nil {
			t.Fatal(problems)
		}
	}
	apply := func(p *render.Program) {
		t.Helper()
		err := lab.Do(func() error {
			_, err := nftables.Apply(context.Background(), p, nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	apply(programs[0])
	stop, err := lab.Pour(kinds[:]...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		apply(programs[(i+1)%2])
		time.Sleep(time.Millisecond)
	}
	got, err := stop()
	if err != nil {
		t.Fatal(err)
	}
	return got
}
