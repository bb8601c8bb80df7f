package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/rules"
)

func newCheck(g *global) *cobra.Command {
	var strict bool
	var host string
	c := &cobra.Command{
		Use:   "check [flags] [POLICY]",
		Short: "is a policy right, and do its tests hold?",
		Long: `check reads a policy and all that it includes, reports every problem with its
place, and evaluates its tests. It needs no privilege.

The tests are tried on packets at the edges of everything that the policy names.
That is a sample: a test that passes is not proved.

Exit status: 0 good, notes included; 1 warnings or failed tests (--strict: notes,
too); 2 the policy is invalid.`,
		Example: `  fwctl check
  fwctl check --strict --host web1.json site.toml
  fwctl check --json - < site.toml`,
		Args: atMost(1),
		RunE: func(_ *cobra.Command, args []string) error { return g.check(first(args), host, strict) },
	}
	c.Flags().BoolVar(&strict, "strict", false, "notes count as warnings")
	c.Flags().StringVar(&host, "host", "", "take the facts of the host from `FILE`, as \"fwctl facts\" prints them")
	return c
}

// checked is the answer of check.
type checked struct {
	Changed  bool           `json:"changed"`
	Good     bool           `json:"good"`
	Problems rules.Problems `json:"problems"`
	Tests    []tested       `json:"tests"`
}

func (g *global) check(arg, host string, strict bool) error {
	p, err := g.understand(arg, host)
	if err != nil {
		return err
	}
	a := checked{Problems: append(rules.Problems{}, p.problems...), Tests: []tested{}}
	code := exitError
	if p.ruleset != nil {
		a.Problems = append(a.Problems, rules.Lint(p.policy, p.ruleset, time.Now())...)
		a.Problems.Sort()
		a.Tests = runTests(p.ruleset)
		code = a.grade(strict)
	}
	a.Good = code == exitGood
	if err := g.ui.answer(a, func() { g.checked(a, arg, p.ruleset) }); err != nil {
		return err
	}
	if code != exitGood {
		return status(code)
	}
	return nil
}

// grade is the exit status of a valid policy.
func (a checked) grade(strict bool) int {
	if len(a.Problems.Of(rules.Warning)) > 0 || strict && len(a.Problems) > 0 {
		return exitDiffers
	}
	for _, t := range a.Tests {
		if !t.Passed {
			return exitDiffers
		}
	}
	return exitGood
}

// checked prints problems, failed tests, and a summary.
func (g *global) checked(a checked, arg string, rs *rules.Ruleset) {
	u := g.ui
	u.problems(u.stdout, a.Problems)
	failed, packets := 0, 0
	for _, t := range a.Tests {
		packets += t.Packets
		if !t.Passed {
			failed++
			u.problem(u.stdout, t.problem())
		}
	}
	if rs == nil {
		u.print("%s: %s\n", arg, counted(a.Problems))
		return
	}
	u.print("%s: %s, %s", arg, plural(len(rs.Services), "service"), counted(a.Problems))
	if len(a.Tests) > 0 {
		u.print("; %d of %s passed on %s, a sample", len(a.Tests)-failed, plural(len(a.Tests), "test"), plural(packets, "packet"))
	}
	u.print("\n")
}
