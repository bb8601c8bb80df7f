package nftables

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// raw writes an expression as its name and attributes: it is the same for the
// same bytes.
func raw(e Expr) string {
	s := e.Name
	_ = eachAttr(e.Data, func(a Attr) error { // what is cut off is left out
		if !zero(a.Data) && !slices.Contains(skipped[e.Name], a.Type) {
			s += fmt.Sprintf(" %d:%s", a.Type, attrText(a.Data))
		}
		return nil
	})
	return "[" + s + "]"
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

// RuleText writes a rule of the table in nft's words, as nft(8) would list it:
// for people, and the same for the same bytes. What it has no words for stands
// as attributes in brackets.
//
// An interface's number stands for its name where the links are known.
func (t *Table) RuleText(r *Rule, links Links) string {
	w := newWriter(t)
	w.links = links
	for i := 0; i < len(r.Exprs); i++ {
		a := argsOf(r.Exprs[i])
		i += w.expr(r.Exprs[i], &a, r.Exprs[i+1:])
	}
	return strings.Join(slices.DeleteFunc(w.words, func(s string) bool { return s == "" }), " ")
}

// piece is what stands in a register, in words.
type piece struct {
	text    string
	kind    valueKind
	size    int  // bytes
	swapped bool // the bytes of a value in the machine's order were turned around
	mask    []byte
	xor     []byte
	parts   []headerWord // of a load of several fields
	field   headerWord   // of a load of one
	head    []headerWord // the header that it is of
	from    int          // where in it, bits
	prefix  bool         // the load has only the field's first bytes
	konst   []byte       // of a constant
	set     bool         // something is there
	links   Links        // of the number of an interface
}

// writer writes the expressions of one rule.
type writer struct {
	table *Table
	links Links
	regs  [16]piece // by their first four bytes
	words []string

	family uint8          // of the packets, as far as the rule has asked
	proto  []packet.Proto // likewise
	// Tests that nft leaves out when a later one says the same.
	familyAt, protoAt, linkAt int // where in words; -1: nowhere
}

func newWriter(t *Table) *writer {
	w := &writer{table: t, familyAt: -1, protoAt: -1, linkAt: -1}
	if t != nil && t.Family != FamilyInet {
		w.family = t.Family
	}
	return w
}

func (w *writer) say(format string, args ...any) {
	w.words = append(w.words, fmt.Sprintf(format, args...))
}

// slot returns where a register begins, in four bytes.
func slot(n uint64) int {
	switch {
	case n >= 1 && n <= 4:
		return int(n-1) * 4
	case n >= 8 && n < 24:
		return int(n - 8)
	}
	return 0
}

func (w *writer) reg(n uint64) *piece { return &w.regs[slot(n)] }

func (w *writer) put(n uint64, p piece) {
	p.set = true
	*w.reg(n) = p
}

// pieces are those of a key, and the places in it where they begin.
func (w *writer) pieces(n uint64, size int) (out []*piece) {
	for at, end := slot(n), slot(n)+align4(size)/4; at < end && at < len(w.regs); {
		p := &w.regs[at]
		if !p.set {
			p = &piece{text: "?", size: 4 * (end - at)}
		}
		out = append(out, p)
		at += max(align4(p.size)/4, 1)
	}
	return out
}

func (w *writer) keyText(n uint64, size int) string {
	var words []string
	for _, p := range w.pieces(n, size) {
		words = append(words, p.masked())
	}
	return strings.Join(words, " . ")
}

// masked is the piece with what was done to it.
func (p *piece) masked() string {
	if p.mask == nil {
		return p.text
	}
	and, or, xor := true, true, true // which operation it is
	for i, m := range p.mask {
		and = and && p.xor[i] == 0
		or = or && m&p.xor[i] == 0 && m|p.xor[i] == 0xff
		xor = xor && m == 0xff
	}
	switch {
	case xor:
		return p.text + " ^ " + p.hex(p.xor)
	case and:
		return p.text + " & " + p.hex(p.mask)
	case or:
		return p.text + " | " + p.hex(p.xor)
	}
	return p.text + " & " + p.hex(p.mask) + " ^ " + p.hex(p.xor)
}

// hex writes an operand.
func (p *piece) hex(b []byte) string {
	switch p.kind {
	case ipv4Kind, ipv6Kind, markKind, etherKind:
		return p.value(b)
	}
	switch {
	case p.kind.host() && !p.swapped:
		return fmt.Sprintf("0x%x", nativeNumber(b))
	case p.kind == numberKind:
		return strconv.FormatUint(number(b), 10)
	}
	return fmt.Sprintf("0x%x", number(b))
}

// value writes a value of the piece.
func (p *piece) value(b []byte) string {
	if l, ok := p.links[uint32(nativeNumber(b))]; ok && p.kind == indexKind && !p.swapped {
		return strconv.Quote(l.Name)
	}
	if p.swapped {
		return p.kind.network(b)
	}
	return p.kind.text(b)
}

// expr writes an expression and returns how many of those behind it are written
// with it.
func (w *writer) expr(e Expr, a *args, rest []Expr) int {
	switch e.Name {
	case "payload":
		w.payload(a)
	case "meta":
		w.meta(a)
	case "ct":
		w.ct(a)
	case "cmp":
		return w.cmp(a, rest)
	case "range":
		w.between(w.reg(a.num(rangeSreg)), comparison(a.num(rangeOp)) == cmpNeq, a.value(rangeFrom), a.value(rangeTo))
	case "bitwise":
		w.bitwise(e, a)
	case "byteorder":
		p := *w.reg(a.num(byteorderSreg))
		p.swapped = p.kind.host()
		w.put(a.num(byteorderDreg), p)
	case "immediate":
		w.immediate(a)
	case "lookup":
		w.lookup(a)
	case "fib":
		w.put(a.num(fibDreg), fibPiece(a))
	case "dynset":
		w.dynset(a)
	case "objref":
		w.object(a)
	case "nat", "masq", "redir":
		w.translate(e.Name, a)
	default:
		w.other(e, a)
	}
	return 0
}

// headerOf returns the words of a header, and whether the rule has said of which
// protocol it is.
func (w *writer) headerOf(base uint64) (string, []headerWord, bool) {
	switch {
	case base == baseLink:
		return "", linkWords, true
	case base == baseNetwork && w.family == FamilyIPv4:
		return "", ip4Words, true
	case base == baseNetwork && w.family == FamilyIPv6:
		return "", ip6Words, true
	case base == baseTransport && len(w.proto) == 1:
		if t, ok := transportWords[w.proto[0]]; ok {
			return t.name + " ", t.words, true
		}
		return "th ", portWords, false
	case base == baseTransport:
		return "th ", portWords, false
	}
	return "", nil, false
}

var baseNames = [...]string{"ll", "nh", "th", "ih"}

func (w *writer) payload(a *args) {
	base, at, size := a.num(payloadBase), 8*int(a.num(payloadOffset)), 8*int(a.num(payloadLen))
	name, words, sure := w.headerOf(base)
	p := piece{text: fmt.Sprintf("@%s,%d,%d", baseNames[min(base, 3)], at, size), size: size / 8, head: prefixed(name, words), from: at}
	switch i := slices.IndexFunc(words, func(h headerWord) bool { return h.at == at }); {
	case i < 0:
	case words[i].size == size:
		p.field = prefixed(name, words)[i]
		p.text, p.kind = p.field.name, p.field.kind
		w.known(base, sure)
	case words[i].size > size && words[i].size >= 32 && size%8 == 0:
		p.field = prefixed(name, words)[i]
		p.text, p.kind, p.prefix = p.field.name, p.field.kind, true
		w.known(base, sure)
	default:
		p.parts = cover(prefixed(name, words), at, size)
		if p.parts != nil {
			w.known(base, sure)
		}
	}
	if !a.has(payloadSreg) {
		w.put(a.num(payloadDreg), p)
		return
	}
	from := w.reg(a.num(payloadSreg))
	if f, ok := from.changed(p.from); ok {
		q := piece{field: f, kind: f.kind, from: p.from}
		w.say("%s set %s", f.name, f.kind.network(q.shifted(from.xor)))
		return
	}
	w.say("%s set %s", p.text, w.source(a.num(payloadSreg), &p))
}

// changed returns the field that a mask and what is put in its place change, of
// a load of more than that.
func (p *piece) changed(from int) (headerWord, bool) {
	if p.mask == nil || p.from != from {
		return headerWord{}, false
	}
	i := slices.IndexFunc(p.head, func(h headerWord) bool {
		for k := range 8 * len(p.mask) {
			if in := from+k >= h.at && from+k < h.at+h.size; in == bitAt(p.mask, k) {
				return false
			}
		}
		return true
	})
	if i < 0 {
		return headerWord{}, false
	}
	return p.head[i], true
}

func prefixed(name string, words []headerWord) []headerWord {
	if name == "" {
		return words
	}
	out := slices.Clone(words)
	for i := range out {
		out[i].name = name + out[i].name
	}
	return out
}

// cover returns the fields of which a load consists, nil if not just of whole
// ones.
func cover(words []headerWord, at, size int) []headerWord {
	var out []headerWord
	for end := at + size; at < end; {
		i := slices.IndexFunc(words, func(h headerWord) bool { return h.at == at && h.at+h.size <= end && h.size%8 == 0 })
		if i < 0 {
			return nil
		}
		out = append(out, words[i])
		at += words[i].size
	}
	return out
}

// known leaves out the test that a field of a header says anyway.
func (w *writer) known(base uint64, sure bool) {
	at := map[uint64]*int{baseLink: &w.linkAt, baseNetwork: &w.familyAt, baseTransport: &w.protoAt}[base]
	if at != nil && sure {
		w.leaveOut(at)
	}
	if sure && base == baseTransport && len(w.proto) == 1 && w.proto[0].IsICMP() {
		w.leaveOut(&w.familyAt)
	}
}

func (w *writer) meta(a *args) {
	m, ok := metaWords[a.num(metaKey)]
	if !ok {
		m.name = fmt.Sprintf("meta %d", a.num(metaKey))
	}
	size := 4
	switch m.kind {
	case nameKind:
		size = ifNameSize
	case protoKind, nfprotoKind, pktTypeKind, numberKind, existsKind, dayKind:
		size = 1
	case etherTypeKind, linkTypeKind:
		size = 2
	case timeKind:
		size = 8
	}
	p := piece{text: m.name, kind: m.kind, size: size, links: w.links}
	if a.has(metaSreg) {
		w.say("%s set %s", m.name, w.source(a.num(metaSreg), &p))
		return
	}
	w.put(a.num(metaDreg), p)
}

func (w *writer) ct(a *args) {
	c, ok := ctWords[a.num(ctKey)]
	if !ok {
		c.name = strconv.FormatUint(a.num(ctKey), 10)
	}
	name := "ct " + c.name
	if a.has(ctDirection) {
		name = "ct " + []string{"original", "reply"}[a.num(ctDirection)&1] + " " + c.name
	}
	size := 4
	switch c.kind {
	case ipv6Kind, stringKind:
		size = 16
	case protoKind, nfprotoKind, directionKind:
		size = 1
	case numberKind:
		size = 2
	case hexKind:
		if w.family == FamilyIPv4 {
			c.kind = ipv4Kind
		} else {
			c.kind, size = ipv6Kind, 16
		}
	}
	p := piece{text: name, kind: c.kind, size: size}
	if a.has(ctSreg) {
		w.say("%s set %s", name, w.source(a.num(ctSreg), &p))
		return
	}
	w.put(a.num(ctDreg), p)
}

// source is what a register has, written as a value of what it goes into.
func (w *writer) source(n uint64, to *piece) string {
	p := w.reg(n)
	if p.konst != nil {
		return to.value(p.konst[:min(len(p.konst), max(to.size, 1))])
	}
	return p.masked()
}

func (w *writer) bitwise(e Expr, a *args) {
	p := *w.reg(a.num(bitwiseSreg))
	mask, xor := a.value(bitwiseMask), a.value(bitwiseXor)
	if a.num(bitwiseOp) != bitwiseMaskXor || len(mask) == 0 || len(mask) != len(xor) {
		p = piece{text: p.text + " " + raw(e), size: p.size}
	} else if f, ok := p.inside(mask); ok && zero(xor) {
		p.field, p.text, p.kind, p.parts = f, f.name, f.kind, nil
		p.mask = nil
		w.leaveOut(&w.familyAt)
	} else {
		p.mask, p.xor = mask, xor
	}
	w.put(a.num(bitwiseDreg), p)
}

// inside returns the field within the loaded bytes that a mask lets through.
func (p *piece) inside(mask []byte) (headerWord, bool) {
	lo, hi := -1, -1
	for i := range 8 * len(mask) {
		if bitAt(mask, i) {
			if lo < 0 {
				lo = i
			}
			if hi >= 0 && hi != i-1 {
				return headerWord{}, false
			}
			hi = i
		}
	}
	i := slices.IndexFunc(p.head, func(h headerWord) bool { return h.size%8 != 0 && h.at == p.from+lo && h.size == hi-lo+1 })
	if lo < 0 || i < 0 {
		return headerWord{}, false
	}
	return p.head[i], true
}

// cmp writes a comparison, and the two of a range as one.
func (w *writer) cmp(a *args, rest []Expr) int {
	p, op, want := w.reg(a.num(cmpSreg)), comparison(a.num(cmpOp)), a.value(cmpData)
	if op == cmpGte && len(rest) > 0 && rest[0].Name == "cmp" {
		b := argsOf(rest[0])
		if hi := b.value(cmpData); comparison(b.num(cmpOp)) == cmpLte && b.num(cmpSreg) == a.num(cmpSreg) && len(hi) == len(want) {
			w.between(p, false, want, hi)
			return 1
		}
	}
	switch {
	case p.parts != nil && (op == cmpEq || op == cmpNeq) && len(want) == p.size:
		w.several(p, op, want)
	case p.field.size%8 != 0 && p.from >= 0 && p.mask == nil && len(want) > 0:
		w.test(p, op, p.shifted(want))
	case (p.prefix || p.cut(want)) && op <= cmpNeq:
		w.say("%s%s/%d", w.left(p, op), p.value(append(slices.Clone(want), make([]byte, max(p.full()-len(want), 0))...)), 8*len(want))
	case p.mask != nil && zero(p.xor):
		w.maskTest(p, op, want)
	default:
		w.test(p, op, want)
	}
	return 0
}

// full is the number of bytes of a whole value.
func (p *piece) full() int {
	switch p.kind {
	case ipv4Kind:
		return 4
	case ipv6Kind:
		return 16
	}
	return p.field.size / 8
}

// cut reports whether a constant is the first bytes of an address only.
func (p *piece) cut(want []byte) bool {
	return (p.kind == ipv4Kind || p.kind == ipv6Kind) && p.mask == nil && len(want) < p.full()
}

// shifted is the value of a field that is part of the compared bytes.
func (p *piece) shifted(b []byte) []byte {
	n := number(b) >> max(p.from+8*len(b)-p.field.at-p.field.size, 0)
	return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// left is what stands before a value.
func (w *writer) left(p *piece, op comparison) string {
	if op == cmpEq {
		return p.masked() + " "
	}
	return fmt.Sprintf("%s %s ", p.masked(), op)
}

func (w *writer) test(p *piece, op comparison, want []byte) {
	text := w.left(p, op) + p.value(want)
	switch {
	case p.kind == nameKind:
		text = w.left(p, op) + strconv.Quote(namePattern(want))
	case bitWords[p.kind] != nil && op == cmpEq:
		text = p.masked() + " == " + p.value(want) // all bits, not one of them
	}
	w.learn(p, op, want)
	w.say("%s", text)
}

// learn remembers what later loads need not be told again.
func (w *writer) learn(p *piece, op comparison, want []byte) {
	if op != cmpEq || len(want) == 0 {
		return
	}
	at := len(w.words)
	switch p.text {
	case "meta l4proto":
		w.proto, w.protoAt = []packet.Proto{packet.Proto(want[0])}, at
	case "ip protocol", "ip6 nexthdr":
		w.proto, w.protoAt = []packet.Proto{packet.Proto(want[0])}, -1
	case "meta nfproto":
		w.family, w.familyAt = want[0], at
	case "meta protocol", "ether type":
		w.family = map[uint64]uint8{0x0800: FamilyIPv4, 0x86dd: FamilyIPv6}[number(want)]
		w.familyAt = at
	case "meta iiftype":
		w.linkAt = at
	}
}

// several writes a comparison of several fields at once as one of each.
func (w *writer) several(p *piece, op comparison, want []byte) {
	for _, f := range p.parts {
		q := piece{text: f.name, kind: f.kind, size: f.size / 8, field: f}
		b := want[(f.at-p.from)/8:][:f.size/8]
		w.test(&q, op, b)
	}
}

// maskTest writes a comparison of bits.
func (w *writer) maskTest(p *piece, op comparison, want []byte) {
	if op > cmpNeq || len(want) != len(p.mask) {
		w.test(p, op, want)
		return
	}
	if words := bitWords[p.kind]; words != nil {
		w.bitTest(p, words, op, want)
		return
	}
	hi := slices.Clone(want)
	for i := range hi {
		hi[i] |= ^p.mask[i]
	}
	if bits, ok := prefixBits(want, hi); ok && (p.kind == ipv4Kind || p.kind == ipv6Kind) {
		plain := *p
		plain.mask = nil
		w.say("%s%s/%d", w.left(&plain, op), p.value(want), bits)
		return
	}
	w.say("%s %s %s", p.masked(), op, p.value(want))
}

func (w *writer) bitTest(p *piece, words []string, op comparison, want []byte) {
	n, m := number(want), number(p.mask)
	if p.kind.host() {
		n, m = nativeNumber(want), nativeNumber(p.mask)
	}
	mask := strings.Join(bitsOf(words, m), ",")
	switch {
	case n == 0 && op == cmpNeq:
		w.say("%s %s", p.text, mask)
	case n == 0:
		w.say("%s ! %s", p.text, mask)
	case op == cmpNeq:
		w.say("%s != %s / %s", p.text, strings.Join(bitsOf(words, n), ","), mask)
	default:
		w.say("%s %s / %s", p.text, strings.Join(bitsOf(words, n), ","), mask)
	}
}

func (w *writer) between(p *piece, not bool, lo, hi []byte) {
	op := cmpEq
	if not {
		op = cmpNeq
	}
	if p.field.size%8 != 0 {
		lo, hi = p.shifted(lo), p.shifted(hi)
	}
	w.say("%s%s-%s", w.left(p, op), p.kind.end(lo), p.kind.end(hi))
}

func (w *writer) immediate(a *args) {
	if a.num(immediateDreg) != 0 {
		b := a.value(immediateData)
		w.put(a.num(immediateDreg), piece{text: hexText(b), size: len(b), konst: b})
		return
	}
	var el Element
	if err := el.decodeData(a[immediateData]); err != nil || el.Verdict == nil {
		w.say("an unknown verdict")
		return
	}
	w.say("%s", el.Verdict.text())
}

func (v Verdict) text() string {
	switch v.Code {
	case verdictDrop:
		return "drop"
	case verdictAccept:
		return "accept"
	case verdictContinue:
		return "continue"
	case verdictBreak:
		return "break"
	case verdictJump:
		return "jump " + v.Chain
	case verdictGoto:
		return "goto " + v.Chain
	case verdictReturn:
		return "return"
	}
	return fmt.Sprintf("verdict %d", v.Code)
}
