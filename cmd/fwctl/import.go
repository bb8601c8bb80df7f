package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/adopt"
	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/packet"
)

// importFlags says what belongs to the file, and where the policy goes.
type importFlags struct {
	output, ipv6, ipset string
	dialect, host       string
	budget              int
	timeout             time.Duration
}

func newImport(g *global) *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import [flags] iptables|ip6tables|nft|ufw|firewalld|pf FILE",
		Short: "a policy from the rules of another firewall",
		Long: `import writes a policy that means what the rules of another firewall mean for
packets to this host, as far as a policy can say it.

FORMAT and FILE are

  iptables FILE   what iptables-save prints; --ipv6 adds what ip6tables-save does
  ip6tables FILE  what ip6tables-save prints, alone
  nft FILE        what "nft -f" loads; needs root and the program nft
  ufw FILE        /etc/ufw/user.rules, --ipv6 adds user6.rules; or what
                  "ufw show added" prints
  firewalld FILE  a zone, as in /etc/firewalld/zones
  pf FILE         a pf.conf, or what pfctl -sr prints; see --dialect

FILE "-" is standard input. Rules are a list and a policy is a set: a rule becomes
a service or a block if that means the same beside all others, else what it decides
is said in other words, else it is named as not translated: as a comment in the
policy, on standard error, and with --json. Rules for packets from or through this
host are not looked at; defaults.outbound is "accept" and defaults.routed "ignore".

Then the policy is compared with the rules, for all first packets of flows, and
what differs is shown with a packet and the rule on each side. Refusals count as
alike, whether they are answered or not. A block also holds for published ports. Loopback, the baseline that every policy
accepts (ICMP errors, neighbour discovery, DHCP) and destination port 0 are not
compared; how the rules differ there is said as a note. Rules for one family alone
open nothing in the other.

Exit status: 0 translated, and proved equal; 1 translated, but it differs, and the
packets are shown; 2 error; 3 cannot tell: the budget or the time did not suffice, or lines could not
be read.`,
		Example: `  iptables-save > v4; ip6tables-save > v6; fwctl import iptables v4 --ipv6 v6
  fwctl import nft /etc/nftables.conf -o policy.toml
  ufw show added | fwctl import ufw -
  fwctl import ufw /etc/ufw/user.rules --ipv6 /etc/ufw/user6.rules
  fwctl import pf /etc/pf.conf
  fwctl import firewalld /etc/firewalld/zones/public.xml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return usage(fmt.Sprintf("import takes a format and a file, not %d arguments", len(args)), "for example: fwctl import iptables rules.v4")
		},
		ValidArgs: importFormats,
		RunE:      func(c *cobra.Command, args []string) error { return g.imports(c.Context(), args[0], args[1], f) },
	}
	c.Flags().StringVarP(&f.output, "output", "o", "", "write the policy into `FILE`, which must not be there yet")
	c.Flags().StringVar(&f.ipv6, "ipv6", "", "take the rules for IPv6 from `FILE`, of the formats iptables and ufw")
	c.Flags().StringVar(&f.ipset, "ipset", "", "take the sets that rules of iptables name from `FILE`, as \"ipset save\" prints them")
	c.Flags().StringVar(&f.dialect, "dialect", "", "read a text of pf as `DIALECT`: openbsd, freebsd, freebsd-old or macos; the one that refuses least of it")
	c.Flags().StringVar(&f.host, "host", "", "take the addresses of interfaces that rules of pf name from `FILE`, as \"fwctl facts\" prints them")
	c.Flags().IntVar(&f.budget, "budget", adopt.DefaultNodes, "give up beyond `N` nodes of diagrams, some 60 bytes each")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "give up a step of the translation after `D`")
	return c
}

// importFormats are the formats that import reads.
var importFormats = []string{"iptables", "ip6tables", "nft", "ufw", "firewalld", "pf"}

// imported is the answer of import.
type imported struct {
	Changed bool   `json:"changed"` // a file was written
	File    string `json:"file,omitempty"`
	*adopt.Result
	Notes []string            `json:"notes,omitempty"` // of the format
	Proof *compare.Comparison `json:"proof"`
}

func (g *global) imports(ctx context.Context, format, file string, f importFlags) error {
	if !slices.Contains(importFormats, format) {
		return usage(fmt.Sprintf("format %q is not one of %s", format, strings.Join(importFormats, ", ")), "")
	}
	if f.ipv6 != "" && format != "iptables" && format != "ufw" {
		return usage("--ipv6 goes with the formats iptables and ufw", "")
	}
	done := g.ui.working("importing " + file)
	defer done()
	rs, err := g.foreign(ctx, format, file, f)
	if err != nil {
		return err
	}
	res, err := adopt.Import(rs, adopt.Limits{Nodes: f.budget, Time: f.timeout})
	if adopt.IsSpent(err) {
		return g.importGivenUp(file, err)
	}
	if err != nil {
		return err
	}
	proof, err := prove(rs, res, f.budget)
	if err != nil {
		return err
	}
	done()
	return g.deliverImport(imported{Result: res, Notes: rs.Notes, Proof: proof}, f)
}

// importGivenUp says that there is no policy.
func (g *global) importGivenUp(file string, err error) error {
	f := failed{Error: fmt.Sprintf("cannot tell what %s means: %v", file, err), Hint: "--budget and --timeout allow for more"}
	if err := g.ui.answer(f, func() { g.ui.warn("%s", f.Error); g.ui.hint(f.Hint) }); err != nil {
		return err
	}
	return status(exitUnknown)
}

// prove compares the policy with what it was made of.
func prove(rs *adopt.Ruleset, res *adopt.Result, budget int) (*compare.Comparison, error) {
	v4, v6 := rs.V4 != nil, rs.V6 != nil
	q := compare.Question{Hooks: []packet.Hook{packet.Input}, Kinds: []compare.Kind{compare.First}, RejectIsDrop: true, Budget: budget, Now: time.Now()}
	if rs.Over != nil {
		q.Over = func(_ packet.Hook, is6 bool) packet.Cond { return rs.Over(is6) }
	}
	return compare.Compare(
		compare.Side{Name: "policy", V4: v4, V6: v6, Filter: func(_ packet.Hook, is6 bool) *packet.Filter { return res.Means(is6) }},
		compare.Side{Name: rs.Name, V4: v4, V6: v6, Filter: func(_ packet.Hook, is6 bool) *packet.Filter { return res.Imported(is6) }, Beside: rs.Beside, Unread: unread(rs)},
		q,
	)
}

// unread is what the reader of the format left out: without it nothing is proved.
func unread(rs *adopt.Ruleset) []string {
	var out []string
	for _, l := range rs.Left {
		out = append(out, l.Where())
	}
	return out
}

// deliverImport writes the policy, and says how far it means the rules.
func (g *global) deliverImport(out imported, f importFlags) error {
	if f.output != "" {
		if err := writeNew(f.output, out.Policy); err != nil {
			return err
		}
		out.Changed, out.File = true, f.output
	}
	err := g.ui.answer(out, func() {
		if f.output != "" {
			g.ui.print("%s\n", f.output)
			return
		}
		g.ui.print("%s", out.Policy)
	})
	if err != nil {
		return err
	}
	if !g.ui.json {
		g.importTold(out)
	}
	return compareStatus(out.Proof.Result)
}

// writeNew writes a file that must not be there yet: a policy is somebody's work.
func writeNew(name, text string) error {
	w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return usage(name+" is there already", "import overwrites nothing; move it away, or write elsewhere")
	}
	if err != nil {
		return fmt.Errorf("write policy: %w", err)
	}
	if _, err := w.WriteString(text); err != nil {
		w.Close()
		return fmt.Errorf("write policy: %w", err)
	}
	return w.Close()
}

// importTold says what became of the rules.
func (g *global) importTold(out imported) {
	u := g.ui
	u.say("%d of %s that decide packets to this host translated", out.Translated, plural(out.Rules, "rule"))
	for _, l := range out.Left {
		u.warn("not translated: %s", l.Where())
		fmt.Fprintf(u.stderr, "  %s\n", l.Reason)
		if l.Packets != "" {
			fmt.Fprintf(u.stderr, "  the policy decides otherwise: %s\n", l.Packets)
		}
	}
	for _, n := range out.Notes {
		u.say("note: %s", n)
	}
	for _, n := range out.Own {
		u.say("note: not compared: %s", n)
	}
	for _, b := range out.Proof.Beside {
		u.warn("not compared: %s", b.Text)
	}
	g.importProved(out.Proof)
}

func (g *global) importProved(c *compare.Comparison) {
	u := g.ui
	var families []string
	for _, f := range c.Families {
		families = append(families, familyNames[f])
	}
	switch c.Result {
	case compare.Equal:
		u.say("the policy means the same as %s, proved for %s", c.B, strings.Join(families, " and "))
		return
	case compare.Undecided:
		why := "the budget of nodes did not suffice"
		if len(c.Unread) > 0 {
			why = plural(len(c.Unread), "line") + " of it could not be read"
		}
		u.warn("cannot tell whether the policy means the same as %s: %s", c.B, why)
		return
	}
	u.warn("the policy and %s are %s", c.B, c.Result)
	for _, p := range c.Parts {
		if p.Example == nil {
			continue
		}
		for _, d := range p.Differ {
			fmt.Fprintf(u.stderr, "  %s: the policy %s, the rules %s: %s\n", familyNames[p.Family], d.A, d.B, strings.Join(d.Groups, "; "))
		}
		fmt.Fprintf(u.stderr, "  for example  %s\n", p.Example.Text)
		for _, x := range p.Example.If {
			fmt.Fprintf(u.stderr, "    if %s\n", x)
		}
		fmt.Fprintf(u.stderr, "    policy  %s\n    rules   %s\n", p.Example.A, p.Example.B)
	}
}
