package pf

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Parse reads a pf.conf, or what pfctl printed, in the grammar of a dialect. What
// pfctl would refuse is in Config.Problems; the statement is then Unread, and the
// others are read all the same.
func Parse(text string, d Dialect) *Config { return ParseFile(text, d, nil) }

// ParseFile is Parse of a file that includes others: open returns what stands in one. Where
// it fails, or is nil, the line stays an Include. What is read of another file has the
// number of the line that includes it.
func ParseFile(text string, d Dialect, open func(name string) ([]byte, error)) *Config {
	p := &parser{lexer: newLexer(text), config: &Config{Dialect: d}, open: open}
	p.advance()
	p.config.Lines = p.statements(false)
	p.unpersisted()
	p.config.joined = p.joined
	if i := strings.IndexByte(text, none); i >= 0 { // where pfctl ends, and so does the lexer
		line := 1 + strings.Count(text[:i], "\n")
		p.config.Lines = append(p.config.Lines, &Unread{line, "what stands behind a NUL byte"})
		p.problem(line, "", "a NUL byte ends the text")
	}
	return p.config
}

// Guess is ParseFile in the grammar that refuses the least of a text, OpenBSD's before
// the others'.
func Guess(text string, open func(name string) ([]byte, error)) *Config {
	var best *Config
	for _, d := range []Dialect{OpenBSD, FreeBSD, MacOS} {
		if c := ParseFile(text, d, open); best == nil || len(c.Problems) < len(best.Problems) {
			best = c
		}
	}
	return best
}

// parser is at one token. Its methods end a statement that they cannot read by a
// panic with a refusal.
type parser struct {
	*lexer
	config *Config
	tok    token
	depth  int      // of inline anchors
	braces int      // inline anchors so far
	stage  int      // the part of the file, in the order that FreeBSD enforces
	answer string   // what `block` alone does here: set block-policy
	states *Rule    // the options of set state-defaults; nil: none
	words  []string // of the statement, as far as it was read
	tables map[string]*Table
	seen   []overload
	route  *route // route-to before the family, until its rule is made
	open   func(name string) ([]byte, error)
	sets   settings
}

// overload is a table that some rule fills.
type overload struct {
	line  int
	table string
}

type refusal struct{ Problem }

func (p *parser) refuse(format string, args ...any) {
	if p.tok.kind == bad { // what is wrong with it counts, not where it stands
		format, args = "%s", []any{p.tok.text}
	}
	panic(refusal{Problem{Line: p.tok.line, Text: p.where() + fmt.Sprintf(format, args...)}})
}

// problem reports what pfctl refuses about a statement that was read.
func (p *parser) problem(line int, hint, format string, args ...any) {
	p.config.Problems = append(p.config.Problems, Problem{line, p.where() + fmt.Sprintf(format, args...), hint})
}

func (p *parser) advance() {
	p.words = append(p.words, p.tok.String())
	p.tok = p.next()
}

func (p *parser) take(text string) bool {
	if !p.tok.is(text) {
		return false
	}
	p.advance()
	return true
}

// takeOne takes one of the words and returns it, "" if none stands here.
func (p *parser) takeOne(texts ...string) string {
	for _, t := range texts {
		if p.take(t) {
			return t
		}
	}
	return ""
}

func (p *parser) expect(text string) {
	if !p.take(text) {
		p.refuse("%s where %q belongs", p.tok, text)
	}
}

// str is a string of the grammar: quoted, or a word that is no keyword.
func (p *parser) str(what string) string {
	t := p.tok
	if t.kind != quoted && t.kind != word || t.text == "" {
		p.refuse("%s where %s belongs", t, what)
	}
	if t.kind == word && p.keyword(t.text) {
		p.refuse("%q is a keyword of pf.conf, not %s", t.text, what)
	}
	p.advance()
	return t.text
}

// raw is a word whatever it is.
func (p *parser) raw(what string) string {
	t := p.tok
	if t.kind != quoted && t.kind != word {
		p.refuse("%s where %s belongs", t, what)
	}
	p.advance()
	return t.text
}

func (p *parser) uint(most uint64) uint64 {
	n, err := strconv.ParseUint(p.tok.text, 10, 64)
	if err != nil || p.tok.kind != word || n > most {
		p.refuse("%s is no number up to %d", p.tok, most)
	}
	p.advance()
	return n
}

func (p *parser) newlines() {
	for p.tok.kind == newline {
		p.advance()
	}
}

// items reads one item, or several in braces with commas or blanks between. There
// is no empty list, and no comma at its end.
func (p *parser) items(item func()) {
	if !p.take("{") {
		item()
		return
	}
	p.newlines()
	for {
		item()
		p.newlines()
		if p.take(",") {
			p.newlines()
			continue
		}
		if p.take("}") {
			return
		}
	}
}

