package iptables_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// draw writes random rulesets of one family for one hook, from a universe so
// small that packets meet rules.
type draw struct {
	*rand.Rand
	is6   bool
	hook  packet.Hook
	table string
	sets  []drawnSet
	small bool         // a single rule with a single match
	proto packet.Proto // of that match; 0: any
	asked []askedSet   // sets that a rule asks for
}

type drawnSet struct {
	name     string
	dims     int
	elements []string
}

type askedSet struct {
	drawnSet
	sides []string
}

func (d *draw) one(words ...string) string { return words[d.IntN(len(words))] }

func (d *draw) chance(percent int) bool { return d.IntN(100) < percent }

func (d *draw) not(percent int) string {
	if d.chance(percent) {
		return "! "
	}
	return ""
}

var (
	addrs4 = []string{"192.0.2.10", "192.0.2.11", "10.20.0.5", "10.9.0.1", "198.51.100.1", "198.51.100.7", "198.51.100.130", "203.0.113.9", "203.0.113.200", "224.0.0.251", "192.0.2.255"}
	addrs6 = []string{"2001:db8::10", "fd00:20::5", "fd00:9::1", "2001:db8:1::7", "2001:db8:1::8", "2001:db8:1:f::1", "2001:db8:2::5", "fd00:77::1", "ff02::fb"}
	nets4  = []string{"198.51.100.0/24", "198.51.100.0/25", "203.0.113.0/24", "10.0.0.0/8", "192.0.2.0/24", "0.0.0.0/1", "198.51.100.6/31", "224.0.0.0/4", "198.51.0.7/255.255.0.255", "0.0.0.1/0.0.0.1"}
	nets6  = []string{"2001:db8:1::/48", "2001:db8:1::/64", "2001:db8:2::/64", "fd00::/8", "2001:db8::/32", "8000::/1", "ff00::/8", "::7/::ff", "2001:db8::/127"}
	cards  = []string{"eth0", "eth1", "wg0", "docker0"}
)

func (d *draw) addr() string {
	if d.is6 {
		return d.one(addrs6...)
	}
	return d.one(addrs4...)
}

func (d *draw) net() string {
	switch {
	case d.chance(40):
		return d.addr()
	case d.is6:
		return d.one(nets6...)
	}
	return d.one(nets4...)
}

func (d *draw) plainNet() string {
	for {
		if n := d.net(); !strings.Contains(n, "255") && !strings.Contains(n, "/0.") && !strings.Contains(n, "/::") {
			return n
		}
	}
}

func (d *draw) port() int { return []int{22, 53, 80, 443, 1000, 1010, 33434, 40000}[d.IntN(8)] }

func (d *draw) ports() string {
	a, b := d.port(), d.port()
	switch d.IntN(5) {
	case 0:
		if a == b {
			break // not in a list
		}
		return fmt.Sprintf("%d:%d", min(a, b), max(a, b))
	case 1:
		return fmt.Sprintf(":%d", a)
	case 2:
		return fmt.Sprintf("%d:", a)
	}
	return fmt.Sprint(a)
}

func (d *draw) mark() string {
	if d.chance(50) {
		return fmt.Sprintf("0x%x", d.IntN(4))
	}
	return fmt.Sprintf("0x%x/0x%x", d.IntN(8), d.IntN(8))
}

var entering = map[packet.Hook]bool{packet.Input: true, packet.Forward: true}

// rule writes one rule behind "-A CHAIN ".
func (d *draw) rule(targets []string) string {
	var b strings.Builder
	proto := d.one("", "", "tcp", "tcp", "udp", "udp", "icmp", "sctp", "dccp", "udplite", "47", "any")
	if proto == "icmp" && d.is6 {
		proto = "icmpv6"
	}
	switch proto {
	case "":
	case "any":
		b.WriteString("! -p " + d.one("tcp", "udp", "47", "icmp") + " ")
	default:
		b.WriteString("-p " + proto + " ")
		if d.chance(70) {
			b.WriteString(d.header(proto))
		}
	}
	if d.chance(35) {
		b.WriteString(d.not(30) + "-s " + d.net() + " ")
	}
	if d.chance(25) {
		b.WriteString(d.not(30) + "-d " + d.net() + " ")
	}
	if d.chance(20) && entering[d.hook] {
		d.entering(&b)
	}
	if d.chance(20) && d.hook != packet.Input {
		b.WriteString(d.not(30) + "-o " + d.one(append(cards, "eth+", "e+", "lo")...) + " ")
	}
	for d.chance(50) {
		m := d.match()
		if strings.Contains(m, "mark --mark") && strings.Contains(b.String(), "mark --mark") {
			continue // iptables 1.8.9 gives the second option to the wrong one of mark and connmark
		}
		b.WriteString(m)
	}
	return b.String() + d.one(targets...)
}

