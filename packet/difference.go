package packet

import (
	"math/big"
	"slices"
	"strings"
)

// Verdict of a comparison.
type Comparison uint8

// The comparisons.
const (
	Equal     Comparison = iota // the same for every packet, whatever the unknowns are: proved
	Different                   // some packet is decided differently, whatever the unknowns are
	Depends                     // some packet is decided differently if unknowns hold or do not hold
)

var comparisonNames = [...]string{"equal", "different", "different only if"}

// String returns the comparison in words.
func (c Comparison) String() string { return nameOf(comparisonNames[:], uint8(c)) }

// Difference is where two diagrams are not the same.
type Difference struct {
	Kind    Comparison
	Packets Node // the packets that are decided differently: for Depends, if some unknowns hold
	Witness *Witness
}

// Witness is one packet of a set.
type Witness struct {
	Packet   Packet
	Facts    *Facts
	Unknowns []Held // the values of unknowns on which it depends
}

// Held is an unknown and whether it holds.
type Held struct {
	Key         string
	Holds       bool
	Unsupported bool
}

// Compare compares two diagrams of outcomes over the packets of a set.
func (s *Space) Compare(a, b, over Node) (d Difference, err error) {
	defer s.guard(&err)
	diff := s.store.differIn(over, a, b)
	if diff == False || s.store.and(diff, s.assumed) == False {
		return Difference{Kind: Equal}, nil
	}
	d = Difference{Kind: Different, Packets: s.always(diff)}
	if d.Packets == False {
		d = Difference{Kind: Depends, Packets: s.ever(diff)}
	}
	d.Witness = s.witness(s.store.and(diff, d.Packets), d.Kind == Depends)
	return d, nil
}

// Assume says what holds of the unknowns: every answer that the Space gives from
// then on is for the values with which the condition holds. There must be some.
func (s *Space) Assume(c Cond) (err error) {
	defer s.guard(&err)
	s.assumed = s.store.and(s.assumed, s.cond(c))
	return nil
}

// ever and always are what Ever and Always return.
func (s *Space) ever(a Node) Node { return s.store.exists(s.store.and(a, s.assumed), isUnknown) }

func (s *Space) always(a Node) Node {
	return s.store.forall(s.store.or(a, s.store.not(s.assumed)), isUnknown)
}

func isUnknown(level uint32) bool { return level >= firstLevel[fieldCount] }

// Overlay maps every Reject of a diagram to Drop, for comparisons that do not
// tell the two apart.
func (s *Space) Overlay(n Node) (m Node, err error) {
	defer s.guard(&err)
	return s.store.bind(n, Node(OutcomeReject), Node(OutcomeDrop)), nil
}

// Where returns the packets to which a diagram gives the outcome.
func (s *Space) Where(n Node, o Outcome) (set Node, err error) {
	defer s.guard(&err)
	return s.store.is(n, Node(o)), nil
}

// And returns the packets that are in both sets.
func (s *Space) And(a, b Node) (n Node, err error) {
	defer s.guard(&err)
	return s.store.and(a, b), nil
}

// Or returns the packets that are in one of the sets.
func (s *Space) Or(a, b Node) (n Node, err error) {
	defer s.guard(&err)
	return s.store.or(a, b), nil
}

// Minus returns the packets of a that are not in b.
func (s *Space) Minus(a, b Node) (n Node, err error) {
	defer s.guard(&err)
	return s.store.less(a, b), nil
}

// Ever returns the packets that are in the set for some value of the unknowns,
// Always those that are for every value.
func (s *Space) Ever(a Node) (n Node, err error) {
	defer s.guard(&err)
	return s.ever(a), nil
}

// Always is described with Ever.
func (s *Space) Always(a Node) (n Node, err error) {
	defer s.guard(&err)
	return s.always(a), nil
}

// Witness returns a packet of the set that people believe, nil if it is empty.
func (s *Space) Witness(set Node) (w *Witness, err error) {
	defer s.guard(&err)
	if s.store.and(set, s.assumed) == False {
		return nil, nil
	}
	return s.witness(set, true), nil
}

