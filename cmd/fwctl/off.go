package main

import (
	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
)

func newOff(g *global) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "off",
		Short: "remove fwctl's rules, and only those",
		Long: `off removes from the kernel all that is fwctl's and nothing else. The host then
lets in what its other rules let in. boot loads nothing until the next apply.

On a terminal it asks first; elsewhere it needs --yes.

Exit status: 0 removed, or nothing was there; 2 error or not agreed to.`,
		Example: `  fwctl off --yes`,
		Args:    atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := g.options(defaultPolicy)
			if err != nil {
				return err
			}
			if !yes {
				if err := g.ui.agree("remove fwctl's rules from this host? What they refuse will get in."); err != nil {
					return err
				}
			}
			out, err := apply.Off(c.Context(), o)
			if err != nil {
				return err
			}
			for _, w := range out.Warnings {
				g.ui.warn("%s", w)
			}
			return g.ui.answer(out, func() {
				if out.Changed {
					g.ui.say("off: %s", plural(len(out.Changes), "change"))
				} else {
					g.ui.say("unchanged: nothing of fwctl's was there")
				}
			})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}
