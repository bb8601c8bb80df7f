package gen

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// sets declares the named sets and maps that rules of the table use.
func (g *nftGen) sets() {
	v := func() string { return g.one("accept", "drop", "continue", "return") }
	set := func(name, what string) { g.line("\tset %s { %s }", name, what) }
	elements := func(words []string) string { return "elements = " + braces(words) }
	set("ports", "type inet_service; flags interval; "+elements(g.some(disjointPorts, 5)))
	set("merged", "type inet_service; flags interval; auto-merge; "+elements(g.some(nftPorts, 6)))
	set("points", "type inet_service; "+elements(g.some(points(nftPorts), 4)))
	set("names", "type ifname; "+elements(g.some(points(nftNames), 4)))
	set("wild", "type ifname; flags interval; "+elements(g.some(disjointNames, 4)))
	set("marks", "type mark; flags interval; elements = { 1-3, 0x10, 0x80-0xff }")
	set("services", "type inet_proto . inet_service; elements = { tcp . 22, tcp . 80, udp . 53, sctp . 80, 47 . 0 }")
	set("ranged", "type inet_proto . inet_service; flags interval; elements = { tcp . 1-1023, udp . 33000-65535, dccp . 80 }")
	set("ifports", "type ifname . inet_service; elements = { eth0 . 22, eth1 . 80, wg0 . 443 }")
	set("stars", "type inet_service; elements = { 22, * }")
	g.line("\tmap vports { type inet_service : verdict; flags interval; elements = { 22 : %s, 80-443 : %s, 1000-2000 : %s } }", v(), v(), v())
	g.line("\tmap vmarks { type mark : verdict; elements = { 0 : %s, 1 : %s, * : %s } }", v(), v(), v())
	g.line("\tlimit lim { rate 1000000/second; }")
	g.line("\tcounter cnt { }")
	g.line("\tquota quo { over 1000000 mbytes }")
	if g.has4() {
		set("a4", "type ipv4_addr; flags interval; "+elements(g.some(disjoint4, 5)))
		set("p4", "type ipv4_addr; "+elements(g.some(points(nft4), 4)))
		set("cc4", "type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 22, 198.51.100.0/24 . 1-1023, 203.0.113.9-203.0.113.20 . 8080, 0.0.0.0/0 . 443 }")
		set("pairs", "type ipv4_addr . ipv4_addr; elements = { 198.51.100.7 . 192.0.2.10, 203.0.113.9 . 198.51.100.7 }")
		set("dyn4", "type ipv4_addr; flags dynamic,timeout; size 1000000; timeout 1h;")
		g.line("\tmap v4 { type ipv4_addr : verdict; flags interval; elements = { 192.0.2.10 : %s, 198.51.100.0/24 : %s, * : %s } }", v(), v(), v())
		g.line("\tmap vcc4 { type ipv4_addr . inet_service : verdict; flags interval; elements = { 10.0.0.0/8 . 22 : %s, 198.51.100.0/24 . 80-443 : %s } }", v(), v())
	}
	if g.has6() {
		set("a6", "type ipv6_addr; flags interval; "+elements(g.some(disjoint6, 4)))
		set("cc6", "type ipv6_addr . inet_service; flags interval; elements = { 2001:db8:1::/48 . 22, fe80::/10 . 1-1023 }")
		set("p6", "type ipv6_addr . inet_proto; elements = { 2001:db8:1::7 . tcp, 2001:db8::10 . udp }")
	}
}

// not is "!=" now and then.
func (g *nftGen) not() string { return g.one("", "", "", "!= ") }

// order is an operator before a number.
func (g *nftGen) order() string { return g.one("", "", "!= ", "< ", ">= ", "> ", "<= ") }

// values are right-hand sides out of a list: one word, or an anonymous set, or
// one of the named sets.
func (g *nftGen) values(list, disjoint []string, named ...string) string {
	switch n := g.r.IntN(10); {
	case n < 5 || len(disjoint) == 0:
		return g.one(list...)
	case n < 8 || len(named) == 0:
		return braces(g.some(disjoint, 4))
	}
	return g.one(named...)
}

// match is one test that the table's family allows.
func (g *nftGen) match() string {
	kinds := []func() string{g.header, g.header, g.header, g.track, g.track, g.mark, g.links, g.links, g.meta, g.kind}
	if g.has4() {
		kinds = append(kinds, g.ip4, g.ip4, g.header4)
	}
	if g.has6() {
		kinds = append(kinds, g.ip6, g.ip6)
	}
	return pick(g.r, kinds)()
}

