package nftables

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// holds applies the operator to the order of two byte strings.
func (c comparison) holds(order int) bool {
	switch c {
	case cmpEq:
		return order == 0
	case cmpNeq:
		return order != 0
	case cmpLt:
		return order < 0
	case cmpLte:
		return order <= 0
	case cmpGt:
		return order > 0
	}
	return order >= 0
}

var comparisonText = [...]string{"==", "!=", "<", "<=", ">", ">="}

func (c comparison) String() string {
	if int(c) < len(comparisonText) {
		return comparisonText[c]
	}
	return fmt.Sprintf("operator %d", uint64(c))
}

// compare is the condition that the bits of a register compare so with a
// constant of as many bytes. Their order is that of the bytes in memory.
func (x *exec) compare(bits []bit, op comparison, want []byte) packet.Cond {
	if op > cmpGte {
		return x.unknown(fmt.Sprintf("%s %s %s", x.textOf(bits), op, hexText(want)), true)
	}
	switch {
	case op == cmpEq:
		return x.equal(bits, want)
	case kindIs(bits, bitOpaque) && op == cmpNeq:
		return packet.Any{packet.Not{Cond: x.equal(known(bits, want), want)}, x.opaqueTest(bits, op, want)}
	case kindIs(bits, bitOpaque):
		return x.opaqueTest(bits, op, want)
	case op == cmpNeq:
		return packet.Not{Cond: x.equal(bits, want)}
	case kindIs(bits, bitTime):
		return x.timeTest(bits, op, want)
	case kindIs(bits, bitName):
		return x.opaqueTest(bits, op, want)
	case kindIs(bits, bitPart):
		return x.partOrder(bits, op, want)
	}
	if g, ok := domainOf(bits); ok {
		return x.domain(g, func(n uint32) bool { return op.holds(bytes.Compare(bytesOf(bits, n), want)) })
	}
	if c, ok := x.ordered(bits, op, want); ok {
		return c
	}
	return x.lexical(bits, op, want)
}

// known puts the wanted bits into the place of opaque ones.
func known(bits []bit, want []byte) []bit {
	out := slices.Clone(bits)
	for i := range out {
		if out[i].kind == bitOpaque {
			out[i] = bit{kind: bitConst, one: bitAt(want, i)}
		}
	}
	return out
}

func kindIs(bits []bit, k bitKind) bool {
	return slices.ContainsFunc(bits, func(b bit) bool { return b.kind == k })
}

// opaqueTest is the unknown result of a test of bits that nobody knows.
func (x *exec) opaqueTest(bits []bit, op comparison, want []byte) packet.Cond {
	what := x.whatOf(bits)
	return x.unknown(fmt.Sprintf("%s %s %s", what.text, op, valueText(want)), what.unsupported)
}

// whatOf names what opaque bits were loaded from.
func (x *exec) whatOf(bits []bit) opaqueLoad {
	for _, b := range bits {
		if b.kind == bitOpaque && b.ref > 0 {
			return x.whats[b.ref-1]
		}
	}
	return opaqueLoad{x.textOf(bits), true}
}

// textOf names the fields that bits come from.
func (x *exec) textOf(bits []bit) string {
	for _, b := range bits {
		switch {
		case b.kind == bitOpaque && b.ref > 0:
			return x.whats[b.ref-1].text
		case b.kind == bitField:
			return b.field.String()
		}
	}
	return "a register"
}

// group is a run of equations for bits of one kind and field.
type group struct {
	kind  bitKind
	field packet.Field
	ref   uint16
	mask  packet.Value // the bits that are asked for
	value packet.Value
	count int
}

