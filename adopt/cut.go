package adopt

import (
	"cmp"
	"maps"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// cut takes a set of sayable fields apart.
func (f *family) cut(set packet.Node) (out []box, why string) {
	for _, in := range f.values(set, packet.FieldIn) {
		if f.and(f.and(f.set(packet.In{Field: packet.FieldIn, Set: in.Values}), in.Rest), f.frame) == packet.False {
			continue // nothing of it is compared
		}
		names, ok := f.patterns(in.Values)
		if !ok {
			why = "a policy cannot say: by every interface but some"
			continue
		}
		found, w := f.ends(in.Rest, names)
		out, why = append(out, found...), cmp.Or(why, w)
	}
	return slices.DeleteFunc(joined(out), f.idle), why
}

// idle reports whether a box says nothing of the packets that are compared.
func (f *family) idle(b box) bool { return f.and(f.set(f.cond(b)), f.frame) == packet.False }

// ends takes apart what enters by the same interfaces.
func (f *family) ends(set packet.Node, names []string) (out []box, why string) {
	for _, p := range f.values(set, packet.FieldProto) {
		for _, d := range f.values(p.Rest, packet.FieldDstPort) {
			for _, s := range f.values(d.Rest, packet.FieldSrcPort) {
				dst, someDst := portsOf(d.Values)
				src, someSrc := portsOf(s.Values)
				if !someDst || !someSrc {
					continue
				}
				ts, ok := transportsOf(p.Values, dst, src)
				if !ok {
					why = "a policy cannot say: every protocol but some"
					continue
				}
				if len(ts) == 0 {
					continue
				}
				for _, to := range f.values(s.Rest, packet.FieldDst) {
					for _, from := range f.values(to.Rest, packet.FieldSrc) {
						out = append(out, box{in: names, transports: ts, to: f.addrs(to.Values), from: f.addrs(from.Values)})
					}
				}
			}
		}
	}
	return out, why
}

// addrs returns nil for all addresses.
func (f *family) addrs(rs packet.Ranges) packet.Ranges {
	if len(rs.Complement(packet.FieldSrc.Width(f.is6))) == 0 {
		return nil
	}
	return rs
}

// portsOf returns nil for all ports, and false if there is none: port 0 cannot be
// named, and nobody asks.
func portsOf(rs packet.Ranges) (packet.Ports, bool) {
	var out []packet.PortRange
	for _, r := range rs {
		if hi := uint16(r.Hi.Lo); hi > 0 {
			out = append(out, packet.PortRange{Lo: uint16(max(r.Lo.Lo, 1)), Hi: hi})
		}
	}
	ps := packet.NewPorts(out...)
	if len(ps) == 1 && ps[0] == (packet.PortRange{Lo: 1, Hi: 65535}) && rs.Contains(packet.Value{}) {
		return nil, true
	}
	return ps, len(ps) > 0
}

// transportsOf names protocols; false if there are too many to name.
func transportsOf(protos packet.Ranges, dst, src packet.Ports) ([]transport, bool) {
	if len(protos.Complement(8)) == 0 && dst == nil && src == nil {
		return []transport{{any: true}}, true
	}
	var out []transport
	for _, r := range protos {
		for n := r.Lo.Lo; n <= r.Hi.Lo; n++ {
			p := packet.Proto(n)
			switch {
			case p.HasPorts():
				out = append(out, transport{proto: p, dst: dst, src: src})
			case dst == nil && src == nil:
				out = append(out, transport{proto: p})
			}
		}
	}
	return out, len(out) <= mostProtos
}

// patterns returns the names of interfaces that make up a set of classes, nil for
// all of them, and false if none do. The loopback interface does not count: what
// enters there is accepted in any case.
func (f *family) patterns(classes packet.Ranges) ([]string, bool) {
	classes = packet.NewRanges(slices.Concat(classes, f.names["lo"], f.names[""])...)
	if len(classes.Complement(packet.FieldIn.Width(f.is6))) == 0 || covers(classes, f.names["*"]) {
		return nil, true
	}
	var names []string
	have := packet.NewRanges(slices.Concat(f.names["lo"], f.names[""])...)
	for _, name := range slices.SortedFunc(maps.Keys(f.names), byLength) {
		if set := f.names[name]; name != "" && name != "lo" && covers(classes, set) && !covers(have, set) {
			names = append(names, name)
			have = packet.NewRanges(slices.Concat(have, set)...)
		}
	}
	slices.Sort(names)
	return names, covers(have, classes)
}

// byLength puts short names first: of several patterns the widest.
func byLength(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }

// covers reports whether a set of values holds another.
func covers(rs, part packet.Ranges) bool {
	for _, r := range part {
		for v := r.Lo; ; v = v.Next() {
			if !rs.Contains(v) {
				return false
			}
			if v == r.Hi {
				break
			}
		}
	}
	return true
}
