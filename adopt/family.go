package adopt

import (
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// family is the work on one family.
type family struct {
	algebra
	is6    bool
	filter *packet.Filter // without what no policy can ask for
	keys   []string       // the unknowns in it, which sections have keys for
	names  map[string]packet.Ranges
	own    []ownPackets

	first packet.Node // first packets of flows
	frame packet.Node // those of them that are compared
	icmp  packet.Node // ICMP of the family

	events   []*event
	lost     []Left      // rules that lead nowhere
	accepted packet.Node // of those that are compared
}

// ownPackets are some that every policy decides by itself.
type ownPackets struct {
	name string
	cond packet.Cond
}

// portZero is what a policy cannot name.
const portZero = "destination port 0"

// ownOf returns the packets that every policy decides by itself: what the policy
// without a section accepts, and those to port 0.
func ownOf(is6 bool) []ownPackets {
	rs := &rules.Ruleset{ICMP: rules.ICMPMinimal}
	var out []ownPackets
	for _, s := range rs.Filter(packet.Input, is6).Base[0].Rules {
		if s.Outcome == packet.OutcomeAccept && s.Place.Name != rules.ReasonEstablished {
			out = append(out, ownPackets{s.Place.Name, s.Cond})
		}
	}
	var withPorts packet.Any
	for _, p := range []packet.Proto{packet.TCP, packet.UDP, packet.SCTP, packet.DCCP, packet.UDPLite} {
		withPorts = append(withPorts, one(packet.FieldProto, uint64(p)))
	}
	return append(out, ownPackets{portZero, packet.All{withPorts, one(packet.FieldDstPort, 0)}})
}

func one(f packet.Field, n uint64) packet.Cond {
	return packet.In{Field: f, Set: packet.Ranges{packet.Single(packet.Number(n))}}
}

// apart returns the filter for the packets alone that are compared: all others pass
// every base chain.
func apart(f *packet.Filter, is6 bool) *packet.Filter {
	var own packet.Any
	for _, o := range ownOf(is6) {
		own = append(own, o.cond)
	}
	out := *f
	out.Base = nil
	for _, c := range f.Base {
		chain := *c
		chain.When = packet.All{packet.Not{Cond: own}}
		if c.When != nil {
			chain.When = packet.All{packet.Not{Cond: own}, c.When}
		}
		out.Base = append(out.Base, &chain)
	}
	return &out
}

// newFamily follows packets through a filter: those that fulfil a condition. Others
// are filters that are to be compared with it.
func newFamily(f *packet.Filter, is6 bool, over packet.Cond, lim Limits, others ...*packet.Filter) *family {
	s := packet.NewSpace(is6, packet.HostAddrs{}, lim.Nodes, append(others, f)...)
	if lim.Time > 0 {
		s.Until(time.Now().Add(lim.Time))
	}
	out := &family{algebra: algebra{s}, is6: is6, filter: f, names: map[string]packet.Ranges{}, own: ownOf(is6)}
	out.keys = sorted(f.Unknowns())
	out.first = out.set(packet.All{packet.FirstPackets(), over})
	out.frame = out.and(out.first, out.set(s.Frame(packet.Input)))
	for _, o := range out.own {
		out.frame = out.less(out.frame, out.set(o.cond))
	}
	proto := packet.ICMP
	if is6 {
		proto = packet.ICMPv6
	}
	out.icmp = out.set(one(packet.FieldProto, uint64(proto)))
	out.interfaces()
	w, accepted := walk(out.algebra, f, out.frame)
	out.events, out.lost, out.accepted = w.events, w.lost, accepted
	return out
}

// interfaces finds out which classes of interfaces each name stands for.
func (f *family) interfaces() {
	patterns := map[string]bool{"": true, "lo": true, "*": true}
	note := func(c packet.Cond) {
		if i, ok := c.(packet.Iface); ok {
			patterns[i.Pattern] = true
		}
	}
	f.filter.Steps(func(s *packet.Step) { eachCond(s.Cond, note) })
	all := f.set(f.Frame(packet.Input))
	for p := range patterns {
		set := f.only(f.set(packet.Iface{Pattern: p}), packet.FieldIn)
		if p == "*" {
			set = f.only(all, packet.FieldIn)
		}
		if parts := f.values(set, packet.FieldIn); len(parts) == 1 {
			f.names[p] = parts[0].Values
		}
	}
}

// kind is the set of packets to an address of a kind.
func (f *family) kind(k packet.AddrType) packet.Node {
	return f.set(one(packet.FieldDstType, uint64(k)))
}

// icmpTyped is the ICMP that is asked for by type: that is compared at all.
func (f *family) icmpTyped() packet.Node { return f.and(f.icmp, f.frame) }

// cond is the condition that a box stands for.
func (f *family) cond(b box) packet.Cond {
	c := packet.All{transportCond(b.transports)}
	if b.in != nil {
		in := make(packet.Any, len(b.in))
		for i, p := range b.in {
			in[i] = packet.Iface{Pattern: p}
		}
		c = append(c, in)
	}
	if b.fromHost {
		c = append(c, one(packet.FieldSrcType, uint64(packet.AddrLocal)))
	}
	if b.toHost {
		c = append(c, one(packet.FieldDstType, uint64(packet.AddrLocal)))
	}
	if b.to != nil {
		c = append(c, packet.In{Field: packet.FieldDst, Set: b.to})
	}
	if b.from != nil {
		c = append(c, packet.In{Field: packet.FieldSrc, Set: b.from})
	}
	for _, k := range b.keys {
		c = append(c, packet.Unknown{Key: k})
	}
	return c
}

func transportCond(ts []transport) packet.Cond {
	var c packet.Any
	for _, t := range ts {
		if t.any {
			return packet.All{}
		}
		all := packet.All{one(packet.FieldProto, uint64(t.proto))}
		if t.dst != nil {
			all = append(all, packet.In{Field: packet.FieldDstPort, Set: t.dst.Ranges()})
		}
		if t.src != nil {
			all = append(all, packet.In{Field: packet.FieldSrcPort, Set: t.src.Ranges()})
		}
		c = append(c, all)
	}
	return c
}
