package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

func newApply(g *global) *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply [flags] [POLICY]",
		Short: "make this host obey a policy",
		Long: `apply brings a policy into the kernel and, once it is confirmed, keeps it for the
next boot. Only the difference is sent. What the kernel then holds
is read back and proved to mean what the policy means, for every packet; if a packet
speaks against it, the change is taken back. The proof has two seconds; a policy
that needs more is applied, and apply says that it was not proved.

A change has to be confirmed, by "fwctl confirm" from a connection that was opened
after it, or from a console; otherwise the rules from before come back. A watchdog
sees to that: a process of its own, started before anything is changed, that does
not mind what becomes of this one or of the terminal. apply waits, and Ctrl-C
takes the change back at once. Until it is confirmed a boot loads the old policy.

Before anything is changed a guard proves that the policy, together with the rules of
others on this host, lets in the connection by which you work, and that nobody loses
a service of [safety] keep who has it now; else it is refused, with the packet. The
connection is found through sudo, tmux and the like. --force overrides that.

Without a terminal it takes --detach, which leaves the change to the watchdog and
prints its token, or --no-confirm, which confirms at once.

apply touches nothing that is not fwctl's own: the nftables table "inet fwctl", or
the iptables chains FWCTL-* and ipsets fwctl-*, or the anchor fwctl of pf.

On OpenBSD, FreeBSD and macOS it loads that anchor by pfctl(8), at once and whole, and
keeps the addresses that a limit has caught. pf.conf has to ask it, by the line
anchor "fwctl", best its last; and on FreeBSD and macOS to put fragments together. If
pf is disabled, or asks no such anchor, apply is refused and says what to write. Rules
before the anchor that are quick decide before it: they are named. What is proved
there is the first packet of every flow, and that its answers pass, of the anchor by
itself; "fwctl drift" asks the whole of pf. --cut ends states of pf, where pfctl
numbers them (not on macOS).

On an OpenBSD that has nothing of it yet, as root:

  echo 'anchor "fwctl"' >>/etc/pf.conf && pfctl -f /etc/pf.conf
  mkdir -p /etc/fwctl && fwctl init -o /etc/fwctl/policy.toml
  fwctl check && fwctl apply
  rcctl enable fwctl

init writes what it finds into a policy, to be read before it is applied; the
confirmation comes by "fwctl confirm" from a new connection. The script for rcctl is
rc/openbsd/fwctl, which scripts/install.sh puts into /etc/rc.d.

Exit status: 0 applied and confirmed, or nothing to change; with --detach, applied;
2 error, nothing was changed; 3 a change failed and could not be taken back;
4 taken back: the rules from before are in force.`,
		Example: `  fwctl apply --dry-run                what would change?
  fwctl apply                          apply ` + defaultPolicy + `, wait for fwctl confirm
  fwctl apply --confirm 10m site.toml  wait for longer
  fwctl apply --detach --json          leave the confirmation to a new connection
  fwctl apply --no-confirm             confirm at once`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(c, g.ui); err != nil {
				return err
			}
			if first(args) == stdinName {
				return usage("apply does not read standard input", "status and boot need to know the policy's file; give its path")
			}
			o, err := g.options(first(args))
			if err != nil {
				return err
			}
			o.DryRun = f.dryRun
			return g.apply(c, &f, o, "applying "+first(args), func(ctx context.Context, o apply.Options) (*apply.Outcome, error) { return apply.Apply(ctx, o) })
		},
	}
	f.add(c)
	c.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "say what would change, change nothing")
	return c
}

// applyFlags are those of the commands that change the rules.
type applyFlags struct {
	confirm                   time.Duration
	noConfirm, detach, dryRun bool
	force                     string
	cut                       bool
}

func (f *applyFlags) add(c *cobra.Command) {
	c.Flags().DurationVar(&f.confirm, "confirm", 0, "wait `TIME` for a confirmation (default: [safety] confirm of the policy, else 2m)")
	c.Flags().BoolVar(&f.noConfirm, "no-confirm", false, "confirm at once")
	c.Flags().BoolVar(&f.detach, "detach", false, "do not wait for the confirmation")
	c.Flags().StringVar(&f.force, "force", "", "apply though the guard refuses: `WHAT` is \"keep\" for sources of kept services, \"all\" for your own connection, too")
	c.Flags().Lookup("force").NoOptDefVal = "all"
	c.Flags().BoolVar(&f.cut, "cut", false, "once confirmed, end the connections that the policy does not accept; \"fwctl plan\" lists them")
	c.MarkFlagsMutuallyExclusive("no-confirm", "detach")
	c.MarkFlagsMutuallyExclusive("no-confirm", "confirm")
}

// The shortest and the longest time for a confirmation: nobody opens a connection in
// less, and nobody remembers for longer what was to be confirmed.
const shortestWait, longestWait = time.Second, 24 * time.Hour

