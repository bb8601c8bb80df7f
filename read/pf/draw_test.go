package pf_test

import (
	"fmt"
	"io/fs"
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
	tables  []string
	unique  int
	focus   string                // what the file has much of
	files   map[string]string     // of addresses
	loaded  map[string]*pf.Config // the rules of anchors that are not in the file
}

func (d *draw) one(words ...string) string { return words[d.IntN(len(words))] }
func (d *draw) chance(percent int) bool    { return d.IntN(100) < percent }

// rare is a chance that is much better in a file that has much of such things.
func (d *draw) rare(percent int, focus string) bool {
	if d.focus == focus {
		percent = min(60, 6*percent)
	}
	return d.chance(percent)
}

func (d *draw) modern() bool { return d.dialect == pf.OpenBSD || d.dialect == pf.FreeBSD }

func (d *draw) not(percent int) string {
	if d.chance(percent) {
		return d.one("! ", "!")
	}
	return ""
}

var (
	addrs4 = []string{"192.0.2.10", "192.0.2.255", "10.20.0.5", "10.20.0.77", "10.9.0.1", "198.51.100.1", "198.51.100.7", "198.51.100.130", "203.0.113.9", "203.0.113.200", "224.0.0.251", "127.0.0.1"}
	addrs6 = []string{"2001:db8::10", "fd00:20::5", "2001:db8:1::7", "2001:db8:1:f::1", "2001:db8:2::5", "ff02::fb", "fe80::1"}
	nets   = []string{"198.51.100.0/24", "198.51.100.0/25", "203.0.113.0/24", "10/8", "192.0.2.7/24", "0.0.0.0/1", "198.51.100.6/31", "224.0.0.0/4", "2001:db8:1::/48", "2001:db8:1::/64", "fd00::/8", "2001:db8::/32", "8000::/1"}
	cards  = []string{"em0", "em1", "wg0"}
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
	if d.modern() && d.chance(10) {
		return "any"
	}
	return d.not(15) + d.one(names...)
}

// host draws a word for addresses.
func (d *draw) host() string {
	not := d.not(12)
	if d.rare(6, "tables") {
		return not + "<" + d.one(d.tables...) + ">"
	}
	switch d.IntN(12) {
	case 0:
		return not + "<" + d.one(append(d.tables, "undefined")...) + ">"
	case 1:
		return not + "(" + d.one("self", "em0", "em1", "em0:network", "self:broadcast", "em0:0", "egress", "office:network", "em0:peer") + ")"
	case 2:
		return d.one("em0", "em1", "em0:network", "self", "wg0:broadcast", "! em0", "! self", "! wg0", "(em1)/24")
	case 3:
		return d.one("198.51.100.5 - 198.51.100.20", "2001:db8:1::5 - 2001:db8:1::9")
	case 4, 5, 6:
		return not + d.addr()
	case 7:
		if d.chance(40) {
			return d.one("no-route", "urpf-failed", "fe80::1%em1", map[bool]string{true: `route "backup"`, false: "no-route"}[d.dialect == pf.OpenBSD])
		}
	}
	return not + d.one(nets...)
}

