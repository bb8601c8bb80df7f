package pf

import (
	"net/netip"

	"github.com/fwctl/fwctl/packet"
)

// Comparable is the condition of packets for which rules of pf can be held against
// rules of another kind. It leaves out what begins no flow, and what pf or the kernel
// behind it treats alike whatever the rules say: ICMP of the other family, which is
// thrown away; ICMP answers and, of routed packets, ICMP errors, which others take
// for invalid; addresses that are never routed.
func Comparable(hook packet.Hook, is6 bool) packet.Cond {
	own, foreign := packet.ICMP, packet.ICMPv6
	if is6 {
		own, foreign = foreign, own
	}
	c := packet.All{
		packet.Not{Cond: protocol(foreign)},
		packet.Not{Cond: packet.All{protocol(own), noBeginning(hook, is6)}},
	}
	if hook != packet.Forward {
		return c
	}
	for _, out := range []bool{false, true} {
		c = append(c, packet.Not{Cond: packet.Iface{Out: out, Pattern: "lo"}}, packet.Not{Cond: neverRouted(addrField(out), is6)})
	}
	return c
}

// noBeginning holds for types of ICMP that begin no flow.
func noBeginning(hook packet.Hook, is6 bool) packet.Cond {
	types := func(ts ...uint64) packet.Cond {
		rs := make([]packet.Range, len(ts))
		for i, t := range ts {
			rs[i] = packet.Single(packet.Number(t))
		}
		return packet.In{Field: packet.FieldType, Set: packet.NewRanges(rs...)}
	}
	switch {
	case is6 && hook == packet.Forward:
		return types(1, 2, 3, 4, 129, 131, 132, 134, 140, 143)
	case is6: // what a link needs begins one there
		return packet.Any{types(129, 140), packet.All{types(131, 132, 134, 143), packet.Not{Cond: prefixes(packet.FieldSrc, "fe80::/10", "::/128")}}}
	case hook == packet.Forward:
		return types(0, 3, 9, 11, 12, 14, 16, 18)
	}
	return types(0, 9, 14, 16, 18)
}

// neverRouted holds for addresses that no router sends on.
func neverRouted(f packet.Field, is6 bool) packet.Cond {
	if is6 {
		return prefixes(f, "ff00::/8", "fe80::/10", "::/128")
	}
	return prefixes(f, "224.0.0.0/4", "0.0.0.0/32", "255.255.255.255/32")
}

func prefixes(f packet.Field, ps ...string) packet.Cond {
	rs := make([]packet.Range, len(ps))
	for i, p := range ps {
		rs[i] = prefixRange(netip.MustParsePrefix(p))
	}
	return packet.In{Field: f, Set: packet.NewRanges(rs...)}
}
