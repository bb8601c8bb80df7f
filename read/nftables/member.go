package nftables

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// Flags of sets (NFT_SET_*).
const (
	setConstant = 0x2
	setInterval = 0x4
	setMap      = 0x8
	setTimed    = 0x10
	setEval     = 0x20
	setObject   = 0x40
	setConcat   = 0x80
)

const verdictType = 0xffffff00 // NFT_DATA_VERDICT

func (x *exec) lookup(a *args) {
	name := a.text(lookupSet)
	s := x.sets[name]
	if s == nil || s.Unread || x.filled[name] {
		x.lookupUnknown(a, s)
		return
	}
	bits := x.load(a.num(lookupSreg), int(s.KeyLen))
	switch {
	case !a.has(lookupDreg):
		c := x.inSet(bits, s)
		if a.flag(lookupFlags, 1) { // NFT_LOOKUP_F_INV
			c = x.outside(c, bits, s)
		}
		x.require(c)
	case s.DataType == verdictType:
		x.verdictMap(bits, s)
	default:
		x.dataMap(bits, s, a.num(lookupDreg))
	}
}

// lookupUnknown is a lookup in a set that was not read, or that the rules
// themselves fill, so that its elements are state: whether a key is in it is a
// property of the key that is not known.
func (x *exec) lookupUnknown(a *args, s *Set) {
	length := 4
	if s != nil {
		length = int(s.KeyLen)
	}
	key := x.keyText(x.load(a.num(lookupSreg), length))
	name := a.text(lookupSet)
	c := packet.Cond(packet.Unknown{Key: key + " is in " + x.setName(name), Unsupported: s == nil || s.Unread})
	if a.flag(lookupFlags, 1) {
		c = packet.Not{Cond: c}
	}
	x.require(c)
	switch {
	case !a.has(lookupDreg):
	case s != nil && s.DataType == verdictType:
		x.end(packet.OutcomeUnknown, "")
	default:
		x.store(a.num(lookupDreg), x.opaque(ifNameSize, "what "+x.setName(name)+" has for "+key, true))
	}
}

// outside is the condition that a key is not in a set. Of a key that is not
// known it is as unknown as the other, and not its contrary: a load that fails
// makes neither hold.
func (x *exec) outside(c packet.Cond, bits []bit, s *Set) packet.Cond {
	all, ok := c.(packet.All)
	if !kindIs(bits, bitOpaque) || !ok || len(all) != 2 {
		return packet.Not{Cond: c}
	}
	// What is known of the key may be in no entry.
	other := x.unknown(x.keyText(bits)+" is not in "+x.setName(s.Name), x.whatOf(bits).unsupported)
	return packet.Any{packet.Not{Cond: all[0]}, other}
}

// entry is an element with the key behind its end, of a set of ranges.
type entry struct {
	lo, hi   []byte // inclusive; in a concatenation part by part
	element  *Element
	catchAll bool
}

// entriesOf joins the beginnings and ends of ranges. Keys of a wrong length are
// left out.
func entriesOf(s *Set) []entry {
	out := make([]entry, 0, len(s.Elements))
	for i := range s.Elements {
		e := &s.Elements[i]
		n := entry{lo: e.Key, hi: e.Key, element: e, catchAll: e.CatchAll}
		switch {
		case e.End:
			continue
		case e.CatchAll:
		case e.KeyEnd != nil:
			n.hi = e.KeyEnd
		case s.Flags&setInterval != 0 && s.Flags&setConcat == 0:
			n.hi = lastKey(s.Elements[i+1:], len(e.Key))
		}
		if e.CatchAll || len(n.lo) == int(s.KeyLen) && len(n.hi) == len(n.lo) {
			out = append(out, n)
		}
	}
	return out
}

// lastKey returns the key before the next element, or the last of all.
func lastKey(rest []Element, size int) []byte {
	for _, e := range rest {
		if e.CatchAll {
			continue
		}
		k := slices.Clone(e.Key)
		for i := len(k) - 1; i >= 0; i-- {
			k[i]--
			if k[i] != 0xff {
				break
			}
		}
		return k
	}
	return bytes.Repeat([]byte{0xff}, size)
}

