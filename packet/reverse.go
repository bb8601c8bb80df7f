package packet

// The unknowns of a reverse path: that the routes to a packet's source lead out
// of the interface by which it came (RFC 3704, section 2.2). Linux may choose them
// by the packet's mark.
const (
	RouteBack       = "a route back to the source by its interface"
	MarkedRouteBack = RouteBack + ", for its mark"
)

// ReversePath is the condition that a packet fulfils where a rule asks for a
// reverse path, which only the host's routes can tell. Linux does not ask them of
// loopback, nor of a host that does not know its address yet
// (nft_fib_ipv4.c, nft_fib_ipv6.c, ipt_rpfilter.c and ip6t_rpfilter.c of Linux).
func ReversePath(is6, marked bool) Cond {
	key := RouteBack
	if marked {
		key = MarkedRouteBack
	}
	c := Any{Iface{Pattern: "lo"}, Unknown{Key: key}}
	if is6 {
		return append(c, All{
			In{FieldSrc, Ranges{{}}}, In{FieldProto, Ranges{Single(Number(uint64(ICMPv6)))}}, linkLocal,
		})
	}
	return append(c, All{
		In{FieldSrc, Ranges{{Hi: Number(0x00ffffff)}}},
		In{FieldDst, Ranges{{Number(0xe0000000), Number(0xe00000ff)}, Single(Number(0xffffffff))}},
	})
}
