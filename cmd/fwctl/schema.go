package main

import (
	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/rules"
)

func newSchema(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "the JSON Schema of a policy, for editors",
		Long: `schema prints the JSON Schema (draft 4) of a policy. Editors with a TOML language
server use it when the policy begins with

  #:schema ./fwctl.schema.json`,
		Example: `  fwctl schema > fwctl.schema.json`,
		Args:    atMost(0),
		RunE: func(*cobra.Command, []string) error {
			g.ui.print("%s", rules.Schema())
			return nil
		},
	}
}