// entering writes a condition on the interface. Anything but every interface is
// none, which iptables-legacy-save does not print.
func (d *draw) entering(b *strings.Builder) {
	if name := d.one(append(cards, "eth+", "e+", "+", "wg+")...); name == "+" {
		b.WriteString("-i + ")
	} else {
		b.WriteString(d.not(30) + "-i " + name + " ")
	}
}

// header writes a match of the protocol's header.
func (d *draw) header(proto string) string {
	hasPorts := proto != "icmp" && proto != "icmpv6" && proto != "47"
	switch {
	case proto == "icmp":
		return "-m icmp " + d.not(20) + "--icmp-type " + d.one("8", "0", "any", "3", "3/1", "echo-request", "11/0", "13", "host-unreachable") + " "
	case proto == "icmpv6":
		return "-m icmp6 " + d.not(20) + "--icmpv6-type " + d.one("128", "129", "1", "1/4", "135", "echo-reply", "no-route", "143") + " "
	case !hasPorts:
		return ""
	case d.chance(25):
		list := d.ports()
		for d.chance(60) && strings.Count(list, ",") < 6 {
			list += "," + fmt.Sprint(d.port())
		}
		if strings.Contains(list, ":,") || strings.HasPrefix(list, ":") || strings.HasSuffix(list, ":") {
			list = "53,80,1000:1010"
		}
		return "-m multiport " + d.not(25) + d.one("--sports ", "--dports ", "--ports ") + list + " "
	case proto == "udplite":
		return ""
	}
	s := "-m " + proto + " "
	if d.chance(30) {
		s += d.not(25) + "--sport " + d.ports() + " "
	}
	if proto == "tcp" && d.chance(30) {
		return s + d.not(25) + d.one("--syn ", "--tcp-flags SYN,ACK SYN ", "--tcp-flags ALL ACK ", "--tcp-flags FIN,RST NONE ", "--tcp-flags SYN,RST,ACK,FIN ACK ")
	}
	return s + d.not(25) + "--dport " + d.ports() + " "
}

// match writes a match of anything else.
func (d *draw) match() string {
	switch d.IntN(20) {
	case 0, 1:
		list := d.one("NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID", "INVALID,NEW,UNTRACKED", "UNTRACKED", "NEW,RELATED", "DNAT", "NEW,SNAT")
		return "-m conntrack " + d.not(25) + "--ctstate " + list + " "
	case 2:
		return "-m state " + d.not(25) + "--state " + d.one("NEW", "RELATED,ESTABLISHED", "INVALID", "UNTRACKED") + " "
	case 3:
		return d.flow()
	case 4, 5:
		return "-m mark " + d.not(25) + "--mark " + d.mark() + " "
	case 6:
		return "-m connmark " + d.not(25) + "--mark " + d.mark() + " "
	case 7, 8:
		return d.kinds()
	case 9:
		a, b := d.addr(), d.addr()
		return "-m iprange " + d.not(25) + d.one("--src-range ", "--dst-range ") + a + "-" + b + " "
	case 10:
		if entering[d.hook] {
			return "-m mac " + d.not(40) + "--mac-source " + d.one("02:00:00:00:00:00", "02:01:00:00:00:00", "02:00:02:00:00:00", "02:00:03:00:00:00") + " "
		}
		return "-m owner " + d.not(40) + d.one("--uid-owner 0", "--uid-owner 0-5", "--gid-owner 0", "--uid-owner 1000", "--gid-owner 7-9", "--socket-exists") + " "
	case 11:
		return "-m pkttype " + d.not(30) + "--pkt-type " + d.one("unicast", "broadcast", "multicast") + " "
	case 12:
		option := d.one("eq 255", "eq 254", "lt 255", "gt 254", "gt 1", "lt 254", "eq 7", "lt 8")
		if d.is6 {
			return "-m hl " + d.notEq(option) + "--hl-" + option + " "
		}
		return "-m ttl " + d.notEq(option) + "--ttl-" + option + " "
	case 13:
		return "-m dscp " + d.not(30) + d.one("--dscp 0x0a", "--dscp-class AF11", "--dscp-class CS1", "--dscp 0x2e", "--dscp 0") + " "
	case 14:
		return "-m tos " + d.not(30) + "--tos " + d.one("0x28/0xfc", "0x08/0x0c", "0x20/0x20", "0xb8/0xfc", "0x10/0x10") + " "
	case 15:
		return "-m length " + d.not(30) + "--length " + d.one("40", "32", "0:40", "41:", "60:80", "52:60", "72") + " "
	}
	if len(d.sets) > 0 {
		s := d.sets[d.IntN(len(d.sets))]
		sides := d.one("src", "dst")
		for i := 1; i < s.dims; i++ {
			sides += "," + d.one("src", "dst")
		}
		d.asked = append(d.asked, askedSet{s, strings.Split(sides, ",")})
		return "-m set " + d.not(25) + "--match-set " + s.name + " " + sides + " "
	}
	return "-m comment --comment \"a rule\" "
}

