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
		c = append(c, packet.Not{Cond: packet.Iface{Out: out, Pattern: "lo"}}, packet.Not{Cond: unroutable(addrField(out), is6)})
	}
	return c
}

// Comparable is the condition of the packets for which rules that were rendered for a
// policy can say what the policy says: of those that Comparable holds for the ones
// that the system can tell from others.
func (c *Config) Comparable(hook packet.Hook, is6 bool) packet.Cond {
	out := packet.All{Comparable(hook, is6)}
	if c.Dialect == MacOS && hook == packet.Output { // it does not know these
		out = append(out, packet.Not{Cond: packet.In{Field: packet.FieldDstType, Set: packet.Ranges{packet.Single(packet.Number(uint64(packet.AddrBroadcast)))}}})
	}
	ofHost := packet.Any{
		packet.In{Field: packet.FieldSrcType, Set: packet.Ranges{packet.Single(packet.Number(uint64(packet.AddrLocal)))}},
		linkOrNone(is6),
	}
	switch {
	case c.Dialect == FreeBSDOld && hook == packet.Output:
		return append(out, ofHost) // it tells packets of this host by their source
	case hook != packet.Forward:
		return out
	case c.Dialect == FreeBSDOld:
		out = append(out, packet.Not{Cond: ofHost})
	}
	for _, dst := range []bool{false, true} {
		out = append(out, packet.Not{Cond: c.neverRouted(addrField(dst), is6)})
	}
	return out
}

// linkOrNone holds for sources that a host has before it has an address.
func linkOrNone(is6 bool) packet.Cond {
	if is6 {
		return prefixes(packet.FieldSrc, "fe80::/10", "::/128")
	}
	return prefixes(packet.FieldSrc, "0.0.0.0/32")
}

// neverRouted are the addresses that the text says are never routed: those of the
// networks that the host was in when it was rendered are among them.
func (c *Config) neverRouted(f packet.Field, is6 bool) packet.Cond {
	var out packet.Any
	for _, l := range c.Lines {
		t, ok := l.(*Table)
		if !ok || t.Name != "never.routed" {
			continue
		}
		for _, e := range t.Entries {
			if e.Prefix.Addr().Is6() == is6 {
				out = append(out, packet.In{Field: f, Set: packet.NewRanges(prefixRange(e.Prefix))})
			}
		}
	}
	return out
}

// Baseline holds for the kinds of packets of which a policy accepts some without a
// state: each direction has rules of its own for them.
func Baseline(is6 bool) packet.Cond {
	numbers := func(f packet.Field, ns ...uint64) packet.Cond {
		rs := make([]packet.Range, len(ns))
		for i, n := range ns {
			rs[i] = packet.Single(packet.Number(n))
		}
		return packet.In{Field: f, Set: packet.NewRanges(rs...)}
	}
	icmp := packet.All{protocol(packet.ICMP), numbers(packet.FieldType, 3, 11, 12)}
	if is6 {
		icmp = packet.All{protocol(packet.ICMPv6), numbers(packet.FieldType, 1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 143)}
	}
	return packet.Any{
		packet.All{protocol(packet.UDP), numbers(packet.FieldDstPort, 67, 68, 546, 547)},
		icmp, protocol(packet.IGMP),
	}
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
		return types(1, 2, 3, 4, 129, 131, 132, 134, 140, 143, 200)
	case is6: // what a link needs begins one there
		return packet.Any{types(129, 140, 200), packet.All{types(131, 132, 134, 143), packet.Not{Cond: prefixes(packet.FieldSrc, "fe80::/10", "::/128")}}}
	case hook == packet.Forward:
		return types(0, 3, 9, 11, 12, 14, 16, 18, 34, 36)
	}
	return types(0, 9, 14, 16, 18, 34, 36)
}

// unroutable holds for addresses that no router sends on.
func unroutable(f packet.Field, is6 bool) packet.Cond {
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
