package main

import (
	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

// factsAnswer is what --host reads.
type factsAnswer struct {
	Changed bool `json:"changed"`
	*rules.Host
}

func newFacts(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "facts [POLICY]",
		Short: "what fwctl knows of this host, as JSON",
		Long: `facts prints what a policy may depend on: the interfaces with their addresses,
the time zone, and, if a POLICY is given, the addresses of the DNS names in it.
check, render and explain take the output as --host FILE, on any machine.

Exit status: 0; 2 error.`,
		Example: `  fwctl facts > web1.json
  fwctl render --backend nftables --host web1.json policy.toml`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			h, err := live.Facts(c.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				s, err := g.open(args[0])
				if err != nil {
					return err
				}
				p, ps := rules.Load(s.files, s.name, s.load)
				if ps.Err() != nil {
					return &policyError{ps}
				}
				if h.Names, err = live.Resolve(c.Context(), p.Names()); err != nil {
					return err
				}
			}
			g.ui.json = true // there is no other form
			return g.ui.answer(factsAnswer{Host: h}, nil)
		},
	}
}
