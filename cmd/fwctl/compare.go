package main

import (
	"context"
	"fmt"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// compareFlags is the question.
type compareFlags struct {
	hook, state  string
	host, ipset  string
	dialect      string
	rejectIsDrop bool
	budget       int
}

func newCompare(g *global) *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare [flags] A B",
		Short: "do two rulesets mean the same?",
		Long: `compare proves that two rulesets decide every packet alike, or shows packets
that they decide differently: which ones, how many, and one of them with the rule
that decides it on each side.

A and B are each one of

  policy:FILE     a policy
  nft:FILE        what "nft -f" loads
  iptables:FILE   what iptables-save prints (IPv4)
  ip6tables:FILE  what ip6tables-save prints (IPv6)
  pf:FILE         a pf.conf, or what pfctl -sr prints (with -a '*' for anchors)
  live:           the rules of the running host; needs CAP_NET_ADMIN

The prefix may be left out where the file tells. A text of nft is loaded into a
network namespace of its own and read back: that needs root, the program nft, and
leaves nothing behind.

pf is compared for packets that begin a flow or belong to one: it has no state but
those that its rules made. Left out are ICMP of the other family and ICMP answers
without a request, and at forward addresses that are never routed; there a packet
has to pass where it comes in and where it goes out. Files that the text includes,
loads into anchors or fills tables with are read. A trap in a text of pf, as a list
{ !a, !b }, is named.

What no packet decides (rates, the time) and what is not understood counts as an
unknown: the same one in A and B where the text is the same. "different only if"
names the unknowns that it depends on. Packets are compared as filters see them
behind reassembly, addresses as after translation.

Exit status: 0 equal, proved; 1 different, or different only if an unknown holds;
2 error; 3 undecided: the budget of nodes did not suffice.`,
		Example: `  fwctl compare site.toml rules.nft
  fwctl compare --hook input --state new old.rules new.rules
  fwctl compare --host web1.json policy:site.toml live:`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return usage(fmt.Sprintf("compare takes two rulesets, not %d", len(args)), "for example: fwctl compare site.toml rules.nft")
		},
		RunE: func(c *cobra.Command, args []string) error { return g.compare(c.Context(), args[0], args[1], f) },
	}
	c.Flags().StringVar(&f.hook, "hook", "all", "compare at `HOOK`: input, output, forward or all")
	c.Flags().StringVar(&f.state, "state", "any", "compare packets of `STATE`: new, the first ones of flows; established, which includes related; or any")
	c.Flags().StringVar(&f.host, "host", "", "take the facts of the host from `FILE`, as \"fwctl facts\" prints them")
	c.Flags().StringVar(&f.ipset, "ipset", "", "take the sets that rules of iptables name from `FILE`, as \"ipset save\" prints them")
	c.Flags().StringVar(&f.dialect, "dialect", "", "read texts of pf as `DIALECT`: openbsd, freebsd, freebsd-old or macos; the one that refuses least of it")
	c.Flags().BoolVar(&f.rejectIsDrop, "reject-is-drop", false, "refusals are alike, whether they are answered or not")
	c.Flags().IntVar(&f.budget, "budget", compare.DefaultBudget, "give up beyond `N` nodes of diagrams, some 60 bytes each")
	return c
}

// comparison is the answer of compare.
type comparison struct {
	Changed bool `json:"changed"`
	*compare.Comparison
}

func (g *global) compare(ctx context.Context, a, b string, f compareFlags) error {
	q, err := f.question()
	if err != nil {
		return err
	}
	done := g.ui.working("comparing " + a + " with " + b)
	defer done()
	sideA, err := g.side(ctx, a, f, &q)
	if err != nil {
		return err
	}
	sideB, err := g.side(ctx, b, f, &q)
	if err != nil {
		return err
	}
	if sideA.V4 && !sideA.V6 && sideB.V6 && !sideB.V4 || sideA.V6 && !sideA.V4 && sideB.V4 && !sideB.V6 {
		return usage("one ruleset is for IPv4 alone and the other for IPv6: there is no packet that both decide", "")
	}
	c, err := compare.Compare(sideA, sideB, q)
	if err != nil {
		return err
	}
	done()
	if err := g.ui.answer(comparison{Comparison: c}, func() { g.compared(c) }); err != nil {
		return err
	}
	return compareStatus(c.Result)
}

// compareStatus is the exit status of a result.
func compareStatus(r compare.Result) error {
	switch r {
	case compare.Equal:
		return nil
	case compare.Undecided:
		return status(exitUnknown)
	}
	return status(exitDiffers)
}

