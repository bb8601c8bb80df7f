package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
)

func newRollback(g *global) *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "rollback [flags] [N]",
		Short: "take back the change that waits, or go back to an earlier policy",
		Long: `rollback takes back at once the change that waits for a confirmation. With N, or
where no change waits, it applies an earlier policy as it was confirmed: 1, the
default, is the one before the confirmed one; "fwctl history" has the numbers. That
is an apply like any other, and waits for a confirmation as one. The policy's file
stays as it is.

Exit status: 0 taken back, or applied and confirmed; 2 error, nothing was changed;
3 could not be taken back; 4 applied and taken back.`,
		Example: `  fwctl rollback
  fwctl rollback 3
  fwctl rollback --no-confirm 1`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := g.options(defaultPolicy)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				done, err := g.takeBack(c.Context(), o)
				if done || err != nil {
					return err
				}
			}
			n := 1
			if len(args) > 0 {
				if n, err = strconv.Atoi(args[0]); err != nil || n < 0 {
					return usage(fmt.Sprintf("%q is no number of a policy", args[0]), "`fwctl history` has the numbers")
				}
			}
			if err := f.check(c, g.ui); err != nil {
				return err
			}
			back := func(ctx context.Context, o apply.Options) (*apply.Outcome, error) { return apply.Rollback(ctx, o, n) }
			return g.apply(c, &f, o, fmt.Sprintf("going back to policy %d", n), back)
		},
	}
	f.add(c)
	return c
}

// takeBack takes back the change that waits; done is false if none does.
func (g *global) takeBack(ctx context.Context, o apply.Options) (done bool, err error) {
	s, err := apply.TakeBack(ctx, o)
	switch {
	case errors.Is(err, apply.ErrNothingPending):
		return false, nil
	case err != nil:
		return true, err
	}
	for _, w := range s.Warnings {
		g.ui.warn("%s", w)
	}
	return true, g.ui.answer(s, func() { g.settled(s) })
}

// settled says how a change ended that nobody had confirmed.
func (g *global) settled(s *apply.Settled) {
	p := s.Pending
	what := fmt.Sprintf("%s (%s), applied by %s on %s", p.Policy, short(p.Digest), p.User, p.Since.Local().Format(timeForm))
	switch {
	case s.Confirmed:
		g.ui.say("confirmed: %s; what was left to do for it is done", what)
	case s.Rebooted:
		g.ui.say("dropped: %s; the host was started anew before it was confirmed", what)
	case s.Changed:
		g.ui.say("taken back: %s; the rules from before are in force", what)
	default:
		g.ui.say("taken back: %s; the kernel had the rules from before", what)
	}
}
