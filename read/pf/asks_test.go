package pf_test

import (
	"slices"
	"testing"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
)

// Two texts that mean the same, of which one is plainer.
func TestSaysTheSame(t *testing.T) {
	for _, c := range []struct {
		name, text, plain string
		on                []pf.Dialect
	}{
		{
			"conditions of an anchor", "anchor \"x\" inet proto icmp icmp-type echoreq {\nblock all\n}",
			"block inet proto icmp all icmp-type echoreq", nil,
		},
		{
			"what no packet tells of an anchor", "anchor \"x\" proto tcp user root flags S/SA {\nblock all\n}",
			"block proto tcp all user root flags S/SA", nil,
		},
		{
			"an anchor that tags", "anchor \"x\" in proto tcp to port 22 tag RED {\npass tagged BLUE\n}\nblock in tagged RED",
			"block in proto tcp to port 22", nil,
		},
		{"lists in lists", "block from { 192.0.2.1 { 192.0.2.4, 2001:db8::1 } }", "block from { 192.0.2.1 192.0.2.4 2001:db8::1 }", nil},
		{"any among others", "block from { 192.0.2.1 any }", "block all", modern},
		{"any among others, long ago", "block from { 192.0.2.1 any }", "block from 192.0.2.1", old},
		{"an answer by another way", "block\npass in proto tcp reply-to 192.0.2.1", "block\npass in inet proto tcp", openBSD},
		{"an answer by another way, long ago", "block\npass in reply-to (em1 192.0.2.1) proto tcp", "block\npass in inet proto tcp", notOpen},
		{"tags filled in", "pass\nmatch from { 192.0.2.1, 192.0.2.4 } tag \"of $srcaddr\"\nblock tagged \"of 192.0.2.4\"", "pass\nblock from 192.0.2.4", modern},
		{"tags asked for that are filled in", "pass\npass in proto tcp to port 80 no state tag \"80\"\nblock in proto tcp to port { 80, 443 } tagged \"$dstport\"", "pass\nblock in proto tcp to port 80", nil},
		{"users said twice", "block proto tcp user www user { 7, root }", "block proto tcp user { 7 0 www }", nil},
		{
			"both ways with ports", "match on em0 inet proto tcp from 192.0.2.7 port 80 binat-to 203.0.113.200\nblock in proto tcp to 192.0.2.7",
			"match out on em0 inet proto tcp from 192.0.2.7 port 80 nat-to 203.0.113.200 static-port\nmatch in on em0 inet proto tcp to 203.0.113.200 port 80 rdr-to 192.0.2.7\nblock in proto tcp to 192.0.2.7",
			openBSD,
		},
		{
			"limits of a list", "block\npass in proto tcp to port { 80 443 } keep state (max 100)",
			"block\npass in proto tcp to port 80 keep state (max 100, adaptive.start 60, adaptive.end 120)\npass in proto tcp to port 443 flags S/SA keep state (adaptive.end 120, adaptive.start 60, max 100)", nil,
		},
		{"a list of users", "block\npass in proto tcp user { www, 7 } group { 0 www }", "block\npass in proto tcp user www group 0\npass in proto tcp user www group www\npass in proto tcp user 7 group { www 0 }", nil},
		{"dice of a list", "block\npass in proto { tcp udp } probability 50%", "block\npass in proto tcp probability 50%\npass in proto udp probability 50%", nil},
		{"a port in hexadecimal", "block proto tcp to port 0x16", "block proto tcp to port 22", nil},
	} {
		for _, d := range dialects {
			if c.on != nil && !slices.Contains(c.on, d) {
				continue
			}
			sameMeaning(t, d, c.name, c.text, c.plain)
		}
	}
}

// sameMeaning proves for every packet that two texts mean the same.
func sameMeaning(t *testing.T, d pf.Dialect, name, a, b string) {
	t.Helper()
	ca, cb := pf.Parse(a+"\n", d), pf.Parse(b+"\n", d)
	if len(ca.Problems)+len(cb.Problems) > 0 {
		t.Errorf("%v, %s: %v %v", d, name, ca.Problems, cb.Problems)
		return
	}
	opt := pf.Options{Links: links, Groups: groups}
	for _, is6 := range []bool{false, true} {
		for _, hook := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
			t.Run(name, func(t *testing.T) { equal(t, pf.Filter(ca, hook, is6, opt), pf.Filter(cb, hook, is6, opt), is6) })
		}
	}
}
