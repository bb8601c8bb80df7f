package rules

import (
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// Allowance is one kind of packet that the necessary baseline accepts. Renderers
// write a rule for each, so the baseline stands in one place only.
type Allowance struct {
	Name     string // comment and label: "neighbour discovery"
	Is6      bool   // the family it is for
	Proto    packet.Proto
	Types    []uint8        // ICMP types, sorted; empty: no test
	Src, Dst uint16         // UDP ports; zero: no test
	From     []netip.Prefix // source networks; empty: any
}

// Baseline is a list of allowances.
type Baseline []Allowance

var (
	linkLocal   = netip.MustParsePrefix("fe80::/10")
	unspecified = netip.MustParsePrefix("::/128")
)

// InputBaseline is what every host must receive to keep its network working:
// it is accepted before the connection state is looked at, because the kernel
// calls unsolicited ICMP errors invalid, and before blocks, because a block list
// that holds fe80::/10 would otherwise cut IPv6 off.
//
// Sources: RFC 4890 sections 4.3 and 4.4, RFC 4861 (types 133 to 137), RFC 2710
// and RFC 3810 (130 to 132, 143), RFC 792 and RFC 4443 (errors), RFC 2131
// (67 to 68), RFC 8415 (547 to 546).
var InputBaseline = Baseline{
	{Name: "icmp errors", Proto: packet.ICMP, Types: []uint8{3, 11, 12}},
	{Name: "icmp errors", Is6: true, Proto: packet.ICMPv6, Types: []uint8{1, 2, 3, 4}},
	{Name: "neighbour discovery", Is6: true, Proto: packet.ICMPv6, Types: []uint8{134, 135, 136}},
	{Name: "multicast listeners", Is6: true, Proto: packet.ICMPv6, Types: []uint8{130, 131, 132, 143}, From: []netip.Prefix{unspecified, linkLocal}},
	{Name: "igmp", Proto: packet.IGMP},
	{Name: "dhcp", Proto: packet.UDP, Src: 67, Dst: 68},
	{Name: "dhcpv6", Is6: true, Proto: packet.UDP, Src: 547, Dst: 546, From: []netip.Prefix{linkLocal}},
}

// OutputBaseline is what every host must send to keep its network working.
var OutputBaseline = Baseline{
	{Name: "icmp errors", Proto: packet.ICMP, Types: []uint8{3, 11, 12}},
	{Name: "icmp errors", Is6: true, Proto: packet.ICMPv6, Types: []uint8{1, 2, 3, 4}},
	{Name: "neighbour discovery", Is6: true, Proto: packet.ICMPv6, Types: []uint8{133, 134, 135, 136}},
	{Name: "multicast listeners", Is6: true, Proto: packet.ICMPv6, Types: []uint8{130, 131, 132, 143}},
	{Name: "igmp", Proto: packet.IGMP},
	{Name: "dhcp", Proto: packet.UDP, Src: 68, Dst: 67},
	{Name: "dhcpv6", Is6: true, Proto: packet.UDP, Src: 546, Dst: 547},
}

// Matches reports whether one of the allowances accepts the packet.
func (b Baseline) Matches(p packet.Packet) bool {
	return slices.ContainsFunc(b, func(a Allowance) bool { return a.matches(p) })
}

func (a Allowance) matches(p packet.Packet) bool {
	return a.Is6 == p.Is6() && a.Proto == p.Proto &&
		(len(a.Types) == 0 || slices.Contains(a.Types, p.Type)) &&
		(a.Src == 0 || a.Src == p.SrcPort) &&
		(a.Dst == 0 || a.Dst == p.DstPort) &&
		(len(a.From) == 0 || slices.ContainsFunc(a.From, func(f netip.Prefix) bool { return f.Contains(p.Src) }))
}

// The ICMP requests that `icmp = "all"` answers besides echo: router
// solicitation, timestamp, information and address mask request, extended echo
// (RFC 792, 950, 1256, 8335); for IPv6 router solicitation, node information
// query, inverse neighbour solicitation, home agent discovery, mobile prefix
// solicitation, extended echo (RFC 4861, 4620, 3122, 6275, 8335).
var (
	requests4 = []uint8{10, 13, 15, 17, 42}
	requests6 = []uint8{133, 139, 141, 144, 146, 160}
)

// Echo requests (RFC 792, RFC 4443).
const (
	echoRequest4 uint8 = 8
	echoRequest6 uint8 = 128
)

// Types returns the ICMP types that are answered, sorted; empty for ICMPMinimal.
func (m ICMP) Types(is6 bool) []uint8 {
	echo, others := echoRequest4, requests4
	if is6 {
		echo, others = echoRequest6, requests6
	}
	switch m {
	case ICMPMinimal:
		return nil
	case ICMPAll:
		types := append([]uint8{echo}, others...)
		slices.Sort(types)
		return types
	default:
		return []uint8{echo}
	}
}

// Answers reports whether the packet is an ICMP request that is answered.
func (m ICMP) Answers(p packet.Packet) bool {
	return isICMP(p) && slices.Contains(m.Types(p.Is6()), p.Type)
}

// isICMP reports whether the packet is ICMP of its own family: protocol 1 over
// IPv6 or 58 over IPv4 is just another protocol.
func isICMP(p packet.Packet) bool {
	return p.Is6() && p.Proto == packet.ICMPv6 || !p.Is6() && p.Proto == packet.ICMP
}

func isEcho(p packet.Packet) bool { return ICMPStandard.Answers(p) }
