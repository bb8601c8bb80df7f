package main

import (
	"github.com/spf13/cobra"
)

func newCompletion(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "a script that completes fwctl's commands and flags in a shell",
		Example: `  fwctl completion bash > /etc/bash_completion.d/fwctl
  fwctl completion zsh > "${fpath[1]}/_fwctl"
  fwctl completion fish > ~/.config/fish/completions/fwctl.fish`,
		Args:      atMost(1),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("which shell?", "bash, zsh or fish")
			}
			return complete(c.Root(), args[0], g.ui)
		},
	}
}

func complete(root *cobra.Command, shell string, u *ui) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(u.stdout, true)
	case "zsh":
		return root.GenZshCompletion(u.stdout)
	case "fish":
		return root.GenFishCompletion(u.stdout, true)
	}
	return oneOf("shell", shell, "bash", "zsh", "fish")
}