// hosts draws both sides of a rule.
func (d *draw) hosts(proto string, ports bool) string {
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
		if word == "from" && proto == "proto tcp" && d.chance(5) {
			s += " os " + d.one(`"Linux"`, `{ "Linux", "OpenBSD" }`)
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
	if d.dialect == pf.FreeBSD && d.chance(8) {
		return "proto " + d.one("sctp", "{ tcp, sctp }"), "", true
	}
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
func (d *draw) options(action, proto, family, hosts string) string {
	var out []string
	add := func(percent int, words ...string) {
		if len(words) > 0 && d.chance(percent) {
			out = append(out, d.one(words...))
		}
	}
	tcp := proto == "" || strings.Contains(proto, "tcp")
	switch bare := !strings.Contains(hosts, "port"); {
	case strings.HasPrefix(proto, "proto icmp") && d.chance(60):
		out = append(out, d.icmp(family))
	case tcp && d.chance(25):
		out = append(out, "flags "+d.one("S/SA", "any", "S/SAFR", "/R", "A/A"))
	case bare:
		add(5, "fragment")
	}
	add(8, d.conditions(proto)...)
	if action == "pass" && !d.chance(85) {
		out = append(out, "no state")
	} else if action == "pass" && d.rare(50, "limits") {
		out = append(out, d.state(tcp, proto == "proto tcp"))
	}
	if action == "pass" {
		add(10, "allow-opts")
	}
	if d.modern() {
		add(8, "received-on any", "! received-on any", "received-on em1", "! received-on wg0")
		add(5, "set prio 3", "set (prio 3, tos 16)", "set prio (2, 5)")
	}
	d.unique++
	add(50, fmt.Sprintf("label \"rule.%d\"", d.unique), fmt.Sprintf("label \"rule.%d\"", d.unique/3))
	if !d.plain && d.rare(15, "tags") {
		add(100, "tag RED", "tag blue-2", "tag other")
	}
	if !d.plain && d.rare(15, "tags") {
		add(100, "tagged RED", "tagged blue-2", "! tagged RED", "! tagged blue-2")
	}
	// The options come in any order.
	d.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return strings.Join(out, " ")
}

// conditions are those that no packet tells.
func (d *draw) conditions(proto string) []string {
	all := []string{"tos 0x10"}
	if strings.Contains(proto, "tcp") || strings.Contains(proto, "udp") {
		all = append(all, "user root", "user { 0, >= 1000 }", "group wheel")
	}
	all = append(all, "probability 50%")
	if d.modern() {
		all = append(all, "max-pkt-rate 100/10")
	}
	if d.dialect == pf.OpenBSD {
		all = append(all, "once")
	}
	return all
}

func (d *draw) icmp(family string) string {
	if family == "inet6" {
		return "icmp6-type " + d.list(40, func() string { return d.one("echoreq", "neighbrsol", "143", "unreach code port-unr", "unreach") })
	}
	return "icmp-type " + d.list(40, func() string { return d.one("echoreq", "echorep", "unreach", "unreach code needfrag", "13") })
}

// state draws what a rule leaves behind; alone: of TCP and nothing else.
func (d *draw) state(tcp, alone bool) string {
	kept := "keep state"
	if alone {
		kept = d.one("keep state", "keep state", "modulate state", "synproxy state")
	}
	switch {
	case d.focus != "limits" && d.chance(50):
		return kept
	case !tcp || d.chance(40):
		return kept + " (" + d.one("max 100", "no-sync", "sloppy", "if-bound", "max 7, floating") + ")"
	}
	limit := d.one("max 100", "tcp.established 60, no-sync", "max-src-conn 5", "max-src-states 3", "max-src-nodes 9, max-src-states 2", "max-src-conn-rate 5/10")
	if strings.HasPrefix(limit, "max-src-conn") && d.chance(70) {
		limit += ", overload <" + d.one("over", "over", "over2") + ">" + d.one("", " flush", " flush global")
	}
	return kept + " (" + limit + ")"
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
	if word := d.answer(proto, family); action == "block" && word != "" && d.chance(15) {
		action += " " + word
	}
	quick := d.one("", "quick")
	if action == "match" && (d.plain || d.chance(80)) {
		quick = ""
	}
	dir := d.one("", "in", "out", "in", "out")
	words := []string{action, dir, d.one("", "", "log", "log (all)"), quick}
	if d.chance(35) {
		words = append(words, "on "+d.list(20, d.iface))
	}
	if d.dialect != pf.OpenBSD && dir != "" && strings.HasPrefix(action, "pass") && d.rare(5, "old") {
		words = append(words, d.one("route-to", "reply-to", "dup-to")+" (em1 10.20.0.1)")
	}
	hosts := d.hosts(proto, ports)
	words = append(words, family, proto, hosts)
	words = append(words, d.options(strings.Fields(action)[0], proto, family, hosts))
	if !d.plain && d.modern() && dir != "" && !strings.HasPrefix(action, "block") && d.rare(20, "new") {
		words = append(words, d.changes(dir, hosts))
	}
	if d.dialect == pf.OpenBSD && dir != "" && strings.HasPrefix(action, "pass") && d.rare(10, "new") {
		words = append(words, d.one("route-to 10.20.0.1", "reply-to 10.20.0.1", "dup-to 10.20.0.1", "divert-packet port 700", "divert-reply"))
	}
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " ")
}

// answer draws how a refusal may be answered.
func (d *draw) answer(proto, family string) string {
	switch {
	case proto == "proto tcp":
		return d.one("return-rst", "return-rst(ttl 5)", "return-icmp")
	case family == "inet6":
		return d.one("return-icmp6", "return-icmp6(admin-unr)")
	case family == "inet":
		return d.one("return-icmp", "return-icmp(host-unr)")
	}
	return d.one("", "return-icmp(port-unr, admin-unr)")
}

// changes draws what a rule does to packets, of OpenBSD's grammar.
func (d *draw) changes(dir, hosts string) string {
	if (dir == "out") == d.chance(85) {
		return d.one("nat-to 203.0.113.200", "nat-to 203.0.113.200 static-port", "nat-to { 203.0.113.200, 203.0.113.9 }",
			"nat-to (em0)", "nat-to 2001:db8::10", "nat-to 203.0.113.200 port 1000:1010")
	}
	if d.chance(40) {
		return map[bool]string{true: "", false: "af-to inet from 203.0.113.200"}[!strings.Contains(hosts, ":")]
	}
	return d.one("rdr-to 10.20.0.5", "rdr-to 10.20.0.5 port 1000", "rdr-to 10.20.0.5 port 1000:1010", "rdr-to 10.20.0.5 port 1000:*",
		"rdr-to { 10.20.0.5, 192.0.2.10 }", "rdr-to { 10.20.0.5, 192.0.2.10 }", "rdr-to { 10.20.0.5 192.0.2.10 } round-robin", "rdr-to fd00:20::5 port 22", "rdr-to (em1)", "rdr-to 10.20.0.0/24 random")
}

func (d *draw) anchor(depth int) string {
	d.unique++
	cond := strings.Join(slices.DeleteFunc([]string{d.one("", "in", "out"), d.one("", "", "quick"), d.one("", "", "on em0", "on ! em1"), d.one("", "", "inet", "inet6", "proto tcp")}, func(s string) bool { return s == "" }), " ")
	if !d.plain && d.rare(10, "tags") {
		cond += d.one(" tagged RED", " ! tagged blue-2")
	}
	var b strings.Builder
	name := fmt.Sprintf("\"a%d", d.unique)
	if d.chance(20) {
		fmt.Fprintf(&b, "anchor %s/*\" %s {\n", name, cond)
		for i := range 1 + d.IntN(3) {
			fmt.Fprintf(&b, "anchor \"c%d\" all {\n%s}\n", i, d.rules(depth))
		}
	} else {
		fmt.Fprintf(&b, "anchor %s\" %s {\n%s", name, cond, d.rules(depth))
	}
	b.WriteString("}\n")
	return b.String()
}

// rules draws the rules of an anchor.
func (d *draw) rules(depth int) (out string) {
	for range 1 + d.IntN(3) {
		if depth < 2 && d.rare(15, "anchors") {
			out += d.anchor(depth + 1)
		} else {
			out += "  " + d.valid(d.rule) + "\n"
		}
	}
	return out
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

func (d *draw) entries() string {
	var entries []string
	for range d.IntN(6) {
		entries = append(entries, d.not(30)+d.one(append(nets, d.addr())...))
	}
	return strings.Join(entries, d.one(" ", ", "))
}

func (d *draw) table(name string) string {
	source := "{ " + d.entries() + " }"
	switch d.IntN(8) {
	case 0:
		file := "/etc/" + name
		d.files[file] = "# from elsewhere\n" + strings.NewReplacer("! ", "!", ", ", "\n", " ", "\n").Replace(d.entries()) + "\n192.0.2.10 # the last\n"
		source = `file "` + file + `" ` + d.one("", source)
	case 1:
		source = "{ " + d.one("em0", "self", "em1:network", "wg0, ! 10.9.0.1", "em0, 198.51.100.7") + " }"
	}
	return fmt.Sprintf("table <%s> %s %s\n", name, d.one("", "const", "persist"), source)
}

// file draws a whole file.
func (d *draw) file() string {
	d.files, d.loaded = map[string]string{}, map[string]*pf.Config{}
	d.focus = d.one("tables", "tags", "limits", "new", "old", "anchors")
	var b strings.Builder
	b.WriteString("# a comment \\\n which goes on here\nhere = \"{ 192.0.2.10 2001:db8::10 }\"\n")
	d.tables = []string{"t1", "t2"}
	for _, t := range d.tables {
		b.WriteString(d.table(t))
	}
	b.WriteString("table <over> persist\ntable <over2> persist { 198.51.100.7 }\n")
	d.tables = append(d.tables, "over", "over2")
	b.WriteString(d.settings())
	if d.dialect != pf.OpenBSD {
		b.WriteString(d.one("", "", "scrub in all\n", "scrub in on em0 all fragment reassemble no-df\n"))
		b.WriteString(d.translations())
	}
	if d.chance(60) {
		b.WriteString(d.one("block all", "block in all", "pass all", "block drop log all") + "\n")
	}
	if d.chance(20) {
		b.WriteString("antispoof " + d.one("", "quick ") + "for " + d.one("em0", "{ em0 lo0 }", "em1 inet", "(em0)") + "\n")
	}
	if !d.plain && d.modern() && d.rare(15, "new") {
		b.WriteString("match on em0 inet from 10.20.0.5 to " + d.one("any", "203.0.113.0/24") + " binat-to 192.0.2.10\n")
	}
	for range 2 + d.IntN(10) {
		switch {
		case d.rare(8, "anchors"):
			b.WriteString(d.anchor(0))
		case d.rare(6, "anchors"):
			b.WriteString(d.elsewhere())
		default:
			b.WriteString(d.valid(d.rule) + "\n")
		}
	}
	if d.focus == "old" || d.focus == "new" { // which see what was translated
		b.WriteString("block out proto { tcp udp } from any port { 22 53 80 1000 } to any\npass in proto tcp from any to any port 1000\n")
	}
	b.WriteString("pass in quick proto tcp from any to $here port 80\n")
	return b.String()
}

func (d *draw) settings() string {
	out := ""
	if d.chance(50) {
		out += "set block-policy " + d.one("drop", "return") + "\n"
	}
	if d.chance(50) {
		skip := []string{"lo", "lo0", "{ lo wg }"}
		if d.dialect == pf.MacOS {
			skip = []string{"lo0", "lo", "wg"}
		}
		out += "set skip on " + d.one(skip...) + "\n"
	}
	if d.dialect != pf.MacOS && d.chance(10) {
		out += "set state-defaults " + d.one("sloppy", "no-sync, if-bound", "max 50") + "\n"
	}
	return out
}

// elsewhere draws an anchor whose rules are not in the file.
func (d *draw) elsewhere() string {
	d.unique++
	name := fmt.Sprintf("b/%d", d.unique)
	text := ""
	if d.chance(50) {
		text = "table <t1> { " + d.entries() + " }\n"
	}
	for range 1 + d.IntN(3) {
		text += d.valid(d.rule) + "\n"
	}
	if d.chance(50) {
		text += d.one("block", "pass") + " in " + d.one("", "quick ") + "from " + d.not(30) + "<t1>\n"
	}
	d.loaded[name] = pf.Parse(text, d.dialect)
	return fmt.Sprintf("anchor %q %s\n", name, d.one("", "in", "quick", "in on em0"))
}

// translations draws rules of the old grammar, some of them in an anchor.
func (d *draw) translations() string {
	out := ""
	for range d.IntN(4) {
		out += d.valid(d.translation) + "\n"
	}
	for d.focus == "old" && d.chance(70) {
		out += d.valid(d.translation) + "\n"
	}
	if d.rare(15, "old") {
		out += d.one("rdr", "nat", "binat") + "-anchor \"t/x\" " + d.one("", "on em0 ", "inet ") + "\n"
		d.loaded["t/x"] = pf.Parse(d.valid(d.translation)+"\n"+d.valid(d.translation)+"\n", d.dialect)
	}
	return out
}

// translation draws a rule of the old grammar.
func (d *draw) translation() string {
	on := d.one("", "on em0 ", "on em1 ")
	tag := ""
	if !d.plain {
		tag = d.one("", "", "tag RED ", "tagged blue-2 ")
	}
	switch d.IntN(10) {
	case 0:
		return "no rdr " + on + "proto tcp from any to any port 80"
	case 1:
		return "no " + d.one("nat", "binat") + " " + on + "from 10.20.0.0/16 to any" + strings.TrimSuffix(d.one("", " tag RED"), map[bool]string{true: " tag RED"}[d.plain])
	case 2, 3:
		return "binat " + d.one("", "pass ") + on + "from 10.20.0.5 to " + d.one("any", "! 203.0.113.0/24") + " " + tag + "-> 192.0.2.10"
	case 4, 5, 6:
		return "nat " + d.one("", "pass ") + on + "from " + d.one(nets...) + " to any " + tag + "-> " + d.one(
			"203.0.113.200", "203.0.113.200 static-port", "(em0)", "{ 203.0.113.9, 203.0.113.200 } round-robin", "203.0.113.200 port 1000:1010")
	}
	return "rdr " + d.one("", "pass ") + on + d.one("", "inet ") + "proto tcp from any to any port " + d.one("80", "{ 80 443 }", "1000:1010") + " " + tag +
		"-> " + d.one("10.20.0.5", "10.20.0.5 port 1000", "10.20.0.5 port 1000:*", "{ 10.20.0.5, 192.0.2.10 } round-robin", "fd00:20::5")
}

// known is what the text does not say.
func (d *draw) known() pf.Options {
	return pf.Options{
		Links: links, Groups: groups,
		Files: func(name string) ([]byte, error) {
			text, ok := d.files[name]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		},
		Anchors: func(name string) (*pf.Config, bool) { c, ok := d.loaded[name]; return c, ok },
	}
}
