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
place, and proves its tests: each for every packet that it speaks of, not for a
sample. It needs no privilege. A test that fails is told with the packets that do
not get what it expects, and one of them with the line that decides. Limits count
as unspent. Without --host the addresses of the host may be any.

Sections that change nothing are warned of, with the sections that leave them
nothing to do: told for all packets, and never where a limit or a date decides.

Exit status: 0 good, notes included; 1 warnings, failed tests, or tests that are
undecided because the policy is too large (--strict: notes, too); 2 the policy is
invalid.`,
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
		done := g.ui.working("proving " + arg)
		problems, proofs := rules.Examine(p.policy, p.ruleset, time.Now())
		done()
		a.Problems = append(a.Problems, problems...)
		a.Problems.Sort()
		a.Tests = testsOf(p.ruleset, proofs)
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
	proved := 0
	for _, t := range a.Tests {
		if t.Result == rules.Holds {
			proved++
		}
		if !t.Passed {
			u.problem(u.stdout, t.problem())
		}
	}
	if rs == nil {
		u.print("%s: %s\n", arg, counted(a.Problems))
		return
	}
	u.print("%s: %s, %s", arg, plural(len(rs.Services), "service"), counted(a.Problems))
	if len(a.Tests) > 0 {
		u.print("; %d of %s proved", proved, plural(len(a.Tests), "test"))
	}
	u.print("\n")
}
