package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/rules"
)

func newStatus(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "what is confirmed, and whether the kernel has it",
		Long: `status says which policy is confirmed, whether the kernel has exactly that,
whether its files were edited since, what in it has expired, for which names and
feeds the last good answer stays, which other software manages rules on this host,
and which change waits for a confirmation. It changes nothing, with one exception:
an apply that was broken off, watchdog and all, is taken back.

Exit status: 0 confirmed, in the kernel, unedited and nothing stale; 1 not so; 2 error.`,
		Example: `  fwctl status
  fwctl status --json`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := g.options(defaultPolicy)
			if err != nil {
				return err
			}
			s, err := apply.Look(c.Context(), o)
			if err != nil {
				return err
			}
			if s.Settled != nil {
				g.settled(s.Settled)
			}
			if err := g.ui.answer(s, func() { g.standing(s) }); err != nil {
				return err
			}
			if !s.Good() {
				return status(exitDiffers)
			}
			return nil
		},
	}
}

// standing prints how things stand, one fact a line.
func (g *global) standing(s *apply.Status) {
	line := func(name, format string, args ...any) {
		g.ui.print("%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	if m := s.Confirmed; m == nil {
		line("confirmed", "nothing")
	} else {
		line("confirmed", "%s (%s), %s, by %s on %s", m.Policy, short(m.Digest), m.Backend, m.User, m.Time.Local().Format(timeForm))
	}
	if p := s.Pending; p != nil {
		line("pending", "%s", waiting(p))
	}
	if s.Off != nil {
		line("off", "switched off by %s on %s; boot loads nothing", s.Off.User, s.Off.Time.Local().Format(timeForm))
	}
	line("kernel", "%s", kernelStands(s))
	switch {
	case s.EditedWhy != "":
		line("edited", "the policy's files cannot be read any more: %s", s.EditedWhy)
	case s.FeedsAlone:
		line("edited", "the policy's feeds changed since; `fwctl refresh` reads them")
	case s.Edited:
		line("edited", "the policy's files changed since; `fwctl apply` applies them")
	}
	for _, a := range s.Stale {
		line("stale", "%s: what was read on %s, %s ago, stays: %s", a.Name, a.Good.Local().Format(timeForm), age(a.Age), a.Error)
	}
	for _, id := range s.Expired {
		line("expired", "%s", id)
	}
	for _, e := range s.Temporary {
		line("until", "%s", until(e))
	}
	for _, m := range s.Managers {
		line("beside", "%s (%s)%s", m.Name, m.Sign, after(": ", m.Advice))
	}
	for _, w := range s.Warnings {
		g.ui.warn("%s", w)
	}
}

// until says when a rule ends.
func until(e rules.Ending) string {
	return fmt.Sprintf("%s  %s, %s", e.Until.Local().Format(timeForm), e.Rule, e.At)
}

// waiting says of a change what it waits for.
func waiting(p *apply.Pending) string {
	text := fmt.Sprintf("%s (%s), %s, applied by %s", p.Policy, short(p.Digest), p.Backend, p.User)
	if p.Until.IsZero() {
		return text + ", is being applied"
	}
	return fmt.Sprintf("%s, taken back at %s unless `fwctl confirm` keeps it (token %s)", text, p.Until.Local().Format(timeForm), p.Token)
}

func kernelStands(s *apply.Status) string {
	switch {
	case s.Confirmed == nil && len(s.Present) == 0:
		return "nothing of fwctl's"
	case s.Confirmed == nil:
		return "rules of fwctl's by " + strings.Join(s.Present, ", ") + ", of a policy that is not known"
	case s.Applied:
		return "as confirmed"
	case len(s.Present) == 0:
		return "nothing of fwctl's; the confirmed policy is not loaded"
	case len(s.Differs) == 0:
		return "as confirmed, and it decides nothing"
	}
	return "differs from the confirmed policy by " + plural(len(s.Differs), "change")
}

// after puts a separator before a text that is not empty.
func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

// age writes seconds as people say them.
func age(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	switch {
	case d >= 48*time.Hour:
		return plural(int(d/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return plural(int(d/time.Hour), "hour")
	case d >= 2*time.Minute:
		return plural(int(d/time.Minute), "minute")
	}
	return plural(int(seconds), "second")
}
