package gen

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// NFTOptions say of which hooks a generated ruleset has chains.
type NFTOptions struct {
	// Way adds chains at prerouting, of which some translate destinations, and
	// leaves out output: for packets that are followed through the host.
	Way bool
}

// NFT writes a random ruleset for nft -f that uses what the reader of nf_tables
// understands, over the universe of [Host]. Rates are so high that no test spends
// them. Some texts use what nft does not take in one place or another; a line
// that nft refuses may be left out.
func NFT(r *rand.Rand, o NFTOptions) string {
	g := &nftGen{r: r, way: o.Way}
	families := []string{"inet", "inet", "ip", "ip6"}
	for i := range 1 + r.IntN(3) {
		g.table(pick(r, families), fmt.Sprintf("t%d", i))
	}
	return g.b.String()
}

// nftGen writes one ruleset.
type nftGen struct {
	r      *rand.Rand
	b      strings.Builder
	way    bool
	family string
	hook   string // of the base chain that is being written, or "" in another
	only   string // the family that a rule is about, "" for both
	proto  string // the protocol whose header a rule looks into
	chains []string
}

func (g *nftGen) chance(percent int) bool { return g.r.IntN(100) < percent }

func (g *nftGen) one(from ...string) string { return pick(g.r, from) }

func (g *nftGen) line(format string, args ...any) { fmt.Fprintf(&g.b, format+"\n", args...) }

func (g *nftGen) has4() bool { return g.family != "ip6" && g.only != "ip6" }
func (g *nftGen) has6() bool { return g.family != "ip" && g.only != "ip" }

// The constants of the rulesets; packets are drawn at their edges.
var (
	nft4     = []string{"10.0.0.0/8", "10.20.0.0/16", "198.51.100.0/24", "198.51.100.7", "198.51.100.8/29", "198.51.100.200-198.51.100.220", "203.0.113.9", "203.0.113.128/25", "192.0.2.10", "192.0.2.0/24", "0.0.0.0/1", "172.17.0.2", "224.0.0.0/4"}
	nft6     = []string{"2001:db8:1::/48", "2001:db8:1::7", "2001:db8:1::10-2001:db8:1::1f", "2001:db8:2::/64", "2001:db8::10", "fe80::/10", "fd00::/8", "2000::/3", "ff00::/8", "fd00:20::5"}
	nftPorts = []string{"22", "53", "80", "443", "1-1023", "1000-1010", "1005-2000", "8000-8010", "8080", "33000-65535", "0-21", "65535"}
	nftNames = []string{"eth0", "eth1", "wg0", "wg1", "docker0", "lo", "eth7", "eth*", "wg*", "docker*", "e*"}
)

// some returns up to n different words of a list.
func (g *nftGen) some(list []string, n int) []string {
	var out []string
	for _, i := range g.r.Perm(len(list))[:1+g.r.IntN(n)] {
		out = append(out, list[i])
	}
	return out
}

// points are words of a list that are single values: sets without ranges take
// no others.
func points(list []string) []string {
	var out []string
	for _, w := range list {
		if !strings.ContainsAny(w, "/-*") {
			out = append(out, w)
		}
	}
	return out
}

// disjoint are words of a list of which no two have a value in common.
var (
	disjoint4     = []string{"10.20.0.0/16", "198.51.100.0/26", "198.51.100.200-198.51.100.220", "203.0.113.9", "203.0.113.128/25", "192.0.2.10", "172.17.0.2", "224.0.0.0/4"}
	disjoint6     = []string{"2001:db8:1::/48", "2001:db8:2::/64", "2001:db8::10", "fe80::/10", "fd00:20::/64", "ff00::/8"}
	disjointPorts = []string{"22", "53", "80", "443", "1000-1010", "1011-2000", "8000-8010", "33000-65535", "0-21"}
	disjointNames = []string{"eth0", "eth1", "wg*", "docker0", "lo"}
)

func braces(words []string) string { return "{ " + strings.Join(words, ", ") + " }" }

func (g *nftGen) table(family, name string) {
	g.family, g.only = family, ""
	g.line("table %s %s {", family, name)
	g.sets()
	g.chains = nil
	for i := 3; i >= 0; i-- { // a chain calls only those written before
		c := fmt.Sprintf("c%d", i)
		g.hook = ""
		g.line("\tchain %s {", c)
		g.rules(1 + g.r.IntN(4))
		g.line("\t}")
		g.chains = append(g.chains, c)
	}
	for i, c := range g.baseChains() {
		g.line("\tchain b%d {", i)
		g.line("\t\ttype %s hook %s priority %d; policy %s;", c.kind, c.hook, c.priority, g.policy(c))
		g.hook = c.hook
		if c.kind == "nat" {
			g.natRules()
		} else {
			g.base(c)
		}
		g.line("\t}")
	}
	g.line("}")
}

