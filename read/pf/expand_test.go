package pf_test

import (
	"slices"
	"testing"

	"github.com/fwctl/fwctl/read/pf"
)

// What becomes of rules in the kernel, line by line.
func TestExpanded(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		on               []pf.Dialect
	}{
		{
			"addresses before ports", "block proto tcp from { 192.0.2.1 192.0.2.2 } port { 7 8 } to { 198.51.100.1 198.51.100.2 }",
			`block drop inet proto tcp from 192.0.2.1 port = 7 to 198.51.100.1
block drop inet proto tcp from 192.0.2.1 port = 8 to 198.51.100.1
block drop inet proto tcp from 192.0.2.1 port = 7 to 198.51.100.2
block drop inet proto tcp from 192.0.2.1 port = 8 to 198.51.100.2
block drop inet proto tcp from 192.0.2.2 port = 7 to 198.51.100.1
block drop inet proto tcp from 192.0.2.2 port = 8 to 198.51.100.1
block drop inet proto tcp from 192.0.2.2 port = 7 to 198.51.100.2
block drop inet proto tcp from 192.0.2.2 port = 8 to 198.51.100.2
`, openBSD,
		},
		{
			"what a label says", `block on em1 proto { tcp, gre } from { 192.0.2.0/28, ! <t>, any } label "$nr $if $proto $srcaddr>$dstaddr"
block proto udp from port { 7 >< 9, != 5, 5:6 } to (em0:0) port 53 tag "$srcport-$dstport" tagged "$dstaddr"`,
			`block drop on em1 proto tcp all label "0 em1 tcp any>any"
block drop on em1 proto gre all label "1 em1 gre any>any"
block drop proto udp from any port 7 >< 9 to (em0:0) port = 53 tag "7><9-53" tagged "(em0)"
block drop proto udp from any port != 5 to (em0:0) port = 53 tag "!=5-53" tagged "(em0)"
block drop proto udp from any port 5:6 to (em0:0) port = 53 tag "-53" tagged "(em0)"
`, openBSD,
		},
		{
			"limits", `pass in proto tcp keep state (max 25, max-src-states 3)
pass in proto tcp keep state (max 9, max-src-conn-rate 5/40)
pass in proto tcp keep state (max 50, adaptive.start 7, source-track)
pass in proto udp modulate state (floating)`,
			`pass in proto tcp all flags S/SA keep state (max 25, source-track global, max-src-states 3, adaptive.start 12, adaptive.end 24)
pass in proto tcp all flags S/SA keep state (max 9, source-track rule, max-src-conn-rate 5/40, src.track 40)
pass in proto tcp all flags S/SA keep state (max 50, source-track global, adaptive.start 7)
pass in proto udp all
`, openBSD,
		},
		{
			"codes of ICMP", "block return-icmp all\nblock return-icmp(srcfail) inet\nblock return-icmp(0) inet6\nblock return-icmp6(1) all\nblock return-icmp(net-unr, 3) all",
			`block return-icmp(port-unr, port-unr) all
block return-icmp(srcfail) inet all
block return-icmp6(addr-unr) inet6 all
block return-icmp(port-unr, admin-unr) all
block return-icmp(net-unr, addr-unr) all
`, nil,
		},
		{
			"what is not said of flags and masks", "pass all flags any no state\npass proto tcp flags any\nblock proto tcp flags any\npass inet from (em0)/40 to (em1)/24",
			`pass all no state
pass proto tcp all flags any
block drop proto tcp all
pass inet from (em0) to (em1)/24 flags S/SA
`, openBSD,
		},
		{
			"interfaces of addresses", "block from { fe80::1%em0, fe80::2%em1 } to fe80::3%em0\nblock on em1 from { fe80::1%em0, fe80::2%em1 }",
			`block drop on em0 inet6 from fe80::1 to fe80::3
block drop on em1 inet6 from fe80::2 to any
`, nil,
		},
		{
			"both ways of binat-to", "match on em0 proto tcp from { 192.0.2.7, 192.0.2.8 } port 80 to 198.51.100.0/24 binat-to 203.0.113.9",
			`match out on em0 inet proto tcp from 192.0.2.7 port = 80 to 198.51.100.0/24 nat-to 203.0.113.9 static-port
match in on em0 inet proto tcp from 198.51.100.0/24 to 203.0.113.9 port = 80 rdr-to 192.0.2.7
match out on em0 inet proto tcp from 192.0.2.8 port = 80 to 198.51.100.0/24 nat-to 203.0.113.9 static-port
match in on em0 inet proto tcp from 198.51.100.0/24 to 203.0.113.9 port = 80 rdr-to 192.0.2.8
`, openBSD,
		},
		{
			"anchors", "anchor \"up/*\" in proto { tcp udp } from 192.0.2.7 port 5 to { <t>, 198.51.100.0/24 }\nanchor quick from 2001:db8::1 {\nblock return-icmp\n}",
			`anchor "up/*" in inet proto tcp from 192.0.2.7 port = 5 to <t>
anchor "up/*" in inet proto tcp from 192.0.2.7 port = 5 to 198.51.100.0/24
anchor "up/*" in inet proto udp from 192.0.2.7 port = 5 to <t>
anchor "up/*" in inet proto udp from 192.0.2.7 port = 5 to 198.51.100.0/24
anchor quick inet6 from 2001:db8::1 to any {
  block return-icmp(port-unr, port-unr) all
}
`, nil,
		},
		{
			"antispoof", "antispoof log quick for { em0, (em1), lo1 } inet label x",
			`block drop in log quick on ! em0 inet from em0:network to any label "x"
block drop in log quick inet from em0 to any label "x"
block drop in log quick on ! em1 inet from (em1:network) to any label "x"
block drop in log quick inet from (em1) to any label "x"
block drop in log quick on ! lo1 inet from lo1:network to any label "x"
`, nil,
		},
		{
			"logs", "block log (to pflog0)\nblock log (to pflog2, user all)\nblock log (user, matches)",
			"block drop log all\nblock drop log (all, user, to pflog2) all\nblock drop log (matches, user) all\n", modern,
		},
	} {
		for _, d := range dialects {
			if c.on != nil && !slices.Contains(c.on, d) {
				continue
			}
			parsed := pf.Parse(c.text+"\n", d)
			if got := parsed.Expand().Print(); got != c.want || len(parsed.Problems) > 0 {
				t.Errorf("%v, %s: %v\n%s\nnot\n%s", d, c.name, parsed.Problems, got, c.want)
			}
		}
	}
}
