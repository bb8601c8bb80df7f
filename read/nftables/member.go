package nftables

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Flags of sets (NFT_SET_*).
const (
	setInterval = 0x4
	setMap      = 0x8
	setConcat   = 0x80
)

const verdictType = 0xffffff00 // NFT_DATA_VERDICT

func (x *exec) lookup(e Expr) {
	const set, sreg, dreg, flags = 1, 2, 3, 5 // NFTA_LOOKUP_*
	s, ok := x.sets[text(attr(e, set))]
	if !ok || s.Unread {
		x.require(x.unknown(Text([]Expr{e}), true))
		return
	}
	syms := x.register(attrNumber(e, sreg), int(s.KeyLen))
	entries := x.ofClass(syms, entriesOf(s))
	switch {
	case attr(e, dreg) == nil:
		c := x.member(syms, s, entries, e)
		if attrNumber(e, flags)&1 != 0 { // NFT_LOOKUP_F_INV
			c = packet.Not{Cond: c}
		}
		x.require(c)
	case s.DataType == verdictType:
		x.verdictMap(syms, s, entries, e)
	default:
		x.require(x.member(syms, s, entries, e))
		x.fill(attrNumber(e, dreg), opaque(16, Text([]Expr{e})))
	}
}

// ofClass leaves out entries for protocols of other classes.
func (x *exec) ofClass(syms []symbol, entries []entry) []entry {
	at := slices.IndexFunc(syms, func(s symbol) bool {
		return s.kind == symField && s.field == packet.FieldProto && s.mask == 0xff && s.xor == 0
	})
	if at < 0 || x.class.protos == nil {
		return entries
	}
	return slices.DeleteFunc(entries, func(n entry) bool {
		return !n.catchAll && n.lo[at] == n.hi[at] && !x.class.has(packet.Number(uint64(n.lo[at])))
	})
}

// entry is an element with the key behind its end, of a set of ranges.
type entry struct {
	lo, hi   []byte // inclusive; in a concatenation field by field
	verdict  Verdict
	catchAll bool
}

// entriesOf joins the beginnings and ends of ranges.
func entriesOf(s *Set) []entry {
	out := make([]entry, 0, len(s.Elements))
	for i, e := range s.Elements {
		if e.End {
			continue
		}
		n := entry{lo: e.Key, hi: e.Key, catchAll: e.CatchAll}
		switch {
		case e.CatchAll:
		case e.KeyEnd != nil:
			n.hi = e.KeyEnd
		case s.Flags&setInterval != 0 && s.Flags&setConcat == 0:
			n.hi = lastKey(s.Elements[i+1:], len(e.Key))
		}
		if e.Verdict != nil {
			n.verdict = *e.Verdict
		}
		out = append(out, n)
	}
	return out
}

// lastKey returns the key before the next element, or the last of all.
func lastKey(rest []Element, size int) []byte {
	if len(rest) == 0 {
		return bytes.Repeat([]byte{0xff}, size)
	}
	k := slices.Clone(rest[0].Key)
	for i := len(k) - 1; i >= 0; i-- {
		k[i]--
		if k[i] != 0xff {
			break
		}
	}
	return k
}

// member is the condition that the key is one of the entries.
func (x *exec) member(syms []symbol, s *Set, entries []entry, e Expr) packet.Cond {
	if slices.ContainsFunc(entries, func(n entry) bool { return n.catchAll }) {
		return packet.All{}
	}
	if len(entries) == 0 {
		return packet.Never
	}
	if f, ok := wholeField(syms); ok && len(syms) == fieldSize(syms[0]) {
		rs := make([]packet.Range, len(entries))
		for i, n := range entries {
			rs[i] = packet.Range{Lo: packet.BytesValue(n.lo), Hi: packet.BytesValue(n.hi)}
		}
		return packet.In{Field: f, Set: packet.NewRanges(rs...)}
	}
	if t := tuplesOf(syms, entries); t != nil {
		return t
	}
	return x.each(syms, s, entries, e)
}

