package pf

import (
	"net/netip"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/rules"
)

// neverRouted is the table of destinations that are for this host although no
// interface has them. All three kernels take 0.0.0.0 for a broadcast. Link-local
// addresses are never routed; said on their own, they do not depend on how a
// kernel keeps their scope.
func (b *builder) neverRouted() Host {
	var set netipx.IPSetBuilder
	for _, h := range []Host{unspecified4, limitedBroadcast, multicast4, multicast6, linkLocal6} {
		set.AddPrefix(h.Prefix)
	}
	if b.classful {
		b.addClassful(&set)
	}
	all, err := set.IPSet()
	if err != nil {
		panic(err) // the prefixes above are valid, and so are those of the facts
	}
	return b.table("never routed", Table{Name: "never.routed", Const: true, Entries: entries(all)})
}

// addClassful adds the broadcast addresses of the classes that the host's
// addresses are in. What is not refused there would reach a closed UDP port.
func (b *builder) addClassful(set *netipx.IPSetBuilder) {
	if b.rs.Host == nil {
		if b.rs.Routed == rules.RoutedIgnore {
			b.note(rules.Pos{}, b.system+" takes what is broadcast to a whole class A, B or C network, and the networks are not known", "render with the facts of the host")
		}
		return
	}
	for _, i := range b.rs.Host.Interfaces {
		for _, p := range i.Addrs {
			if bc, ok := classBroadcast(p.Addr()); ok && !i.Loopback && !b.rs.Host.Broadcast(bc) {
				set.Add(bc)
			}
		}
	}
}

// classBroadcast is the last address of the class A, B or C network of an address
// (RFC 791, section 3.2).
func classBroadcast(a netip.Addr) (netip.Addr, bool) {
	if !a.Is4() {
		return a, false
	}
	b := a.As4()
	host := 1 // bytes
	switch {
	case b[0] < 128:
		host = 3
	case b[0] < 192:
		host = 2
	case b[0] >= 224:
		return a, false
	}
	for i := 4 - host; i < 4; i++ {
		b[i] = 255
	}
	return netip.AddrFrom4(b), true
}
