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
// and from where. All packets of the group's services, from its sources to its
// destinations, are in the set for some value of the fields that it does not
// speak of, such as source ports.
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
	seen, err := s.Only(set, FieldIn, FieldOut, FieldProto, FieldType, FieldDstPort, FieldDst, FieldSrc)
	if err != nil {
		return nil, false, err
	}
	reached, order := s.reached(seen)
	// The widest sources first: they are what a reader has to know.
	width := map[Node]*big.Int{}
	for _, p := range order {
		width[p.src] = s.count(p.src, s.levels([]Field{FieldSrc}), 0, map[Node]*big.Int{})
	}
	slices.SortStableFunc(order, func(a, b place) int { return width[b.src].Cmp(width[a.src]) })
	known := s.universe(over)
	for i, p := range order {
		if i == atMost {
			return groups, true, nil
		}
		groups = append(groups, s.group(p, reached[p], known))
	}
	return groups, false, nil
}

// place is where packets enter, leave, go to and come from: a set of each, all of
// whose combinations are meant.
type place struct{ in, out, dst, src Node }

// reached returns what is reached at each place, and the places as they were
// found. What is reached alike by several interfaces is one.
func (s *Space) reached(set Node) (reached map[place][]Reach, order []place) {
	type piece struct{ what, out, dst, src Node }
	ins := map[piece]Node{}
	reaches := map[piece]Reach{}
	var pieces []piece
	s.places(set, func(p place, r Reach) {
		k := piece{s.cond(r.cond()), p.out, p.dst, p.src}
		if _, known := ins[k]; !known {
			pieces = append(pieces, k)
			reaches[k] = r
		}
		ins[k] = s.store.or(ins[k], p.in)
	})
	reached = map[place][]Reach{}
	for _, k := range pieces {
		p := place{ins[k], k.out, k.dst, k.src}
		if _, known := reached[p]; !known {
			order = append(order, p)
		}
		reached[p] = append(reached[p], reaches[k])
	}
	return reached, order
}

const allParts = int(^uint(0) >> 1)

// places calls f for each block of packets that differ in nothing else.
func (s *Space) places(set Node, f func(place, Reach)) {
	ins, _ := s.Split(set, FieldIn, allParts)
	for _, in := range ins {
		outs, _ := s.Split(in.Rest, FieldOut, allParts)
		for _, out := range outs {
			at := place{in: s.ranges(FieldIn, in.Values), out: s.ranges(FieldOut, out.Values)}
			s.reaches(out.Rest, func(r Reach, ends Node) {
				dsts, _ := s.Split(ends, FieldDst, allParts)
				for _, d := range dsts {
					at.dst, at.src = s.ranges(FieldDst, d.Values), d.Rest
					f(at, r)
				}
			})
		}
	}
}

// universe holds the values that fields have in the packets of which groups are
// told.
type universe map[Field]Ranges

func (s *Space) universe(over Node) universe {
	lo := Any{Iface{Pattern: "lo"}, Iface{Out: true, Pattern: "lo"}}
	if n := s.store.less(over, s.cond(lo)); n != False {
		over = n
	}
	u := universe{}
	for _, f := range []Field{FieldIn, FieldOut, FieldSrc, FieldDst} {
		u[f] = s.values(over, f)
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

// reaches calls f for each block of protocols, types and ports, with the
// addresses of both ends.
func (s *Space) reaches(set Node, f func(Reach, Node)) {
	protos, _ := s.Split(set, FieldProto, allParts)
	for _, p := range protos {
		types, _ := s.Split(p.Rest, FieldType, allParts)
		for _, t := range types {
			ports, _ := s.Split(t.Rest, FieldDstPort, allParts)
			for _, d := range ports {
				f(Reach{Protos: p.Values, Types: whole(t.Values, FieldType, p.Values), Ports: whole(d.Values, FieldDstPort, p.Values)}, d.Rest)
			}
		}
	}
}

// whole returns nil for all values of a field, and for the one that stands for
// a field that packets of the protocols do not have.
func whole(rs Ranges, f Field, protos Ranges) Ranges {
	has := slices.ContainsFunc(protosWith(f), func(p Proto) bool { return protos.Contains(Number(uint64(p))) })
	if rs[0].Lo == (Value{}) && (rs[0].Hi == Ones(f.Width(false)) || !has) {
		return nil
	}
	return rs
}

// group puts the packets of one place into words.
func (s *Space) group(p place, services []Reach, known universe) Group {
	return Group{
		Services: mergeReaches(services), Is6: s.is6,
		Sources: known.fill(s.values(p.src, FieldSrc), FieldSrc, FieldSrc.Width(s.is6)),
		Dst:     known.fill(s.values(p.dst, FieldDst), FieldDst, FieldDst.Width(s.is6)),
		In:      s.names(p.in, FieldIn, known), Out: s.names(p.out, FieldOut, known),
	}
}

// cond is the condition of what is reached.
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

// Class is the word by which groups name an interface: its name, the pattern that
// stands for it, or "others".
func (s *Space) Class(name string) string {
	if c := s.classes[s.classOf(name)]; c != "" && c != "*" {
		return c
	}
	return "others"
}

// By is the condition of packets that come by an interface of that name, whether a rule
// names it or not: those by others that rules take for the same fit, too.
func (s *Space) By(name string) Cond {
	return In{FieldIn, Ranges{Single(Number(s.classOf(name)))}}
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
