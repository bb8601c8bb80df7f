package live

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteTo returns the name of the interface by which a packet to the address
// leaves, "" if there is no route. For an address of the host it is "lo".
func RouteTo(a netip.Addr) string {
	routes, err := netlink.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 {
		return ""
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return ""
	}
	return link.Attrs().Name
}

// RouteBack reports whether a packet without a mark to the address may leave by the
// interface. An address of the host is reached by none. known is false if the
// routes could not be asked.
func RouteBack(a netip.Addr, link string) (back, known bool) {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return false, false
	}
	index := l.Attrs().Index
	options := &netlink.RouteGetOptions{FIBMatch: true}
	if a.IsLinkLocalUnicast() && a.Is6() {
		options.OifIndex = index
	}
	routes, err := netlink.RouteGetWithOptions(a.AsSlice(), options)
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.EINVAL):
		return false, true // none, or one that refuses
	case err != nil || len(routes) == 0:
		return false, false
	}
	r := routes[0]
	if r.Type != unix.RTN_UNICAST {
		return false, true
	}
	return r.LinkIndex == index || slices.ContainsFunc(r.MultiPath, func(n *netlink.NexthopInfo) bool { return n.LinkIndex == index }), true
}

// ComesBy returns the interface by which the packets of a connection come in, "" if
// that is not sure: the one that has its address here and leads to its other end.
func ComesBy(c Connection) string {
	name := RouteTo(c.Src.Addr())
	l, err := netlink.LinkByName(name)
	if err != nil {
		return ""
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil || !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.Equal(c.Dst.Addr().AsSlice()) }) {
		return ""
	}
	return name
}
