package pf

import (
	"fmt"
	"slices"
	"strings"
)

// kind is what a token is.
type kind uint8

const (
	endOfText kind = iota
	newline
	sign   // one of ( ) { } < > ! = / , or an operator of two of them
	word   // letters, digits and most signs
	quoted // "…"
	bad    // no token: its text says why

	macroName // $name: no token leaves the lexer as this
)

type token struct {
	kind kind
	text string
	line int
}

// is reports whether the token is that word or sign, unquoted.
func (t token) is(text string) bool { return t.text == text && (t.kind == word || t.kind == sign) }

func (t token) String() string {
	switch t.kind {
	case endOfText:
		return "the end of the file"
	case newline:
		return "the end of the line"
	case quoted:
		return `"` + t.text + `"`
	}
	return t.text
}

// source is a text that is read: the file, one that it includes, or the value of a macro.
type source struct {
	text string
	at   int
	name string // of the macro or the included file; "" of the file itself
	file bool   // it is a file
	line int    // of an included file
	from int    // the line of the file that includes it
}

// lexer makes tokens one by one, because a macro is known from its line on.
type lexer struct {
	sources []source // the last is read first
	line    int      // of the file
	macros  map[string]string
	left    int   // how many more bytes macros may put in
	joined  []int // lines of comments to which a backslash joins the next line
}

// mostExpanded bounds the work for macros that are long and used often, and for files
// that are included.
const mostExpanded = 4 << 20

func newLexer(text string) *lexer {
	return &lexer{sources: []source{{text: text, file: true}}, line: 1, macros: map[string]string{}, left: mostExpanded}
}

const none = 0

// peek returns the next byte; none at the end of the file. A backslash joins the
// next line, in comments too.
func (l *lexer) peek() byte {
	for {
		s := &l.sources[len(l.sources)-1]
		switch {
		case s.at >= len(s.text) && len(l.sources) > 1:
			l.sources = l.sources[:len(l.sources)-1]
		case s.at >= len(s.text):
			return none
		case strings.HasPrefix(s.text[s.at:], "\\\n"):
			s.at += 2
			l.newLine(s)
		default:
			return s.text[s.at]
		}
	}
}

func (l *lexer) skip() {
	s := &l.sources[len(l.sources)-1]
	if s.text[s.at] == '\n' {
		l.newLine(s)
	}
	s.at++
}

// newLine counts a line of the file; what it includes stands on one.
func (l *lexer) newLine(s *source) {
	if s.line++; s.name == "" {
		l.line++
	}
}

// mostIncludes bounds how deep files include each other.
const mostIncludes = 16

// include goes on with another file that a line includes, and with this one behind it;
// false if files include each other without an end.
func (l *lexer) include(name, text string, from int) bool {
	if l.left -= len(text); len(l.sources) > mostIncludes || l.left < 0 {
		return false
	}
	l.sources = append(l.sources, source{text: text + "\n", name: name, file: true, line: 1, from: from})
	return true
}

// at is the line of the file that is read: of what it includes the line that does so.
func (l *lexer) at() int {
	for _, s := range slices.Backward(l.sources) {
		if s.file && s.name != "" {
			return s.from
		}
	}
	return l.line
}

// where names the place in an included file, "" in the file itself.
func (l *lexer) where() string {
	for _, s := range slices.Backward(l.sources) {
		if s.file && s.name != "" {
			return fmt.Sprintf("%s:%d: ", s.name, s.line)
		}
	}
	return ""
}

// while takes bytes as long as they fit.
func (l *lexer) while(fits func(byte) bool) string {
	var b strings.Builder
	for c := l.peek(); c != none && fits(c); c = l.peek() {
		b.WriteByte(c)
		l.skip()
	}
	return b.String()
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// inWord reports whether a word goes on with the byte: those of allowed_in_string in
// pfctl's parse.y but for the backslash, which no name has.
func inWord(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune("(){}<>!=/#,\\", rune(c))
}

// operators are the signs of two bytes.
var operators = []string{"<>", "<=", "><", ">=", "!=", "->"}

// next returns the next token. A macro's value is read in the place of its name.
func (l *lexer) next() token {
	for {
		t := l.one()
		if t.kind != macroName {
			return t
		}
		if t = l.macro(); t.kind == bad {
			return t
		}
	}
}

// one returns the next token, or says that a macro's name stands here.
func (l *lexer) one() token {
	l.while(blank)
	c := l.peek()
	if c == '#' {
		begin, line := l.at(), l.line
		l.while(func(c byte) bool { return c != '\n' })
		c = l.peek()
		if l.line > line {
			l.joined = append(l.joined, begin)
		}
	}
	at := l.at()
	switch {
	case c == none:
		return token{endOfText, "", at}
	case c == '\n':
		l.skip()
		return token{newline, "\n", at}
	case c == '"' || c == '\'':
		return l.quote(c)
	case c == '$':
		return token{macroName, "$", at}
	case strings.IndexByte("(){}<>!=/,", c) >= 0 || c == '-':
		return l.sign(c)
	case alnum(c) || c == ':' || c == '_' || c == '*' || c == '@' || c == '+' || c == '%':
		return token{word, l.while(inWord), at}
	}
	l.skip()
	if c == '\r' {
		return l.bad("a carriage return: pfctl does not take the line ends of Windows")
	}
	return l.bad("a statement cannot have %q here", c)
}

func (l *lexer) bad(format string, args ...any) token {
	return token{bad, fmt.Sprintf(format, args...), l.at()}
}

// sign reads one sign or an operator of two; a "-" before more is a word.
func (l *lexer) sign(c byte) token {
	at := l.at()
	l.skip()
	two := string(c) + string(l.peek())
	for _, o := range operators {
		if o == two {
			l.skip()
			return token{sign, o, at}
		}
	}
	if c == '-' && inWord(l.peek()) {
		return token{word, "-" + l.while(inWord), at}
	}
	return token{sign, string(c), at}
}

// quote reads a string. A line break in it counts as nothing, and a backslash
// keeps the quote.
func (l *lexer) quote(end byte) token {
	at := l.at()
	l.skip()
	var b strings.Builder
	for {
		c := l.peek()
		switch c {
		case none:
			return l.bad("the string that begins on line %d does not end", at)
		case end:
			l.skip()
			return token{quoted, b.String(), at}
		case '\n':
			l.skip()
			continue
		case '\\':
			l.skip()
			if next := l.peek(); next == end || next == ' ' || next == '\t' {
				c = next
			} else {
				b.WriteByte('\\')
				continue
			}
		}
		b.WriteByte(c)
		l.skip()
	}
}

// macro puts the value of a macro in the place of its name; a bad token says why it
// cannot.
func (l *lexer) macro() token {
	inside := !l.sources[len(l.sources)-1].file
	l.skip()
	name := l.while(func(c byte) bool { return alnum(c) || c == '_' })
	value, ok := l.macros[name]
	if !ok {
		return l.bad("macro %q is not defined", name)
	}
	if inside { // in a macro pfctl takes the sign for itself
		return l.bad("macro %q in the value of a macro: pfctl puts none in there", name)
	}
	if l.left -= len(value); l.left < 0 {
		return l.bad("macro %q: macros put in more than %d bytes", name, mostExpanded)
	}
	l.sources = append(l.sources, source{text: value, name: name})
	return token{kind: macroName}
}
