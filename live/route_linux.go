package live

import (
	"net/netip"

	"github.com/vishvananda/netlink"
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