type nftBase struct {
	kind, hook string
	priority   int
}

func (g *nftGen) baseChains() []nftBase {
	var out []nftBase
	hooks := []string{"input", "forward", "output"}
	if g.way {
		hooks = []string{"prerouting", "prerouting", "input", "forward"}
	}
	for _, h := range hooks {
		for range 1 + g.r.IntN(2) {
			c := nftBase{"filter", h, pick(g.r, []int{-10, 0, 0, 5, 50})}
			switch {
			case h == "prerouting" && g.chance(30):
				c.kind, c.priority = "nat", pick(g.r, []int{-100, -100, -90})
			case h == "prerouting":
				c.priority = pick(g.r, []int{-310, -300, -190, -150, -105, -50})
			case h == "output" && g.chance(20):
				c.priority = -300
			}
			out = append(out, c)
		}
	}
	return out
}

func (g *nftGen) policy(c nftBase) string {
	if c.hook == "prerouting" && g.chance(80) {
		return "accept"
	}
	return g.one("accept", "accept", "drop")
}

func (g *nftGen) base(c nftBase) {
	if c.priority < -200 && g.chance(60) {
		g.line("\t\t%s notrack", g.match())
	}
	g.rules(2 + g.r.IntN(6))
}

func (g *nftGen) rules(n int) {
	for range n {
		g.line("\t\t%s", g.rule())
	}
}

func (g *nftGen) rule() string {
	g.about()
	var words []string
	for n := g.r.IntN(3); n >= 0; n-- {
		words = append(words, g.match())
		if g.chance(12) {
			words = append(words, g.statement())
		}
	}
	if g.chance(12) {
		return strings.Join(append(words, g.verdictMap()), " ")
	}
	if g.chance(15) {
		words = append(words, g.statement())
	}
	return strings.Join(append(words, g.verdict()), " ")
}

// about chooses what a rule looks at: nft refuses two families or protocols in
// one.
func (g *nftGen) about() {
	g.only = g.one("ip", "ip6")
	if g.family != "inet" {
		g.only = g.family
	}
	g.proto = g.one("tcp", "tcp", "tcp", "udp", "sctp", "dccp", "udplite", "th", "icmp", "icmp")
}

func (g *nftGen) verdict() string {
	switch n := g.r.IntN(20); {
	case n < 4 && len(g.chains) > 0:
		return g.one("jump ", "jump ", "goto ") + g.one(g.chains...)
	case n < 6:
		return "return"
	case n < 7:
		return g.one("", "counter")
	case n < 13:
		return "accept"
	case n < 15 && g.hook != "prerouting":
		return g.reject()
	case g.hook == "prerouting" && g.chance(70):
		return "accept" // so that something is left for what follows
	}
	return "drop"
}

// mapVerdict is one that may stand in a map.
func (g *nftGen) mapVerdict() string {
	if len(g.chains) > 0 && g.chance(30) {
		return g.one("jump ", "goto ") + g.one(g.chains...)
	}
	return g.one("accept", "drop", "drop", "continue", "return")
}

func (g *nftGen) reject() string {
	if g.hook == "" {
		return "drop" // a chain may be called from a hook that cannot refuse
	}
	switch g.family {
	case "ip":
		return g.one("reject", "reject with icmp type admin-prohibited")
	case "ip6":
		return g.one("reject", "reject with icmpv6 type admin-prohibited")
	}
	return g.one("reject", "reject with icmpx type admin-prohibited", "meta l4proto tcp reject with tcp reset")
}

func (g *nftGen) natRules() {
	for range 1 + g.r.IntN(4) {
		g.about()
		match := g.match()
		port := g.one("22", "80", "8080", "1005")
		switch n := g.r.IntN(8); {
		case n < 2:
			g.line("\t\t%s meta l4proto { tcp, udp } redirect to :%s", match, port)
		case n < 5 && g.has4():
			g.line("\t\tmeta nfproto ipv4 meta l4proto { tcp, udp } %s dnat %s%s:%s", match, g.dnatTo("ip"), g.one("172.17.0.2", "198.51.100.7", "10.20.0.5", "192.0.2.10"), port)
		case n < 6 && g.has4():
			g.line("\t\tmeta nfproto ipv4 %s dnat %s%s", match, g.dnatTo("ip"), g.one("172.17.0.2", "192.0.2.11"))
		case n < 7 && g.has4():
			g.line("\t\tmeta nfproto ipv4 %s dnat %stcp dport map { 22 : 172.17.0.2, 80 : 192.0.2.11, 8000-8010 : 198.51.100.7 }", match, g.dnatTo("ip"))
		case g.has6():
			g.line("\t\tmeta nfproto ipv6 meta l4proto { tcp, udp } %s dnat %s[%s]:%s", match, g.dnatTo("ip6"), g.one("2001:db8:2::5", "fd00:20::5"), port)
		default:
			g.line("\t\t%s accept", match)
		}
	}
}