// question reads the flags.
func (f compareFlags) question() (compare.Question, error) {
	q := compare.Question{RejectIsDrop: f.rejectIsDrop, Budget: f.budget, Now: time.Now()}
	if err := oneOf("hook", f.hook, "prerouting", "input", "output", "forward", "all"); err != nil {
		return q, err
	}
	for _, h := range []packet.Hook{packet.Prerouting, packet.Input, packet.Output, packet.Forward} {
		if f.hook == h.String() {
			q.Hooks = []packet.Hook{h}
		}
	}
	if err := oneOf("state", f.state, "new", "established", "any"); err != nil {
		return q, err
	}
	switch f.state {
	case "new":
		q.Kinds = []compare.Kind{compare.First}
	case "established":
		q.Kinds = []compare.Kind{compare.InFlow}
	}
	host, err := readHost(f.host)
	if host != nil {
		q.Addrs = host.HostAddrs
	}
	return q, err
}

// compared prints the answer, then what differs, part by part.
func (g *global) compared(c *compare.Comparison) {
	u := g.ui
	color := map[compare.Result]string{compare.Equal: green, compare.Undecided: yellow, compare.Depends: yellow, compare.Different: red}[c.Result]
	u.print("%s  %s and %s\n", u.paint(u.stdout, color, c.Result.String()), c.A, c.B)
	if len(c.Families) == 1 {
		u.print("  %s alone: one of them says nothing of the other family\n", familyNames[c.Families[0]])
	}
	if alike := partsOf(c, compare.Equal); alike != "" {
		u.print("  equal, proved for every packet: %s\n", alike)
	}
	if open := partsOf(c, compare.Undecided); open != "" {
		u.print("  undecided, the budget of nodes did not suffice: %s\n", open)
	}
	for _, p := range c.Parts {
		if p.Example != nil {
			g.comparedPart(c, p)
		}
	}
	for _, x := range []struct {
		what string
		list []compare.Opaque
	}{{"not understood, taken as an unknown", c.Unknown}, {"not compared", c.Beside}, {"not read, so nothing is proved equal", c.Unread}} {
		for _, o := range x.list {
			u.print("%s: %s (%s)\n", x.what, o.Text, o.Side)
		}
	}
}

// partsOf names the parts with a result: whole hooks, else kinds of packets, else
// families.
func partsOf(c *compare.Comparison, r compare.Result) string {
	var names []string
	byHook := grouped(c.Parts, func(p compare.Part) string { return p.Hook })
	for _, hook := range byHook {
		if n := ofResult(hook, r); n == len(hook) {
			names = append(names, hook[0].Hook)
			continue
		}
		for _, kind := range grouped(hook, func(p compare.Part) string { return p.Kind.String() }) {
			name := kind[0].Hook + " " + kind[0].Kind.String()
			if ofResult(kind, r) == len(kind) {
				names = append(names, name)
				continue
			}
			for _, p := range kind {
				if p.Result == r {
					names = append(names, name+" "+familyNames[p.Family])
				}
			}
		}
	}
	return strings.Join(names, ", ")
}

// grouped puts parts with one key together, in the order of the keys' first
// parts.
func grouped(parts []compare.Part, key func(compare.Part) string) [][]compare.Part {
	var out [][]compare.Part
	for _, p := range parts {
		i := slices.IndexFunc(out, func(g []compare.Part) bool { return key(g[0]) == key(p) })
		if i < 0 {
			out = append(out, []compare.Part{p})
			continue
		}
		out[i] = append(out[i], p)
	}
	return out
}

func ofResult(parts []compare.Part, r compare.Result) int {
	n := 0
	for _, p := range parts {
		if p.Result == r {
			n++
		}
	}
	return n
}

var familyNames = map[string]string{"ipv4": "IPv4", "ipv6": "IPv6"}

func (g *global) comparedPart(c *compare.Comparison, p compare.Part) {
	u := g.ui
	u.print("\n%s, %s, %s packets: %s\n", p.Hook, familyNames[p.Family], p.Kind, p.Result)
	if first := firstPart(c, p); first != nil {
		u.print("  as new ones\n")
		return
	}
	for _, d := range p.Differ {
		u.print("  %s\n", discrepancyLine(d))
		for _, line := range d.Groups {
			u.print("    %s\n", line)
		}
		if d.More {
			u.print("    and more\n")
		}
	}
	u.print("  for example  %s\n", p.Example.Text)
	for _, x := range p.Example.If {
		u.print("    if %s\n", x)
	}
	width := max(len(c.A), len(c.B))
	u.print("    %-*s  %s\n", width, c.A, p.Example.A)
	u.print("    %-*s  %s\n", width, c.B, p.Example.B)
}

// firstPart returns the part of first packets that differs in the same way as
// another kind at the same hook, so that a reader sees it once.
func firstPart(c *compare.Comparison, p compare.Part) *compare.Part {
	for i, q := range c.Parts {
		if q.Kind == compare.First && p.Kind != compare.First && q.Hook == p.Hook && q.Family == p.Family && slices.EqualFunc(p.Differ, q.Differ, sameGroups) {
			return &c.Parts[i]
		}
	}
	return nil
}