// equal is the condition that each bit has a value.
func (x *exec) equal(bits []bit, want []byte) packet.Cond {
	var groups []group
	var all packet.All
	for i := 0; i < len(bits); i++ {
		b, w := bits[i], bitAt(want, i)
		switch b.kind {
		case bitConst:
			if b.one != w {
				return packet.Never
			}
		case bitName:
			n := nameRun(bits[i:])
			all = append(all, x.nameTest(bits[i:i+n], want, i))
			i += n - 1
		case bitTime:
			return x.unknown(fmt.Sprintf("meta time == %s", valueText(want)), false)
		default:
			var possible bool
			if groups, possible = add(groups, b, w != b.one); !possible {
				return packet.Never
			}
		}
	}
	for _, g := range groups {
		c := x.groupTest(g, bits, want)
		if isNever(c) {
			return packet.Never
		}
		all = append(all, c)
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}

func isNever(c packet.Cond) bool {
	a, ok := c.(packet.Any)
	return ok && len(a) == 0
}

// add adds an equation, and reports whether it does not contradict another.
func add(groups []group, b bit, one bool) ([]group, bool) {
	at := slices.IndexFunc(groups, func(g group) bool { return g.kind == b.kind && g.field == b.field && g.ref == b.ref })
	if at < 0 {
		at = len(groups)
		groups = append(groups, group{kind: b.kind, field: b.field, ref: b.ref})
	}
	g := &groups[at]
	if b.kind == bitOpaque {
		g.count++
		return groups, true // its bits have no place: none is asked for twice
	}
	m := packet.Bit(uint(b.index))
	before := g.mask.And(m) != packet.Value{}
	was := g.value.And(m) != packet.Value{}
	g.count++
	g.mask = g.mask.Or(m)
	if one {
		g.value = g.value.Or(m)
	}
	return groups, !before || was == one
}

func (x *exec) groupTest(g group, bits []bit, want []byte) packet.Cond {
	switch g.kind {
	case bitField:
		return packet.Bits{Field: g.field, Mask: g.mask, Value: g.value}
	case bitPart:
		return x.partTest(g)
	case bitOpaque:
		return x.opaqueTest(bits, cmpEq, want)
	}
	return x.domain(g, func(n uint32) bool { return uint64(n)&g.mask.Lo == g.value.Lo })
}

// partTest asks for bits of the place of a fragment, which has thirteen
// (RFC 791, section 3.1).
func (x *exec) partTest(g group) packet.Cond {
	const all = 13
	whole := isField(packet.FieldFragment, 0)
	switch {
	case g.value != packet.Value{}:
		return packet.All{packet.Not{Cond: whole}, x.unknown("place of the fragment", true)}
	case g.count == all:
		return whole
	}
	return packet.Any{whole, x.unknown("place of the fragment", true)}
}

// partOrder compares the place of a fragment with zero.
func (x *exec) partOrder(bits []bit, op comparison, want []byte) packet.Cond {
	if !zero(want) {
		return x.unknown(fmt.Sprintf("place of the fragment %s %s", op, valueText(want)), true)
	}
	switch op {
	case cmpLt:
		return packet.Never
	case cmpLte:
		return x.equal(bits, want)
	case cmpGt:
		return packet.Not{Cond: x.equal(bits, want)}
	}
	return packet.All{}
}

func isField(f packet.Field, n uint64) packet.Cond {
	return packet.In{Field: f, Set: packet.Ranges{packet.Single(packet.Number(n))}}
}

// nameRun returns how many bits from the first on are one name's in order.
func nameRun(bits []bit) int {
	n := 1
	for n < len(bits) && bits[n].kind == bitName && bits[n].field == bits[0].field && int(bits[n].index) == int(bits[0].index)+n && !bits[n].one {
		n++
	}
	return n
}

// nameTest reads an interface's name in a constant, from a bit of it on.
func (x *exec) nameTest(bits []bit, want []byte, from int) packet.Cond {
	if bits[0].index != 0 || bits[0].one || from%8 != 0 || len(bits)%8 != 0 {
		return x.unknown("part of the name of an interface", true)
	}
	name := want[from/8 : (from+len(bits))/8]
	return packet.Iface{Out: bits[0].field == packet.FieldOut, Pattern: namePattern(name)}
}

// namePattern reads an interface's name. A whole name ends in a zero byte, a
// shorter constant is a prefix.
func namePattern(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return string(b[:i])
	}
	if len(b) == ifNameSize {
		return string(b)
	}
	return string(b) + "*"
}

// domainOf reports whether all bits depend on one field with few values.
func domainOf(bits []bit) (g group, ok bool) {
	for _, b := range bits {
		switch {
		case b.kind == bitConst:
		case b.kind < bitState || b.kind == bitName || b.kind == bitTime || b.kind == bitPart:
			return g, false
		case !ok:
			g, ok = group{kind: b.kind, field: b.field, ref: b.ref}, true
		case g.kind != b.kind || g.field != b.field || g.ref != b.ref:
			return g, false
		}
	}
	return g, ok
}

