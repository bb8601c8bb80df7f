package rules

import "bytes"

// The parsers of TOML recurse into brackets without end and take a time that
// grows with the square of the depth and of the parts of a key. So a file is
// looked through before they see it.
const (
	maxDepth = 8 // brackets open at once; a policy needs four
	maxParts = 8 // of a dotted key; a policy has four
)

// bounds walks over a file and counts, with the strings and comments left out.
type bounds struct {
	data  []byte
	at    int
	depth int
	dots  int // since the last character that no key holds
}

// beyondBounds returns where a file nests deeper, or joins more keys, than any
// policy does; nil if it does not. What follows a mistake in the syntax may be
// judged wrongly: the parsers get no further than the mistake.
func beyondBounds(data []byte) *fault {
	b := bounds{data: data}
	for b.at < len(data) {
		if f := b.step(); f != nil {
			return f
		}
	}
	return nil
}

func (b *bounds) step() *fault {
	at := b.at
	b.at++
	switch c := b.data[at]; c {
	case '#':
		b.skipTo('\n')
	case '"', '\'':
		b.skipString(c)
	case '.':
		b.dots++
	case '[', '{':
		b.dots = 0
		b.depth++
	case ']', '}':
		b.dots = 0
		b.depth--
	case '\n', '=', ',':
		b.dots = 0
	}
	switch {
	case b.depth > maxDepth:
		return &fault{off: at, summary: "brackets nested more than 8 deep"}
	case b.dots >= maxParts:
		return &fault{off: at, summary: "a key of more than 8 parts"}
	}
	return nil
}

func (b *bounds) skipTo(c byte) {
	if n := bytes.IndexByte(b.data[b.at:], c); n >= 0 {
		b.at += n
		return
	}
	b.at = len(b.data)
}

// skipString skips the rest of a string that began with the quote.
func (b *bounds) skipString(quote byte) {
	long := bytes.HasPrefix(b.data[b.at:], []byte{quote, quote})
	if long {
		b.at += 2
	}
	for b.at < len(b.data) {
		c := b.data[b.at]
		b.at++
		switch {
		case c == '\\' && quote == '"':
			b.at++
		case c == '\n' && !long:
			b.at-- // unclosed: the line ends the mistake
			return
		case c == quote && (!long || b.closes(quote)):
			return
		}
	}
}

// closes reports whether the quote that was just read closes a long string, and
// skips the others: up to two may stand before the three that close it. More are
// a mistake, but one that a parser may take for a part of the string.
func (b *bounds) closes(quote byte) bool {
	rest := b.data[b.at:]
	n := len(rest) - len(bytes.TrimLeft(rest, string(quote)))
	if n >= 2 {
		b.at += n
	}
	return n >= 2
}
