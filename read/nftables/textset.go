package nftables

import (
	"fmt"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// set returns the set of a name, nil if the table has none.
func (w *writer) set(name string) *Set {
	if w.table == nil {
		return nil
	}
	for i := range w.table.Sets {
		if w.table.Sets[i].Name == name {
			return &w.table.Sets[i]
		}
	}
	return nil
}

// anonymous reports whether the set belongs to one rule (NFT_SET_ANONYMOUS).
func (s *Set) anonymous() bool { return s.Flags&1 != 0 }

// mostElements is how many elements of a set are written.
const mostElements = 64

func (w *writer) lookup(a *args) {
	s := w.set(a.text(lookupSet))
	size := 4
	if s != nil {
		size = int(s.KeyLen)
	}
	key := w.keyText(a.num(lookupSreg), size)
	set := w.setText(a.text(lookupSet), s, w.pieces(a.num(lookupSreg), size))
	switch {
	case !a.has(lookupDreg):
		op := " "
		switch {
		case a.flag(lookupFlags, 1):
			op = " != "
		case w.reg(a.num(lookupSreg)).mask != nil:
			op = " == "
		default:
			w.learnSet(key, s)
		}
		w.say("%s%s%s", key, op, set)
	case s != nil && s.DataType == verdictType:
		w.say("%s vmap %s", key, set)
	default:
		p := piece{text: key + " map " + set, size: 4}
		if s != nil {
			p.kind = dataKinds[s.DataType]
			for _, e := range s.Elements {
				p.size = max(p.size, len(e.Data))
			}
		}
		w.put(a.num(lookupDreg), p)
	}
}

// learnSet remembers that a rule is for several protocols.
func (w *writer) learnSet(key string, s *Set) {
	if key != "meta l4proto" || s == nil {
		return
	}
	w.proto = nil
	for _, e := range s.Elements {
		if len(e.Key) > 0 {
			w.proto = append(w.proto, packet.Proto(e.Key[0]))
		}
	}
	if len(w.proto) == 1 {
		w.proto = nil
	}
}

// setText writes a set's name, or what it holds if it has none.
func (w *writer) setText(name string, s *Set, pieces []*piece) string {
	if s == nil || !s.anonymous() {
		return "@" + name
	}
	var words []string
	entries := entriesOf(s)
	for i, n := range entries {
		if i == mostElements {
			words = append(words, fmt.Sprintf("... %d more", len(entries)-i))
			break
		}
		words = append(words, entryText(n, s, pieces))
	}
	return "{ " + strings.Join(words, ", ") + " }"
}

func entryText(n entry, s *Set, pieces []*piece) string {
	text := "*"
	if !n.catchAll {
		text = entryKey(n, pieces)
	}
	switch {
	case n.element.Verdict != nil:
		return text + " : " + n.element.Verdict.text()
	case n.element.Object != "":
		return fmt.Sprintf("%s : %q", text, n.element.Object)
	case s.Flags&setMap != 0:
		return text + " : " + dataText(s.DataType, n.element.Data)
	}
	return text
}

// dataText writes what a map holds; nft's data types of several parts have six
// bits for each.
func dataText(kind uint32, b []byte) string {
	if kind < 64 {
		return dataKinds[kind].text(b)
	}
	var kinds []valueKind
	for ; kind > 0; kind >>= 6 {
		kinds = append([]valueKind{dataKinds[kind&0x3f]}, kinds...)
	}
	var words []string
	for _, k := range kinds {
		size := 4
		if k == ipv6Kind {
			size = 16
		}
		if len(b) < size {
			break
		}
		part := b[:size]
		if k == numberKind {
			part = b[:2]
		}
		words = append(words, k.text(part))
		b = b[size:]
	}
	return strings.Join(words, " . ")
}

// entryKey writes the key of an entry, part by part.
func entryKey(n entry, pieces []*piece) string {
	var words []string
	for at, i := 0, 0; at < len(n.lo); i++ {
		p := &piece{size: len(n.lo) - at}
		if i < len(pieces) {
			p = pieces[i]
		}
		size := p.size
		if i == len(pieces)-1 || size <= 0 || at+size > len(n.lo) {
			size = min(max(size, 1), len(n.lo)-at)
		}
		lo, hi := n.lo[at:at+size], n.hi[at:at+size]
		words = append(words, p.spanText(lo, hi))
		at += align4(size)
	}
	return strings.Join(words, " . ")
}

func (p *piece) spanText(lo, hi []byte) string {
	if p.field.size%8 != 0 {
		lo, hi = p.shifted(lo), p.shifted(hi)
	}
	if string(lo) == string(hi) {
		return p.value(lo)
	}
	return p.kind.span(lo, hi)
}

// dynset writes the change of a set.
func (w *writer) dynset(a *args) {
	op := [...]string{"add", "update", "delete"}[min(a.num(dynsetOp), 2)]
	s := w.set(a.text(dynsetName))
	size := 4
	if s != nil {
		size = int(s.KeyLen)
	}
	text := w.keyText(a.num(dynsetKey), size)
	if n := a.num(dynsetTimeout); n > 0 {
		text += " timeout " + spanKind.network(a[dynsetTimeout])
	}
	exprs, err := dynsetExprsOf(a)
	for _, e := range exprs {
		inner := writer{table: w.table, familyAt: -1, protoAt: -1, linkAt: -1}
		b := argsOf(e)
		inner.expr(e, &b, nil)
		if err == nil && len(inner.words) > 0 {
			text += " " + strings.Join(inner.words, " ")
		}
	}
	if a.has(dynsetVal) {
		text += " : " + w.reg(a.num(dynsetVal)).masked()
	}
	w.say("%s @%s { %s }", op, a.text(dynsetName), text)
}
