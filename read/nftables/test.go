package nftables

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// bigEndianHost reports the order of bytes in this machine's memory.
func bigEndianHost() bool {
	return binary.NativeEndian.Uint16([]byte{0, 1}) == 1
}

// comparison is an operator of cmp (NFT_CMP_*).
type comparison uint64

const (
	cmpEq comparison = iota
	cmpNeq
	cmpLt
	cmpLte
	cmpGt
	cmpGte
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

func (x *exec) cmp(e Expr) {
	const sreg, op, data = 1, 2, 3 // NFTA_CMP_*
	want, ok := valueOf(attr(e, data))
	if !ok || len(want) > 16 {
		x.require(x.unknown(Text([]Expr{e}), true))
		return
	}
	syms := x.register(attrNumber(e, sreg), len(want))
	x.require(x.compare(syms, comparison(attrNumber(e, op)), want, e))
}

// compare is the condition that the bytes of a register compare so with a
// constant.
func (x *exec) compare(syms []symbol, op comparison, want []byte, e Expr) packet.Cond {
	if op == cmpNeq {
		return packet.Not{Cond: x.compare(syms, cmpEq, want, e)}
	}
	switch kind, uniform := kindOf(syms); {
	case uniform && (kind == symState || kind == symKind):
		return domainTest(syms, func(b []byte) bool { return op.holds(bytes.Compare(b, want)) })
	case uniform && kind == symTime:
		return x.timeTest(syms, op, want, e)
	case op == cmpEq:
		return x.equal(syms, want, e)
	}
	f, ok := wholeField(syms)
	if !ok {
		return x.opaqueTest(syms, e)
	}
	return packet.In{Field: f, Set: ordered(op, want, syms)}
}

// kindOf returns the kind that all symbols have.
func kindOf(syms []symbol) (symbolKind, bool) {
	for _, s := range syms {
		if s.kind != syms[0].kind || s.field != syms[0].field {
			return 0, false
		}
	}
	return syms[0].kind, true
}

// opaqueTest is the unknown result of a test of bytes that were not understood.
func (x *exec) opaqueTest(syms []symbol, e Expr) packet.Cond {
	text := Text([]Expr{e})
	for _, s := range syms {
		if s.what != "" {
			text = s.what + " " + text
			break
		}
	}
	return x.unknown(text, true)
}

// equal is the condition that each byte has a value.
func (x *exec) equal(syms []symbol, want []byte, e Expr) packet.Cond {
	var all packet.All
	for len(syms) > 0 {
		n := segment(syms)
		c := x.equalSegment(syms[:n], want[:n], e)
		all = append(all, c)
		syms, want = syms[n:], want[n:]
	}
	return all
}

// segment returns how many symbols from the first on belong to one field, or
// are of one kind.
func segment(syms []symbol) int {
	n := 1
	for n < len(syms) && syms[n].kind == syms[0].kind && syms[n].field == syms[0].field && syms[n].what == syms[0].what {
		n++
	}
	return n
}

func (x *exec) equalSegment(syms []symbol, want []byte, e Expr) packet.Cond {
	switch syms[0].kind {
	case symConst:
		if v, _ := constant(syms); !bytes.Equal(v, want) {
			return packet.Never
		}
		return packet.All{}
	case symField:
		return fieldEqual(syms, want)
	case symState, symKind:
		return domainTest(syms, func(b []byte) bool { return bytes.Equal(b, want) })
	case symName:
		if syms[0].index == 0 {
			return packet.Iface{Out: syms[0].field == packet.FieldOut, Pattern: namePattern(want)}
		}
	case symIndex:
		if len(syms) == 4 && plain(syms) {
			return x.index(syms[0].field, binary.NativeEndian.Uint32(want))
		}
	}
	return x.opaqueTest(syms, e)
}

func plain(syms []symbol) bool {
	return !slices.ContainsFunc(syms, func(s symbol) bool { return s.mask != 0xff || s.xor != 0 })
}

// fieldEqual fixes the bits that the masks let through.
func fieldEqual(syms []symbol, want []byte) packet.Cond {
	var mask, value [16]byte // the highest byte first
	for i, s := range syms {
		w := want[i] ^ s.xor
		if w&^s.mask != 0 {
			return packet.Never
		}
		mask[15-s.index], value[15-s.index] = s.mask, w
	}
	return packet.Bits{Field: syms[0].field, Mask: packet.BytesValue(mask[:]), Value: packet.BytesValue(value[:])}
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

func (x *exec) index(f packet.Field, i uint32) packet.Cond {
	out := f == packet.FieldOut
	switch name, ok := x.links[i]; {
	case i == 0:
		return packet.Iface{Out: out, Pattern: ""}
	case ok:
		return packet.Iface{Out: out, Pattern: name}
	case i == 1:
		return packet.Iface{Out: out, Pattern: "lo"} // in every network namespace
	}
	// No interface has the number now.
	return packet.Never
}

// domainTest tries each value of a small field in turn.
func domainTest(syms []symbol, holds func([]byte) bool) packet.Cond {
	f := syms[0].field
	values := kinds
	if syms[0].kind == symState {
		values = stateBits
	}
	var set []packet.Range
	for n, bits := range values {
		if holds(bytesOf(syms, bits)) {
			set = append(set, packet.Single(packet.Number(uint64(n))))
		}
	}
	return packet.In{Field: f, Set: packet.NewRanges(set...)}
}

// stateBits are the bits of ct state by packet.State, kinds the numbers of
// address types by packet.AddrType. A kind that has no name here counts as
// unicast.
var (
	stateBits = []uint32{packet.New: 8, packet.Established: 2, packet.Related: 4, packet.Invalid: 1, packet.Untracked: 64}
	kinds     = []uint32{packet.AddrOther: 1, packet.AddrLocal: 2, packet.AddrBroadcast: 3, packet.AddrMulticast: 5}
)

// bytesOf returns the bytes of the register if the field has the value.
func bytesOf(syms []symbol, value uint32) []byte {
	out := make([]byte, len(syms))
	for i, s := range syms {
		out[i] = byte(value>>(8*s.index))&s.mask ^ s.xor
	}
	return out
}

// wholeField reports whether the symbols are a field's highest bytes, in network
// order and as they are.
func wholeField(syms []symbol) (packet.Field, bool) {
	f := syms[0].field
	top := fieldSize(syms[0])
	for i, s := range syms {
		if s.kind != symField || s.field != f || int(s.index) != top-1-i || s.mask != 0xff || s.xor != 0 {
			return 0, false
		}
	}
	return f, true
}

// fieldSize returns the bytes of a symbol's field; an address has as many as its
// first byte says.
func fieldSize(s symbol) int {
	switch s.field {
	case packet.FieldDst, packet.FieldSrc:
		if s.index < 4 {
			return 4
		}
		return 16
	case packet.FieldDstPort, packet.FieldSrcPort, packet.FieldLength:
		return 2
	case packet.FieldMark, packet.FieldCTMark, packet.FieldUser, packet.FieldUserGroup, packet.FieldCTStatus:
		return 4
	case packet.FieldMAC:
		return 6
	}
	return 1
}

// ordered returns the values of a field whose highest bytes compare so.
func ordered(op comparison, want []byte, syms []symbol) packet.Ranges {
	size := fieldSize(syms[0])
	low := append(slices.Clone(want), make([]byte, size-len(want))...)
	high := append(slices.Clone(want), bytes.Repeat([]byte{0xff}, size-len(want))...)
	first, last := packet.BytesValue(low), packet.BytesValue(high)
	top := packet.BytesValue(bytes.Repeat([]byte{0xff}, size))
	switch op {
	case cmpLt:
		return below(first)
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

func below(v packet.Value) packet.Ranges {
	if v == (packet.Value{}) {
		return nil
	}
	return packet.Ranges{{Hi: v.Previous()}}
}

// timeTest reads a comparison of the clock.
func (x *exec) timeTest(syms []symbol, op comparison, want []byte, e Expr) packet.Cond {
	for i, s := range syms {
		if len(syms) != 8 || int(s.index) != 7-i {
			return x.opaqueTest(syms, e)
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
	case cmpGt:
		return packet.Not{Cond: packet.TimeBefore(at.Add(1))}
	}
	return x.opaqueTest(syms, e)
}

func (x *exec) rangeTest(e Expr) {
	const sreg, op, from, to = 1, 2, 3, 4 // NFTA_RANGE_*
	lo, okL := valueOf(attr(e, from))
	hi, okH := valueOf(attr(e, to))
	if !okL || !okH || len(lo) != len(hi) || len(lo) > 16 {
		x.require(x.unknown(Text([]Expr{e}), true))
		return
	}
	syms := x.register(attrNumber(e, sreg), len(lo))
	c := packet.Cond(packet.All{x.compare(syms, cmpGte, lo, e), x.compare(syms, cmpLte, hi, e)})
	if comparison(attrNumber(e, op)) == cmpNeq {
		c = packet.Not{Cond: c}
	}
	x.require(c)
}

// perSource tests a limit that a set keeps for each source address.
func (x *exec) perSource(e, limit Expr, sreg uint64) {
	rate, per, burst, inBytes, over := limitOf(limit)
	n := 4
	if x.is6 {
		n = 16
	}
	syms := x.register(sreg, n)
	var c packet.Cond
	if ours := syms[0].field == packet.FieldSrc && syms[0].kind == symField && sourceMask(syms, x.is6) && rate == burst && !inBytes; ours {
		c = packet.Unspent(x.place.Name, rate, per, x.is6)
	} else {
		c = x.unknown(limitText(limit)+" for each "+keyText(syms), false)
	}
	if over {
		c = packet.Not{Cond: c}
	}
	x.require(c)
}

// sourceMask reports whether the symbols are an IPv4 address, or the first half
// of an IPv6 one.
func sourceMask(syms []symbol, is6 bool) bool {
	for i, s := range syms {
		want := byte(0xff)
		if is6 && i >= 8 {
			want = 0
		}
		if s.kind != symField || s.field != packet.FieldSrc || s.mask != want || s.xor != 0 {
			return false
		}
	}
	return true
}
