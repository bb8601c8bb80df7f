package packet

import "net/netip"

// Link is what rules can ask of an interface.
type Link struct {
	Name  string
	Type  uint16 // ARPHRD_*, linux/if_arp.h: 1 Ethernet, 772 loopback
	Group uint32
	Addrs []netip.Prefix // in the order in which the kernel has them; nil if they are not known
}

// Addresses returns those of a family, the broadcast addresses with them.
func (l Link) Addresses(is6 bool) Ranges {
	var rs []Range
	for _, p := range l.Addrs {
		if p.Addr().Is6() != is6 {
			continue
		}
		v := AddrValue(p.Addr())
		rs = append(rs, Single(v))
		if !is6 && p.Bits() < 31 {
			rs = append(rs, Single(v.Or(Ones(uint(32-p.Bits())))))
		}
	}
	return NewRanges(rs...)
}

// Redirected says where some of the packets are sent that came by an interface and
// are redirected to this host.
type Redirected struct {
	When Cond       // of the packets that fulfil no condition before it; nil: all
	Addr netip.Addr // the zero Addr: they are dropped
}

// Redirect returns the addresses that Linux redirects packets to: the interface's
// first one. For IPv6 it has to be of the scope of the destination, if that is not
// global (nf_nat_redirect.c).
func (l Link) Redirect(is6 bool) []Redirected {
	every := func(netip.Addr) bool { return true }
	if !is6 || len(l.Addresses(true)) == 0 {
		return []Redirected{{Addr: l.First(is6, every)}}
	}
	return []Redirected{
		{multicast(1), l.First(true, netip.Addr.IsLoopback)},
		{linkLocal, l.First(true, netip.Addr.IsLinkLocalUnicast)},
		{Any{unicast(0xfec0), multicast(5)}, netip.Addr{}},
		{nil, l.First(true, every)},
	}
}

// linkLocal is the condition that the destination is of the scope of a link.
var linkLocal = Any{unicast(0xfe80), multicast(2)}

// unicast and multicast are the conditions that the destination is of a scope of
// IPv6 (RFC 4291): the first has a prefix of ten bits, the second a number.
func unicast(prefix uint64) Cond {
	return Bits{FieldDst, Value{Hi: 0xffc0 << 48}, Value{Hi: prefix << 48}}
}

func multicast(scope uint64) Cond {
	return Bits{FieldDst, Value{Hi: 0xff0f << 48}, Value{Hi: (0xff00 | scope) << 48}}
}

// First returns the first address of a family that will do, the zero Addr if there
// is none.
func (l Link) First(is6 bool, good func(netip.Addr) bool) netip.Addr {
	for _, p := range l.Addrs {
		if p.Addr().Is6() == is6 && good(p.Addr()) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}