// statements reads the lines of the file, or of an anchor's braces.
func (p *parser) statements(inline bool) []Statement {
	var lines []Statement
	for {
		p.newlines()
		switch {
		case p.tok.kind == endOfText && inline:
			p.refuse("the braces of an anchor are not closed")
		case p.tok.kind == endOfText:
			return lines
		case inline && p.take("}"):
			return lines
		}
		if s := p.guarded(); s != nil {
			lines = append(lines, s)
		}
	}
}

// guarded reads a statement; one that cannot be read it leaves out up to the end of
// its line.
func (p *parser) guarded() (s Statement) {
	start := p.tok
	p.words = nil
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		bad, ok := r.(refusal)
		if !ok {
			panic(r)
		}
		p.config.Problems = append(p.config.Problems, bad.Problem)
		s = &Unread{start.line, strings.Join(append(p.words, p.restOfLine()...), " ")}
	}()
	s = p.statement()
	if p.tok.kind != newline && p.tok.kind != endOfText && (p.depth == 0 || !p.tok.is("}")) {
		p.refuse("%s is too much behind a statement that begins with %q", p.tok, start.text)
	}
	return s
}

// restOfLine reads up to the end of the line, whatever stands there.
func (p *parser) restOfLine() []string {
	var out []string
	for p.tok.kind != newline && p.tok.kind != endOfText {
		out = append(out, p.tok.String())
		p.tok = p.next()
	}
	return out
}

// The parts of a file, in the order that FreeBSD and macOS enforce.
const (
	partOptions = iota + 1
	partNormalization
	partQueues
	partTranslation
	partFilter
)

func (p *parser) enter(part int) {
	if p.config.Dialect != OpenBSD && part < p.stage {
		p.refuse("rules must be in order: options, normalization, queueing, translation, filtering")
	}
	p.stage = max(p.stage, part)
}

func (p *parser) statement() Statement {
	line := p.tok.line
	switch t := p.tok; {
	case t.is("set"):
		return p.option()
	case t.is("table"):
		return p.table()
	case t.is("pass"), t.is("block"), t.is("match"):
		p.enter(partFilter)
		return p.rule()
	case t.is("anchor"), t.is("nat-anchor"), t.is("rdr-anchor"), t.is("binat-anchor"), t.is("scrub-anchor"), t.is("dummynet-anchor"):
		return p.anchor()
	case t.is("load"):
		p.advance()
		p.expect("anchor")
		name := p.str("the name of an anchor")
		p.expect("from")
		return &Load{line, name, p.str("the name of a file")}
	case t.is("antispoof"):
		p.enter(partFilter)
		return p.antispoof()
	case t.is("include"):
		return p.include()
	case t.is("scrub"), t.is("nat"), t.is("rdr"), t.is("binat"), t.is("no"):
		return p.old()
	case t.is("altq"), t.is("queue"):
		p.enter(partQueues)
		return &Ignored{line, p.braced()}
	case t.kind == word && !p.keyword(t.text):
		return p.macroLine()
	}
	p.refuse("%s begins no statement", p.tok)
	return nil
}

// include reads another file in its place; nil if it was opened.
func (p *parser) include() Statement {
	i := &Include{Line: p.tok.line}
	p.advance()
	i.File = p.str("the name of a file")
	if p.open == nil || p.tok.kind != newline && p.tok.kind != endOfText {
		return i
	}
	text, err := p.open(i.File)
	if err != nil {
		return i
	}
	switch {
	case bytes.IndexByte(text, none) >= 0:
		p.refuse("a NUL byte ends the file %q", i.File)
	case !p.lexer.include(i.File, string(text), i.Line):
		p.refuse("files include each other, or too much: %q is not read", i.File)
	}
	p.tok = token{newline, "\n", i.Line}
	return nil
}

// braced reads up to the end of the line, over lines within braces.
func (p *parser) braced() string {
	var words []string
	depth := 0
	for p.tok.kind != endOfText && (depth > 0 || p.tok.kind != newline) {
		switch {
		case p.tok.is("{"):
			depth++
		case p.tok.is("}"):
			depth--
		}
		if p.tok.kind != newline {
			words = append(words, p.tok.String())
		}
		p.advance()
	}
	return strings.Join(words, " ")
}

func (p *parser) macroLine() Statement {
	m := &Macro{Line: p.tok.line, Name: p.tok.text}
	p.advance()
	p.expect("=")
	var values []string
	for p.tok.kind == quoted || p.tok.kind == word {
		values = append(values, p.tok.text)
		p.advance()
	}
	if len(values) == 0 {
		p.refuse("%s where the value of macro %q belongs", p.tok, m.Name)
	}
	m.Value = strings.Join(values, " ")
	p.macros[m.Name] = m.Value // no token of the next line is read yet
	if strings.ContainsFunc(m.Name, func(c rune) bool { return c > 0x7f || c != '_' && !alnum(byte(c)) }) {
		p.problem(m.Line, "use letters, digits and _", "macro %q can be defined but not used", m.Name)
	}
	return m
}