// header is a test of the transport header that the rule looks into.
func (g *nftGen) header() string {
	switch {
	case g.proto == "icmp":
		return g.icmp()
	case g.proto == "tcp" && g.chance(30):
		return g.flags()
	}
	return g.ports()
}

func (g *nftGen) ip4() string {
	end := g.one("saddr", "saddr", "daddr")
	switch g.r.IntN(10) {
	case 0:
		return fmt.Sprintf("ip %s & 255.255.0.255 %s 198.51.0.7", end, g.one("==", "!="))
	case 1:
		return fmt.Sprintf("ip %s . %s dport %s@cc4", end, g.withPorts(), g.not())
	case 2:
		return fmt.Sprintf("ip %s . th dport { 198.51.100.7 . 22, 10.0.0.0/8 . 1-1023, 192.0.2.10 . 80 }", end)
	case 3:
		return g.one("ip saddr . ip daddr @pairs", "ip saddr 198.51.100.7 ip daddr 192.0.2.10", "ip saddr . meta l4proto . th dport { 198.51.100.7 . tcp . 22, 203.0.113.9 . udp . 53 }")
	case 4:
		return fmt.Sprintf("ip %s %s%s", end, g.one("< ", ">= ", "> "), g.one(points(nft4)...))
	}
	return fmt.Sprintf("ip %s %s%s", end, g.not(), g.values(nft4, disjoint4, "@a4", "@p4"))
}

func (g *nftGen) header4() string {
	return g.one(
		"ip protocol "+g.not()+g.one("tcp", "udp", "icmp", "{ tcp, 112, gre }"),
		"ip dscp "+g.not()+g.one("af11", "cs1", "{ af11, cs2 }", "10-20"), "ip dscp < 11", "ip ttl "+g.order()+"254", "ip ttl "+g.order()+"255",
		"ip length "+g.order()+g.one("32", "40", "48", "60"), "ip length 32-44", "ip frag-off & 0x1fff != 0", "ip frag-off & 0x1fff 0", "ip version 4", "ip hdrlength 5",
		"@nh,96,32 0xc6336407", "@nh,96,24 0xc63364", "@nh,72,8 6",
	)
}

func (g *nftGen) ip6() string {
	end := g.one("saddr", "saddr", "daddr")
	switch g.r.IntN(10) {
	case 0:
		return fmt.Sprintf("ip6 %s & ffff:ffff::ffff %s 2001:db8::7", end, g.one("==", "!="))
	case 1:
		return fmt.Sprintf("ip6 %s . %s dport %s@cc6", end, g.withPorts(), g.not())
	case 2:
		return "ip6 saddr . meta l4proto @p6"
	case 3:
		return g.one("ip6 nexthdr "+g.not()+g.one("tcp", "udp", "{ 58, 6 }"), "ip6 hoplimit "+g.order()+"254", "ip6 dscp "+g.not()+g.one("af11", "cs3"), "ip6 version 6")
	case 4:
		return fmt.Sprintf("ip6 %s %s%s", end, g.one("< ", ">= "), g.one(points(nft6)...))
	}
	return fmt.Sprintf("ip6 %s %s%s", end, g.not(), g.values(nft6, disjoint6, "@a6"))
}

// withPorts is the protocol whose ports a rule may ask for.
func (g *nftGen) withPorts() string {
	if g.proto == "icmp" {
		return "th"
	}
	return g.proto
}

func (g *nftGen) ports() string {
	proto := g.withPorts()
	if proto == "th" && g.chance(60) {
		proto = "meta l4proto { tcp, udp } th"
	}
	end := g.one("dport", "dport", "dport", "sport")
	switch g.r.IntN(12) {
	case 0:
		return fmt.Sprintf("%s %s & 0xfff8 %s 8000", proto, end, g.one("==", "!="))
	case 1:
		return "meta l4proto . th dport " + g.not() + g.one("@services", "@ranged")
	case 2:
		return fmt.Sprintf("%s %s %s%s", proto, end, g.one("< ", ">= ", "> ", "<= "), g.one(points(nftPorts)...))
	case 3:
		return "iifname . " + g.withPorts() + " dport " + g.not() + "@ifports"
	case 4:
		return fmt.Sprintf("%s sport . %s dport { 53 . 22, 22 . 80, %s . 443 }", g.withPorts(), g.withPorts(), g.one("1000", "22"))
	case 5:
		return fmt.Sprintf("%s sport 53 %s dport 22", proto, strings.TrimPrefix(proto, "meta l4proto { tcp, udp } "))
	}
	return fmt.Sprintf("%s %s %s%s", proto, end, g.not(), g.values(nftPorts, disjointPorts, "@ports", "@merged", "@points", "@stars"))
}