// part is a stretch of a key, in bits.
type part struct {
	from, to int
	// column says that it is a field, whole or under a mask of its highest bits,
	// between zeros.
	column         bool
	opaque         bool // nobody knows what it is
	field          packet.Field
	hidden, behind uint // low bits of the field that are masked; zeros behind it
}

// parts splits a key. A set of ranges has a range for each part.
func (x *exec) parts(bits []bit, s *Set) []part {
	var out []part
	switch {
	case len(s.Parts) > 0:
		at := 0
		for _, n := range s.Parts {
			to := min(at+8*int(n), len(bits))
			out = append(out, x.part(bits, at, to))
			at = min(at+8*align4(int(n)), len(bits))
		}
		if at < len(bits) {
			out = append(out, x.part(bits, at, len(bits)))
		}
	case s.Flags&setInterval != 0:
		out = append(out, x.part(bits, 0, len(bits)))
	default:
		for at := 0; at < len(bits); {
			n := stretch(bits[at:])
			out = append(out, x.part(bits, at, at+n))
			at += n
		}
	}
	return out
}

// stretch returns how many bits from the first on, whole bytes, belong to the
// same field or are constant behind it.
func stretch(bits []bit) int {
	var f *bit
	for i := range bits {
		b := &bits[i]
		if b.kind == bitConst {
			continue
		}
		if f != nil && (b.kind != f.kind || b.field != f.field || b.ref != f.ref) && i%8 == 0 {
			return i
		}
		if f == nil || i%8 != 0 {
			f = b
		}
	}
	return len(bits)
}

func (x *exec) part(bits []bit, from, to int) part {
	p := part{from: from, to: to, opaque: kindIs(bits[from:to], bitOpaque)}
	b := bits[from:to]
	for len(b) > 0 && b[0].kind == bitConst && !b[0].one {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1].kind == bitConst && !b[len(b)-1].one {
		b = b[:len(b)-1]
		p.behind++
	}
	if len(b) == 0 || to-from > 128 || b[0].kind != bitField || int(b[0].index) != int(b[0].field.Width(x.is6))-1 {
		return p
	}
	for i, c := range b {
		if c.kind != bitField || c.field != b[0].field || int(c.index) != int(b[0].index)-i || c.one {
			return p
		}
	}
	p.column, p.field, p.hidden = true, b[0].field, uint(b[len(b)-1].index)
	return p
}

// column returns the values of the part's field whose key lies in a range, and
// false if there are none.
func (p part) values(lo, hi packet.Value, is6 bool) (packet.Range, bool) {
	first, last := lo, hi
	if p.behind > 0 {
		first = lo.Or(packet.Ones(p.behind)).Next().Moved(int(p.behind))
		if lo.And(packet.Ones(p.behind)) == (packet.Value{}) {
			first = lo.Moved(int(p.behind))
		}
		last = hi.Moved(int(p.behind))
	}
	top := packet.Ones(p.field.Width(is6) - p.hidden)
	if last.Compare(top) > 0 {
		last = top
	}
	if first.Compare(last) > 0 {
		return packet.Range{}, false
	}
	return packet.Range{Lo: first.Shift(p.hidden), Hi: last.Shift(p.hidden).Or(packet.Ones(p.hidden))}, true
}

// maxGroups bounds the different values of the parts of a key that are no
// fields.
const maxGroups = 65536

// entriesOf returns the entries of a set, made once.
func (r *reader) entriesOf(s *Set) []entry {
	out, ok := r.entries[s.Name]
	if !ok {
		out = entriesOf(s)
		r.entries[s.Name] = out
	}
	return out
}

// fromLarge is the number of elements from which on the condition for a set is
// kept for other rules.
const fromLarge = 64

// inSet is the condition that the key is in the set.
func (x *exec) inSet(bits []bit, s *Set) packet.Cond {
	entries := x.entriesOf(s)
	if len(entries) < fromLarge || kindIs(bits, bitOpaque) {
		return x.member(bits, s, entries)
	}
	key := fmt.Sprint(s.Name, x.class.kind, bits)
	c, ok := x.members[key]
	if !ok {
		c = x.member(bits, s, entries)
		x.members[key] = c
	}
	return c
}