// part is a stretch of a key: one field, as it is or under a mask of its highest
// bits.
type part struct {
	from, to int
	field    packet.Field
	masked   packet.Value // the bits that the mask hides
}

// tuplesOf makes a set of products, if every part of the key is a field; nil if
// not.
func tuplesOf(syms []symbol, entries []entry) *packet.Tuples {
	parts, ok := partsOf(syms)
	if !ok {
		return nil
	}
	t := &packet.Tuples{Entries: make([][]packet.Range, 0, len(entries))}
	for _, p := range parts {
		t.Fields = append(t.Fields, p.field)
	}
	for _, n := range entries {
		row, possible := rowOf(syms, parts, n)
		if possible {
			t.Entries = append(t.Entries, row)
		}
	}
	return t
}

func partsOf(syms []symbol) ([]part, bool) {
	var parts []part
	for at := 0; at < len(syms); {
		n := segment(syms[at:])
		switch syms[at].kind {
		case symConst:
		case symField:
			hidden, ok := hiddenBits(syms[at : at+n])
			if !ok {
				return nil, false
			}
			parts = append(parts, part{at, at + n, syms[at].field, hidden})
		default:
			return nil, false
		}
		at += n
	}
	return parts, len(parts) > 0
}

// hiddenBits returns the low bits that a prefix mask hides, and false if the
// symbols are not a whole field in network order under such a mask.
func hiddenBits(syms []symbol) (packet.Value, bool) {
	size := fieldSize(syms[0])
	if len(syms) != size {
		return packet.Value{}, false
	}
	b := make([]byte, size)
	for i, s := range syms {
		if int(s.index) != size-1-i || s.xor != 0 {
			return packet.Value{}, false
		}
		b[i] = ^s.mask
	}
	hidden := packet.BytesValue(b)
	return hidden, hidden.And(hidden.Next()) == packet.Value{}
}

// rowOf returns the ranges of an entry, and false if no packet has its key.
func rowOf(syms []symbol, parts []part, n entry) ([]packet.Range, bool) {
	for i, s := range syms {
		if s.kind == symConst && (s.value < n.lo[i] || s.value > n.hi[i]) {
			return nil, false
		}
	}
	row := make([]packet.Range, len(parts))
	for i, p := range parts {
		lo, hi := packet.BytesValue(n.lo[p.from:p.to]), packet.BytesValue(n.hi[p.from:p.to])
		if p.masked != (packet.Value{}) {
			if lo != hi || lo.And(p.masked) != (packet.Value{}) {
				return nil, lo != hi
			}
			hi = lo.Or(p.masked)
		}
		row[i] = packet.Range{Lo: lo, Hi: hi}
	}
	return row, true
}

// maxEach bounds the entries that are tested one by one.
const maxEach = 4096

// each tests entry by entry what does not fit into a set of products.
func (x *exec) each(syms []symbol, s *Set, entries []entry, e Expr) packet.Cond {
	if len(entries) > maxEach || len(syms) > len(entries[0].lo) {
		return x.opaqueTest(syms, e)
	}
	var either packet.Any
	for _, n := range entries {
		switch {
		case bytes.Equal(n.lo, n.hi):
			either = append(either, x.equal(syms, n.lo[:len(syms)], e))
		case syms[0].kind == symName && s.Flags&setConcat == 0:
			p, ok := prefixOf(n)
			if !ok {
				return x.opaqueTest(syms, e)
			}
			either = append(either, packet.Iface{Out: syms[0].field == packet.FieldOut, Pattern: p})
		default:
			c, ok := x.rangeEntry(syms, n, e)
			if !ok {
				return x.opaqueTest(syms, e)
			}
			either = append(either, c)
		}
	}
	return either
}