func (d *draw) notEq(option string) string {
	if strings.HasPrefix(option, "eq") {
		return d.not(30)
	}
	return ""
}

// flow writes a match of conntrack with other questions than the state.
func (d *draw) flow() string {
	s := "-m conntrack "
	if d.chance(30) {
		s += d.not(20) + "--ctstate " + d.one("NEW", "INVALID,NEW", "ESTABLISHED") + " "
	}
	switch d.IntN(5) {
	case 0:
		s += d.not(25) + "--ctproto " + d.one("tcp", "udp", "47", "1") + " "
	case 1:
		s += d.not(25) + "--ctorigdst " + d.plainNet() + " "
	case 2:
		s += d.not(25) + "--ctorigdstport " + fmt.Sprint(d.port()) + " "
	case 3:
		s += d.not(25) + "--ctstatus " + d.one("NONE", "ASSURED", "SEEN_REPLY", "CONFIRMED", "EXPECTED", "ASSURED,EXPECTED") + " "
	case 4:
		s += "--ctdir " + d.one("ORIGINAL", "REPLY") + " "
	}
	return s
}

func (d *draw) kinds() string {
	types := []string{"LOCAL", "MULTICAST", "UNICAST", "LOCAL,MULTICAST", "UNICAST,LOCAL"}
	if !d.is6 {
		types = append(types, "BROADCAST", "BROADCAST,MULTICAST", "UNICAST,BROADCAST")
	}
	return "-m addrtype " + d.not(25) + d.one("--src-type ", "--dst-type ") + d.one(types...) + " "
}

var hookChain = map[packet.Hook]string{packet.Input: "INPUT", packet.Output: "OUTPUT", packet.Forward: "FORWARD"}

// single writes a ruleset of one rule, which has one match.
func (d *draw) single() string {
	policy, target, _ := strings.Cut(d.one("ACCEPT DROP", "DROP ACCEPT"), " ")
	rule, before := d.match(), ""
	if d.chance(30) {
		proto := d.one("tcp", "udp", "sctp", "dccp", "udplite", "icmp")
		if d.is6 && proto == "icmp" {
			proto = "icmpv6"
		}
		if h := d.header(proto); h != "" {
			rule = "-p " + proto + " " + h
			d.proto, _ = packet.ParseProto(strings.Replace(proto, "icmpv6", "ipv6-icmp", 1))
		}
	}
	base := hookChain[d.hook]
	if strings.Contains(rule, "mark --mark") {
		before = fmt.Sprintf("-A %s -j MARK --set-xmark %s\n-A %[1]s -j CONNMARK --set-xmark %[3]s\n", base, d.mark(), d.mark())
	}
	return fmt.Sprintf("*filter\n:%s %s [0:0]\n%s-A %[1]s %[4]s-j %s\nCOMMIT\n", base, policy, before, rule, target)
}

