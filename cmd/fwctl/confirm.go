package main

import (
	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/live"
)

func newConfirm(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "confirm [TOKEN]",
		Short: "keep the change that waits for it",
		Long: `confirm puts the policy in force for good that an apply brought into the kernel,
so that the watchdog leaves it there and a boot loads it.

It counts only from a connection that was opened after the change, or from a
console: a session that stood before goes on working when nobody can log in any
more. A TOKEN says which apply is meant, as --detach printed it; it replaces nothing
of that. ssh(1) with a shared connection, as Ansible uses it, is an old connection:
ssh -o ControlPath=none opens a new one.

With pf a connection counts of which pf has a state, and had none before the change.
Where the system does not tell to whom a process belongs (OpenBSD, FreeBSD, macOS), the
connection is that of SSH_CONNECTION, which doas(1) and sudo(8) take away unless told:
doas env SSH_CONNECTION="$SSH_CONNECTION" fwctl confirm.

Exit status: 0 confirmed; 2 nothing waits, it is too late, or it does not count.`,
		Example: `  ssh web1.example fwctl confirm
  ssh -o ControlPath=none web1.example fwctl confirm 5f3a9c01d2e47b86`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := g.options(defaultPolicy)
			if err != nil {
				return err
			}
			token := ""
			if len(args) > 0 {
				token = args[0]
			}
			out, err := apply.Confirm(c.Context(), o, token, live.ReachOf(0))
			if err != nil {
				return err
			}
			for _, w := range out.Warnings {
				g.ui.warn("%s", w)
			}
			return g.ui.answer(out, func() {
				g.ui.say("confirmed %s (%s) by %s, who came by %s", out.Policy, short(out.Digest), out.By, out.Reach)
				g.cut(out.Cut)
			})
		},
	}
}
