package main

import (
	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
)

func newBoot(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "boot",
		Short: "load the confirmed policy, as at start-up",
		Long: `boot loads the policy that was confirmed last, as it was resolved then: it needs
no policy file, no name server and no interface. If it cannot be read, the one
before it is loaded; if that cannot be read either, a set of the necessary
baseline, established connections and the services of [safety] keep.

On hosts with systemd fwctl.service runs it before the network comes up, if it is
enabled: "systemctl enable fwctl.service". A reload of the unit runs it again; a stop
leaves the rules in force, "fwctl off" removes them. If nftables.service,
netfilter-persistent.service, iptables.service or ip6tables.service is restarted or
reloaded, which flushes what is fwctl's as well, the unit loads it again, some tenth
of a second later. After a plain stop of nftables.service the host stays open until
that or fwctl.service is started: disable it without stopping it.

On OpenBSD "rcctl enable fwctl" has it run with the scripts of packages, after sshd;
/etc/rc.d/fwctl start in /etc/rc.securelevel, before the network daemons. Before that
/etc/rc has loaded a set of its own, which lets in SSH, and then pf.conf: until the
anchor is loaded the rules of pf.conf decide, so these should block. On FreeBSD it is
"sysrc fwctl_enable=YES", and the script runs right behind pf's.

Exit status: 0 loaded, or fwctl is switched off; 2 error.`,
		Example: `  fwctl boot
  systemctl enable fwctl.service       do it at each start-up
  rcctl enable fwctl                   the same on OpenBSD`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := g.options(defaultPolicy)
			if err != nil {
				return err
			}
			out, err := apply.Boot(c.Context(), o)
			if out != nil {
				for _, w := range out.Warnings {
					g.ui.warn("%s", w)
				}
			}
			if err != nil {
				return err
			}
			return g.ui.answer(out, func() { g.booted(out) })
		},
	}
}

func (g *global) booted(out *apply.Booted) {
	u := g.ui
	if out.Settled != nil {
		g.settled(out.Settled)
	}
	switch {
	case out.Off != nil:
		u.say("switched off by %s on %s: nothing was loaded", out.Off.User, out.Off.Time.Local().Format(timeForm))
	case out.Loaded == "keep":
		u.say("loaded the kept services alone, by %s", out.Backend)
	case !out.Changed:
		u.say("the %s policy (%s) stands already, by %s", out.Loaded, short(out.Digest), out.Backend)
	default:
		u.say("loaded the %s policy (%s), by %s: %s", out.Loaded, short(out.Digest), out.Backend, plural(len(out.Changes), "change"))
	}
}