func (g *nftGen) dnatTo(family string) string {
	if g.family == "inet" {
		return family + " to "
	}
	return "to "
}

// statement changes something, or counts.
func (g *nftGen) statement() string {
	mark := g.one("0", "1", "2", "3", "0x10", "0xff")
	all := []string{
		"counter", "log prefix \"test \" group 9", "meta mark set " + mark, "meta mark set " + mark, "ct mark set " + mark,
		"meta mark set ct mark", "ct mark set meta mark", "meta mark set meta mark or 0x4", "meta mark set meta mark and 0x3",
		"meta mark set meta mark xor 0x1", "meta priority set 1:2",
		"limit rate 1000000/second", "limit rate over 1000000/second", "quota until 1000000 mbytes", "notrack",
		"limit name \"lim\"", "counter name \"cnt\"", "quota name \"quo\"", "meta nftrace set 0", "ct mark set ct mark or 0x8",
	}
	if !g.way { // routing refuses what is not for this host
		all = append(all, "meta pkttype set broadcast")
		if g.has4() {
			all = append(all, "ip daddr set ip saddr and 255.255.255.254", "ip saddr set 198.51.100.7")
		}
	}
	if g.has4() {
		all = append(all, "ip ttl set 64", "update @dyn4 { ip saddr }", "add @dyn4 { ip daddr limit rate 1000000/second }",
			"meta mark set ip saddr and 0xff")
	}
	if g.has6() {
		all = append(all, "ip6 hoplimit set 64")
	}
	switch g.proto {
	case "tcp", "udp", "th":
		all = append(all, "meta mark set "+g.proto+" dport map { 22 : 1, 80 : 2, 1000-1010 : 3 }")
	}
	if !g.way && (g.proto == "tcp" || g.proto == "udp") { // what tracking has not seen yet would be another flow
		all = append(all, g.proto+" dport set 80", g.proto+" sport set 53")
	}
	return g.one(all...)
}

// verdictMap is a match that decides by itself.
func (g *nftGen) verdictMap() string {
	v := g.mapVerdict
	all := []string{
		fmt.Sprintf("meta l4proto . th dport vmap { tcp . 22 : %s, udp . 53 : %s, tcp . 80 : %s, sctp . 22 : %s }", v(), v(), v(), v()),
		fmt.Sprintf("ct state vmap { new : %s, established : %s, related : %s, untracked : %s }", v(), v(), v(), v()),
		fmt.Sprintf("meta mark vmap { 0 : %s, 1-3 : %s, 0x10 : %s }", v(), v(), v()),
		fmt.Sprintf("iifname vmap { eth0 : %s, eth1 : %s, \"wg*\" : %s }", v(), v(), v()),
		fmt.Sprintf("meta l4proto vmap { tcp : %s, udp : %s, icmp : %s }", v(), v(), v()),
		fmt.Sprintf("fib daddr type vmap { local : %s, multicast : %s, unicast : %s }", v(), v(), v()),
		"meta mark vmap @vmarks",
	}
	if g.proto != "icmp" {
		all = append(all, g.proto+" dport vmap @vports", fmt.Sprintf("%s dport vmap { 22 : %s, 80-90 : %s, 1000-1010 : %s }", g.proto, v(), v(), v()))
	}
	if g.proto == "tcp" {
		all = append(all, fmt.Sprintf("iifname . tcp dport vmap { eth0 . 22 : %s, wg0 . 80 : %s, eth1 . 443 : %s }", v(), v(), v()),
			fmt.Sprintf("tcp flags vmap { syn : %s, ack : %s, syn | ack : %s }", v(), v(), v()))
	}
	if g.has4() {
		all = append(all, fmt.Sprintf("ip saddr vmap { 10.0.0.0/8 : %s, 198.51.100.7 : %s, 203.0.113.0/24 : %s }", v(), v(), v()), "ip daddr vmap @v4")
		if g.proto == "tcp" {
			all = append(all, "ip saddr . tcp dport vmap @vcc4")
		}
	}
	return g.one(all...)
}