func (f *applyFlags) check(c *cobra.Command, u *ui) error {
	if c.Flags().Changed("confirm") && (f.confirm < shortestWait || f.confirm > longestWait) {
		return usage(fmt.Sprintf("--confirm %s is not between %s and %s", f.confirm, shortestWait, longestWait), "")
	}
	if f.force != "" {
		if err := oneOf("force", f.force, "all", "keep"); err != nil {
			return err
		}
	}
	if !f.noConfirm && !f.detach && !f.dryRun && !isTerminal(u.in) {
		return usage("there is no terminal to wait at for a confirmation",
			"--detach leaves the change to the watchdog until `fwctl confirm`, from a new connection; --no-confirm confirms at once")
	}
	return nil
}

// wait is Options.Confirm.
func (f *applyFlags) wait() time.Duration {
	switch {
	case f.noConfirm || f.dryRun:
		return 0
	case f.confirm > 0:
		return f.confirm
	}
	return -1
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
		Version: programVersion().Version, Program: g.ui.program,
	}, err
}

// apply runs a change and waits for its confirmation.
func (g *global) apply(c *cobra.Command, f *applyFlags, o apply.Options, what string, change func(context.Context, apply.Options) (*apply.Outcome, error)) error {
	signal.Ignore(stops()...)
	o.Confirm, o.Force = f.wait(), map[string]apply.Force{"keep": apply.ForceKeep, "all": apply.ForceAll}[f.force]
	o.Reach, o.Cut = live.ReachOf(0), f.cut
	done := g.ui.working(what)
	out, err := change(c.Context(), o)
	done()
	if out != nil {
		g.hostNotes(out)
	}
	if err != nil {
		return err
	}
	if out.Pending == nil {
		return g.ui.answer(out, func() { g.applied(out) })
	}
	g.applied(out)
	if f.detach {
		out.Detach()
		return g.ui.answer(out, func() { g.ui.print("%s\n", out.Pending.Token) })
	}
	return g.await(c.Context(), out, o)
}

// await waits for the confirmation.
func (g *global) await(ctx context.Context, out *apply.Outcome, o apply.Options) error {
	u := g.ui
	done := u.countdown("waiting for fwctl confirm", out.Pending.Until)
	ended, err := out.Wait(ctx, o)
	done()
	if err != nil {
		return err
	}
	if !ended.Confirmed {
		return notConfirmed(ended)
	}
	out.Pending = nil
	return u.answer(out, func() { u.say("confirmed by %s", ended.By) })
}

// notConfirmed is the error of a change that was taken back.
func notConfirmed(ended *apply.Ended) error {
	if ended.Error != "" {
		return &apply.StuckError{Err: errors.New("the change was not confirmed"), Back: errors.New(ended.Error)}
	}
	why := "taken back by " + ended.By
	if ended.Settled != nil {
		why = "taken back, " + ended.Settled.Why
	}
	return &apply.RolledBackError{Err: errors.New("not confirmed: " + why)}
}

// hostNotes says what the policy's writer and the host's keeper should know.
func (g *global) hostNotes(out *apply.Outcome) {
	u := g.ui
	if out.Settled != nil {
		g.settled(out.Settled)
	}
	if !u.json {
		u.problems(u.stderr, out.Problems.Of(rules.Warning))
		if out.Backend == apply.PF && out.Changed { // what pf does in another way, and what cron has to do
			u.problems(u.stderr, out.Problems.Of(rules.Note))
		}
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

// proof says what was proved; nil is of something that was not done.
func (g *global) proof(p *apply.Proof, backend string) {
	switch {
	case p == nil:
	case p.Proved && backend == apply.PF:
		g.ui.say("proved: for every first packet of a flow, and for its answers, the anchor fwctl does what the policy says")
	case p.Proved:
		g.ui.say("proved: for every packet the rules in the kernel do what the policy says")
	default:
		g.ui.say("not proved, and not refuted: %s", p.Why)
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
	case out.Pending != nil:
		u.say("applied %s: %s", what, how)
	default:
		u.say("applied and confirmed %s by %s: %s", what, apply.Who(), how)
	}
	g.proof(out.Proof, out.Backend)
	g.cut(out.Cut)
	if out.Replaced != "" {
		u.say("removed fwctl's rules from %s", out.Replaced)
	}
	if p := out.Pending; p != nil {
		u.say("not confirmed: at %s the rules from before come back", p.Until.Local().Format(time.TimeOnly))
		if !u.quiet {
			u.hint("open a new connection to this host and run `fwctl confirm` there; Ctrl-C, or `fwctl rollback`, takes the change back now")
		}
	}
}

// cut says which connections were ended.
func (g *global) cut(texts []string) {
	if len(texts) > 0 {
		g.ui.say("ended %s:", plural(len(texts), "connection"))
		if !g.ui.quiet {
			g.ui.list(g.ui.stderr, texts)
		}
	}
}
