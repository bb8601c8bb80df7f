package pf_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/read/pf"
)

// draw writes random files of pf.conf, from a universe so small that packets meet
// rules. Every file loads: what pfctl refuses is tested elsewhere.
type draw struct {
	*rand.Rand
	dialect pf.Dialect
	plain   bool // no rule depends on what another did
	apart   bool // no rule counts, since the parts of a list count apart
	tables  []string
	unique  int
}

func (d *draw) one(words ...string) string { return words[d.IntN(len(words))] }
func (d *draw) chance(percent int) bool    { return d.IntN(100) < percent }
func (d *draw) modern() bool               { return d.dialect == pf.OpenBSD || d.dialect == pf.FreeBSD }

func (d *draw) not(percent int) string {
	if d.chance(percent) {
		return d.one("! ", "!")
	}
	return ""
}

var (
	addrs4 = []string{"192.0.2.10", "192.0.2.255", "10.20.0.5", "10.9.0.1", "198.51.100.1", "198.51.100.7", "198.51.100.130", "203.0.113.9", "203.0.113.200", "224.0.0.251", "127.0.0.1"}
	addrs6 = []string{"2001:db8::10", "fd00:20::5", "2001:db8:1::7", "2001:db8:1:f::1", "2001:db8:2::5", "ff02::fb", "fe80::1"}
	nets   = []string{"198.51.100.0/24", "198.51.100.0/25", "203.0.113.0/24", "10/8", "192.0.2.7/24", "0.0.0.0/1", "198.51.100.6/31", "224.0.0.0/4", "2001:db8:1::/48", "2001:db8:1::/64", "fd00::/8", "2001:db8::/32", "8000::/1"}
	cards  = []string{"em0", "em1", "wg0"}
	tags   = []string{"RED", "blue-2"}
)

func (d *draw) addr() string {
	if d.chance(40) {
		return d.one(addrs6...)
	}
	return d.one(addrs4...)
}

func (d *draw) port() int { return []int{22, 53, 80, 443, 1000, 1010, 33434, 40000}[d.IntN(8)] }

func (d *draw) portOp() string {
	a, b := d.port(), d.port()
	lo, hi := min(a, b), max(a, b)
	switch d.IntN(9) {
	case 0:
		return fmt.Sprintf("%d:%d", lo, hi)
	case 1:
		return fmt.Sprintf("!= %d", a)
	case 2:
		return fmt.Sprintf("%s %d", d.one("<", "<=", ">", ">="), a)
	case 3:
		return fmt.Sprintf("%d >< %d", lo, hi)
	case 4:
		return fmt.Sprintf("%d <> %d", lo, hi)
	case 5:
		return d.one("ssh", "domain", "http", "https")
	case 6:
		return fmt.Sprintf("= %d", a)
	}
	return fmt.Sprint(a)
}

// list writes one item, or several in braces.
func (d *draw) list(percent int, item func() string) string {
	if !d.chance(percent) {
		return item()
	}
	var items []string
	for range 1 + d.IntN(3) {
		items = append(items, item())
	}
	return "{ " + strings.Join(items, d.one(" ", ", ", ",\n\t")) + " }"
}

func (d *draw) iface() string {
	names := append([]string{"lo0"}, cards...)
	if d.dialect != pf.MacOS {
		names = append(names, "lo", "wg", "egress", "office", "nobody")
	}
	return d.not(15) + d.one(names...)
}

// host draws a word for addresses.
func (d *draw) host() string {
	not := d.not(12)
	switch d.IntN(12) {
	case 0:
		return not + "<" + d.one(append(d.tables, "undefined")...) + ">"
	case 1:
		return not + "(" + d.one("self", "em0", "em1", "em0:network", "self:broadcast", "em0:0") + ")" + d.one("", "", "")
	case 2:
		return d.one("em0", "em1", "em0:network", "self", "wg0:broadcast")
	case 3:
		return d.one("198.51.100.5 - 198.51.100.20", "2001:db8:1::5 - 2001:db8:1::9")
	case 4, 5, 6:
		return not + d.addr()
	case 7:
		if d.chance(20) {
			return d.one("no-route", "urpf-failed")
		}
	}
	return not + d.one(nets...)
}

