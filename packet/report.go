package packet

import (
	"cmp"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Group is a piece of a set of packets that people can read: what is reached,
// and from where. All packets of the group's services from its sources are in
// the set for some value of the other fields.
type Group struct {
	Services []Reach
	Sources  Ranges
	Is6      bool
	In       []string // the interfaces by which the packets enter; nil: any
	Out      []string // by which they leave; nil: any
	Dst      Ranges   // their destinations; nil: any
}

// Reach is protocols and, where they have them, destination ports or ICMP types.
type Reach struct {
	Protos Ranges
	Ports  Ranges // nil: the protocols have none, or all
	Types  Ranges // likewise
}

// Groups cuts a set into at most atMost groups, those with the most services and
// sources first; more says that there are others.
func (s *Space) Groups(set Node, atMost int) (groups []Group, more bool, err error) {
	return s.GroupsWithin(set, True, atMost)
}

// GroupsWithin is Groups for a set of packets of which a reader knows that they
// are within another: what all of those have is not said again. Nor is it said
// of packets that they do not enter or leave by the loopback interface.
func (s *Space) GroupsWithin(set, over Node, atMost int) (groups []Group, more bool, err error) {
	defer s.guard(&err)
	if set == False {
		return nil, false, nil
	}
	set = s.store.exists(set, isUnknown)
	known := s.universe(over)
	bySource := map[Node][]Reach{}
	var order []Node
	seen, err := s.Only(set, FieldProto, FieldType, FieldDstPort, FieldSrc)
	if err != nil {
		return nil, false, err
	}
	s.reaches(seen, func(r Reach, sources Node) {
		if _, known := bySource[sources]; !known {
			order = append(order, sources)
		}
		bySource[sources] = append(bySource[sources], r)
	})
	// The widest sources first: they are what a reader has to know.
	slices.SortStableFunc(order, func(a, b Node) int {
		return s.count(b, s.levels([]Field{FieldSrc}), 0, map[Node]*big.Int{}).Cmp(s.count(a, s.levels([]Field{FieldSrc}), 0, map[Node]*big.Int{}))
	})
	for i, n := range order {
		if i == atMost {
			return groups, true, nil
		}
		groups = append(groups, s.group(set, bySource[n], n, known))
	}
	return groups, false, nil
}

// universe holds the values that fields have in the packets of which groups are
// told.
type universe map[Field]Ranges

func (s *Space) universe(over Node) universe {
	u := universe{}
	for _, f := range []Field{FieldIn, FieldOut, FieldSrc, FieldDst} {
		vs := s.values(over, f)
		if vs != nil && (f == FieldIn || f == FieldOut) {
			vs = vs.minus(Ranges{Single(Number(s.classOf("lo")))}, f.Width(s.is6))
		}
		u[f] = vs
	}
	return u
}

// fill adds the values that no packet of the universe has where that makes for
// fewer words; nil if all values are there then.
func (u universe) fill(vs Ranges, f Field, width uint) Ranges {
	if u[f] == nil || vs == nil {
		return vs
	}
	if all := NewRanges(slices.Concat(vs, u[f].Complement(width))...); len(all) == 1 && all[0] == (Range{Value{}, Ones(width)}) {
		return nil
	} else if len(all) < len(vs) || len(all.Complement(width)) < len(vs) {
		return all
	}
	return vs
}

// minus returns the values that are in the set but not in another.
func (rs Ranges) minus(other Ranges, width uint) Ranges {
	gone := NewRanges(slices.Concat(rs.Complement(width), other)...)
	return gone.Complement(width)
}

// reaches calls f for each block of protocols, types and ports with one set of
// sources.
func (s *Space) reaches(set Node, f func(Reach, Node)) {
	protos, _ := s.Split(set, FieldProto, int(^uint(0)>>1))
	for _, p := range protos {
		types, _ := s.Split(p.Rest, FieldType, int(^uint(0)>>1))
		for _, t := range types {
			ports, _ := s.Split(t.Rest, FieldDstPort, int(^uint(0)>>1))
			for _, d := range ports {
				f(Reach{Protos: p.Values, Types: s.whole(t.Values, FieldType), Ports: s.whole(d.Values, FieldDstPort)}, d.Rest)
			}
		}
	}
}

// whole returns nil for all values of a field, and for the one that stands for
// a field that the packets do not have.
func (s *Space) whole(rs Ranges, f Field) Ranges {
	if len(rs) == 1 && rs[0].Lo == (Value{}) && (rs[0].Hi == Ones(f.Width(s.is6)) || rs[0].Hi == (Value{})) {
		return nil
	}
	return rs
}

// group looks up where the packets of some services and sources enter, leave and
// go to.
func (s *Space) group(set Node, services []Reach, sources Node, known universe) Group {
	g := Group{Services: mergeReaches(services), Is6: s.is6}
	parts, _ := s.Split(sources, FieldSrc, 1)
	if len(parts) > 0 {
		g.Sources = known.fill(parts[0].Values, FieldSrc, FieldSrc.Width(s.is6))
	}
	of := Any{}
	for _, r := range g.Services {
		of = append(of, r.cond())
	}
	mine := s.store.and(s.store.and(set, sources), s.cond(of))
	g.In, g.Out = s.names(mine, FieldIn, known), s.names(mine, FieldOut, known)
	g.Dst = known.fill(s.values(mine, FieldDst), FieldDst, FieldDst.Width(s.is6))
	return g
}

func (r Reach) cond() Cond {
	c := All{In{FieldProto, r.Protos}}
	if r.Ports != nil {
		c = append(c, In{FieldDstPort, r.Ports})
	}
	if r.Types != nil {
		c = append(c, In{FieldType, r.Types})
	}
	return c
}

// mergeReaches joins protocols that are reached at the same ports.
func mergeReaches(rs []Reach) []Reach {
	var out []Reach
	for _, r := range rs {
		i := slices.IndexFunc(out, func(o Reach) bool {
			return slices.Equal(o.Ports, r.Ports) && slices.Equal(o.Types, r.Types) && r.Types == nil
		})
		if i < 0 {
			out = append(out, r)
			continue
		}
		out[i].Protos = NewRanges(slices.Concat(out[i].Protos, r.Protos)...)
	}
	return out
}

// values returns the values of a field in a set; nil if every value occurs.
func (s *Space) values(set Node, f Field) Ranges {
	keep := s.levels([]Field{f})
	only := s.store.exists(set, func(level uint32) bool { _, ok := slices.BinarySearch(keep, level); return !ok })
	parts, _ := s.Split(only, f, 1)
	if len(parts) == 0 {
		return nil
	}
	if vs := parts[0].Values; len(vs) != 1 || vs[0] != (Range{Value{}, Ones(f.Width(s.is6))}) {
		return vs
	}
	return nil
}

// names returns the classes of interfaces that occur in a set, nil for all of
// them or for none at all.
func (s *Space) names(set Node, f Field, known universe) []string {
	vs := known.fill(s.values(set, f), f, f.Width(s.is6))
	if vs == nil {
		return nil
	}
	var out []string
	for i, class := range s.classes {
		if vs.Contains(Number(uint64(i))) && class != "" && class != "*" {
			out = append(out, class)
		}
	}
	if vs.Contains(Number(otherClass)) {
		out = append(out, "others")
	}
	if len(out) >= len(s.classes)-1 {
		return nil
	}
	return out
}

// String writes the group on one line: "8000/tcp from 10.0.0.0/8".
func (g Group) String() string {
	parts := make([]string, len(g.Services))
	for i, r := range g.Services {
		parts[i] = r.String()
	}
	s := strings.Join(parts, ", ") + " from " + AddrText(g.Sources, g.Is6, 4)
	if g.In != nil {
		s += " in " + strings.Join(g.In, ", ")
	}
	if g.Out != nil {
		s += " out " + strings.Join(g.Out, ", ")
	}
	if g.Dst != nil {
		s += " to " + AddrText(g.Dst, g.Is6, 4)
	}
	return s
}

// String writes "22/tcp", "53/tcp+udp", "icmp type 8", "any protocol".
func (r Reach) String() string {
	protos := protoText(r.Protos)
	switch {
	case r.Types != nil:
		return protos + " type " + numberText(r.Types)
	case r.Ports != nil:
		return numberText(r.Ports) + "/" + protos
	}
	return protos
}

const manyProtos = 6

func protoText(rs Ranges) string {
	var names []string
	n := uint64(0)
	for _, r := range rs {
		n += r.Hi.Lo - r.Lo.Lo + 1
		for p := r.Lo.Lo; p <= r.Hi.Lo && len(names) <= manyProtos; p++ {
			names = append(names, Proto(p).String())
		}
	}
	switch {
	case n == 256:
		return "any protocol"
	case len(names) > manyProtos:
		return strconv.FormatUint(n, 10) + " protocols"
	}
	return strings.Join(names, "+")
}

func numberText(rs Ranges) string {
	parts := make([]string, len(rs))
	for i, r := range rs {
		parts[i] = strconv.FormatUint(r.Lo.Lo, 10)
		if r.Hi != r.Lo {
			parts[i] += "-" + strconv.FormatUint(r.Hi.Lo, 10)
		}
	}
	return strings.Join(parts, ",")
}

// AddrText writes addresses as prefixes and ranges, at most so many of them, and
// how many more there are. Nil is "any"; what is all but a few addresses is
// written so.
func AddrText(rs Ranges, is6 bool, atMost int) string {
	width := FieldSrc.Width(is6)
	if rs == nil || len(rs) == 1 && rs[0] == (Range{Value{}, Ones(width)}) {
		return "any"
	}
	if others := rs.Complement(width); len(others) < len(rs) {
		return "any but " + listText(others, is6, atMost)
	}
	return listText(rs, is6, atMost)
}

func listText(rs Ranges, is6 bool, atMost int) string {
	var parts []string
	for i, r := range rs {
		if i == atMost {
			parts = append(parts, fmt.Sprintf("and %d more", len(rs)-i))
			break
		}
		parts = append(parts, rangeText(r, is6))
	}
	return strings.Join(parts, ", ")
}

func rangeText(r Range, is6 bool) string {
	lo, hi := r.Lo.Addr(is6), r.Hi.Addr(is6)
	if r.Lo == r.Hi {
		return lo.String()
	}
	for bits := lo.BitLen(); bits >= 0; bits-- {
		host := Ones(uint(lo.BitLen() - bits))
		if r.Lo.And(host) == (Value{}) && r.Lo.Or(host) == r.Hi {
			return netip.PrefixFrom(lo, bits).String()
		}
	}
	return lo.String() + "-" + hi.String()
}

// SortGroups puts the groups into an order that does not depend on diagrams: by
// text.
func SortGroups(gs []Group) {
	slices.SortStableFunc(gs, func(a, b Group) int { return cmp.Compare(a.String(), b.String()) })
}
