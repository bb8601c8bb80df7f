package adopt

import (
	"cmp"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// box is what one section can say in one family: a product of sets.
type box struct {
	in         []string // patterns of interfaces; nil: any
	transports []transport
	fromHost   bool          // from the host's own addresses, whatever they are
	toHost     bool          // to them
	to, from   packet.Ranges // nil: any
	keys       []string      // unknowns that have to hold: a limit, an end
}

// transport is one protocol and, where it has them, ports; nil ones are any.
type transport struct {
	any      bool
	proto    packet.Proto
	dst, src packet.Ports
}

func (t transport) compare(o transport) int {
	return cmp.Or(cmp.Compare(t.proto, o.proto), slices.CompareFunc(t.dst, o.dst, comparePorts), slices.CompareFunc(t.src, o.src, comparePorts))
}

func comparePorts(a, b packet.PortRange) int {
	return cmp.Or(cmp.Compare(a.Lo, b.Lo), cmp.Compare(a.Hi, b.Hi))
}

// sayable are the fields that a section can ask for.
var sayable = []packet.Field{packet.FieldIn, packet.FieldProto, packet.FieldDstPort, packet.FieldSrcPort, packet.FieldDst, packet.FieldSrc}

// How much a policy may be made to say for one rule.
const (
	mostBoxes  = 64 // sections
	mostProtos = 16 // protocols in one section, by number
)

// boxes returns sections for as much of a set as they can say, and why not for the
// rest: "" if nothing is left.
func (f *family) boxes(block bool, set packet.Node) (out []box, why string) {
	for _, p := range f.pieces(set, f.keys, nil) {
		if p.negative {
			why = "it refuses once something is spent or over, and does not accept until then"
			continue
		}
		if limits := func(k string) bool { _, before := packet.ReadTimeBefore(k); return !before }; block && slices.ContainsFunc(p.keys, limits) {
			why = "a block has no limit"
			continue
		}
		bs, w := f.plain(p.set)
		for _, b := range bs {
			b.keys = p.keys
			out = append(out, b)
		}
		why = cmp.Or(why, w)
	}
	if len(out) > mostBoxes {
		return nil, "it would take too many sections"
	}
	return out, why
}

// piece is a part of a set that depends on the same unknowns.
type piece struct {
	set      packet.Node
	keys     []string // that have to hold
	negative bool     // one of them has not to hold
}

// pieces cuts a set by the unknowns that it depends on.
func (f *family) pieces(set packet.Node, among, held []string) []piece {
	if set == packet.False {
		return nil
	}
	for i, k := range among {
		with, without := f.given(set, k, true), f.given(set, k, false)
		if with == without {
			continue
		}
		rest := among[i+1:]
		out := f.pieces(f.and(with, without), rest, held)
		out = append(out, f.pieces(f.less(with, without), rest, append(slices.Clone(held), k))...)
		if f.and(f.less(without, with), f.frame) != packet.False {
			out = append(out, piece{negative: true})
		}
		return out
	}
	return []piece{{set: set, keys: held}}
}

// plain returns boxes for a set that depends on no unknown.
func (f *family) plain(set packet.Node) (out []box, why string) {
	if b, ok := f.exact(set); ok {
		return f.cut(b)
	}
	// What asks for the types of ICMP is settled elsewhere.
	if rest := f.less(set, f.icmp); rest != set && f.and(set, f.icmpTyped()) != packet.False {
		return f.plain(rest)
	}
	// What holds whatever the other fields are, then what the host's own addresses
	// are in.
	b := f.only(f.and(set, f.first), sayable...)
	b = f.less(b, f.only(f.less(f.and(f.frame, b), set), sayable...))
	out, why = f.cut(b)
	rest := f.less(f.and(set, f.frame), b)
	for _, k := range hostKinds {
		bs, said := f.ofHost(rest, set, k)
		out, rest = append(out, bs...), f.less(rest, said)
	}
	if rest != packet.False {
		why = cmp.Or(why, f.asksFor(rest))
	}
	return out, why
}

// hostKinds are where the host's own addresses can stand in a section.
var hostKinds = []struct{ from, to bool }{{true, false}, {false, true}, {true, true}}

// ofHost returns boxes for the packets of rest from or to the host's own addresses,
// as far as all such packets are in a set; and those packets.
func (f *family) ofHost(rest, set packet.Node, k struct{ from, to bool }) ([]box, packet.Node) {
	own, fields := packet.True, slices.Clone(sayable)
	if k.from {
		own, fields = f.and(own, f.set(one(packet.FieldSrcType, uint64(packet.AddrLocal)))), without(fields, packet.FieldSrc)
	}
	if k.to {
		own, fields = f.and(own, f.kind(packet.AddrLocal)), without(fields, packet.FieldDst)
	}
	if f.and(rest, own) == packet.False {
		return nil, packet.False
	}
	b := f.only(f.and(f.and(set, f.first), own), fields...)
	if wrong := f.less(f.and(f.and(f.frame, b), own), set); wrong != packet.False {
		b = f.less(f.only(f.and(rest, own), fields...), f.only(wrong, fields...))
	}
	bs, why := f.cut(b)
	if why != "" || b == packet.False {
		return nil, packet.False
	}
	for i := range bs {
		bs[i].fromHost, bs[i].toHost = k.from, k.to
	}
	return bs, f.and(b, own)
}

func without(fields []packet.Field, field packet.Field) []packet.Field {
	return slices.DeleteFunc(fields, func(f packet.Field) bool { return f == field })
}

// exact returns the set as the sayable fields tell it, and whether that is all that
// there is to it among the packets that are compared.
func (f *family) exact(set packet.Node) (packet.Node, bool) {
	b := f.only(f.and(set, f.first), sayable...)
	return b, f.and(b, f.frame) == f.and(set, f.frame)
}

// asksFor names the field that keeps a set from being said.
func (f *family) asksFor(set packet.Node) string {
	for _, x := range packet.FieldsBut(sayable...) {
		if f.and(f.only(set, packet.FieldsBut(x)...), f.frame) != f.and(set, f.frame) {
			return "a policy cannot ask for " + x.String()
		}
	}
	return "a policy cannot ask for this"
}

// joined puts boxes that differ in their transports alone into one.
func joined(bs []box) []box {
	var out []box
	for _, b := range bs {
		i := slices.IndexFunc(out, func(o box) bool { return o.sameEnds(b) })
		if i < 0 {
			out = append(out, b)
			continue
		}
		out[i].transports = append(slices.Clone(out[i].transports), b.transports...)
	}
	for i := range out {
		slices.SortFunc(out[i].transports, transport.compare)
	}
	return out
}

func (b box) sameEnds(o box) bool {
	return slices.Equal(b.in, o.in) && b.fromHost == o.fromHost && b.toHost == o.toHost && sameAddrs(b.to, o.to) && sameAddrs(b.from, o.from) && slices.Equal(b.keys, o.keys)
}

func sameAddrs(a, b packet.Ranges) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }
