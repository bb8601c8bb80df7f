package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

func newApply(g *global) *cobra.Command {
	var noConfirm, dryRun bool
	c := &cobra.Command{
		Use:   "apply --no-confirm|--dry-run [flags] [POLICY]",
		Short: "make this host obey a policy",
		Long: `apply brings a policy into the kernel and keeps it for the next boot. Only the
difference is sent, in one transaction. What the kernel then holds is read back and
proved to mean what the policy means, for every packet; if a packet speaks against
it, the change is taken back. The proof has two seconds; a policy that needs more
is applied, and apply says that it was not proved.

apply touches nothing that is not fwctl's own: the nftables table "inet fwctl", or
the iptables chains FWCTL-* and ipsets fwctl-*.

This version has no rollback timer yet: a new policy counts as confirmed at once,
and --no-confirm says that you know. Keep a console at hand.

Exit status: 0 applied and confirmed, or nothing to change; 2 error, nothing was
changed; 3 a change failed and could not be taken back; 4 a change failed and
the rules from before were put back.`,
		Example: `  fwctl apply --dry-run                what would change?
  fwctl apply --no-confirm             apply ` + defaultPolicy + `
  fwctl apply --no-confirm --json site.toml`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !noConfirm && !dryRun {
				return usage("apply needs --no-confirm: this version cannot wait for a confirmation and roll back without it",
					"`fwctl apply --dry-run` shows what would change; then `fwctl apply --no-confirm`")
			}
			if first(args) == stdinName {
				return usage("apply does not read standard input", "status and boot need to know the policy's file; give its path")
			}
			return g.apply(c, first(args), dryRun)
		},
	}
	c.Flags().BoolVar(&noConfirm, "no-confirm", false, "confirm at once")
	c.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "say what would change, change nothing")
	return c
}

// options gathers what the commands that look at the kernel need.
func (g *global) options(arg string) (apply.Options, error) {
	if err := live.Privilege(); err != nil {
		return apply.Options{}, err
	}
	s, err := g.open(arg)
	return apply.Options{
		Files: s.files, Policy: s.name, Load: s.load,
		StateDir: g.stateDir, RunDir: g.runDir, Backend: g.backend,
		Version: programVersion().Version,
	}, err
}

func (g *global) apply(c *cobra.Command, arg string, dryRun bool) error {
	o, err := g.options(arg)
	if err != nil {
		return err
	}
	o.DryRun = dryRun
	done := g.ui.working("applying " + arg)
	out, err := apply.Apply(c.Context(), o)
	done()
	if out != nil {
		g.hostNotes(out)
	}
	if err != nil {
		return err
	}
	return g.ui.answer(out, func() { g.applied(out) })
}

// hostNotes says what the policy's writer and the host's keeper should know.
func (g *global) hostNotes(out *apply.Outcome) {
	u := g.ui
	if !u.json {
		u.problems(u.stderr, out.Problems.Of(rules.Warning))
	}
	for _, w := range out.Warnings {
		u.warn("%s", w)
	}
	for _, m := range out.Managers {
		if m.Advice != "" {
			u.warn("%s is here, too (%s): %s", m.Name, m.Sign, m.Advice)
		}
	}
}

// applied is the talk of a successful apply.
func (g *global) applied(out *apply.Outcome) {
	u := g.ui
	what := fmt.Sprintf("%s (%s)", out.Policy, short(out.Digest))
	how := fmt.Sprintf("%s to %s (%s)", plural(len(out.Changes), "change"), out.Backend, out.Why)
	switch {
	case out.DryRun && len(out.Changes) == 0:
		u.say("nothing would change: %s stands", what)
	case out.DryRun:
		u.say("would apply %s: %s", what, how)
		u.list(u.stdout, out.Changes)
	case !out.Changed:
		u.say("unchanged: %s", what)
	case len(out.Changes) == 0:
		u.say("confirmed %s by %s: the kernel had it already", what, apply.Who())
	default:
		u.say("applied and confirmed %s by %s: %s", what, apply.Who(), how)
	}
	switch p := out.Proof; {
	case p == nil:
	case p.Proved:
		u.say("proved: for every packet the rules in the kernel do what the policy says")
	default:
		u.say("not proved, and not refuted: %s", p.Why)
	}
	if out.Replaced != "" {
		u.say("removed fwctl's rules from %s", out.Replaced)
	}
}