// witness narrows the set by one preference after the other, each as far as it
// leaves anything, and takes the first packet of what remains. Limits that do not
// matter are not spent.
func (s *Space) witness(set Node, unknowns bool) *Witness {
	set = s.store.and(set, s.assumed)
	if s.preferred == nil {
		var all []Node // whole, or not at all: the budget may end
		for _, c := range s.preferences() {
			all = append(all, s.cond(c))
		}
		s.preferred = all
	}
	for _, p := range s.preferred {
		if n := s.store.and(set, p); n != False {
			set = n
		}
	}
	w := &Witness{Facts: &Facts{Is6: s.is6, Unknowns: map[string]bool{}}}
	var in, out uint64
	for n := set; n != True; {
		b := s.store.nodes[n]
		bit := b.lo == False
		if bit {
			n = b.hi
		} else {
			n = b.lo
		}
		f, i, ok := fieldAt(b.level)
		if !ok {
			key := s.keys[b.level-firstLevel[fieldCount]]
			w.Facts.Unknowns[key] = bit
			if unknowns {
				w.Unknowns = append(w.Unknowns, Held{key, bit, s.flags[key]})
			}
			continue
		}
		if bit {
			w.Facts.Fields[f] = w.Facts.Fields[f].Or(Number(1).Shift(i))
		}
	}
	for _, key := range s.keys {
		if _, asked := w.Facts.Unknowns[key]; !asked && isUnspent(key) {
			w.Facts.Unknowns[key] = true
		}
	}
	in, out = w.Facts.Fields[FieldIn].Lo, w.Facts.Fields[FieldOut].Lo
	w.Facts.In, w.Facts.Out = s.nameOfClass(in), s.nameOfClass(out)
	w.Facts.SetKinds(s.host)
	w.Packet = w.Facts.packet()
	return w
}

// SetKinds sets the kinds of source and destination where the host's addresses
// are known, now and whenever a filter changes one of the two.
func (f *Facts) SetKinds(h HostAddrs) {
	f.host = h
	if !h.Known {
		return
	}
	f.Fields[FieldDstType] = Number(uint64(h.kind(f.Fields[FieldDst], f.Is6)))
	f.Fields[FieldSrcType] = Number(uint64(h.kind(f.Fields[FieldSrc], f.Is6)))
	if !f.Is6 && thisNetwork.Contains(f.Fields[FieldSrc]) {
		f.Fields[FieldSrcType] = Number(uint64(AddrBroadcast))
	}
}

// thisNetwork is 0.0.0.0/8, which Linux takes for broadcast addresses
// (inet_addr_type, fib_frontend.c). As destinations they go nowhere.
var thisNetwork = Ranges{{Number(0), Number(0x00ffffff)}}

func (h HostAddrs) kind(v Value, is6 bool) AddrType {
	switch {
	case h.Local.Contains(v):
		return AddrLocal
	case h.Broadcast.Contains(v):
		return AddrBroadcast
	case Multicast(is6).Contains(v):
		return AddrMulticast
	}
	return AddrOther
}

// nameOfClass returns a name of an interface of the class.
func (s *Space) nameOfClass(i uint64) string {
	if i >= uint64(len(s.classes)) || i == 0 {
		return ""
	}
	prefix, wild := strings.CutSuffix(s.classes[i], "*")
	if !wild {
		return prefix
	}
	stems := []string{prefix}
	if prefix == "" {
		stems = []string{"eth", "ens", "lan", "net"}
	}
	// A number that makes it a name of this class alone.
	for _, stem := range stems {
		for n := range 100 {
			if name := stem + itoa(n); s.classOf(name) == i {
				return name
			}
		}
	}
	return prefix + "x"
}

func itoa(n int) string { return big.NewInt(int64(n)).String() }

// classOf returns the class of an interface's name.
func (s *Space) classOf(name string) uint64 {
	if name == "" {
		return 0
	}
	best, length := uint64(1), -1
	for i, c := range s.classes[2:] {
		prefix, wild := strings.CutSuffix(c, "*")
		switch {
		case !wild && c == name:
			return uint64(i + 2)
		case wild && strings.HasPrefix(name, prefix) && len(prefix) > length:
			best, length = uint64(i+2), len(prefix)
		}
	}
	return best
}

// packet returns the packet that the facts describe.
func (f *Facts) packet() Packet {
	n := func(x Field) uint64 { return f.Fields[x].Lo }
	p := Packet{In: f.In, Out: f.Out, State: State(n(FieldState)),
		Src: f.Fields[FieldSrc].Addr(f.Is6), Dst: f.Fields[FieldDst].Addr(f.Is6),
		Proto: Proto(n(FieldProto)), Flags: Flags(n(FieldFlags)),
		SrcPort: uint16(n(FieldSrcPort)), DstPort: uint16(n(FieldDstPort)),
		Type: uint8(n(FieldType)), Code: uint8(n(FieldCode))}
	switch {
	case f.In != "" && f.Out != "":
		p.Hook = Forward
	case f.Out != "":
		p.Hook = Output
	}
	return p
}

// preferences are the packets that people believe, the most wanted first.
func (s *Space) preferences() []Cond {
	one := func(f Field, n uint64) Cond { return In{f, Ranges{Single(Number(n))}} }
	doc := Ranges{{Number(0xcb007100), Number(0xcb0071ff)}} // 203.0.113.0/24, RFC 5737
	if s.is6 {
		doc = Ranges{{Value{Hi: 0x20010db8 << 32}, Value{0x20010db8<<32 | 0xffffffff, ^uint64(0)}}} // RFC 3849
	}
	odd := NewRanges(Range{Number(0), Number(0x00ffffff)}, Range{Number(0x7f000000), Number(0x7fffffff)}, Range{Number(0xe0000000), Number(0xffffffff)})
	if s.is6 {
		odd = NewRanges(Range{Value{}, Value{Lo: 0xffff}}, Multicast(true)[0])
	}
	syn := Bits{FieldFlags, Number(0xff), Number(uint64(SYN))}
	prefs := []Cond{
		Bits{FieldCTStatus, Number(DstNAT), Value{}},
		one(FieldFragment, 0), one(FieldState, uint64(New)), Not{In{FieldSrc, odd}},
		Any{one(FieldProto, uint64(TCP)), one(FieldProto, uint64(UDP)), one(FieldProto, uint64(ICMP)), one(FieldProto, uint64(ICMPv6))},
		Any{Not{one(FieldProto, uint64(TCP))}, syn},
		// Of TCP without SYN only a lone ACK is taken for new.
		Any{Not{one(FieldProto, uint64(TCP))}, Not{one(FieldState, uint64(New))}, one(FieldFlags, uint64(SYN)), one(FieldFlags, uint64(ACK))},
		one(FieldProto, uint64(TCP)), one(FieldProto, uint64(UDP)),
		Not{Iface{Pattern: "lo"}}, Not{Iface{Out: true, Pattern: "lo"}},
		In{FieldDstPort, Ranges{{Number(1), Number(1023)}}},
		one(FieldSrcPort, 51234), In{FieldSrcPort, Ranges{{Number(49152), Number(65535)}}},
	}
	for _, p := range []uint64{22, 443, 80} {
		prefs = append(prefs, one(FieldDstPort, p))
	}
	prefs = append(prefs, In{FieldSrc, Ranges{Single(doc[0].Lo.plus(Number(9)))}}, In{FieldSrc, doc}, Not{In{FieldDst, odd}})
	if s.host.Known && len(s.host.Local) > 0 {
		prefs = append(prefs, In{FieldDst, s.host.Local})
	}
	dst := doc[0].Lo.plus(Number(10))
	if !s.is6 {
		dst = Number(0xc000020a) // 192.0.2.10
	}
	return append(prefs, In{FieldDst, Ranges{Single(dst)}}, one(FieldMark, 0), one(FieldPacketType, 0), one(FieldType, 8))
}

// Eval returns the value of a diagram for one packet: of a set True or False, of
// a filter the outcome.
func (s *Space) Eval(n Node, f *Facts) Node {
	for n >= terminals {
		b := s.store.nodes[n]
		if s.bitOf(f, b.level) {
			n = b.hi
		} else {
			n = b.lo
		}
	}
	return n
}

