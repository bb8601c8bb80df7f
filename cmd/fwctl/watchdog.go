package main

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
)

// newWatchdog is the command that apply starts itself.
func newWatchdog(g *global) *cobra.Command {
	return &cobra.Command{
		Use:    "watchdog NAME",
		Short:  "take a change back unless it is confirmed",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			signal.Ignore(append(stops(), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE)...)
			return apply.Watch(c.Context(), apply.Options{StateDir: g.stateDir, RunDir: g.runDir}, args[0])
		},
	}
}