func (g *nftGen) flags() string {
	return g.one(
		"tcp flags syn", "tcp flags ack", "tcp flags syn,ack", "tcp flags != syn", "tcp flags == syn", "tcp flags { syn, ack }", "tcp flags { syn, syn | ack }",
		"tcp flags & (fin|syn|rst|ack) == syn", "tcp flags & (syn|ack) != syn", "tcp flags & (fin|syn) == (fin|syn)", "tcp flags syn / fin,syn,rst,ack",
		"tcp flags != { syn, fin | ack }", "tcp flags & (fin|syn|rst|psh|ack|urg) == 0x0", "tcp flags < 4", "tcp flags ! syn,rst",
	)
}

func (g *nftGen) icmp() string {
	all := []string{}
	if g.has4() {
		all = append(all, "icmp type "+g.not()+g.one("echo-request", "echo-reply", "{ echo-request, destination-unreachable }", "time-exceeded"), "icmp code "+g.not()+g.one("0", "3", "1-5"), "icmp type echo-request icmp code 0")
	}
	if g.has6() {
		all = append(all, "icmpv6 type "+g.not()+g.one("echo-request", "nd-neighbor-solicit", "{ echo-request, nd-router-advert, 143 }", "packet-too-big", "{ 128-136 }"), "icmpv6 code "+g.not()+"0")
	}
	return g.one(all...)
}

func (g *nftGen) track() string {
	all := []string{
		"ct state new", "ct state established,related", "ct state invalid", "ct state untracked", "ct state != new", "ct state != established,related",
		"ct state { new, untracked }", "ct state != { new, invalid }", "ct state new,untracked", "ct state & (new | untracked) != 0", "ct status seen-reply", "ct status != seen-reply",
		"ct status & assured == 0", "ct status { assured, seen-reply }", "ct status dnat", "ct status & dnat == 0", "ct mark 0", "ct mark != 0", "ct mark & 0x3 == 1", "ct mark { 1, 8-9 }", "ct mark < 4",
		"ct protocol tcp", "ct protocol != { tcp, udp }", "ct state . meta l4proto { new . tcp, established . udp }",
		"meta l4proto tcp ct original proto-dst " + g.not() + g.one(points(nftPorts)...), "meta l4proto { tcp, udp } ct original proto-dst 22",
	}
	if g.has4() {
		all = append(all, "ct original ip daddr "+g.one("192.0.2.0/24", "198.51.100.7"))
	}
	if g.has6() {
		all = append(all, "ct original ip6 daddr "+g.one("2001:db8::/64", "2001:db8:1::7"))
	}
	return g.one(all...)
}

func (g *nftGen) mark() string {
	return "meta mark " + g.one("0", "1", "2", "!= 0", "!= 1", "& 0x3 == 1", "& 0x4 != 0", "{ 1, 3, 0x10 }", "1-3", "!= 1-3", "< 3", ">= 2", "@marks", "!= @marks", "& 0xff { 1, 3 }", "and 0x2 == 0x2")
}

func (g *nftGen) links() string {
	if g.chance(25) {
		way := g.one("iif", "oif")
		return way + " " + g.not() + g.one("lo", "eth0", "{ eth0, wg0 }", "{ lo, eth1, docker0 }")
	}
	way := g.one("iifname", "iifname", "oifname")
	switch g.r.IntN(8) {
	case 0:
		return way + " " + g.not() + g.one("@names", "@wild")
	case 1:
		return way + " " + g.not() + braces(g.some(disjointNames, 3))
	case 2:
		return g.one("iifname . oifname { eth0 . wg0, wg0 . eth0, eth1 . eth0 }", "iifname . meta mark { eth0 . 0, eth1 . 1 }", "iif . oif { eth0 . eth1, wg0 . eth0 }")
	case 3:
		return g.one("iiftype "+g.not()+g.one("ether", "loopback"), "iifgroup "+g.not()+"0", "oiftype "+g.not()+"ether", "oifgroup 0", "iifgroup != 0")
	}
	return way + " " + g.not() + `"` + g.one(nftNames...) + `"`
}

