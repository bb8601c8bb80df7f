package pf_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/read/pf"
)

// trap is a text, what is said of it, and the systems of which that is true.
type trap struct {
	text, says string
	on         []pf.Dialect // nil: all
}

var (
	bsd     = []pf.Dialect{pf.OpenBSD, pf.FreeBSD, pf.FreeBSDOld}
	notOpen = []pf.Dialect{pf.FreeBSD, pf.FreeBSDOld, pf.MacOS}
	modern  = []pf.Dialect{pf.OpenBSD, pf.FreeBSD}
	old     = []pf.Dialect{pf.FreeBSDOld, pf.MacOS}
	openBSD = []pf.Dialect{pf.OpenBSD}
	freeBSD = []pf.Dialect{pf.FreeBSD}
)

func refused(ps []pf.Problem, says string) bool {
	return slices.ContainsFunc(ps, func(p pf.Problem) bool { return strings.Contains(p.Text, says) && p.Line > 0 })
}

// What pfctl refuses is refused, in each grammar that refuses it and in no other.
func TestRefused(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, c := range []trap{
		{"pass quick in all", "in in a rule", nil},
		{"pass in on em0 log all", "log in a rule", nil},
		{`anchor "x" on em0 in`, "in in a rule", nil},
		{"anchor f2b/x", "must be quoted", nil},
		{"pass in tagged x to port 9", "to in a rule", nil},
		{"pass in to port 80", "port only applies", nil},
		{"pass in proto { tcp udp icmp } to port 53", "port only applies", nil},
		{"pass in proto sctp to port 53", "port only applies", []pf.Dialect{pf.OpenBSD, pf.FreeBSDOld, pf.MacOS}},
		{"pass in proto { tcp, udp, } all", "} is no protocol", nil},
		{"pass in from { } to any", "} where an address belongs", nil},
		{"pass in from 10.0.0.0/33 to any", "no number up to 32", nil},
		{"pass in proto tcp to port 65536", "is no port", nil},
		{"pass in proto tcp to port 2000:1000", "goes backwards", modern},
		{"pass in inet proto icmp6 from 2001:db8::1 to any", "no valid combination", nil},
		{"pass in from 192.0.2.1 to 2001:db8::1", "no valid combination", nil},
		{"pass in proto icmp all icmp-type echoreq", "must say its family", nil},
		{"pass in inet proto icmp6 all icmp6-type echoreq", "must say its family", nil},
		{"pass in inet proto tcp all icmp-type echoreq", "only applies to icmp", nil},
		{"pass in on abcdefghijklmnop all", "longer than 15", nil},
		{"pass in all label " + long, "longer than 63", nil},
		{"table <" + long[:32] + "> { 192.0.2.1 }", "longer than 31", nil},
		{"table <t> { 192.0.2.1, }", "} where an address belongs", nil},
		{"pass in from $nobody to any", "is not defined", nil},
		{"pass = \"em0\"", "", nil},
		{"block in all allow-opts", "only stand in pass", nil},
		{"block in all keep state", "only pass rules", nil},
		{"pass in inet6 proto { tcp, icmp } all", "does not go with the family", nil},
		{"pass in proto icmp6 from 192.0.2.1", "does not go with the family", nil},
		{"block from 192.0.2.300", "is no address", nil},
		{"block from 1:2:3", "is no address", nil},
		{"block to (192.0.2.1:network)", "is no name of an interface", nil},
		{"block tag " + long, "longer than 63", nil},
		{"block tagged " + long, "longer than 63", nil},
		{"block all label 12", "write it in quotes", openBSD},
		{"block all tag 12", "write it in quotes", openBSD},
		{"block all ! tagged 12", "write it in quotes", openBSD},
		{`block from any os "OpenBSD"`, "os only applies", nil},
		{"pass proto tcp modulate state (sloppy)", "does not go with modulate", nil},
		{"pass proto tcp keep state (source-track global, max-src-conn 3)", "does not go with", nil},
		{"pass proto tcp keep state (max-src-states 0)", "above zero", nil},
		{"pass proto tcp keep state (max 4, max 5)", "said twice", nil},
		{"pass proto tcp keep state (overload <t>, max 5)", "overload needs", nil},
		{"pass proto tcp keep state (interval 9)", "no option of a state", nil},
		{"pass all user root", "only apply to tcp", openBSD},
		{"pass all probability 101%", "no probability", nil},
		{"pass log (to em0)", "no pflog interface", nil},
		{"pass log (to pflog256)", "no pflog interface", nil},
		{"pass log (some)", "no option of log", nil},
		{"pass log (matches)", "no option of log", old},
		{"pass all tag default", "keyword", openBSD},
		{"pass all tag altq", "keyword", notOpen},
		{"pass on rdomain 256", "no number up to 255", openBSD},
		{"pass on rdomain 2", "keyword", notOpen},
		{"pass all dnpipe 2", "OpenBSD has no", openBSD},
		{"set fail-policy drop", "no option", openBSD},
		{"pass all tos loud", "no type of service", nil},
		{"pass all tos 1 tos 2", "said twice", nil},
		{"set timeout tcp.first 5, tcp.closed 6", "one name and a number", nil},
		{"set limit { states 10 frags }", "names and numbers", nil},
		{"set limit states many", "no number for", nil},
		{"set hostid 0", "no number for", nil},
		{"match in all scrub (no-df, no-df)", "said twice", openBSD},
		{"match in all scrub (min-ttl 256)", "no number up to 255", openBSD},
		{"match in inet6 all scrub (random-id)", "are for inet", openBSD},
		{"match in all set prio 8", "no number up to 7", modern},
		{"match in all set (prio 1, tos 2, prio 3)", "set twice", modern},
		{"match in all set colour 8", "no setting", openBSD},
		{"match in all allow-opts", "only stand in pass", openBSD},
		{"match in all once", "cannot stand in match", openBSD},
		{"match in all divert-packet port 7", "divert nothing", openBSD},
		{"pass out proto tcp all divert-to 127.0.0.1 port 7", "that come in", openBSD},
		{"pass in proto tcp all divert-reply", "that go out", openBSD},
		{"pass all divert-packet port 7 divert-packet port 8", "is too much", []pf.Dialect{pf.OpenBSD, pf.MacOS}},
		{"block in all route-to 192.0.2.1", "keep state", openBSD},
		{"pass in all route-to 192.0.2.1 no state", "keep state", openBSD},
		{"pass all reply-to 192.0.2.1", "say its direction", openBSD},
		{"pass in all route-to (em0)", "(em0:peer) belongs", openBSD},
		{"pass in from 2001:db8::1 route-to 192.0.2.1", "different families", openBSD},
		{"pass in route-to (em0 192.0.2.1) from 2001:db8::1", "different families", notOpen},
		{"pass in inet af-to inet6 from 2001:db8::1 route-to 192.0.2.1", "does not go with route-to", openBSD},
		{"pass out inet af-to inet6 from 2001:db8::1", "that say in", openBSD},
		{"match all rdr-to 192.0.2.1", "say its direction", openBSD},
		{"block out all nat-to 192.0.2.1", "are for match", openBSD},
		{"pass out all nat-to 192.0.2.1 no state", "are for match", openBSD},
		{"match in all rdr-to 192.0.2.1 static-port", "is for nat-to", modern},
		{"match out all nat-to 192.0.2.1 port 9 static-port", "does not go with ports", modern},
		{"match out all nat-to ! 192.0.2.1", "where addresses belong", openBSD},
		{"match out all nat-to 192.0.2.1 random bitmask", "cannot stand with", modern},
		{"match out from 192.0.2.2 binat-to 192.0.2.1", "both directions", openBSD},
		{"match from any binat-to 192.0.2.1", "needs a source", openBSD},
		{"match from (em0) binat-to 192.0.2.1", "(em0:0) belongs", openBSD},
		{"match from <t> binat-to 192.0.2.1", "no address for binat-to", openBSD},
		{"match from 192.0.2.2 binat-to { 192.0.2.1 192.0.2.9 }", "takes one address", openBSD},
		{"match in all keep state", "only pass rules", modern},
		{"match in on em0 inet proto tcp to port 80 rdr-to 192.0.2.8 port 90:80", "goes backwards", modern},
		{`anchor "x" in keep state`, "for its rules", nil},
		{`anchor "x" in proto udp flags S/SA`, "only applies to tcp", nil},
		{"pass in proto icmp from { 192.0.2.1, (em0) } icmp-type echoreq", "must say its family", nil},
		{"pass in proto tcp to port 0x10000", "is no port", nil},
		{"block return-rst in all", "return-rst only", nil},
		{"block in proto udp all flags S/SA", "only applies to tcp", nil},
		{"pass in all flags SA/S", "must be among", nil},
		{"pass in proto igmp all user root", "only apply to tcp", openBSD},
		{"pass in proto tcp all keep state (max-src-nodes 3, source-track global)", "does not go with", nil},
		{"pass in proto tcp all keep state (max-src-conn-rate 0/1)", "above zero", nil},
		{"table <t> { }\npass in proto tcp all keep state (max-src-conn-rate 1/1, overload <t>)", "to be persist", nil},
		{"pass out all ! received-on any", "cannot ask by received-on", old},
		{"match in all tag x", "has no match rules", old},
		{"pass in on any all", "keyword", old},
		{"pass out all nat-to em0", "has no nat-to", old},
		{"nat on em0 from any to any -> em0", "OpenBSD has no nat rules", openBSD},
		{"scrub in all", "OpenBSD has no scrub rules", openBSD},
		{`nat-anchor "x"`, "has no nat-anchor", openBSD},
		{`dummynet-anchor "x"`, "has no dummynet-anchor", []pf.Dialect{pf.OpenBSD, pf.FreeBSD, pf.FreeBSDOld}},
		{"pass in route-to 10.0.0.2 all", "all in a rule", openBSD},
		{"pass in all route-to 10.0.0.2", "before the family", notOpen},
		{"set reassemble yes", "no option", old},
		{"pass in all\nset limit states 1", "must be in order", notOpen},
		{"anchor \"x\" {\n set skip on lo0\n}", "braces of an anchor", nil},
		{"anchor \"x\" {\n table <t> { 192.0.2.1 }\n}", "no table in the braces", notOpen},
		{"pass in all nosuch", "nosuch in a rule", nil},
		{"pass in \"em0", "does not end", nil},
		{"nonsense", "where \"=\" belongs", nil},
		{"anchor \"x\" {\npass in all\n", "not closed", nil},
		{"pass in from 10.0.0.9 - 10.0.0.1 to any", "ends no range", nil},
		{"pass in proto 0 all", "protocol 0", nil},
		{"a = \"$a\"\npass in from $a to any", "puts none in there", nil},
		{"b = \"10.0.0.1\"\na = \"$b\"\npass in from $a to any", "puts none in there", nil},
		{"a = \"x\" $a", "is not defined", nil},
		{"block in all\r", "carriage return", nil},
		{"block in all\x00\npass in all", "NUL byte", nil},
		{"pass in from ! any to any", "where an address belongs", nil},
		{strings.Repeat("anchor \"x\" {\n", 65) + strings.Repeat("}\n", 65), "64 deep", nil},
		{"pass in inet6 all rdr-to 10.0.0.1", "of different families", modern},
		{"nat on em0 inet6 all -> 10.0.0.1", "of different families", notOpen},
		{"pass in from ::1 to any rdr-to 10.0.0.1", "of different families", modern},
		{"table <t> { (em0) }", "a table holds addresses", nil},
		{"set skip on ! em0", "takes no !", nil},
		{"set state-defaults nosuch", "no option of a state", []pf.Dialect{pf.OpenBSD, pf.FreeBSD, pf.FreeBSDOld}},
		{"set state-defaults no-sync\nset state-defaults sloppy", "cannot be set twice", []pf.Dialect{pf.OpenBSD, pf.FreeBSD, pf.FreeBSDOld}},
		{"pass in proto icmp from { 10.9.0.1 2001:db8:9::1 }", "does not go with the family", nil},
		{"pass in proto { tcp icmp6 } to 10.9.0.1", "does not go with the family", nil},
		{"pass out to { 10.9.0.1 urpf-failed }", "of sources alone", nil},
		{"pass in proto tcp all max-pkt-size 1400", "cannot ask by max-pkt-size", []pf.Dialect{pf.OpenBSD, pf.FreeBSDOld, pf.MacOS}},
		{"scrub in on em1 fragment no reassemble", "behind fragment", old},
		{"scrub out all tcp", "no option of scrub", notOpen},
		{"pass in from fe80::1%em0 - fe80::9 to any", "begins no range", nil},
	} {
		for _, d := range dialects {
			ps := pf.Parse(c.text+"\n", d).Problems
			if want := c.on == nil || slices.Contains(c.on, d); refused(ps, c.says) != want {
				t.Errorf("%v, %q: %v", d, c.text, ps)
			}
		}
	}
}

