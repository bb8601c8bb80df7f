package main

import (
	"errors"
	"fmt"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/live"
)

func newRefresh(g *global) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "refresh [flags]",
		Short: "read the names and feeds of the confirmed policy again",
		Long: fmt.Sprintf(`refresh resolves the DNS names of the confirmed policy and reads its feeds (the files
that groups name) again, and makes the kernel and the stored state follow. It is made
for a timer: nothing waits for a confirmation, and the policy's text stays as it was
confirmed, whatever its files say by now. Only the difference is sent. Where names,
feeds and the addresses of this host are as they were, nothing is sent and the kernel
is not looked at: "fwctl drift" does that.

For a name that does not resolve, or a feed that is missing, malformed, shorter than
min_entries or writable by others, the last good answer stays, with a warning, and
the others follow all the same. So it is with an answer that changes too much at once:
a feed that has lost more than half of its addresses of IPv4 or of IPv6, or some of
them and more than half of its ranges, or that has grown to more than 16 times and is
large; and a name with more than %d addresses.
--force believes these, as the next apply does. "fwctl status" says what is stale,
since when and why.

pf has no clock: what has expired goes when refresh is run, which on OpenBSD, FreeBSD
and macOS cron should do every few minutes.

Sources of the services of [safety] keep are shut out, with a warning, if the names
or feeds say so; the connection by which you work is not. refresh is refused while
a change waits for a confirmation. "fwctl rollback" goes between policies: number 0
is the confirmed one as it was refreshed last, and so is what a boot loads.

Exit status: 0 all is as read now, or fwctl is switched off; 1 something is stale,
the rest was refreshed; 2 error, nothing was changed; 3 a change failed and could
not be taken back; 4 a change failed and was taken back.`, apply.MostAddresses),
		Example: `  fwctl refresh
  fwctl refresh --force   believe a feed that has shrunk to less than half
  fwctl refresh --json    what changed, and what is stale`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := g.options(defaultPolicy)
			if err != nil {
				return err
			}
			signal.Ignore(stops()...)
			o.Reach = live.ReachOf(0)
			done := g.ui.working("refreshing names and feeds")
			out, err := apply.Refresh(c.Context(), o, force)
			done()
			if out != nil {
				g.stale(out)
			}
			if err != nil {
				return shutOut(err)
			}
			if err := g.ui.answer(out, func() { g.refreshed(out) }); err != nil {
				return err
			}
			if len(out.Stale) > 0 {
				return status(exitDiffers)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "believe what changes too much at once")
	return c
}

// shutOut gives a refresh that would lock out whoever runs it a way of its own: its
// --force is for something else.
func shutOut(err error) error {
	var lockout *apply.LockoutError
	if !errors.As(err, &lockout) {
		return err
	}
	return &usageError{fmt.Errorf("%w; nothing was changed", err), "come by another connection; a timer, which comes by none, will not ask"}
}

// stale warns of what could not be refreshed.
func (g *global) stale(out *apply.Refreshed) {
	for _, w := range out.Warnings {
		g.ui.warn("%s", w)
	}
	for _, a := range out.Stale {
		g.ui.warn("%s: what was read on %s stays: %s", a.Name, a.Good.Local().Format(timeForm), a.Error)
	}
}

// refreshed is the talk of a refresh.
func (g *global) refreshed(out *apply.Refreshed) {
	u := g.ui
	if out.Off != nil {
		u.say("switched off by %s on %s: nothing was refreshed", out.Off.User, out.Off.Time.Local().Format(timeForm))
		return
	}
	what := fmt.Sprintf("%s and %s of %s (%s)", plural(out.Names, "name"), plural(out.Feeds, "feed"), out.Policy, short(out.Digest))
	if !out.Changed {
		u.say("unchanged: %s", what)
		return
	}
	u.say("refreshed %s: %s to %s", what, plural(len(out.Changes), "change"), out.Backend)
	g.proof(out.Proof, out.Backend)
}