// options of `set` and how many words they take; -1: all of the line.
var options = map[string]int{
	"block-policy": 1, "debug": 1, "fingerprints": 1, "hostid": 1, "limit": -1, "loginterface": 1, "optimization": 1,
	"reassemble": -1, "ruleset-optimization": 1, "skip": -1, "state-defaults": -1, "state-policy": 1, "syncookies": -1,
	"timeout": -1, "require-order": 1, "keepcounters": 0, "fail-policy": 1, "statistics": -1, "delay": 1,
}

func (p *parser) option() Statement {
	o := &Option{Line: p.tok.line}
	if p.depth > 0 {
		p.refuse("`set` cannot stand in the braces of an anchor")
	}
	p.advance()
	name := p.raw("an option")
	if name != "skip" && name != "state-defaults" { // for which pfctl asks no order
		p.enter(partOptions)
	}
	n, known := options[name]
	switch {
	case !known,
		name == "reassemble" && !p.config.Dialect.modern(), name == "state-defaults" && p.config.Dialect == MacOS,
		p.config.Dialect == OpenBSD && slices.Contains([]string{"require-order", "fail-policy", "keepcounters"}, name):
		p.refuse("%s has no option %q", p.config.Dialect.system(), name)
	}
	o.Words = append([]string{name}, p.optionWords(n)...)
	switch name {
	case "block-policy":
		p.policy(o.Words[1])
	case "timeout", "limit":
		p.pairs(o.Words)
	case "hostid":
		if n, err := strconv.ParseUint(o.Words[1], 0, 32); err != nil || n == 0 {
			p.refuse("%q is no number for set hostid", o.Words[1])
		}
	case "state-defaults":
		p.stateDefaults(o)
	case "skip":
		if slices.Contains(o.Words, "!") {
			p.refuse("set skip takes no !")
		}
	}
	return o
}

// stateDefaults reads the options that rules have which say nothing of their state.
func (p *parser) stateDefaults(o *Option) {
	if p.states != nil {
		p.refuse("state-defaults cannot be set twice")
	}
	sub := &parser{lexer: newLexer(strings.Join(o.Words[1:], " ")), config: p.config}
	sub.line = o.Line
	r := &Rule{}
	for sub.advance(); sub.tok.kind != endOfText; {
		if len(r.Options) > 0 {
			sub.take(",")
		}
		sub.stateOption(r)
	}
	sub.stateOptions(r)
	p.states, p.seen = r, append(p.seen, sub.seen...)
}

func (p *parser) policy(word string) {
	switch word {
	case "return":
		p.answer = "return"
	case "drop":
		p.answer = ""
	default:
		p.refuse("block-policy is drop or return, not %q", word)
	}
}

func (p *parser) optionWords(n int) []string {
	var words []string
	for p.tok.kind != newline && p.tok.kind != endOfText {
		if p.tok.kind == bad || p.tok.text == "" {
			p.refuse("%s in an option", p.tok)
		}
		words = append(words, p.tok.text)
		p.advance()
	}
	if n >= 0 && len(words) != n {
		p.refuse("the option takes %d words, not %d", n, len(words))
	}
	return words
}

func (d Dialect) system() string {
	return [...]string{OpenBSD: "OpenBSD", FreeBSD: "FreeBSD", FreeBSDOld: "FreeBSD with the old grammar", MacOS: "macOS"}[d]
}

// The longest names (pfvar.h).
const (
	longestTable     = 31
	longestLabel     = 63
	longestInterface = 15
)

func (p *parser) tableName() string {
	p.expect("<")
	name := p.str("the name of a table")
	p.expect(">")
	if len(name) > longestTable {
		p.refuse("the name of table <%s> is longer than %d bytes", name, longestTable)
	}
	return name
}

func (p *parser) table() Statement {
	t := &Table{Line: p.tok.line}
	p.advance()
	t.Name = p.tableName()
	if p.depth > 0 && p.config.Dialect != OpenBSD {
		p.refuse("%s takes no table in the braces of an anchor", p.config.Dialect.system())
	}
	for p.tableOption(t) {
	}
	if p.tables == nil {
		p.tables = map[string]*Table{}
	}
	p.tables[t.Name] = t
	return t
}

// tableOption reads one word of a table's definition.
func (p *parser) tableOption(t *Table) bool {
	switch {
	case p.tok.is("{"):
		t.Listed = true
		p.entries(t)
	case p.take("file"):
		t.Listed = true
		t.Files = append(t.Files, p.str("the name of a file"))
	case p.tok.is("persist"), p.tok.is("const"), p.tok.is("counters"):
		t.Persist = t.Persist || p.tok.is("persist")
		t.Const = t.Const || p.tok.is("const")
		t.Counters = t.Counters || p.tok.is("counters")
		p.advance()
	default:
		return false
	}
	return true
}

