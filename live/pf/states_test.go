package pf

import (
	"fmt"
	"testing"
)

// States as pfctl -ss prints them, with and without numbers, of both families,
// translated or not; what has no ports is left out.
func TestStates(t *testing.T) {
	const text = `all tcp 192.0.2.10:22 <- 203.0.113.9:51234       ESTABLISHED:ESTABLISHED
   [1203 + 64240] wscale 7  [99 + 502] wscale 7
   age 00:10:02, expires in 23:59:58, 20:18 pkts, 2000:1800 bytes, rule 7
   id: 6745f3a200000001 creatorid: 5a3c1f02
em0 tcp 2001:db8::10[22] <- 2001:db8::9[51234]       ESTABLISHED:ESTABLISHED
all udp 10.0.0.5:4000 (192.0.2.10:61000) -> 198.51.100.7:53       MULTIPLE:SINGLE
   id: 6745f3a200000003 creatorid: 5a3c1f02
all icmp 192.0.2.10:8 <- 203.0.113.9:8       0:0
   id: 6745f3a200000004 creatorid: 5a3c1f02
all tcp fe80::1[179] -> fe80::2%em0[40000]       ESTABLISHED:ESTABLISHED
all carp 192.0.2.10 -> 224.0.0.18       SINGLE:NO_TRAFFIC
`
	want := []string{
		"tcp 203.0.113.9:51234 192.0.2.10:22 false false 6745f3a200000001",
		"tcp [2001:db8::9]:51234 [2001:db8::10]:22 false false ",
		"udp 10.0.0.5:4000 198.51.100.7:53 true true 6745f3a200000003",
		"tcp [fe80::1]:179 [fe80::2]:40000 false true ",
	}
	got := parseStates(text)
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, f := range got {
		if text := fmt.Sprint(f.Proto, " ", f.Src, " ", f.Dst, " ", f.Translated, " ", f.Out, " ", f.ID); text != want[i] {
			t.Errorf("%s, want %s", text, want[i])
		}
	}
	if local, remote := got[0].Ends(); local.Port() != 22 || remote.Port() != 51234 {
		t.Errorf("%s with %s", local, remote)
	}
}
