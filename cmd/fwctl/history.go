package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
)

// history is the answer of the command.
type history struct {
	Changed bool          `json:"changed"`
	Entries []apply.Entry `json:"entries"`
}

func newHistory(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "history",
		Short: "what was applied, when and by whom",
		Long: `history lists what changed the rules of this host, the newest first. The number
before a policy is that for "fwctl rollback"; 0 is the confirmed one.

Exit status: 0; 2 error.`,
		Example: `  fwctl history
  fwctl history --json`,
		Args: atMost(0),
		RunE: func(*cobra.Command, []string) error {
			entries, err := apply.NewStore(g.stateDir).Past()
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			slices.Reverse(entries)
			return g.ui.answer(history{Entries: append([]apply.Entry{}, entries...)}, func() {
				for _, e := range entries {
					g.past(e)
				}
			})
		},
	}
}

func (g *global) past(e apply.Entry) {
	number := ""
	if e.Back != nil {
		number = strconv.Itoa(*e.Back)
	}
	text := e.Action
	if e.Policy != "" {
		text += fmt.Sprintf(" %s (%s), %s", e.Policy, short(e.Digest), e.Backend)
	}
	text += ", by " + e.User
	if e.Confirmed != "" {
		text += ", confirmed by " + e.Confirmed
	}
	g.ui.print("%3s  %s  %s\n", number, e.Time.Local().Format(timeForm), text)
}