// family returns the hosts of a rule that has them, and perhaps says the family.
func (d *draw) hosts(ports bool) string {
	if d.chance(20) && !ports {
		return "all"
	}
	end := func(word string) string {
		s := word + " any"
		if d.chance(60) {
			s = word + " " + d.list(30, d.host)
		}
		if ports && d.chance(50) {
			s += " port " + d.list(25, d.portOp)
		}
		return s
	}
	switch d.IntN(4) {
	case 0:
		return end("from")
	case 1:
		return end("to")
	}
	return end("from") + " " + end("to")
}

func (d *draw) proto() (text, family string, ports bool) {
	switch d.IntN(9) {
	case 0, 1:
		return "proto tcp", d.one("", "", "inet", "inet6"), true
	case 2:
		return "proto udp", "", true
	case 3:
		return "proto { tcp udp }", d.one("", "inet"), true
	case 4:
		return "proto icmp", "inet", false
	case 5:
		return "proto icmp6", "inet6", false
	case 6:
		return "proto " + d.one("gre", "47", "esp", "{ tcp, udp, igmp }"), "", false
	}
	return "", d.one("", "", "inet", "inet6"), false
}

// options draws what stands behind the addresses.
func (d *draw) options(action, proto, family string) string {
	var out []string
	tcp := proto == "" || strings.Contains(proto, "tcp")
	keep := action == "pass" && d.chance(85)
	if strings.HasPrefix(proto, "proto icmp") && d.chance(60) {
		out = append(out, d.icmp(family))
	}
	if tcp && d.chance(25) {
		out = append(out, "flags "+d.one("S/SA", "any", "S/SAFR", "/R", "A/A"))
	}
	if d.chance(6) {
		unknown := []string{"user root", "user { 0, >= 1000 }"}
		if !d.apart {
			unknown = append(unknown, "probability 50%")
		}
		out = append(out, d.one(unknown...))
		if strings.Contains(out[len(out)-1], "user") && !strings.Contains(proto, "tcp") && !strings.Contains(proto, "udp") || strings.Contains(proto, "igmp") {
			out = out[:len(out)-1]
		}
	}
	if action == "pass" && !keep {
		out = append(out, "no state")
	} else if action == "pass" && d.chance(50) {
		out = append(out, d.state(tcp))
	}
	if action == "pass" && d.chance(10) {
		out = append(out, "allow-opts")
	}
	if d.modern() && d.chance(8) {
		out = append(out, d.not(50)+"received-on "+d.one("any", "em1", "wg0"))
	}
	if d.chance(50) {
		d.unique++
		out = append(out, fmt.Sprintf("label \"rule.%d\"", d.unique))
	}
	if !d.plain && d.chance(15) {
		out = append(out, "tag "+d.one(tags...))
	}
	if !d.plain && d.chance(15) {
		out = append(out, d.not(20)+"tagged "+d.one(tags...))
	}
	if d.modern() && d.chance(5) {
		out = append(out, d.one("set prio 3", "set (prio 3, tos 16)", "set prio (2, 5)"))
	}
	// The options come in any order.
	d.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return strings.Join(out, " ")
}

func (d *draw) icmp(family string) string {
	if family == "inet6" {
		return "icmp6-type " + d.list(40, func() string { return d.one("echoreq", "neighbrsol", "143", "unreach code port-unr", "unreach") })
	}
	return "icmp-type " + d.list(40, func() string { return d.one("echoreq", "echorep", "unreach", "unreach code needfrag", "13") })
}

func (d *draw) state(tcp bool) string {
	if !tcp || d.apart || d.chance(60) {
		return "keep state"
	}
	return "keep state (" + d.one("max 100", "tcp.established 60, no-sync", "max-src-conn 5", "max-src-states 3") + ")"
}