// rangeEntry tests an entry of a concatenation with ranges.
func (x *exec) rangeEntry(syms []symbol, n entry, e Expr) (packet.Cond, bool) {
	var all packet.All
	for at := 0; at < len(syms); {
		k := segment(syms[at:])
		lo, hi, part := n.lo[at:at+k], n.hi[at:at+k], syms[at:at+k]
		switch {
		case bytes.Equal(lo, hi):
			all = append(all, x.equalSegment(part, lo, e))
		case part[0].kind == symName:
			p, ok := prefixOf(entry{lo: lo, hi: hi})
			if !ok {
				return nil, false
			}
			all = append(all, packet.Iface{Out: part[0].field == packet.FieldOut, Pattern: p})
		default:
			f, ok := wholeField(part)
			if !ok {
				return nil, false
			}
			all = append(all, packet.In{Field: f, Set: packet.Ranges{{Lo: packet.BytesValue(lo), Hi: packet.BytesValue(hi)}}})
		}
		at += k
	}
	return all, true
}

// prefixOf reads a range of names that is all names with one beginning.
func prefixOf(n entry) (string, bool) {
	i := 0
	for i < len(n.lo) && n.lo[i] == n.hi[i] {
		i++
	}
	for _, b := range n.lo[i:] {
		if b != 0 {
			return "", false
		}
	}
	for _, b := range n.hi[i:] {
		if b != 0xff {
			return "", false
		}
	}
	return string(n.lo[:i]) + "*", true
}

// verdictMap writes a step for each verdict that the map has. The keys of a map
// are distinct, so the order of the steps is of no account; the verdict for all
// other keys comes last.
func (x *exec) verdictMap(syms []symbol, s *Set, entries []entry, e Expr) {
	groups := map[Verdict][]entry{}
	var order []Verdict
	var rest *Verdict
	for _, n := range entries {
		if n.catchAll {
			rest = &n.verdict
			continue
		}
		if _, known := groups[n.verdict]; !known {
			order = append(order, n.verdict)
		}
		groups[n.verdict] = append(groups[n.verdict], n)
	}
	slices.SortFunc(order, func(a, b Verdict) int { return cmp.Or(cmp.Compare(a.Code, b.Code), strings.Compare(a.Chain, b.Chain)) })
	// After a jump that comes back the rest of this rule is not run, nor is
	// another key tried.
	var tried packet.Any
	for _, v := range order {
		c := x.member(syms, s, groups[v], e)
		o, chain := x.outcome(v)
		x.emit(o, chain, c)
		tried = append(tried, c)
	}
	if len(tried) == 0 && rest == nil {
		return
	}
	if rest != nil {
		o, chain := x.outcome(*rest)
		x.emit(o, chain, packet.Not{Cond: tried})
		x.over = true
		return
	}
	x.require(packet.Not{Cond: tried})
}

// keyText names what a key is made of.
func keyText(syms []symbol) string {
	var names []string
	for at := 0; at < len(syms); at += segment(syms[at:]) {
		if syms[at].kind == symField {
			names = append(names, syms[at].field.String())
		} else {
			names = append(names, "something")
		}
	}
	return strings.Join(slices.Compact(names), " and ")
}

// Text writes expressions as their names and attributes, for the names of
// unknowns and for reports: it is the same for the same bytes.
func Text(exprs []Expr) string {
	parts := make([]string, 0, len(exprs))
	for _, e := range exprs {
		if e.Name == "counter" {
			continue
		}
		s := e.Name
		_ = eachAttr(e.Data, func(a Attr) error { // what is cut off is left out
			if !zero(a.Data) && !slices.Contains(skipped[e.Name], a.Type) {
				s += fmt.Sprintf(" %d:%s", a.Type, attrText(a.Data))
			}
			return nil
		})
		parts = append(parts, "["+s+"]")
	}
	return strings.Join(parts, " ")
}

// attrText writes a name as it is and anything else in hexadecimal digits.
func attrText(b []byte) string {
	s := bytes.TrimRight(b, "\x00")
	for _, c := range s {
		if c < 0x20 || c > 0x7e {
			return fmt.Sprintf("%x", b)
		}
	}
	return string(s)
}