func (s *Space) bitOf(f *Facts, level uint32) bool {
	field, i, ok := fieldAt(level)
	switch {
	case !ok:
		return f.Unknowns[s.keys[level-firstLevel[fieldCount]]]
	case field == FieldIn:
		return Number(s.classOf(f.In)).bit(i)
	case field == FieldOut:
		return Number(s.classOf(f.Out)).bit(i)
	}
	return f.Fields[field].bit(i)
}

// Count returns the number of packets in a set, as far as the given fields tell
// them apart.
func (s *Space) Count(set Node, fields ...Field) (n *big.Int, err error) {
	defer s.guard(&err)
	keep := s.levels(fields)
	set = s.store.exists(set, func(level uint32) bool { _, ok := slices.BinarySearch(keep, level); return !ok })
	counts := map[Node]*big.Int{}
	return s.count(set, keep, 0, counts), nil
}

// levels returns the levels of the fields, in order.
func (s *Space) levels(fields []Field) []uint32 {
	var out []uint32
	for _, f := range fields {
		for i := range f.Width(s.is6) {
			out = append(out, levelOf(f, i))
		}
	}
	slices.Sort(out)
	return out
}

// count returns the number of ways to fill the levels from index i on.
func (s *Space) count(n Node, levels []uint32, i int, done map[Node]*big.Int) *big.Int {
	at := len(levels)
	if n >= terminals {
		at, _ = slices.BinarySearch(levels, s.store.level(n))
	}
	c, ok := done[n]
	switch {
	case n == False:
		return new(big.Int)
	case n == True:
		c = big.NewInt(1)
	case !ok:
		b := s.store.nodes[n]
		c = new(big.Int).Add(s.count(b.lo, levels, at+1, done), s.count(b.hi, levels, at+1, done))
		done[n] = c
	}
	return new(big.Int).Lsh(c, uint(at-i))
}

// Part is one piece of a set: values of a field, and what the rest of the packet
// is for all of them.
type Part struct {
	Values Ranges
	Rest   Node
}

// Split cuts a set into pieces by the values of a field, at most atMost of them
// (more is false then). All fields that come before must be gone from the set.
func (s *Space) Split(set Node, f Field, atMost int) (parts []Part, more bool) {
	found := map[Node]*Part{}
	var order []Node
	s.splitAt(set, f, f.Width(s.is6), Value{}, func(n Node, r Range) {
		p, ok := found[n]
		if !ok {
			p = &Part{Rest: n}
			found[n] = p
			order = append(order, n)
		}
		if k := len(p.Values); k > 0 && touches(p.Values[k-1], r) {
			p.Values[k-1].Hi = r.Hi
			return
		}
		p.Values = append(p.Values, r)
	})
	for _, n := range order {
		parts = append(parts, *found[n])
	}
	if len(parts) > atMost {
		return parts[:atMost], true
	}
	return parts, false
}

// splitAt calls f for each block of the field's values under which the set is
// one diagram of later fields, in ascending order, empty ones left out.
func (s *Space) splitAt(n Node, field Field, bitsLeft uint, base Value, f func(Node, Range)) {
	switch {
	case n == False:
		return
	case bitsLeft == 0 || s.store.level(n) >= firstLevel[field+1]:
		f(n, Range{base, base.plus(Ones(bitsLeft))})
		return
	}
	lo, hi := s.store.split(n, levelOf(field, bitsLeft-1))
	s.splitAt(lo, field, bitsLeft-1, base, f)
	s.splitAt(hi, field, bitsLeft-1, base.plus(Number(1).Shift(bitsLeft-1)), f)
}

// Only returns the set as far as the given fields tell: a packet is in it if
// some packet of the set has the same values in them.
func (s *Space) Only(set Node, fields ...Field) (n Node, err error) {
	defer s.guard(&err)
	keep := s.levels(fields)
	return s.store.exists(set, func(level uint32) bool { _, ok := slices.BinarySearch(keep, level); return !ok }), nil
}