// text writes what the hook's tables hold.
func (d *draw) text() string {
	if d.small {
		return d.single()
	}
	var b strings.Builder
	tables := []string{"raw", "mangle", "filter", "security"}
	for _, t := range tables {
		b.WriteString("*" + t + "\n")
		if (t != "raw" || d.hook == packet.Output) && (t == "filter" || d.chance(45)) {
			d.table = t
			d.chains(&b)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

func (d *draw) chains(b *strings.Builder) {
	base := hookChain[d.hook]
	fmt.Fprintf(b, ":%s %s [0:0]\n", base, d.one("ACCEPT", "ACCEPT", "DROP"))
	own := d.IntN(4)
	for i := range own {
		fmt.Fprintf(b, ":u%d - [0:0]\n", i)
	}
	for i := -1; i < own; i++ {
		name := base
		if i >= 0 {
			name = fmt.Sprintf("u%d", i)
		}
		targets := d.targets()
		for j := i + 1; j < own; j++ {
			targets = append(targets, fmt.Sprintf("-j u%d", j), fmt.Sprintf("-j u%d", j), fmt.Sprintf("-g u%d", j))
		}
		for range 1 + d.IntN(7) {
			fmt.Fprintf(b, "-A %s %s\n", name, d.rule(targets))
		}
	}
}

func (d *draw) targets() []string {
	out := []string{"-j ACCEPT", "-j ACCEPT", "-j DROP", "-j RETURN", "", "-j MARK --set-xmark " + d.mark(), "-j MARK --set-mark " + d.mark(), "-j MARK --or-mark 0x2", "-j MARK --and-mark 0x5", "-j MARK --xor-mark 0x3",
		"-j CONNMARK --set-xmark " + d.mark(), "-j CONNMARK --save-mark", "-j CONNMARK --restore-mark", "-j CONNMARK --restore-mark --nfmask 0x7 --ctmask 0x3", "-j CONNMARK --save-mark --nfmask 0x2 --ctmask 0x6"}
	switch d.table {
	case "raw":
		out = append(out, "-j CT --notrack", "-j NOTRACK", "-j CT --notrack")
	case "mangle":
		ttl := "-j TTL --ttl-set 7"
		if d.is6 {
			ttl = "-j HL --hl-set 7"
		}
		out = append(out, ttl) // the laboratory knows its packets by their DSCP
	case "filter":
		out = append(out, "-j REJECT", "-j ACCEPT", "-j DROP", "-j LOG --log-prefix \"x -j DROP \"")
	}
	return out
}

// setText writes sets for ipset restore. Their names have a number, so that they
// do not meet those of another ruleset.
func (d *draw) setText(n int) string {
	var b strings.Builder
	family := "inet"
	if d.is6 {
		family = "inet6"
	}
	add := func(typ, options string, dims, most int, element func() string) {
		name := fmt.Sprintf("s%d-%d-%d", n, len(family), len(d.sets))
		s := drawnSet{name: name, dims: dims}
		fmt.Fprintf(&b, "create %s %s%s\n", name, typ, options)
		for range d.IntN(most) {
			s.elements = append(s.elements, element())
			fmt.Fprintf(&b, "add %s %s -exist\n", name, s.elements[len(s.elements)-1])
		}
		d.sets = append(d.sets, s)
	}
	prefix := func() string {
		for {
			if p := d.plainNet(); !strings.HasSuffix(p, "/0") {
				return p
			}
		}
	}
	protoPort := func() string {
		icmp := d.one("icmp:echo-request", "icmp:3/1")
		if d.is6 {
			icmp = d.one("icmpv6:echo-request", "icmpv6:135/0")
		}
		return d.one(fmt.Sprintf("tcp:%d", d.port()), fmt.Sprintf("udp:%d", d.port()), fmt.Sprintf("sctp:%d", d.port()), icmp, "47:0", "dccp:0", "udplite:53", "tcp:50-90")
	}
	exact := func() string { return d.one("", "", "", " nomatch") }
	for range 1 + d.IntN(3) {
		switch d.IntN(11) {
		case 0:
			add("hash:ip", " family "+family, 1, 8, d.addr)
		case 1:
			add("hash:net", " family "+family+" comment", 1, 10, func() string { return prefix() + exact() + ` comment "nomatch"` })
		case 2:
			add("hash:ip,port", " family "+family, 2, 10, func() string { return d.addr() + "," + protoPort() })
		case 3:
			add("hash:net,port", " family "+family, 2, 12, func() string { return prefix() + "," + protoPort() + exact() })
		case 4:
			add("bitmap:port", " range 0-65535", 1, 5, func() string { return d.one(fmt.Sprint(d.port()), "1000-1010") })
		case 5:
			add("hash:net,iface", " family "+family, 2, 10, func() string { return prefix() + "," + d.one(cards...) + exact() })
		case 6:
			add("hash:ip,port,ip", " family "+family, 3, 10, func() string { return d.addr() + "," + protoPort() + "," + d.addr() })
		case 7:
			add("hash:ip,port,net", " family "+family, 3, 10, func() string { return d.addr() + "," + protoPort() + "," + prefix() + exact() })
		case 8:
			add("hash:ip", fmt.Sprintf(" family %s netmask %d timeout 3600", family, []int{24, 31}[d.IntN(2)]), 1, 5, d.addr)
		case 9:
			if !d.is6 {
				add("bitmap:ip", " range 198.51.100.0/24", 1, 8, func() string { return d.one("198.51.100.1", "198.51.100.7", "198.51.100.0-198.51.100.6") })
			}
		case 10:
			if len(d.sets) > 0 {
				members := d.sets
				add("list:set", "", 1, 4, func() string { return members[d.IntN(len(members))].name })
			}
		}
	}
	return b.String()
}
