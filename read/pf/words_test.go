package pf_test

import (
	"slices"
	"testing"

	"github.com/fwctl/fwctl/read/pf"
)

// said is a text and how pfctl prints it, in some of the grammars.
type said struct {
	text, printed string
	on            []pf.Dialect
}

// Words and their order are those of pfctl, and what is printed is read again.
func TestPrintedWords(t *testing.T) {
	for _, c := range []said{
		{"pass in inet6 to 64:ff9b:1::/96 af-to inet from (em1)", "pass in inet6 from any to 64:ff9b:1::/96 af-to inet from (em1)", modern},
		{"pass in inet af-to inet6 from { 2001:db8:9::1 2001:db8:9::2 } sticky-address to 2001:db8:8::/64", "pass in inet all af-to inet6 from { 2001:db8:9::1, 2001:db8:9::2 } round-robin sticky-address to 2001:db8:8::/64", modern},
		{"match out on em1 from 10.1/16 nat-to { 198.51.100.7 198.51.100.8 } sticky-address", "match out on em1 from 10.1.0.0/16 to any nat-to { 198.51.100.7, 198.51.100.8 } round-robin sticky-address", modern},
		{"match out on em1 all nat-to (em1) static-port", "match out on em1 all nat-to (em1) round-robin static-port", modern},
		{"match out on em1 all nat-to (em1:0) static-port", "match out on em1 all nat-to (em1:0) static-port", modern},
		{"match out on em1 all nat-to <exits> sticky-address source-hash thekey", "match out on em1 all nat-to <exits> source-hash thekey sticky-address", modern},
		{"pass in on em1 proto tcp to port 25 rdr-to 10.9.0.25 nat-to 10.9.0.1 port 4000:5000", "pass in on em1 proto tcp from any to any port = 25 nat-to 10.9.0.1 port 4000:5000 rdr-to 10.9.0.25", modern},
		{"nat on em1 from { 10.1/16 2001:db8:9::/48 } -> (em1)", "nat on em1 inet from { 10.1.0.0/16, 2001:db8:9::/48 } to any -> (em1) round-robin", notOpen},
		{"no rdr on em1 proto tcp from 2001:db8:9::1", "no rdr on em1 inet6 proto tcp from 2001:db8:9::1 to any", notOpen},
		{"binat on em1 from 10.9.0.0/24 -> 198.51.100.0/24", "binat on em1 inet from 10.9.0.0/24 to any -> 198.51.100.0/24", notOpen},
		{"binat on em1 from any to 2001:db8:9::/48 -> 2001:db8:8::/64", "binat on em1 inet6 from any to 2001:db8:9::/48 -> 2001:db8:8::/64", notOpen},
		{"binat on em1 inet from (em2:0) -> (em1:0)", "binat on em1 inet from (em2:0) to any -> (em1:0)", notOpen},
		{"nat on em1 from 10.1/16 -> (em1)", "nat on em1 inet from 10.1.0.0/16 to any -> (em1) round-robin", notOpen},
		{"nat pass log (all) on em1 from 10.1/16 rtable 2 -> 198.51.100.7 port 4000:5000", "nat pass log (all) on em1 inet from 10.1.0.0/16 to any rtable 2 -> 198.51.100.7 port 4000:5000", notOpen},
		{"rdr log on em1 proto tcp to port 25 -> { 10.9.0.25 10.9.0.26 } sticky-address round-robin", "rdr log on em1 inet proto tcp from any to any port = 25 -> { 10.9.0.25, 10.9.0.26 } round-robin sticky-address", notOpen},
		{"nat on em1 inet -> (em1:0) endpoint-independent", "nat on em1 inet all -> (em1:0) endpoint-independent", freeBSD},
		{"nat on em1 inet -> 198.51.100.7 map-e-portset 4/8/0x1f", "nat on em1 inet all -> 198.51.100.7 map-e-portset 4/8/31", freeBSD},
		{"pass in route-to { (em1 10.9.0.7/24), (em2 10.9.9.8) } sticky-address inet all", "pass in route-to { (em1 10.9.0.0/24), (em2 10.9.9.8) } round-robin sticky-address inet all", notOpen},
		{"pass in route-to (em1 10.9.0.7) to { 10.8.0.1 2001:db8::1 }", "pass in route-to (em1 10.9.0.7) inet from any to { 10.8.0.1, 2001:db8::1 }", notOpen},
		{"pass in reply-to em1 all", "pass in reply-to em1 all", notOpen},
		{"pass in reply-to (em1 10.9.0.7) all", "pass in reply-to (em1 10.9.0.7) inet all", notOpen},
		{"pass out route-to (em1 2001:db8:9::1) to 2001:db8::/32", "pass out route-to (em1 2001:db8:9::1) from any to 2001:db8::/32", notOpen},
		{"pass out proto tcp set prio (6 4) label x label \"y z\"", "pass out proto tcp all set ( prio(6, 4) ) label \"x\" label \"y z\"", freeBSD},
		{"pass out proto tcp set (tos lowdelay, prio 6)", "pass out proto tcp all set ( prio 6, tos 0x10 )", freeBSD},
		{"pass out set prio 6 queue ( q p ) dnpipe (7, 8) ridentifier 0x11", "pass out all set ( prio 6 ) ridentifier 17 dnpipe(7, 8) queue(q, p)", freeBSD},
		{"pass out dnqueue (7) queue (q)", "pass out all dnqueue 7 queue q", freeBSD},
		{"pass in proto tcp to port 25 divert-to 127.0.0.1 port 2525", "pass in proto tcp from any to any port = 25 divert-to 2525", []pf.Dialect{pf.FreeBSD, pf.FreeBSDOld}},
		{"pass in proto tcp to port 25 divert-to 2525", "pass in proto tcp from any to any port = 25 divert-to 2525", []pf.Dialect{pf.FreeBSD, pf.FreeBSDOld}},
		{"pass in probability 12.5% no state", "pass in all no state probability 12.5%", nil},
		{"pass in probability 0.25 keep state", "pass in all keep state probability 25%", nil},
		{"pass in probability 25% keep state (max 9)", "pass in all probability 25% keep state (max 9)", nil},
		{"block in log (to pflog3, user all) all", "block drop in log (all, user, to pflog3) all", nil},
		{"block in log(user matches, all) all", "block drop in log (all, matches, user) all", modern},
		{"block in log (to pflog0) all", "block drop in log all", nil},
		{"pass in fastroute all", "pass in all", freeBSD},
		{"pass in fastroute all", "pass in fastroute all", old},
		{"pass in route-to (em1 2001:db8:9::1) prefer-ipv6-nexthop inet all", "pass in route-to (em1 2001:db8:9::1) prefer-ipv6-nexthop inet all", freeBSD},
	} {
		for _, d := range dialects {
			if c.on != nil && !slices.Contains(c.on, d) {
				continue
			}
			parsed := pf.Parse(c.text+"\n", d)
			printed := parsed.Print()
			again := pf.Parse(printed, d)
			if len(parsed.Problems)+len(again.Problems) > 0 || printed != c.printed+"\n" || again.Print() != printed {
				t.Errorf("%v: %s\n%s%s\n%v %v", d, c.text, printed, c.printed, parsed.Problems, again.Problems)
			}
		}
	}
}