// What pfctl takes is taken, in each grammar.
func TestTaken(t *testing.T) {
	for _, c := range []trap{
		{"pass in all\nset skip on lo0", "", nil},
		{"antispoof quick for { (em0), lo0 }", "", nil},
		{"pass in from fe80::1%em0 to any", "", nil},
		{"table <t> { fe80::1%em0, fe80::%em0/64 }", "", nil},
		{"pass in proto tcp to port imap3", "", nil}, // of the names in /etc/services
		{"block in all no state", "", nil},
		{"pass on { rdomain 2, ! rdomain 3, em0 } all", "", openBSD},
		{`pass in all label ""`, "", nil},
		{"pass in proto tcp to port { 0x19, ssh }", "", nil},
		{"pass in proto icmp from { 192.0.2.1, 192.0.2.9 } icmp-type echoreq", "", nil},
		{"lan = \"{ 192.0.2.0/26, 2001:db8::/48 }\"\npass in from { $lan, 198.51.100.4 { <x> } } to any", "", nil},
		{"table <t> { { 192.0.2.1 !192.0.2.7 } 10/8, { 2001:db8::1 } }", "", nil},
		{"match out on em0 inet proto udp all nat-to 192.0.2.8 port 9000:8000", "", modern},
		{`anchor "x" in on em0 proto tcp to port 22 user root flags S/SA tos 0x10 label "l" tag T ! tagged S`, "", nil},
		{`anchor "x" inet proto icmp icmp-type { echoreq, unreach code needfrag } probability 20%`, "", nil},
		{"set state-defaults sloppy, no-sync, max 100\npass in all", "", []pf.Dialect{pf.OpenBSD, pf.FreeBSD, pf.FreeBSDOld}},
		{"pass in proto { icmp icmp6 } from any to <t>\npass in inet proto icmp to { <t> 10.9.0.1 }", "", nil},
		{"pass in on em1 proto udp max-pkt-size 1400", "", []pf.Dialect{pf.FreeBSD}},
		{"scrub in on em1 fragment no reassemble max-mss 1380", "", []pf.Dialect{pf.FreeBSD}},
		{"scrub out on em1 reassemble tcp random-id fragment reassemble no-df", "", notOpen},
		{strings.Repeat("anchor \"x\" {\n", 64) + strings.Repeat("}\n", 64), "", nil},
	} {
		for _, d := range dialects {
			parsed := pf.Parse(c.text+"\n", d)
			if want := c.on == nil || slices.Contains(c.on, d); (len(parsed.Problems) == 0) != want {
				t.Errorf("%v, %q: %v", d, c.text, parsed.Problems)
			}
			text := parsed.Print()
			if again := pf.Parse(text, d); len(parsed.Problems) == 0 && again.Print() != text {
				t.Errorf("%v: %q prints as %q", d, text, again.Print())
			}
		}
	}
}

// What pfctl takes and what then does not do what it seems to say is found.
func TestLint(t *testing.T) {
	for _, c := range []trap{
		{"pass in from any to { ! 192.0.2.1, ! 192.0.2.2 }", "match everything", nil},
		{"pass in from { 10/8, !10.1/16 } to any", "match everything", nil},
		{"pass in on { em0 ! em1 } all", "matches every interface", nil},
		{"pass in on em all", "is no group", bsd},
		{"pass in on em all", "no interface groups", []pf.Dialect{pf.MacOS}},
		{"pass in on egress all", "does not keep the group egress", []pf.Dialect{pf.FreeBSD, pf.FreeBSDOld}},
		{"pass in on lo all", "no interface groups", []pf.Dialect{pf.MacOS}},
		{"set skip on lo", "as lo0 alone", []pf.Dialect{pf.MacOS}},
		{"pass in from (self) to any", "empty on macOS", []pf.Dialect{pf.MacOS}},
		{"pass in from self to any", "one rule for each address", nil},
		{"pass in from 10.0.0.1-10.0.0.9 to any", "name of a host", nil},
		{"pass in from www.example.org to any", "is looked up", nil},
		{"table <t> { www.example.org }", "is looked up", nil},
		{"pass in from any to em0:network", "if it has none", nil},
		{"# as before \\\npass in all", "ends in a backslash", nil},
		{"anchor \"_mine\" all", "without a name", nil},
		{"pass in from <nobody> to any", "is not defined", nil},
		{"pass in proto udp all keep state (max-src-conn-rate 1/1)", "nothing for other protocols", nil},
		{"pass in all label 'a\"b'", "unescaped", nil},
		{"pass in proto tcp to port 2000:1000", "goes backwards", old},
		{"match in quick all", "ends the evaluation", modern},
	} {
		for _, d := range dialects {
			found := pf.Parse(c.text+"\n", d).Lint()
			said := slices.ContainsFunc(found, func(p pf.Problem) bool { return strings.Contains(p.Text, c.says) && p.Hint != "" && p.Line > 0 })
			if want := c.on == nil || slices.Contains(c.on, d); said != want {
				t.Errorf("%v, %q: %v", d, c.text, found)
			}
		}
	}
	const good = "table <t> { 10/8 !10.1/16 }\nset skip on lo0\nblock all\npass in on em0 proto tcp from { <t>, 192.0.2.1 } to (em0) port { 22 80:90 }\n"
	for _, d := range dialects {
		if found := pf.Parse(good, d).Lint(); len(found) > 0 {
			t.Errorf("%v: %v", d, found)
		}
		if len(pf.Parse(good, d).InAnchor()) != 1 {
			t.Errorf("%v: set in the file of an anchor is not found", d)
		}
	}
}

// One statement that cannot be read does not take the others with it.
func TestUnreadStatements(t *testing.T) {
	c := pf.Parse("block all\npass in proto tcp from any to any port 22 future-option 5\npass out all\n", pf.OpenBSD)
	if len(c.Lines) != 3 || len(c.Problems) != 1 || c.Problems[0].Line != 2 {
		t.Fatalf("%v %v", c.Lines, c.Problems)
	}
	u, ok := c.Lines[1].(*pf.Unread)
	if !ok || !strings.Contains(u.Text, "future-option 5") || !strings.HasPrefix(u.Text, "pass in proto tcp") {
		t.Errorf("%+v", c.Lines[1])
	}
}