// member is the condition that the key is one of the entries.
func (x *exec) member(bits []bit, s *Set, entries []entry) packet.Cond {
	switch {
	case slices.ContainsFunc(entries, func(n entry) bool { return n.catchAll }):
		return packet.All{}
	case len(entries) == 0:
		return packet.Never
	}
	parts := x.parts(bits, s)
	t := table{exec: x, bits: bits, parts: parts, groups: map[string]*tableGroup{}}
	for _, n := range entries {
		t.add(n)
	}
	return t.cond(s)
}

// table sorts the entries of a set by the parts of their keys that are no
// fields; the others make sets of products.
type table struct {
	*exec
	bits   []bit
	parts  []part
	groups map[string]*tableGroup
	order  []*tableGroup
}

type tableGroup struct {
	first entry // its parts that are no fields are all entries'
	rows  [][]packet.Range
}

func (t *table) add(n entry) {
	var key []byte
	row := make([]packet.Range, 0, len(t.parts))
	for _, p := range t.parts {
		lo, hi := n.lo[p.from/8:p.to/8], n.hi[p.from/8:p.to/8]
		if p.opaque {
			continue
		}
		if !p.column {
			key = append(append(key, lo...), hi...)
			continue
		}
		r, ok := p.values(packet.BytesValue(lo), packet.BytesValue(hi), t.is6)
		if !ok || p.field == packet.FieldProto && r.Lo == r.Hi && !t.class.has(r.Lo) {
			return
		}
		row = append(row, r)
	}
	g := t.groups[string(key)]
	if g == nil {
		g = &tableGroup{first: n}
		t.groups[string(key)] = g
		t.order = append(t.order, g)
	}
	g.rows = append(g.rows, row)
}

func (t *table) cond(s *Set) packet.Cond {
	if len(t.order) > maxGroups {
		return t.unknown(t.keyText(t.bits)+" is in "+t.setName(s.Name), true)
	}
	var any packet.Any
	for _, g := range t.order {
		any = append(any, t.groupCond(g))
	}
	if kindIs(t.bits, bitOpaque) && len(any) > 0 {
		return packet.All{any, t.unknown(t.keyText(t.bits)+" is in "+t.setName(s.Name), t.whatOf(t.bits).unsupported)}
	}
	if len(any) == 1 {
		return any[0]
	}
	return any
}

func (t *table) groupCond(g *tableGroup) packet.Cond {
	var fields []packet.Field
	var all packet.All
	for _, p := range t.parts {
		if p.opaque {
			continue
		}
		if p.column {
			fields = append(fields, p.field)
			continue
		}
		c := t.span(t.bits[p.from:p.to], g.first.lo[p.from/8:p.to/8], g.first.hi[p.from/8:p.to/8])
		all = append(all, c)
	}
	if len(fields) > 0 {
		all = append(all, products(fields, g.rows))
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}

func products(fields []packet.Field, rows [][]packet.Range) packet.Cond {
	if len(fields) > 1 {
		return &packet.Tuples{Fields: fields, Entries: rows}
	}
	rs := make([]packet.Range, len(rows))
	for i, row := range rows {
		rs[i] = row[0]
	}
	return packet.In{Field: fields[0], Set: packet.NewRanges(rs...)}
}

// span is the condition that bits lie in a range.
func (x *exec) span(bits []bit, lo, hi []byte) packet.Cond {
	if bytes.Equal(lo, hi) {
		return x.equal(bits, lo)
	}
	if kindIs(bits, bitName) {
		prefix, ok := prefixOf(lo, hi)
		if !ok {
			return x.unknown("name of an interface from "+hexText(lo)+" to "+hexText(hi), true)
		}
		return x.nameTest(bits[:8*len(prefix)], prefix, 0)
	}
	return packet.All{x.compare(bits, cmpGte, lo), x.compare(bits, cmpLte, hi)}
}

// prefixOf reads a range of names that is all names with one beginning.
func prefixOf(lo, hi []byte) ([]byte, bool) {
	i := 0
	for i < len(lo) && lo[i] == hi[i] {
		i++
	}
	for k := i; k < len(lo); k++ {
		if lo[k] != 0 || hi[k] != 0xff {
			return nil, false
		}
	}
	return lo[:i], true
}

// choice is what a map has for some keys.
type choice[T comparable] struct {
	value   T
	entries []entry
}

// choices groups the entries of a map by their values; the value for all other
// keys, if there is one, is nil or not.
func choices[T comparable](entries []entry, value func(*Element) T) (out []choice[T], rest *T) {
	at := map[T]int{}
	for _, n := range entries {
		v := value(n.element)
		if n.catchAll {
			rest = &v
			continue
		}
		i, ok := at[v]
		if !ok {
			i = len(out)
			at[v] = i
			out = append(out, choice[T]{value: v})
		}
		out[i].entries = append(out[i].entries, n)
	}
	return out, rest
}

// verdictMap ends the rule with the verdict that the map has for the key; a key
// that it does not have ends the rule, too, without one.
func (x *exec) verdictMap(bits []bit, s *Set) {
	list, rest := choices(x.entriesOf(s), func(e *Element) Verdict {
		if e.Verdict == nil {
			return Verdict{Code: verdictBreak}
		}
		return *e.Verdict
	})
	b := x.branches()
	for _, c := range list {
		b.verdict(x.member(bits, s, c.entries), c.value)
	}
	if rest != nil {
		b.otherwise(func(y *exec) { y.verdict(*rest) })
	}
	b.done()
}

// maxChoices bounds the different values of a map that are followed one by one.
const maxChoices = 256

// dataMap goes on with the value that the map has for the key.
func (x *exec) dataMap(bits []bit, s *Set, dreg uint64) {
	list, rest := choices(x.entriesOf(s), func(e *Element) string { return string(e.Data) })
	if len(list) > maxChoices {
		key := x.keyText(bits)
		x.require(x.inSet(bits, s))
		x.store(dreg, x.opaque(ifNameSize, "what "+x.setName(s.Name)+" has for "+key, true))
		return
	}
	b := x.branches()
	for _, c := range list {
		b.when(x.member(bits, s, c.entries), func(y *exec) { y.store(dreg, constBits([]byte(c.value))) })
	}
	if rest != nil {
		b.otherwise(func(y *exec) { y.store(dreg, constBits([]byte(*rest))) })
	}
	b.done()
}

// branches are the ways in which a rule goes on after a lookup in a map.
type branches struct {
	x     *exec
	tried packet.Any
	cases []packet.Step
}

func (x *exec) branches() *branches { return &branches{x: x} }

// when goes on with the rule for packets that fulfil a condition, which those of
// no other branch do.
func (b *branches) when(c packet.Cond, set func(*exec)) {
	b.tried = append(b.tried, c)
	if b.x.impossible(c) {
		return
	}
	b.add(c, set)
}

// verdict is when for a verdict, which mostly ends the rule.
func (b *branches) verdict(c packet.Cond, v Verdict) {
	if v.Code == verdictContinue {
		b.when(c, func(*exec) {})
		return
	}
	b.tried = append(b.tried, c)
	if b.x.impossible(c) {
		return
	}
	y := exec{reader: b.x.reader, place: b.x.place, conds: packet.All{c}}
	y.verdict(v)
	b.cases = append(b.cases, y.steps...)
}

func (b *branches) add(c packet.Cond, set func(*exec)) {
	y := b.x.child()
	set(y)
	if steps := y.run(); len(steps) > 0 {
		b.cases = append(b.cases, b.x.step(packet.All{c}, steps))
	}
}

// otherwise is when for all other packets.
func (b *branches) otherwise(set func(*exec)) { b.add(packet.Not{Cond: b.tried}, set) }

// done ends the rule with the branches.
func (b *branches) done() {
	x := b.x
	x.over = true
	if len(b.cases) > 0 {
		x.steps = append(x.steps, x.step(x.conds, b.cases))
	}
}