// Rules are multiplied out as pfctl does it, and what they leave to defaults is written.
func TestExpandedWords(t *testing.T) {
	const web = "pass in proto tcp from any to any port = 80 flags S/SA keep state "
	for _, c := range []said{
		{"block return-icmp out on em1 proto udp", "block return-icmp(port-unr, port-unr) out on em1 proto udp all", nil},
		{"block return-icmp out inet", "block return-icmp(port-unr) out inet all", nil},
		{"block return-icmp(13, 1) out to { 10.9.0.1, 2001:db8:9::1 }", "block return-icmp(filter-prohib) out inet from any to 10.9.0.1\nblock return-icmp6(admin-unr) out inet6 from any to 2001:db8:9::1", nil},
		{"block return-icmp6(2) in inet6", "block return-icmp6(beyond-unr) in inet6 all", openBSD},
		{"block return-icmp6(beyond-unr) in inet6", "block return-icmp6(notnbr-unr) in inet6 all", notOpen},
		{"block in inet6 proto icmp6 icmp6-type 1 code 2", "block drop in inet6 proto ipv6-icmp all icmp6-type unreach code notnbr-unr", notOpen},
		{"pass out proto { tcp udp } modulate state", "pass out proto tcp all flags S/SA modulate state\npass out proto udp all", openBSD},
		{"pass out proto { tcp udp } synproxy state", "pass out proto tcp all flags S/SA synproxy state\npass out proto udp all keep state", notOpen},
		{"pass in proto tcp to port 80 keep state (source-track)", web + "(source-track global)", nil},
		{"pass in proto tcp to port 80 keep state (max-src-states 8)", web + "(source-track global, max-src-states 8)", nil},
		{"pass in proto tcp to port 80 keep state (max-src-nodes 9, source-track, max-src-states 8)", web + "(source-track rule, max-src-states 8, max-src-nodes 9)", nil},
		{"pass in proto tcp to port 80 keep state (udp.single 5, max 37, tcp.first 9, no-sync)", web + "(max 37, no-sync, tcp.first 9, udp.single 5, adaptive.start 18, adaptive.end 36)", nil},
		{"pass in proto tcp to port 80 keep state (max 7)", web + "(max 7)", nil},
		{"pass in proto tcp to port 80 keep state (max 70, adaptive.end 90)", web + "(max 70, adaptive.end 90)", nil},
		{"pass in proto tcp to port 80 keep state (src.track 5, max-src-conn-rate 3/7)", web + "(source-track rule, max-src-conn-rate 3/7, src.track 7)", nil},
		{"pass in proto tcp to port 80 keep state (src.track 9, max-src-conn-rate 3/7)", web + "(source-track rule, max-src-conn-rate 3/7, src.track 9)", nil},
		{
			"block in proto tcp from any port { 7 9 } to { 10.9.0.1 10.9.0.2 } port { 1:4 5 }",
			"block drop in inet proto tcp from any port = 7 to 10.9.0.1 port 1:4\nblock drop in inet proto tcp from any port = 7 to 10.9.0.1 port = 5\n" +
				"block drop in inet proto tcp from any port = 9 to 10.9.0.1 port 1:4\nblock drop in inet proto tcp from any port = 9 to 10.9.0.1 port = 5\n" +
				"block drop in inet proto tcp from any port = 7 to 10.9.0.2 port 1:4\nblock drop in inet proto tcp from any port = 7 to 10.9.0.2 port = 5\n" +
				"block drop in inet proto tcp from any port = 9 to 10.9.0.2 port 1:4\nblock drop in inet proto tcp from any port = 9 to 10.9.0.2 port = 5",
			freeBSD,
		},
		{
			"block in proto tcp from any port { 7 9 } to { 10.9.0.1 10.9.0.2 }",
			"block drop in inet proto tcp from any port = 7 to 10.9.0.1\nblock drop in inet proto tcp from any port = 7 to 10.9.0.2\n" +
				"block drop in inet proto tcp from any port = 9 to 10.9.0.1\nblock drop in inet proto tcp from any port = 9 to 10.9.0.2",
			old,
		},
		{"scrub in on { em1 em2 } to 10.9.0.1 max-mss 1380 no-df", "scrub in on em1 inet from any to 10.9.0.1 no-df max-mss 1380 fragment reassemble\nscrub in on em2 inet from any to 10.9.0.1 no-df max-mss 1380 fragment reassemble", notOpen},
		{"anchor x on { em1 em2 } from 10.9/16", "anchor \"x\" on em1 inet from 10.9.0.0/16 to any\nanchor \"x\" on em2 inet from 10.9.0.0/16 to any", nil},
		{"anchor x in to 2001:db8:9::1 {\nblock\n}", "anchor \"x\" in inet6 from any to 2001:db8:9::1 {\n  block drop all\n}", nil},
		{"anchor x on { em1 em2 } proto udp flags any {\nblock\n}", "anchor \"x\" on { em1, em2 } proto udp all {\n  block drop all\n}", nil},
		{"block in proto { tcp udp } label \"a $proto\" label \"b $proto\"", "block drop in proto tcp all label \"a tcp\" label \"b tcp\"\nblock drop in proto udp all label \"a udp\" label \"b udp\"", freeBSD},
		{"no scrub in on em1\nscrub out inet fragment no reassemble", "no scrub in on em1 all\nscrub out inet all fragment no reassemble", freeBSD},
	} {
		for _, d := range dialects {
			if c.on != nil && !slices.Contains(c.on, d) {
				continue
			}
			want := c.printed + "\n"
			file := pf.Parse(c.text+"\n", d)
			printed := file.Expand().Print()
			again := pf.Parse(printed, d)
			if len(file.Problems)+len(again.Problems) > 0 || printed != want || again.Expand().Print() != printed {
				t.Errorf("%v: %s\n%s%s%v %v", d, c.text, printed, want, file.Problems, again.Problems)
			}
		}
	}
}

