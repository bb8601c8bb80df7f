package main

import (
	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
)

func newBoot(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "boot",
		Short: "load the confirmed policy, as at start-up",
		Long: `boot loads the policy that was confirmed last, as it was resolved then: it needs
no policy file, no name server and no interface. If it cannot be read, the one
before it is loaded; if that cannot be read either, a set of the necessary
baseline, established connections and the services of [safety] keep.

Exit status: 0 loaded, or fwctl is switched off; 2 error.`,
		Example: `  fwctl boot`,
		Args:    atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := g.options(defaultPolicy)
			if err != nil {
				return err
			}
			out, err := apply.Boot(c.Context(), o)
			if out != nil {
				for _, w := range out.Warnings {
					g.ui.warn("%s", w)
				}
			}
			if err != nil {
				return err
			}
			return g.ui.answer(out, func() { g.booted(out) })
		},
	}
}

func (g *global) booted(out *apply.Booted) {
	u := g.ui
	if out.Settled != nil {
		g.settled(out.Settled)
	}
	switch {
	case out.Off != nil:
		u.say("switched off by %s on %s: nothing was loaded", out.Off.User, out.Off.Time.Local().Format(timeForm))
	case out.Loaded == "keep":
		u.say("loaded the kept services alone, by %s", out.Backend)
	case !out.Changed:
		u.say("the %s policy (%s) stands already, by %s", out.Loaded, short(out.Digest), out.Backend)
	default:
		u.say("loaded the %s policy (%s), by %s: %s", out.Loaded, short(out.Digest), out.Backend, plural(len(out.Changes), "change"))
	}
}