func (d *draw) rule() string {
	action := d.one("pass", "pass", "block", "block drop", "block return")
	if d.modern() && d.chance(15) {
		action = "match"
	}
	proto, family, ports := d.proto()
	if strings.Contains(proto, "igmp") {
		ports = false
	}
	quick := d.one("", "quick")
	if action == "match" {
		quick = ""
	}
	words := []string{action, d.one("", "in", "out", "in", "out"), d.one("", "", "log", "log (all)"), quick}
	if d.chance(35) {
		words = append(words, "on "+d.list(20, d.iface))
	}
	words = append(words, family, proto, d.hosts(ports))
	words = append(words, d.options(strings.Fields(action)[0], proto, family))
	if action == "match" && !d.plain && d.chance(30) {
		words = append(words, d.one("nat-to 203.0.113.200", "rdr-to 10.20.0.5", "rdr-to 10.20.0.5 port 1000"))
	}
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " ")
}

func (d *draw) anchor(depth int) string {
	d.unique++
	cond := strings.Join(slices.DeleteFunc([]string{d.one("", "in", "out"), d.one("", "", "quick"), d.one("", "", "on em0", "on ! em1"), d.one("", "", "inet", "inet6", "proto tcp")}, func(s string) bool { return s == "" }), " ")
	var b strings.Builder
	name := fmt.Sprintf("\"a/%d\" ", d.unique)
	fmt.Fprintf(&b, "anchor %s%s {\n", name, cond)
	for range 1 + d.IntN(3) {
		if depth < 2 && d.chance(15) {
			b.WriteString(d.anchor(depth + 1))
			continue
		}
		b.WriteString("  " + d.valid(d.rule) + "\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// valid draws until pfctl takes it: most of what it refuses are combinations of
// families.
func (d *draw) valid(line func() string) string {
	for {
		s := line()
		if len(pf.Parse(s+"\n", d.dialect).Problems) == 0 {
			return s
		}
	}
}

func (d *draw) table(name string) string {
	var entries []string
	for range d.IntN(6) {
		entries = append(entries, d.not(30)+d.one(append(nets, d.addr())...))
	}
	return fmt.Sprintf("table <%s> %s { %s }\n", name, d.one("", "const", "persist"), strings.Join(entries, d.one(" ", ", ")))
}

// file draws a whole file.
func (d *draw) file() string {
	var b strings.Builder
	b.WriteString("# a comment \\\n which goes on here\nhere = \"{ 192.0.2.10 2001:db8::10 }\"\n")
	d.tables = []string{"t1", "t2"}
	for _, t := range d.tables {
		b.WriteString(d.table(t))
	}
	if d.chance(50) {
		b.WriteString("set block-policy " + d.one("drop", "return") + "\n")
	}
	if d.chance(50) {
		b.WriteString("set skip on " + map[bool]string{true: d.one("lo0", "lo"), false: d.one("lo", "lo0", "{ lo wg }")}[d.dialect == pf.MacOS] + "\n")
	}
	if !d.modern() {
		for range d.IntN(3) {
			b.WriteString(d.valid(d.translation) + "\n")
		}
	}
	if d.chance(60) {
		b.WriteString(d.one("block all", "block in all", "pass all", "block drop log all") + "\n")
	}
	if d.chance(20) {
		b.WriteString("antispoof " + d.one("", "quick ") + "for " + d.one("em0", "{ em0 lo0 }", "em1 inet") + "\n")
	}
	for range 2 + d.IntN(10) {
		if d.chance(12) {
			b.WriteString(d.anchor(0))
			continue
		}
		b.WriteString(d.valid(d.rule) + "\n")
	}
	b.WriteString("pass in quick proto tcp from any to $here port 80\n")
	return b.String()
}

// translation draws a rule of the old grammar.
func (d *draw) translation() string {
	on := d.one("", "on em0 ", "on em1 ")
	if d.chance(20) {
		return "no rdr " + on + "proto tcp from any to any port 80"
	}
	if d.chance(50) {
		return "nat " + on + "from " + d.one(nets...) + " to any -> 203.0.113.200"
	}
	return "rdr " + d.one("", "pass ") + on + "proto tcp from any to any port " + d.one("80", "{ 80 443 }") + " -> 10.20.0.5" + d.one("", " port 1000")
}
