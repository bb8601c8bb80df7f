package gen

import (
	"math/rand/v2"
	"testing"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// stage is a way to decide a packet.
type stage struct {
	hook    packet.Hook
	verdict packet.Verdict
	reason  string
}

// stages are all the ways there are.
var stages = []stage{
	{packet.Input, packet.Accept, rules.ReasonLoopback},
	{packet.Input, packet.Accept, rules.ReasonBaseline},
	{packet.Input, packet.Accept, rules.ReasonEstablished},
	{packet.Input, packet.Drop, rules.ReasonInvalid},
	{packet.Input, packet.Drop, rules.ReasonBlock},
	{packet.Input, packet.Accept, rules.ReasonContainer},
	{packet.Input, packet.Accept, rules.ReasonEcho},
	{packet.Input, packet.Accept, rules.ReasonRule},
	{packet.Input, packet.Drop, rules.ReasonDefault},
	{packet.Input, packet.Reject, rules.ReasonDefault},
	{packet.Input, packet.Accept, rules.ReasonDefault},
	{packet.Output, packet.Accept, rules.ReasonLoopback},
	{packet.Output, packet.Accept, rules.ReasonBaseline},
	{packet.Output, packet.Accept, rules.ReasonEstablished},
	{packet.Output, packet.Drop, rules.ReasonBlock},
	{packet.Output, packet.Accept, rules.ReasonEcho},
	{packet.Output, packet.Accept, rules.ReasonRule},
	{packet.Output, packet.Drop, rules.ReasonDefault},
	{packet.Output, packet.Reject, rules.ReasonDefault},
	{packet.Output, packet.Accept, rules.ReasonDefault},
	{packet.Forward, packet.Accept, rules.ReasonIgnored},
	{packet.Forward, packet.Drop, rules.ReasonRouted},
	{packet.Forward, packet.Accept, rules.ReasonEstablished},
	{packet.Forward, packet.Drop, rules.ReasonBlock},
	{packet.Forward, packet.Accept, rules.ReasonRule},
	{packet.Forward, packet.Drop, rules.ReasonDefault},
	{packet.Forward, packet.Accept, rules.ReasonDefault},
}

// Every stage decides many of the packets, and rules decide a fair part of them:
// else a test with these packets would say little.
func TestPacketsReachEveryStage(t *testing.T) {
	seen := map[stage]int{}
	ruled, total := 0, 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		rs, problems := Load(Policy(r, Options{}), Host())
		if rs == nil {
			t.Fatal(problems.Err())
		}
		for _, p := range Packets(rs, r, 400) {
			d := rs.Decide(p, rs.Host.Time)
			seen[stage{p.Hook, d.Verdict, d.Reason}]++
			total++
			if d.Rule != nil {
				ruled++
			}
		}
	}
	for _, s := range stages {
		if seen[s] < 20 {
			t.Errorf("%s %s by %s: only %d packets of %d", s.hook, s.verdict, s.reason, seen[s], total)
		}
	}
	if ruled*5 < total {
		t.Errorf("only %d of %d packets are decided by a rule", ruled, total)
	}
}

func TestPolicyIsDeterministic(t *testing.T) {
	one := Policy(rand.New(rand.NewPCG(7, 7)), Options{})
	two := Policy(rand.New(rand.NewPCG(7, 7)), Options{})
	if one != two {
		t.Error("the same seed gives two policies")
	}
}
