package main

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// tested is the outcome of one [test.*] of a policy.
type tested struct {
	Name    string            `json:"name"`
	Pos     rules.Pos         `json:"pos"`
	Passed  bool              `json:"passed"` // proved, or it speaks of no packet
	Result  rules.ProofResult `json:"result"`
	Expect  packet.Verdict    `json:"expect"`
	Wrong   *big.Int          `json:"wrong,omitempty"`   // packets that meet another fate
	Groups  []string          `json:"groups,omitempty"`  // what they are
	More    bool              `json:"more,omitempty"`    // there are more groups
	Example *explanation      `json:"example,omitempty"` // one of them
	text    string
}

// testsOf puts the proofs of a policy's tests beside what they prove.
func testsOf(rs *rules.Ruleset, proofs []rules.Proof) []tested {
	out := []tested{}
	for i, p := range proofs {
		t := rs.Tests[i]
		r := tested{Name: t.Name, Pos: t.Pos, Result: p.Result, Expect: t.Expect, Groups: p.Groups, More: p.More, text: t.Text}
		r.Passed = p.Result == rules.Holds || p.Result == rules.Vacuous
		if p.Example != nil {
			x := explained(p.Example.Packet, p.Example.Decision)
			r.Wrong, r.Example = p.Wrong, &x
		}
		out = append(out, r)
	}
	return out
}

// problem says why a test failed, at its place in the policy.
func (t tested) problem() rules.Problem {
	p := rules.Problem{Pos: t.Pos, Severity: rules.Warning}
	if t.Result == rules.Undecided {
		p.Summary = fmt.Sprintf("[test.%s] is undecided: the policy is too large to prove it; a sample of the packets gets %s", t.Name, t.Expect)
		return p
	}
	who := strings.Join(t.Groups, "; ")
	if t.More {
		who += "; and more"
	}
	if who == "" { // found by a sample
		who = packets(t.Wrong)
	}
	p.Summary = fmt.Sprintf("[test.%s] failed: %q expects %s, which these do not get: %s", t.Name, t.text, t.Expect, who)
	x := t.Example
	by := x.Rule
	if by == "" {
		by = reasons(x.Reason)
	} else if x.Pos != nil {
		by += ", " + x.Pos.String()
	}
	p.Hint = fmt.Sprintf("%s: %s by %s", x.Packet, x.Verdict, by)
	return p
}
