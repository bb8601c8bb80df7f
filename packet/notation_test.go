package packet

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Packet
	}{
		{"in eth0 tcp 203.0.113.9 -> 192.0.2.10:8000",
			Packet{In: "eth0", Proto: TCP, Src: addr("203.0.113.9"), Dst: addr("192.0.2.10"), SrcPort: EphemeralPort, DstPort: 8000, Flags: SYN}},
		{"udp [2001:db8::1]:5353 to [ff02::fb]:5353",
			Packet{Proto: UDP, Src: addr("2001:db8::1"), Dst: addr("ff02::fb"), SrcPort: 5353, DstPort: 5353}},
		{"out eth1 icmp 203.0.113.9 -> 192.0.2.10 destination-unreachable/3",
			Packet{Hook: Output, Out: "eth1", Proto: ICMP, Src: addr("203.0.113.9"), Dst: addr("192.0.2.10"), Type: 3, Code: 3}},
		{"icmp 2001:db8::9 -> 2001:db8::1", // icmp means the family's own
			Packet{Proto: ICMPv6, Src: addr("2001:db8::9"), Dst: addr("2001:db8::1"), Type: 128}},
		{"1 2001:db8::9 -> 2001:db8::1 8", // a number means the number
			Packet{Proto: ICMP, Src: addr("2001:db8::9"), Dst: addr("2001:db8::1"), Type: 8}},
		{"in wg0 out eth0 vrrp 10.0.0.1 -> 224.0.0.18",
			Packet{Hook: Forward, In: "wg0", Out: "eth0", Proto: 112, Src: addr("10.0.0.1"), Dst: addr("224.0.0.18")}},
		{"output tcp 10.0.0.1:22 -> 10.0.0.2:4000 established flags syn,ack",
			Packet{Hook: Output, State: Established, Proto: TCP, Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), SrcPort: 22, DstPort: 4000, Flags: SYN | ACK}},
	} {
		got, err := Parse(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", tt.text, got, err, tt.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		text   string
		offset int
		want   string
	}{
		{"", 0, "the packet needs a protocol (write for example: tcp 203.0.113.9 -> 192.0.2.10:22)"},
		{"tcp 10.0.0.1 -", 13, `the packet ends before its destination (quote the packet, an unquoted > is the shell's; or write "to" for "->")`},
		{"tcp 10.0.0.1", 12, `the packet ends before its destination (quote the packet, an unquoted > is the shell's; or write "to" for "->")`},
		{"tcp 10.0.0.1 ->", 15, "the packet needs a destination"},
		{"tcp -> 10.0.0.1:22", 4, "the packet needs a source"},
		{"tcp 10.0.0.1 => 10.0.0.2:22", 13, `expected -> or to before the destination, not "=>"`},
		{"TCP 10.0.0.1 -> 10.0.0.2:22", 0, `unknown protocol "TCP" (protocols are lower case: tcp)`},
		{"tcpp 10.0.0.1 -> 10.0.0.2:22", 0, `unknown protocol "tcpp"`},
		{"in eth0 in eth1 tcp 10.0.0.1 -> 10.0.0.2:22", 8, `"in" is given twice`},
		{"in", 2, `"in" needs the name of an interface`},
		{"tcp 10.0.0.1 -> 10.0.0.2", 16, "the destination needs a port (write for example 10.0.0.2:22)"},
		{"tcp 10.0.0.1 -> 10.0.0.2:65536", 16, `bad port "65536" (a number from 0 to 65535, or a range such as 8000-8010)`},
		{"tcp 10.0.0.1 -> 10.0.0.2:9-8", 16, `bad port "9-8" (a number from 0 to 65535, or a range such as 8000-8010)`},
		{"tcp 10.0.0.1 -> :22", 16, "the destination has no address"},
		{"gre 10.0.0.1 -> 10.0.0.2:22", 16, "protocol gre has no ports"},
		{"any 10.0.0.1 -> 10.0.0.2", 4, "one packet has one protocol, not any (any is for tests of a policy)"},
		{"tcp 10.0.0.1 -> host:22", 16, `"host" is not an address`},
		{"tcp 10.0.0.1 -> [2001:db8::1]:22", 16, "source and destination are of different address families"},
		{"icmpv6 10.0.0.1 -> 10.0.0.2", 19, "ICMPv6 does not go with an IPv4 address (write icmp)"},
		{"icmp 10.0.0.1 -> 10.0.0.2 echo-requst", 26, `unknown icmp type "echo-requst" (a name as nft has it, such as echo-request, or a number)`},
		{"icmp 10.0.0.1 -> 10.0.0.2 3/256", 26, `bad icmp code "256" (a number from 0 to 255)`},
		{"icmp 10.0.0.1 -> 10.0.0.2 3 4", 28, `unexpected "4" behind the destination`},
		{"tcp 10.0.0.1 -> 10.0.0.2:22 flags sin", 34, `bad TCP flags "sin" (flags are fin, syn, rst, psh, ack, urg, joined by commas, or none)`},
		{"udp 10.0.0.1 -> 10.0.0.2:22 new new", 32, `unexpected "new" behind the destination`},
		{"udp fe80::1%eth0 -> [fe80::2]:22", 4, `"fe80::1%eth0" is not an address`},
	} {
		_, err := Parse(tt.text)
		var se *SyntaxError
		if !errors.As(err, &se) || err.Error() != tt.want || se.Offset != tt.offset {
			t.Errorf("%q: got %v at %+v, want %s at %d", tt.text, err, se, tt.want, tt.offset)
		}
	}
}