// bytesOf returns the bytes of the register if its field has the number.
func bytesOf(bits []bit, n uint32) []byte {
	out := make([]byte, len(bits)/8)
	for i, b := range bits {
		one := b.one
		if b.kind != bitConst {
			one = one != (n>>b.index&1 == 1)
		}
		if one {
			out[i/8] |= 1 << (7 - i%8)
		}
	}
	return out
}

// domain is the condition that the number of a field with few values passes a
// test.
func (x *exec) domain(g group, holds func(uint32) bool) packet.Cond {
	switch g.kind {
	case bitState:
		return packet.In{Field: g.field, Set: chosen(5, func(i int) uint32 { return 1 << i }, holds)}
	case bitKind_:
		return x.kindTest(g, holds)
	}
	return x.linkTest(g, holds)
}

// chosen returns which of the values have a number that holds.
func chosen(n int, number func(int) uint32, holds func(uint32) bool) packet.Ranges {
	var set []packet.Range
	for i := range n {
		if holds(number(i)) {
			set = append(set, packet.Single(packet.Number(uint64(i))))
		}
	}
	return packet.NewRanges(set...)
}

// kinds are the numbers of address types by packet.AddrType, rareKinds those that
// have no name there (RTN_*, linux/rtnetlink.h).
var (
	kinds     = [...]uint32{packet.AddrOther: 1, packet.AddrLocal: 2, packet.AddrBroadcast: 3, packet.AddrMulticast: 5}
	rareKinds = []uint32{0, 4, 6, 7, 8, 9, 10, 11}
)

// ofInterface in group.ref says that only addresses of the interface by which
// the packet came are local or broadcast ones.
const ofInterface = 1

// kindTest tests the kind of an address. Where a kind without a name would pass
// and an ordinary address does not, nobody knows.
func (x *exec) kindTest(g group, holds func(uint32) bool) packet.Cond {
	set := chosen(len(kinds), func(i int) uint32 { return kinds[i] }, holds)
	var c packet.Cond = packet.In{Field: g.field, Set: set}
	if g.ref == ofInterface {
		c = x.kindOfInterface(g, holds)
	}
	if !holds(kinds[packet.AddrOther]) && slices.ContainsFunc(rareKinds, holds) {
		rare := x.unknown(g.field.String()+" is of a rare kind", true)
		c = packet.Any{c, packet.All{isField(g.field, uint64(packet.AddrOther)), rare}}
	}
	return c
}

func (x *exec) kindOfInterface(g group, holds func(uint32) bool) packet.Cond {
	here := x.ofIncoming(g.field)
	var c packet.Any
	for i, n := range kinds {
		is := isField(g.field, uint64(i))
		bound := i == int(packet.AddrLocal) || i == int(packet.AddrBroadcast)
		switch {
		case !bound && holds(n):
			c = append(c, is)
		case bound && holds(n):
			c = append(c, packet.All{is, here})
		}
		if bound && holds(kinds[packet.AddrOther]) {
			c = append(c, packet.All{is, packet.Not{Cond: here}})
		}
	}
	return c
}

// linkTest tests the number of an interface, or an attribute of it.
func (x *exec) linkTest(g group, holds func(uint32) bool) packet.Cond {
	out := g.field == packet.FieldOut
	var c, listed packet.Any
	for _, i := range x.linkOrder {
		l := x.links[i]
		n := i
		if g.kind == bitOf {
			n = attribute(l, g.ref)
		}
		name := packet.Iface{Out: out, Pattern: l.Name}
		listed = append(listed, name)
		if holds(n) {
			c = append(c, name)
		}
	}
	if g.kind == bitOf {
		if holds(attribute(packet.Link{Type: ethernet}, g.ref)) {
			c = append(c, packet.Not{Cond: listed})
		}
		return c
	}
	absent := packet.Iface{Out: out, Pattern: ""}
	if holds(0) {
		c = append(c, absent)
	}
	if x.open && (g.mask == packet.Value{} || g.value.Lo > 1) {
		number := x.unknown(fmt.Sprintf("number %d of the interface", g.value.Lo), true)
		c = append(c, packet.All{packet.Not{Cond: append(listed, absent)}, number})
	}
	return c
}