func sameGroups(a, b compare.Discrepancy) bool {
	return a.A == b.A && a.B == b.B && a.Depends == b.Depends && a.More == b.More && slices.Equal(a.Groups, b.Groups)
}

// discrepancyLine says who does what with how many packets.
func discrepancyLine(d compare.Discrepancy) string {
	s := fmt.Sprintf("A %s, B %s", d.A, d.B)
	if d.Depends {
		s += ", depending on unknowns"
	}
	return s + ": " + packets(d.Count)
}

// packets writes a number of packets: in full up to a million millions, then by
// its size.
func packets(n *big.Int) string {
	switch {
	case n.Cmp(big.NewInt(1)) == 0:
		return "1 packet"
	case n.BitLen() <= 40:
		return n.String() + " packets"
	}
	return fmt.Sprintf("%.3g packets", new(big.Float).SetInt(n))
}

// side reads one of the rulesets.
func (g *global) side(ctx context.Context, arg string, f compareFlags, q *compare.Question) (compare.Side, error) {
	kind, file, err := sideKind(arg)
	if err != nil {
		return compare.Side{}, err
	}
	s := compare.Side{Name: kind + ":" + file, V4: true, V6: true}
	switch kind {
	case "policy":
		rs, err := g.meaning(file, f.host)
		if err != nil {
			return s, err
		}
		s.Filter = rs.AtHook
		if f.hook == "all" && rs.Published == rules.PublishedEnforce {
			q.Hooks = []packet.Hook{packet.Prerouting, packet.Input, packet.Output, packet.Forward}
		}
	case "live":
		err = g.liveSide(ctx, &s, q)
	case "nft":
		err = g.nftSide(ctx, &s, file)
	case "pf":
		err = g.pfSide(&s, q, file, f)
	default:
		err = g.iptablesSide(&s, kind, file, f.ipset)
	}
	return s, err
}

// sideKinds are the prefixes of rulesets.
var sideKinds = []string{"policy", "nft", "iptables", "ip6tables", "pf", "live"}

// sideKind splits PREFIX:FILE, or finds out what kind of ruleset a file holds.
func sideKind(arg string) (kind, file string, err error) {
	for _, k := range sideKinds {
		if rest, ok := strings.CutPrefix(arg, k+":"); ok {
			if k == "live" && rest != "" {
				return "", "", usage(`"live:" takes no file`, "")
			}
			return k, rest, nil
		}
	}
	if strings.HasSuffix(arg, ".toml") {
		return "policy", arg, nil
	}
	text, err := os.ReadFile(arg)
	if err != nil {
		return "", "", fmt.Errorf("read ruleset: %w", err)
	}
	if kind = guess(string(text)); kind == "" {
		return "", "", usage(fmt.Sprintf("%s does not tell what kind of ruleset it is", arg), "put policy:, nft:, iptables:, ip6tables: or pf: in front of it")
	}
	return kind, arg, nil
}

// guess tells the kind of a ruleset by its first line that is no comment.
func guess(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		word, _, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "#!") && strings.Contains(line, "nft"):
			return "nft"
		case strings.HasPrefix(line, "# Generated by ip6tables"):
			return "ip6tables"
		case line == "" || line[0] == '#':
		case line[0] == '*':
			return iptablesFamily(text)
		case line[0] == '[' || strings.Contains(line, "=") && (strings.HasPrefix(line, "version") || strings.HasPrefix(line, "include")):
			return "policy"
		case macro.MatchString(line):
			return "pf"
		case word == "table" && strings.HasPrefix(strings.TrimSpace(line[len(word):]), "<"), pfWord(word):
			return "pf"
		case word == "table" || word == "flush" || word == "add" || word == "define" || word == "include" || word == "create" || word == "destroy" || word == "delete":
			return "nft"
		default:
			return ""
		}
	}
	return ""
}

// macro is the definition of one in pf.conf.
var macro = regexp.MustCompile(`^\w+\s*=`)

// pfWord reports whether a statement of pf.conf begins with the word.
func pfWord(word string) bool {
	switch word {
	case "pass", "block", "match", "set", "scrub", "anchor", "antispoof", "nat", "rdr", "no", "nat-anchor", "rdr-anchor", "scrub-anchor":
		return true
	}
	return false
}

// iptablesFamily tells IPv6 by what only it has.
func iptablesFamily(text string) string {
	for _, mark := range []string{"icmp6", "icmpv6", "ipv6-icmp", "::", "/128 "} {
		if strings.Contains(text, mark) {
			return "ip6tables"
		}
	}
	return "iptables"
}