func TestExprNames(t *testing.T) {
	e, err := ParseExpr("in wg* tcp office:1000-2000 -> host:8000")
	if err != nil {
		t.Fatal(err)
	}
	if e.In != "wg*" || e.Src.Name != "office" || !e.Src.Ports.Equal(NewPorts(PortRange{1000, 2000})) || e.Dst.Name != "host" || e.Flags != nil {
		t.Errorf("got %+v", e)
	}
	p, err := e.Packet(func(name string, is6 bool) (netip.Addr, bool) {
		return map[string]netip.Addr{"office": addr("198.51.100.1"), "host": addr("192.0.2.1")}[name], !is6
	})
	if want := "in wg* tcp 198.51.100.1:1000 -> 192.0.2.1:8000"; err != nil || p.String() != want {
		t.Errorf("got %s, %v, want %s", p, err, want)
	}
}

// The family that a name is asked for is that of the other end.
func TestExprFamily(t *testing.T) {
	for text, want := range map[string]bool{
		"icmp 203.0.113.9 -> host echo-request": false,
		"icmp 2001:db8::9 -> host echo-request": true,
		"icmpv6 any -> host":                    true,
		"tcp any -> [2001:db8::9]:22":           true,
		"tcp any -> host:22":                    false,
	} {
		e, err := ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Packet(func(_ string, is6 bool) (netip.Addr, bool) {
			if is6 != want {
				t.Errorf("%s: asked for is6 %v", text, is6)
			}
			if is6 {
				return netip.IPv6Loopback(), true
			}
			return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
		})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// drawPacket draws any packet that can be written.
func drawPacket(t *rapid.T) Packet {
	name := rapid.SampledFrom([]string{"", "", "eth0", "wg0", "in", "to", "tcp"})
	p := Packet{
		Hook:  Hook(rapid.IntRange(0, 2).Draw(t, "hook")),
		In:    name.Draw(t, "in"),
		Out:   name.Draw(t, "out"),
		State: State(rapid.IntRange(0, 4).Draw(t, "state")),
		Proto: rapid.OneOf(rapid.SampledFrom([]Proto{TCP, UDP, ICMP, ICMPv6}), rapid.Map(rapid.Byte(), func(b byte) Proto { return Proto(b) })).Draw(t, "proto"),
	}
	n := rapid.SampledFrom([]int{4, 16}).Draw(t, "length")
	ends := rapid.SliceOfN(rapid.Byte(), 2*n, 2*n).Draw(t, "addresses")
	src, _ := netip.AddrFromSlice(ends[:n])
	dst, _ := netip.AddrFromSlice(ends[n:])
	p.Src, p.Dst = src.Unmap(), dst.Unmap()
	if p.Src.Is6() != p.Dst.Is6() {
		p.Src = p.Dst
	}
	if p.Proto.HasPorts() {
		p.SrcPort, p.DstPort = rapid.Uint16().Draw(t, "sport"), rapid.Uint16().Draw(t, "dport")
	}
	if p.Proto.IsICMP() {
		p.Type, p.Code = rapid.Byte().Draw(t, "type"), rapid.Byte().Draw(t, "code")
	}
	if p.Proto == TCP {
		p.Flags = Flags(rapid.Byte().Draw(t, "flags"))
	}
	return p
}

func TestNotationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPacket(t)
		got, err := Parse(p.String())
		if err != nil || got != p {
			t.Fatalf("%s reads as %+v, %v, not %+v", p, got, err, p)
		}
	})
}

// Whatever parses prints to a text that reads the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"in eth0 tcp 203.0.113.9 -> 192.0.2.10:8000", "udp [2001:db8::1]:5353 -> [ff02::fb]:5353",
		"icmp 203.0.113.9 -> host echo-request", "forward in a out b 1 ::1 to ::2 8/1 invalid", "any any -> host",
		"tcp 1.2.3.4:0-5 -> 1.2.3.5:1 related flags none", "tcp ::ffff:1.2.3.4 -> 1.2.3.5:1", "tcp 10.0.0.1 -",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			var se *SyntaxError
			if !errors.As(err, &se) || se.Offset < 0 || se.Offset > len(s) {
				t.Fatalf("%q: error %v has no place", s, err)
			}
			return
		}
		if again, err := Parse(p.String()); err != nil || again != p {
			t.Fatalf("%q is %s, which reads as %+v, %v", s, p, again, err)
		}
	})
}

func TestICMPNamesReadBack(t *testing.T) {
	for _, proto := range []Proto{ICMP, ICMPv6} {
		for typ := range 256 {
			got, ok := ParseICMPType(proto, ICMPTypeName(proto, uint8(typ)))
			if !ok || int(got) != typ {
				t.Errorf("%s type %d reads back as %d", proto, typ, got)
			}
		}
	}
	if slices.Contains([]string{"", "8x", "256"}, ICMPTypeName(ICMP, 8)) {
		t.Error("echo request has no name")
	}
}