const ethernet = 1 // ARPHRD_ETHER, linux/if_arp.h

// ordered compares a number that is a field's highest bits: a range of the field.
func (x *exec) ordered(bits []bit, op comparison, want []byte) (packet.Cond, bool) {
	at := 0
	for at < len(bits) && bits[at].kind == bitConst {
		if w := bitAt(want, at); bits[at].one != w {
			// The first difference decides for all packets alike.
			order := -1
			if bits[at].one {
				order = 1
			}
			if op.holds(order) {
				return packet.All{}, true
			}
			return packet.Never, true
		}
		at++
	}
	f, size, ok := x.highest(bits[at:])
	if !ok {
		return nil, false
	}
	hidden := uint(size - (len(bits) - at))
	first := low(want, at, len(bits)).Shift(hidden)
	last := first.Or(packet.Ones(hidden))
	set := within(op, first, last, packet.Ones(uint(size)))
	return packet.In{Field: f, Set: set}, true
}

// highest reports whether the bits are those of a field from its highest on, and
// how many it has.
func (x *exec) highest(bits []bit) (f packet.Field, size int, ok bool) {
	if len(bits) == 0 || bits[0].kind != bitField {
		return 0, 0, false
	}
	f, size = bits[0].field, int(bits[0].index)+1
	for i, b := range bits {
		if b.kind != bitField || b.field != f || int(b.index) != size-1-i || b.one {
			return 0, 0, false
		}
	}
	return f, size, size == int(f.Width(x.is6))
}

// low returns the number in some bits of bytes.
func low(b []byte, from, to int) packet.Value {
	var v packet.Value
	for i := from; i < to; i++ {
		v = v.Shift(1)
		if bitAt(b, i) {
			v = v.Or(packet.Number(1))
		}
	}
	return v
}

// within returns the values up to top that compare so with a block of them.
func within(op comparison, first, last, top packet.Value) packet.Ranges {
	switch op {
	case cmpLt:
		if first == (packet.Value{}) {
			return nil
		}
		return packet.Ranges{{Hi: first.Previous()}}
	case cmpLte:
		return packet.Ranges{{Hi: last}}
	case cmpGt:
		if last == top {
			return nil
		}
		return packet.Ranges{{Lo: last.Next(), Hi: top}}
	}
	return packet.Ranges{{Lo: first, Hi: top}}
}

// lexical compares bit by bit, the first difference decides.
func (x *exec) lexical(bits []bit, op comparison, want []byte) packet.Cond {
	switch op {
	case cmpLt:
		return packet.Not{Cond: x.lexical(bits, cmpGte, want)}
	case cmpGt:
		return packet.Not{Cond: x.lexical(bits, cmpLte, want)}
	}
	var c packet.Cond = packet.All{}
	for i := len(bits) - 1; i >= 0; i-- {
		is := x.single(bits[i], op == cmpGte)
		if bitAt(want, i) == (op == cmpGte) {
			c = packet.All{is, c}
		} else {
			c = packet.Any{is, c}
		}
	}
	return c
}

// single is the condition that a bit has a value.
func (x *exec) single(b bit, one bool) packet.Cond {
	bits, want := make([]bit, 8), []byte{0}
	copy(bits, zeros(8))
	bits[7] = b
	if one {
		want[0] = 1
	}
	return x.equal(bits, want)
}

// timeTest reads a comparison of the clock.
func (x *exec) timeTest(bits []bit, op comparison, want []byte) packet.Cond {
	for i, b := range bits {
		if len(bits) != 64 || b.kind != bitTime || int(b.index) != 63-i || b.one {
			return x.unknown(fmt.Sprintf("meta time %s %s", op, valueText(want)), false)
		}
	}
	at := time.Unix(0, int64(binary.BigEndian.Uint64(want)))
	switch op {
	case cmpLt:
		return packet.TimeBefore(at)
	case cmpGte:
		return packet.Not{Cond: packet.TimeBefore(at)}
	case cmpLte:
		return packet.TimeBefore(at.Add(1))
	}
	return packet.Not{Cond: packet.TimeBefore(at.Add(1))}
}

func hexText(b []byte) string { return fmt.Sprintf("0x%x", b) }

// valueText writes a short constant as the number that its bytes spell.
func valueText(b []byte) string { return hexText(b) }
