package main

import (
	"fmt"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// tested is the outcome of one [test.*] of a policy.
type tested struct {
	Name    string         `json:"name"`
	Pos     rules.Pos      `json:"pos"`
	Passed  bool           `json:"passed"`
	Sample  bool           `json:"sample"`  // always true: tried on some packets, not proved for all
	Packets int            `json:"packets"` // how many were tried
	Expect  packet.Verdict `json:"expect"`
	Wrong   int            `json:"wrong"`             // packets that met another fate
	Example *explanation   `json:"example,omitempty"` // the first of them
	text    string
}

// runTests tries the tests of a policy.
func runTests(rs *rules.Ruleset) []tested {
	out := []tested{}
	now := time.Now()
	for _, t := range rs.Tests {
		trial := rs.Try(t, now)
		r := tested{
			Name: t.Name, Pos: t.Pos, Passed: len(trial.Wrong) == 0, Sample: true,
			Packets: trial.Packets, Expect: t.Expect, Wrong: len(trial.Wrong), text: t.Text,
		}
		if !r.Passed {
			x := explained(trial.Wrong[0].Packet, trial.Wrong[0].Decision)
			r.Example = &x
		}
		out = append(out, r)
	}
	return out
}

// problem says why a test failed, at its place in the policy.
func (t tested) problem() rules.Problem {
	x := t.Example
	by := x.Rule
	if by == "" {
		by = reasons(x.Reason)
	}
	return rules.Problem{
		Pos:      t.Pos,
		Severity: rules.Warning,
		Summary:  fmt.Sprintf("[test.%s] failed: %q expects %s, but %d of %s do not get it", t.Name, t.text, t.Expect, t.Wrong, plural(t.Packets, "packet")),
		Hint:     fmt.Sprintf("%s: %s by %s", x.Packet, x.Verdict, by),
	}
}