// entries reads the list of a table, which may be empty.
func (p *parser) entries(t *Table) {
	p.expect("{")
	p.newlines()
	if p.take("}") {
		return
	}
	for {
		if p.tok.is("{") { // a list in a list
			p.entries(t)
		} else {
			t.Entries = append(t.Entries, p.entry())
		}
		p.newlines()
		if p.take(",") {
			p.newlines()
			continue
		}
		if p.take("}") {
			return
		}
	}
}

func (p *parser) entry() Entry {
	h := p.host()
	if h.Zone != "" {
		return Entry{Not: h.Not, Name: prefixText(h.Prefix, h.Zone)}
	}
	switch h.Kind {
	case PrefixHost:
		return Entry{Not: h.Not, Prefix: h.Prefix}
	case NamedHost:
		return Entry{Not: h.Not, Name: h.bare()}
	}
	p.refuse("a table holds addresses, networks and names alone")
	return Entry{}
}

// unpersisted finds overload tables that are not there when the rule needs them.
func (p *parser) unpersisted() {
	for _, o := range p.seen {
		if t := p.tables[o.table]; t != nil && !t.Persist {
			p.problem(o.line, "write `table <"+o.table+"> persist`", "overload needs table <%s> to be persist", o.table)
		}
	}
}

func (p *parser) antispoof() Statement {
	a := &Antispoof{Line: p.tok.line}
	p.advance()
	a.Log, a.Quick = p.logQuick()
	p.expect("for")
	p.items(func() { a.On = append(a.On, p.spoofed()) })
	a.Family = p.family()
	if p.take("label") {
		a.Label = p.label()
	}
	return a
}

// spoofed reads an interface of antispoof.
func (p *parser) spoofed() Iface {
	if !p.take("(") {
		return p.iface()
	}
	i := p.iface()
	i.dynamic = true
	p.expect(")")
	return i
}

// deepestAnchor is how deep anchors may stand in anchors (PF_ANCHOR_STACK_MAX).
const deepestAnchor = 64

func (p *parser) anchor() Statement {
	a := &Anchor{Line: p.tok.line, Keyword: p.tok.text}
	d := p.config.Dialect
	if d == OpenBSD && a.Keyword != "anchor" || d != MacOS && a.Keyword == "dummynet-anchor" {
		p.refuse("%s has no %s", d.system(), a.Keyword)
	}
	switch a.Keyword {
	case "anchor":
		p.enter(partFilter)
	case "scrub-anchor":
		p.enter(partNormalization)
	default:
		p.enter(partTranslation)
	}
	p.advance()
	if p.tok.kind == quoted || p.tok.kind == word && !p.keyword(p.tok.text) {
		a.Name = p.anchorName()
	}
	a.Match = p.match(true)
	p.noRoute()
	p.anchorOptions(a)
	if a.Keyword == "scrub-anchor" { // so pfctl prints it
		a.Options = p.scrubOptions()
	}
	if p.take("{") {
		a.Inline = true
		p.braces++
		if a.Name == "" {
			a.made = "_" + strconv.Itoa(p.braces)
		}
		if p.depth++; p.depth > deepestAnchor {
			p.depth--
			p.refuse("anchors stand more than %d deep in each other", deepestAnchor)
		}
		a.Body = p.statements(true)
		p.depth--
	}
	if a.Name == "" && !a.Inline {
		p.refuse("an anchor needs a name or rules in braces")
	}
	return a
}

// anchorOptions reads what stands behind the addresses: what a rule has there, but for
// what it leaves behind and where it sends packets.
func (p *parser) anchorOptions(a *Anchor) {
	if a.Keyword == "scrub-anchor" {
		return
	}
	r := &Rule{Match: a.Match}
	p.ruleOptions(r)
	if r.State != DefaultState && r.State != NoState || r.Route+r.Divert != "" || len(r.Translate) > 0 {
		p.refuse("an anchor cannot say what becomes of packets: that is for its rules")
	}
	p.consistent(r)
	a.Match, a.Label, a.Labels, a.Tag, a.Effects = r.Match, r.Label, r.Labels, r.Tag, r.Effects
}

// anchorName reads the name; "/" is no part of a word.
func (p *parser) anchorName() string {
	unquoted := p.tok.kind == word
	name := p.str("the name of an anchor")
	if unquoted && p.tok.is("/") {
		p.refuse(`the name of an anchor with "/" must be quoted`)
	}
	if p.config.Dialect == MacOS {
		return name
	}
	if !slices.ContainsFunc([]byte(name), alnum) {
		p.refuse("%q is no name of an anchor", name)
	}
	return name
}