// What a pool, a route and what a rule does beside cannot be is refused, with the reason.
func TestWordsRefused(t *testing.T) {
	for _, c := range []trap{
		{"match out on em1 all af-to from 192.0.2.1", "where the family", modern},
		{"match out on em1 all nat-to 198.51.100.7 round", "an option belongs", modern},
		{"match in on em1 all rdr-to 198.51.100.7 static-port", "is for nat-to and nat", modern},
		{"rdr on em1 proto tcp -> 198.51.100.7 static-port", "is for nat-to and nat", notOpen},
		{"nat on em1 -> 198.51.100.7 port 4000 static-port", "does not go with ports", notOpen},
		{"nat on em1 -> 198.51.100.7 static-port map-e-portset 4/8/1", "does not go with static-port", freeBSD},
		{"nat on em1 -> 198.51.100.7 random map-e-portset 4/8/1", "with several addresses", freeBSD},
		{"nat on em1 -> 198.51.100.7 map-e-portset 9/8/1", "16 bits", freeBSD},
		{"nat on em1 -> 198.51.100.7 map-e-portset 4/8/1", "has no map-e-portset", old},
		{"nat on em1 -> 198.51.100.7 random bitmask", "cannot stand with", notOpen},
		{"nat on em1 -> <exits> bitmask", "cannot choose from a table", notOpen},
		{"nat on em1 -> (em1) random", "cannot choose from a table", old},
		{"nat on em1 -> { 198.51.100.7 198.51.100.8 } random", "only round-robin", old},
		{"match out on em1 all nat-to (em1) bitmask", "cannot choose from a table", modern},
		{"nat out on em1 -> 198.51.100.7", "no direction", notOpen},
		{"nat on em1 from { 10.1/16 2001:db8:9::/48 } to 2001:db8::/32 -> (em1)", "no valid combination", notOpen},
		{"binat on em1 from (em2:0) -> (em1:0)", "must say its family", notOpen},
		{"binat on em1 proto tcp from 10.9.0.1 to port 80 -> 198.51.100.7", "ask for ports", notOpen},
		{"binat on em1 from { 10.9.0.1 10.9.0.2 } -> 198.51.100.7", "one address each", notOpen},
		{"binat on em1 inet from (em2) -> 198.51.100.7", "takes one address", notOpen},
		{"binat on em1 from 10.9.0.1 -> <exits>", "takes one address", notOpen},
		{"binat on em1 from 10.9.0.0/24 -> 198.51.100.0/25", "not of one size", notOpen},
		{"rdr on em1 proto tcp to port > 80 -> 198.51.100.7", "no other test", notOpen},
		{"rdr on em1 -> 198.51.100.7 port 80", "behind -> only applies", notOpen},
		{"nat on em1 route-to em2 -> 198.51.100.7", "only stand in filter rules", notOpen},
		{"block in route-to (em1 10.9.0.7) all", "cannot stand in block", freeBSD},
		{"pass in route-to (em1 10.9.0.7) inet6 all", "different families", notOpen},
		{"pass in route-to (em1 2001:db8:9::1) from 10.9.0.8", "different families", notOpen},
		{"pass route-to (em1 10.9.0.7) all", "must say in or out", notOpen},
		{"pass out all set tos 16", "does not set tos", []pf.Dialect{pf.FreeBSDOld}},
		{"pass out all set delay 9", "does not set delay", []pf.Dialect{pf.FreeBSD, pf.FreeBSDOld}},
		{"pass out all set prio 3", "has no set in rules", []pf.Dialect{pf.MacOS}},
		{"pass out all queue q queue p", "twice", nil},
		{"pass in all label x label y", "has one label", []pf.Dialect{pf.OpenBSD, pf.FreeBSDOld, pf.MacOS}},
		{"pass in all label a label b label c label d label e label f", "5 labels at most", freeBSD},
		{"pass in all divert-reply", "no meaning on FreeBSD", []pf.Dialect{pf.FreeBSD, pf.FreeBSDOld}},
		{"pass in all divert-to 127.0.0.1", "where \"port\" belongs", []pf.Dialect{pf.FreeBSD, pf.FreeBSDOld}},
		{"pass in all divert-to 0", "where \"port\" belongs", []pf.Dialect{pf.FreeBSD, pf.FreeBSDOld}},
		{"block in log (to em1) all", "is no pflog interface", nil},
		{"block in log (some) all", "no option of log", nil},
		{"block in log (matches) all", "no option of log", old},
	} {
		for _, d := range dialects {
			ps := pf.Parse(c.text+"\n", d).Problems
			if want := c.on == nil || slices.Contains(c.on, d); refused(ps, c.says) != want {
				t.Errorf("%v, %q: %v", d, c.text, ps)
			}
		}
	}
}