func (g *nftGen) meta() string {
	all := []string{
		"meta l4proto " + g.not() + g.one("tcp", "udp", "icmp", "icmpv6", "gre", "{ tcp, udp, sctp }", "100-255", "vrrp"),
		"meta pkttype " + g.not() + g.one("host", "broadcast", "{ host, multicast }"), "meta length " + g.order() + g.one("32", "40", "48", "60", "72"), "meta length 32-60",
		"ether saddr " + g.not() + g.one("02:00:00:00:00:00", "02:00:01:00:00:00", "{ 02:00:00:00:00:00, 02:01:00:00:00:00 }"), "ether type " + g.one("ip", "ip6"),
		"meta protocol " + g.one("ip", "ip6"), "meta skuid " + g.not() + "0", "meta skgid " + g.one("0", "5", "0-10"), "meta skuid < 1000",
		"meta time >= \"2020-01-01 00:00:00\"", "meta time < \"2020-01-01 00:00:00\"", "meta time \"2020-01-01 00:00:00\"-\"2099-01-01 00:00:00\"",
	}
	if g.family == "inet" {
		all = append(all, "meta nfproto "+g.not()+g.one("ipv4", "ipv6"))
	}
	return g.one(all...)
}

func (g *nftGen) kind() string {
	end := g.one("saddr", "daddr", "daddr")
	return "fib " + g.one(end, end, end, end+" . iif") + " type " + g.not() + g.one("local", "local", "broadcast", "multicast", "unicast", "{ local, broadcast, multicast }", "{ unicast, multicast }")
}

// NFTPackets picks n packets for rulesets of [NFT]: of the hooks input, output
// and forward, or with Way of prerouting; none by loopback, which pass two hooks.
func NFTPackets(r *rand.Rand, n int, o NFTOptions) []packet.Packet {
	pk := newPicker(&rules.Ruleset{Host: Host()}, r)
	out := make([]packet.Packet, 0, n)
	for len(out) < n {
		hook := pick(r, []packet.Hook{packet.Input, packet.Output, packet.Forward})
		if o.Way {
			hook = pick(r, []packet.Hook{packet.Input, packet.Input, packet.Forward})
		}
		p := pk.random(hook)
		pk.nearNFT(&p)
		pk.headers(&p)
		if p.Proto.IsICMP() {
			p.Code = pick(r, []uint8{0, 0, 0, 1, 3, 5, 6})
		}
		local := p.Src.IsUnspecified() || p.Src.IsLinkLocalUnicast() // what routing does not send on
		if p.In == "lo" || !Deliverable(p, pk.rs.Host) || o.Way && local {
			continue
		}
		p = pk.inState(p)
		if p.State == packet.Untracked && (o.Way || p.Hook == packet.Output) {
			continue // chains before tracking do not know that yet
		}
		if o.Way {
			p = pk.arriving(p)
		}
		out = append(out, p)
	}
	return out
}

// arriving makes a packet one of prerouting, with a way out.
func (pk *picker) arriving(p packet.Packet) packet.Packet {
	p.Hook = packet.Prerouting
	if p.State == packet.Related && p.Proto == packet.ICMP && p.Type == 5 {
		p.Type = 3 // where addresses are translated, the kernel drops redirects
	}
	for p.Out == "" || p.Out == "lo" {
		p.Out = pick(pk.r, pk.names)
	}
	return p
}

// nearNFT gives the packet values at the edges of what the rulesets name.
func (pk *picker) nearNFT(p *packet.Packet) {
	list := nft4
	if p.Is6() {
		list = nft6
	}
	if pk.chance(60) {
		p.Src = pk.wordEdge(pick(pk.r, list))
	}
	if pk.chance(60) && p.Hook != packet.Input {
		p.Dst = pk.wordEdge(pick(pk.r, list))
	}
	p.DstPort, p.SrcPort = pk.wordPort(pick(pk.r, nftPorts)), pk.wordPort(pick(pk.r, nftPorts))
	if pk.chance(50) {
		p.Proto = packet.TCP
	}
}

func (pk *picker) wordEdge(word string) netip.Addr {
	if p, err := netip.ParsePrefix(word); err == nil {
		return pk.edge(netipx.RangeOfPrefix(p))
	}
	if r, err := netipx.ParseIPRange(word); err == nil {
		return pk.edge(r)
	}
	return netip.MustParseAddr(word)
}

func (pk *picker) wordPort(word string) uint16 {
	if pk.chance(10) {
		return uint16(pk.r.IntN(1 << 16))
	}
	lo, hi, ok := strings.Cut(word, "-")
	if !ok {
		hi = lo
	}
	from, _ := strconv.Atoi(lo) // a word of this file
	to, _ := strconv.Atoi(hi)
	return pk.portEdge(packet.Ports{{Lo: uint16(from), Hi: uint16(to)}})
}
