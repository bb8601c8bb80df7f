package iptables

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// lookup builds the condition of being in a set. Elements that are about the same
// fields go into one condition.
type lookup struct {
	set     *Set
	sides   []string // "src" or "dst" for each part
	is6     bool
	leaving bool // the packets have no link-layer header
}

// cond is the union of the elements. But the kernel looks for the longest prefix
// first: an element that says "nomatch" takes away from what shorter ones give,
// and where there is an interface in it the first prefix that fits the address
// decides, whatever its interfaces are (ip_set_hash_gen.h, ip_set_hash_netiface.c).
func (l *lookup) cond() packet.Cond {
	ifaces := slices.Contains(l.set.kinds, "iface")
	if !ifaces && !slices.ContainsFunc(l.set.elements, func(e element) bool { return e.nomatch }) {
		return l.any(l.set.elements)
	}
	ranks := map[string][]element{}
	for _, e := range l.set.latest() {
		ranks[e.rank()] = append(ranks[e.rank()], e)
	}
	c := packet.Never
	for _, rank := range slices.Sorted(maps.Keys(ranks)) {
		var yes, no []element
		for _, e := range ranks[rank] {
			if !e.nomatch {
				yes = append(yes, e)
			}
			if e.nomatch || ifaces {
				no = append(no, e.withoutIface())
			}
		}
		c = packet.Any{l.any(yes), packet.All{packet.Not{Cond: l.any(no)}, c}}
	}
	return c
}

// latest are the elements without those that were added again later, which says
// anew whether they match.
func (s *Set) latest() []element {
	seen := map[string]bool{}
	var out []element
	for _, e := range slices.Backward(s.elements) {
		if key := fmt.Sprint(e.parts); !seen[key] {
			seen[key] = true
			out = append(out, e)
		}
	}
	return out
}

// rank orders elements as a look-up tries them: by the length of the first
// prefix, then of the second.
func (e *element) rank() string {
	var b strings.Builder
	for _, p := range e.parts {
		if p.shape == shapeAddr {
			b.WriteString(strconv.Itoa(1000 + p.length))
		}
	}
	return b.String()
}

func (e *element) withoutIface() element {
	parts := slices.DeleteFunc(slices.Clone(e.parts), func(p portion) bool { return p.shape == shapeIface })
	return element{parts: parts}
}

// group are elements about the same fields on the same interface.
type group struct {
	fields []packet.Field
	also   packet.All
	table  packet.Tuples
}

func (l *lookup) any(elements []element) packet.Cond {
	groups := map[string]*group{}
	for i := range elements {
		key := shapeKey(&elements[i])
		g := groups[key]
		if g == nil {
			g = l.group(&elements[i])
			groups[key] = g
		}
		g.table.Entries = append(g.table.Entries, l.entry(&elements[i]))
	}
	any := packet.Any{}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		any = append(any, groups[key].cond())
	}
	if len(any) == 1 {
		return any[0]
	}
	return any
}

func shapeKey(e *element) string {
	var b strings.Builder
	for _, p := range e.parts {
		b.WriteByte('0' + byte(p.shape))
		b.WriteString(p.iface)
		b.WriteByte(',')
	}
	return b.String()
}

// group prepares the condition for elements like this one.
func (l *lookup) group(e *element) *group {
	g := &group{}
	for i, p := range e.parts {
		if c := l.also(p, i); c != nil {
			g.also = append(g.also, c)
		}
		g.fields = append(g.fields, l.fields(p.shape, i)...)
	}
	g.table.Fields = g.fields
	return g
}

// also is what must hold beside the values of a portion, nil for nothing.
func (l *lookup) also(p portion, i int) packet.Cond {
	switch {
	case p.shape == shapeIface:
		return packet.Iface{Out: l.sides[i] == "dst", Pattern: p.iface}
	case p.shape == shapePorts, p.shape == shapeICMP, p.shape == shapeOther && l.is6:
		return number(packet.FieldFragment, 0) // in IPv6 the kernel looks behind no fragment's header
	case p.shape == shapeMAC && l.leaving:
		return packet.Never
	case p.shape == shapeMAC && l.sides[i] == "dst":
		return packet.Unknown{Key: "destination MAC address in set " + l.set.Name}
	}
	return nil
}

// fields are those that a portion is about.
func (l *lookup) fields(s shape, i int) []packet.Field {
	side := func(src, dst packet.Field) packet.Field {
		if l.sides[i] == "dst" {
			return dst
		}
		return src
	}
	switch s {
	case shapeAddr:
		return []packet.Field{side(packet.FieldSrc, packet.FieldDst)}
	case shapePorts:
		return []packet.Field{packet.FieldProto, side(packet.FieldSrcPort, packet.FieldDstPort)}
	case shapeICMP:
		return []packet.Field{packet.FieldProto, packet.FieldType, packet.FieldCode}
	case shapeOther:
		return []packet.Field{packet.FieldProto}
	case shapeMAC:
		return []packet.Field{packet.FieldMAC}
	case shapeMark:
		return []packet.Field{packet.FieldMark}
	}
	return nil
}

// entry is the element's ranges, in the order of the fields.
func (l *lookup) entry(e *element) []packet.Range {
	var out []packet.Range
	for _, p := range e.parts {
		switch p.shape {
		case shapeAddr, shapeMAC, shapeMark:
			out = append(out, p.values)
		case shapePorts:
			out = append(out, p.proto(), p.values)
		case shapeICMP:
			typ, code := p.values.Lo.Lo>>8, p.values.Lo.Lo&0xff
			out = append(out, p.proto(), packet.Single(packet.Number(typ)), packet.Single(packet.Number(code)))
		case shapeOther:
			out = append(out, p.proto())
		}
	}
	return out
}

// cond is the condition of a group: a set of values where it is about one field.
func (g *group) cond() packet.Cond {
	all := g.also
	switch len(g.fields) {
	case 0:
	case 1:
		rs := make([]packet.Range, len(g.table.Entries))
		for i, e := range g.table.Entries {
			rs[i] = e[0]
		}
		all = append(all, packet.In{Field: g.fields[0], Set: packet.NewRanges(rs...)})
	default:
		all = append(all, &g.table)
	}
	return all
}
