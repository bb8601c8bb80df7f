package pf

import (
	"strings"
	"testing"
)

// What pfctl refuses, and what it takes and then does not do: parse refuses it,
// so that a rendering that holds it does not pass the other tests.
func TestTraps(t *testing.T) {
	const good = "pass in quick proto tcp from any to 192.0.2.1 port 22 flags S/SA keep state label \"a\"\n"
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		where []Dialect // nil: everywhere
		form  Form
		text  string
		says  string
	}{
		{nil, File, "pass quick in all no state label \"a\"\n", "syntax error"},
		{nil, File, "pass in on em0 log all no state label \"a\"\n", "syntax error"},
		{nil, File, "pass in from 192.0.2.1 to port 22 flags S/SA keep state label \"a\"\n", "is a name"},
		{nil, File, "pass in all tagged x to port 9\n", "nothing above sets the tag"},
		{nil, File, strings.Replace(good, "proto tcp ", "", 1), "port only applies to tcp/udp"},
		{nil, File, strings.Replace(good, "tcp", "{ tcp udp icmp }", 1), "port only applies to tcp/udp"},
		{nil, File, strings.Replace(good, "tcp", "{ tcp, udp, }", 1), "trailing comma"},
		{nil, File, strings.Replace(good, "from any", "from { }", 1), "is a name"},
		{nil, File, strings.Replace(good, "192.0.2.1", "{ !192.0.2.1, !192.0.2.2 }", 1), "matches everything"},
		{nil, File, strings.Replace(good, "192.0.2.1", "www.example.org", 1), "is a name"},
		{nil, File, strings.Replace(good, "192.0.2.1", "192.0.2.1-192.0.2.9", 1), "is a name"},
		{nil, File, strings.Replace(good, "192.0.2.1", "192.0.2.1/24", 1), "host bits"},
		{nil, File, strings.Replace(good, "192.0.2.1", "192.0.2.0/33", 1), "no number up to 32"},
		{nil, File, strings.Replace(good, "192.0.2.1", "self", 1), "bare self"},
		{nil, File, strings.Replace(good, "192.0.2.1", "egress", 1), "is a name"},
		{nil, File, strings.Replace(good, "192.0.2.1", "<x>", 1), "not defined"},
		{nil, File, strings.Replace(good, "from any to 192.0.2.1", "from 2001:db8::1 to 192.0.2.1", 1), "no valid combination"},
		{nil, File, strings.Replace(good, "port 22", "port 65536", 1), "invalid port range"},
		{nil, File, strings.Replace(good, "port 22", "port 2000:1000", 1), "invalid port range"},
		{nil, File, strings.Replace(good, "port 22", "port ssh", 1), "invalid port range"},
		{nil, File, strings.Replace(good, "\"a\"", "a", 1), "must be quoted"},
		{nil, File, strings.Replace(good, "\"a\"", `"a"b"`, 1), "quoted string"},
		{nil, File, strings.Replace(good, "\"a\"", `"`+long+`"`, 1), "too long"},
		{nil, File, strings.Replace(good, "flags S/SA ", "", 1), "without flags"},
		{nil, File, strings.Replace(good, "keep state ", "", 1), "without a word on state"},
		{nil, File, strings.Replace(good, "keep", "no", 1), "flags without state"},
		{nil, File, strings.Replace(good, "tcp", "udp", 1), "flags only apply to tcp"},
		{nil, File, strings.Replace(good, "tcp", "vrrp", 1), "is no number"},
		{nil, File, strings.Replace(good, "tcp", "0", 1), "proto 0"},
		{nil, File, strings.TrimSuffix(good, "\n"), "no line break"},
		{nil, File, "block in all label \"a\"\n", "block-policy"},
		{nil, File, "block return in all label \"a\"\n", "answers other protocols too"},
		{nil, File, "block drop in all keep state label \"a\"\n", "only for pass rules"},
		{nil, File, "block drop in all allow-opts label \"a\"\n", "only be specified for pass"},
		{nil, File, "block drop in all\n", "without a label"},
		{nil, File, "pass in proto icmp all icmp-type echoreq keep state label \"a\"\n", "must indicate address family"},
		{nil, File, "pass in inet6 proto icmp6 all icmp-type echoreq keep state label \"a\"\n", "must indicate address family"},
		{nil, File, "pass in inet proto icmp all icmp-type echo-request keep state label \"a\"\n", "is no number"},
		{nil, File, "pass in inet proto icmp all icmp-type 256 keep state label \"a\"\n", "is no number"},
		{nil, File, "pass in inet proto tcp all icmp-type 8 flags S/SA keep state label \"a\"\n", "only applies to icmp"},
		{nil, File, "pass in inet6 proto icmp all keep state label \"a\"\n", "address family"},
		{nil, File, "pass in inet proto igmp all no state label \"a\"\n", "IP options"},
		{nil, File, "pass in on em all no state label \"a\"\n", "on em matches nothing"},
		{nil, File, "# the end \\\n" + good, "swallows"},
		{nil, File, "a-b = \"{ 192.0.2.1 }\"\n" + good, "cannot be used"},
		{nil, File, "pass = \"{ 192.0.2.1 }\"\n" + good, "syntax error"},
		{nil, File, strings.Replace(good, "192.0.2.1", "$x", 1), "macro 'x' not defined"},
		{nil, File, "table <user> { 192.0.2.1 }\n" + good, "keyword"},
		{nil, File, "table <" + long[:32] + "> { 192.0.2.1 }\n" + good, "too long"},
		{nil, File, "table <t> { 192.0.2.1 - 192.0.2.9 }\n" + good, "is a name"},
		{nil, File, "table <t> { www.example.org }\n" + good, "is a name"},
		{nil, File, "table <t> { 192.0.2.1, }\n" + good, "trailing comma"},
		{nil, File, "table <t> { 192.0.2.1 }\ntable <t> { 192.0.2.2 }\n" + good, "defined twice"},
		{nil, File, "table <t> { 192.0.2.1 }\n" + good, "never used"},
		{nil, File, strings.Replace(good, "keep state", "keep state (max-src-conn-rate 1/1, overload <t>)", 1), "persist table"},
		{nil, File, "table <t> persist\n" + strings.Replace(good, "keep state", "keep state (max-src-conn-rate 0/1, overload <t>)", 1), "must be > 0"},
		{nil, File, "anchor f2b/*\n" + good, "syntax error"},
		{nil, File, "anchor \"x\" on em0 in\n", "more on the line"},
		{nil, File, "set block-policy return\n" + good, "block-policy"},
		{nil, Anchor, "set skip on lo0\n" + good, "only filter rules and tables"},
		{nil, Anchor, strings.Replace(good, "quick ", "", 1), "not quick"},
		{[]Dialect{FreeBSD, FreeBSDOld, MacOS}, File, good + "set skip on lo0\n", "must be in order"},
		{[]Dialect{FreeBSD, FreeBSDOld, MacOS}, File, good + "scrub in all\n", "must be in order"},
		{[]Dialect{OpenBSD}, File, "scrub in all\n" + good, "syntax error"},
		{[]Dialect{OpenBSD}, File, "nat-anchor \"x\"\n" + good, "syntax error"},
		{[]Dialect{FreeBSDOld, MacOS}, File, "set reassemble yes\n" + good, "syntax error"},
		{[]Dialect{FreeBSDOld, MacOS}, File, "match in all tag x\n" + good, "syntax error"},
		{[]Dialect{FreeBSDOld, MacOS}, File, "pass out all ! received-on any no state label \"a\"\n", "received-on"},
		{[]Dialect{MacOS}, File, "pass in from (self) to any no state label \"a\"\n", "empty on macOS"},
		{[]Dialect{MacOS}, File, "pass in on wg all no state label \"a\"\n", "matches nothing"},
		{[]Dialect{FreeBSD, FreeBSDOld, MacOS}, File, "pass in on egress all no state label \"a\"\n", "matches nothing"},
		{[]Dialect{OpenBSD, FreeBSDOld, MacOS}, File, "pass in proto sctp from any to any port 1 keep state label \"a\"\n", "port only applies"},
	} {
		for _, d := range allDialects {
			_, err := parse(c.text, d, c.form)
			switch hit := c.where == nil || contains(c.where, d); {
			case !hit && err != nil && strings.Contains(err.Error(), c.says):
				t.Errorf("%v refuses %q: %v", d, c.text, err)
			case hit && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v, %q: got %v, want %q", d, c.text, err, c.says)
			}
		}
		for _, d := range allDialects {
			if _, err := parse(good, d, Anchor); err != nil {
				t.Fatal(err)
			}
		}
	}
}
