package gen

import (
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// KernelState returns the state that Linux gives a packet that belongs to no
// flow, without being asked to leave it untracked. Sources: nf_conntrack_proto_
// tcp.c, _icmp.c, _icmpv6.c of Linux 6.18; the laboratory's tests compare.
func KernelState(p packet.Packet) packet.State {
	switch p.Proto {
	case packet.TCP:
		return tcpState(p.Flags)
	case packet.ICMP:
		if !p.Is6() && slices.Contains([]uint8{8, 13, 15, 17}, p.Type) {
			return packet.New // the requests that have a reply: echo, timestamp, information, mask
		}
		return packet.Invalid
	case packet.ICMPv6:
		return icmp6State(p)
	}
	return packet.New
}

// tcpState: a SYN opens a flow, and so does a lone ACK, by which a flow is picked
// up that was there before its tracking (nf_conntrack_tcp_loose).
func tcpState(f packet.Flags) packet.State {
	switch f &^ (packet.PSH | packet.URG | 1<<6 | 1<<7) {
	case packet.SYN, packet.ACK:
		return packet.New
	}
	return packet.Invalid
}

func icmp6State(p packet.Packet) packet.State {
	switch {
	case !p.Is6():
		return packet.Invalid
	case p.Type == 128 || p.Type == 139: // echo request, node information query
		return packet.New
	case p.Type >= 130 && p.Type <= 136 || p.Type == 143: // listeners and neighbours
		return packet.Untracked
	}
	return packet.Invalid
}

// extensionHeaders are IPv6's: as protocol numbers they are no protocols
// (RFC 8200, section 4; RFC 4302; RFC 4303 is read as a protocol by Linux, but
// takes part in its search for one).
var extensionHeaders = []packet.Proto{0, 43, 44, 51, 59, 60}

// Deliverable reports whether a kernel with the host's addresses takes the
// packet to its hook, and answers it there if it is to be rejected.
func Deliverable(p packet.Packet, h *rules.Host) bool {
	switch {
	case p.Is6() != p.Src.Is6(), p.Is6() && slices.Contains(extensionHeaders, p.Proto):
		return false
	case p.Is6() && p.Proto == packet.ICMPv6 && p.Type >= 151 && p.Type <= 153:
		return false // multicast router discovery: its state depends on the kernel's version
	}
	switch p.Hook {
	case packet.Output:
		return deliverableOut(p, h)
	case packet.Forward:
		return deliverableThrough(p, h)
	}
	return deliverableIn(p, h)
}

func deliverableIn(p packet.Packet, h *rules.Host) bool {
	if !has(h, p.In) || p.Out != "" {
		return false
	}
	if p.In == "lo" {
		return h.Local(p.Src) && h.Local(p.Dst) && !p.Src.IsLinkLocalUnicast() && !p.Dst.IsLinkLocalUnicast()
	}
	return goodSource(p, h) && !p.Dst.IsLoopback() && (p.Dst.IsMulticast() && goodMulticast(p.Dst) || h.Broadcast(p.Dst) ||
		h.Local(p.Dst) && (!p.Dst.Is6() || !p.Dst.IsLinkLocalUnicast() || on(h, p.In, p.Dst)))
}

func deliverableThrough(p packet.Packet, h *rules.Host) bool {
	return p.In != "lo" && p.Out != "lo" && has(h, p.In) && has(h, p.Out) &&
		goodSource(p, h) && !p.Src.IsUnspecified() && !(p.Src.Is6() && p.Src.IsLinkLocalUnicast()) &&
		farAddr(p.Dst, h) && !(p.Dst.Is6() && p.Dst.IsLinkLocalUnicast())
}

func deliverableOut(p packet.Packet, h *rules.Host) bool {
	if p.In != "" || !has(h, p.Out) || !h.Local(p.Src) || p.Src.IsLinkLocalUnicast() && p.Src.Is6() && !on(h, p.Out, p.Src) {
		return false
	}
	if p.Out == "lo" {
		return h.Local(p.Dst) && !p.Dst.IsLinkLocalUnicast() && !p.Src.IsLinkLocalUnicast()
	}
	return !p.Src.IsLoopback() && !p.Dst.IsLoopback() && (farAddr(p.Dst, h) || p.Dst.IsMulticast() && goodMulticast(p.Dst) || h.Broadcast(p.Dst))
}

// farAddr reports whether the address is another host's.
func farAddr(a netip.Addr, h *rules.Host) bool {
	if a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240) {
		return false
	}
	return !h.Local(a) && !h.Broadcast(a) && !a.IsMulticast() && !a.IsLoopback() && !a.IsUnspecified() && !anycast(a, h)
}

// anycast reports whether the address is that of all routers of one of the
// host's networks (RFC 4291, section 2.6.1), which a router takes for its own.
func anycast(a netip.Addr, h *rules.Host) bool {
	return slices.ContainsFunc(h.Interfaces, func(i rules.Interface) bool {
		return slices.ContainsFunc(i.Addrs, func(p netip.Prefix) bool { return a.Is6() && p.Masked().Addr() == a })
	})
}

// goodSource reports whether the kernel believes the source. An unspecified one
// is for who has no address yet. The link-local address of another interface is
// left out: it may be anybody's there, and nft(8) ("fib saddr type local") and
// iptables ("addrtype") do not agree on whose.
func goodSource(p packet.Packet, h *rules.Host) bool {
	if p.Src.Is6() && p.Src.IsLinkLocalUnicast() && h.Local(p.Src) && !on(h, p.In, p.Src) {
		return false
	}
	if p.Src.IsUnspecified() {
		return p.Src.Is6() && p.Proto == packet.ICMPv6 && p.Dst.IsMulticast() || h.Broadcast(p.Dst) && p.Dst.As4()[3] == 255 && p.Dst.As4()[0] == 255
	}
	return h.Local(p.Src) && !p.Src.IsLoopback() || farAddr(p.Src, h)
}

// goodMulticast leaves out scopes that stay within a node (RFC 7346).
func goodMulticast(a netip.Addr) bool {
	return a.Is4() || a.As16()[1]&0xf > 1
}

func has(h *rules.Host, name string) bool {
	return slices.ContainsFunc(h.Interfaces, func(i rules.Interface) bool { return i.Name == name })
}

func on(h *rules.Host, name string, a netip.Addr) bool {
	return slices.ContainsFunc(h.Interfaces, func(i rules.Interface) bool {
		return i.Name == name && slices.ContainsFunc(i.Addrs, func(p netip.Prefix) bool { return p.Addr() == a })
	})
}
