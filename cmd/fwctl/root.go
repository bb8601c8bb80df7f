package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
)

const defaultPolicy = "/etc/fwctl/policy.toml"

// global holds the flags that every command has.
type global struct {
	ui       *ui
	stateDir string
	runDir   string
	backend  string
}

func newRoot(u *ui) *cobra.Command {
	g := &global{ui: u}
	root := &cobra.Command{
		Use:   "fwctl COMMAND [flags]",
		Short: "a host firewall from one policy: render, apply, explain",
		Long: `fwctl turns a TOML policy, which says which services a host has and who may
reach them, into rules for nftables, iptables and pf, and makes the host obey it.

POLICY is ` + defaultPolicy + ` unless given; "-" reads it from standard input.`,
		Example: `  fwctl init -o policy.toml                a first one, from what listens here
  fwctl check policy.toml                  is it right, and do its tests hold?
  fwctl render --backend nftables          what would nft load?
  fwctl apply --dry-run                    what would change on this host?
  fwctl apply                              make the host obey it
  fwctl confirm                            keep that, said from a new connection
  fwctl explain tcp 203.0.113.9 to host:22 would this packet get in, and why?`,
		Args:              noSuchCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return g.settle(c) },
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Version:           programVersion().String(),
	}
	root.SetIn(u.in)
	root.SetOut(u.stdout)
	root.SetErr(u.stderr)
	root.SetVersionTemplate("{{.Version}}\n")
	root.Flags().Bool("version", false, "print what program this is")
	root.SuggestionsMinimumDistance = 2
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{err, fmt.Sprintf("`%s --help` lists the flags", c.CommandPath())}
	})
	g.flags(root)
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true}) // --help is enough
	root.AddCommand(
		newInit(g), newCheck(g), newRender(g), newCompare(g), newImport(g), newExplain(g), newFacts(g), newSchema(g),
		newPlan(g), newApply(g), newConfirm(g), newRollback(g), newHistory(g), newStatus(g), newDrift(g), newAudit(g), newBoot(g), newRefresh(g), newOff(g),
		newWatchdog(g),
		newCompletion(g), newVersion(g),
	)
	return root
}

// usageTemplate is what --help prints below the description.
const usageTemplate = `Usage:
  {{.UseLine}}
{{- if .HasExample}}

Examples:
{{.Example}}
{{- end}}
{{- if .HasAvailableSubCommands}}

Commands:
{{- range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableSubCommands}}

"fwctl COMMAND --help" tells more of a command.
{{- end}}
`

func (g *global) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.BoolVar(&g.ui.json, "json", false, "answer in JSON on standard output")
	f.BoolVarP(&g.ui.quiet, "quiet", "q", false, "say nothing but answers and errors")
	f.StringVar(&g.ui.color, "color", "auto", "colour `WHEN`: auto, always or never; NO_COLOR is honoured")
	f.StringVar(&g.stateDir, "state-dir", defaultStateDir(), "keep the confirmed policy in `DIR`")
	f.StringVar(&g.runDir, "run-dir", defaultRunDir(), "keep the lock in `DIR`")
	f.StringVar(&g.backend, "backend", apply.Auto, "backend `NAME`: auto, nftables, iptables or pf")
}

func defaultStateDir() string {
	if runtime.GOOS == "linux" {
		return "/var/lib/fwctl"
	}
	return "/var/db/fwctl"
}

func defaultRunDir() string {
	if runtime.GOOS == "linux" {
		return "/run/fwctl"
	}
	return "/var/run/fwctl"
}

// settle checks the global flags before a command runs.
func (g *global) settle(c *cobra.Command) error {
	if err := g.ui.settle(); err != nil {
		return err
	}
	for _, dir := range []*string{&g.stateDir, &g.runDir} { // the watchdog works elsewhere
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return fmt.Errorf("read working directory: %w", err)
		}
		*dir = abs
	}
	if c.Name() == "render" { // it has backends of its own
		return nil
	}
	return oneOf("backend", g.backend, apply.Auto, apply.NFTables, apply.IPTables, apply.PF)
}

// oneOf refuses a flag's value that is not in the list.
func oneOf(flag, value string, list ...string) error {
	if slices.Contains(list, value) {
		return nil
	}
	return usage(fmt.Sprintf("--%s %q is not one of %s", flag, value, strings.Join(list, ", ")), "")
}

// noSuchCommand refuses words that are no command, with the nearest that is.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "`fwctl --help` lists the commands"
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "nearest: " + strings.Join(near, ", ")
	}
	return usage(fmt.Sprintf("there is no command %q", args[0]), hint)
}

// atMost refuses more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) <= n {
			return nil
		}
		return usage(fmt.Sprintf("one argument too many: %q", args[n]), fmt.Sprintf("`%s --help` says what it takes", c.CommandPath()))
	}
}

// first returns the first argument, or the default policy.
func first(args []string) string {
	if len(args) == 0 {
		return defaultPolicy
	}
	return args[0]
}
