package pf

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// What pfctl refuses, and what it accepts and then does not do. parse reads the
// part of pf.conf that a rendering may use, as strictly as the strictest pfctl,
// and refuses on top of it every construct with a meaning that nobody expects. It
// shares nothing with the printer but the types.

// token is a word, a quoted string, a line break or one sign.
type token struct {
	text   string
	quoted bool
	line   int
}

type parser struct {
	dialect Dialect
	form    Form
	traits  traits
	toks    []token
	at      int
	stage   int
	macros  map[string]string
	tables  map[string]*Table
	used    map[string]bool
	tags    map[string]bool
	lines   []Line
}

type refusal struct {
	line int
	text string
}

func (r refusal) Error() string { return fmt.Sprintf("line %d: %s", r.line, r.text) }

// parse returns the statements without comments and empty lines.
func parse(text string, d Dialect, f Form) (lines []Line, err error) {
	p := &parser{dialect: d, form: f, traits: d.traits(), macros: map[string]string{}, tables: map[string]*Table{}, used: map[string]bool{}, tags: map[string]bool{}}
	defer func() {
		if r, ok := recover().(refusal); ok {
			err = r
		} else if r != (refusal{}) {
			panic(r)
		}
	}()
	p.toks = p.lex(text, 1)
	for p.at < len(p.toks) {
		if p.peek() == "\n" {
			p.at++
			continue
		}
		p.statement()
	}
	p.whole()
	return p.lines, nil
}

func (p *parser) refuse(format string, args ...any) {
	line := 0
	if p.at < len(p.toks) {
		line = p.toks[p.at].line
	}
	panic(refusal{line, fmt.Sprintf(format, args...)})
}

const signs = "{}()<>!=/,\n"

func wordByte(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune("(){}<>!=/#,\"'$\\", rune(c))
}

func (p *parser) lex(text string, line int) []token {
	var toks []token
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ' || c == '\t':
			i++
		case c == '\\' && i+1 < len(text) && text[i+1] == '\n':
			i, line = i+2, line+1
		case c == '#':
			end := strings.IndexByte(text[i:], '\n')
			if end < 0 {
				panic(refusal{line, "no line break at the end of the file"})
			}
			if text[i+end-1] == '\\' {
				panic(refusal{line, "comment swallows the next line"})
			}
			i += end
		case c == '"':
			end := strings.IndexAny(text[i+1:], "\"\n\\")
			if end < 0 || text[i+1+end] != '"' {
				panic(refusal{line, "quoted string does not end on its line, or has a backslash"})
			}
			toks = append(toks, token{text[i+1 : i+1+end], true, line})
			i += end + 2
		case c == '$':
			j := i + 1
			for j < len(text) && (text[j] == '_' || text[j] >= '0' && text[j] <= '9' || text[j]|0x20 >= 'a' && text[j]|0x20 <= 'z') {
				j++
			}
			toks = append(toks, p.expand(text[i+1:j], line)...)
			i = j
		case strings.IndexByte(signs, c) >= 0:
			toks = append(toks, token{string(c), false, line})
			i++
			if c == '\n' {
				line++
			}
		case wordByte(c):
			j := i
			for j < len(text) && wordByte(text[j]) {
				j++
			}
			word := text[i:j]
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_-", rune(word[0])) {
				panic(refusal{line, "syntax error at " + word})
			}
			toks = append(toks, token{word, false, line})
			i = j
		default:
			panic(refusal{line, fmt.Sprintf("syntax error at %q", c)})
		}
		p.define(toks) // before its first use
	}
	return toks
}

// define notes a macro as soon as its value was read: NAME = "VALUE".
func (p *parser) define(toks []token) {
	if n := len(toks); n >= 3 && toks[n-1].quoted && toks[n-2].text == "=" {
		p.macros[toks[n-3].text] = toks[n-1].text
	}
}

func (p *parser) expand(name string, line int) []token {
	value, ok := p.macros[name]
	if !ok {
		panic(refusal{line, "macro '" + name + "' not defined"})
	}
	if strings.ContainsAny(value, "$\"") {
		panic(refusal{line, "nested macro"})
	}
	return p.lex(value, line)
}

func (p *parser) peek() string {
	if p.at >= len(p.toks) {
		panic(refusal{0, "no line break at the end of the file"})
	}
	if p.toks[p.at].quoted {
		return "\x00" // never a keyword
	}
	return p.toks[p.at].text
}

func (p *parser) take(word string) bool {
	if p.peek() != word {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(word string) {
	if !p.take(word) {
		p.refuse("syntax error: %q where %q belongs", p.toks[p.at].text, word)
	}
}

// str is the grammar's STRING: a quoted string, or a word that is no keyword.
func (p *parser) str() string {
	t := p.toks[p.at]
	if !t.quoted && (isKeyword(t.text) || strings.Contains(signs, t.text)) {
		p.refuse("syntax error at keyword %q", t.text)
	}
	p.at++
	return t.text
}

func (p *parser) quotedString() string {
	if !p.toks[p.at].quoted {
		p.refuse("%q must be quoted", p.toks[p.at].text)
	}
	return p.str()
}

func (p *parser) number(most int) int {
	n, err := strconv.Atoi(p.peek())
	if err != nil || n < 0 || n > most {
		p.refuse("%q is no number up to %d", p.toks[p.at].text, most)
	}
	p.at++
	return n
}

// items reads one item, or several in braces. There is no empty list and no
// trailing comma.
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
			if p.peek() == "}" {
				p.refuse("trailing comma")
			}
			continue
		}
		if p.take("}") {
			return
		}
	}
}

func (p *parser) newlines() {
	for p.take("\n") {
	}
}

// The parts of the file, in the order that FreeBSD and macOS demand.
const (
	stageOption = iota + 1
	stageScrub
	stageTranslation
	stageFilter
)

func (p *parser) enter(stage int) {
	if p.form == Anchor && stage < stageFilter {
		p.refuse("only filter rules and tables belong in an anchor")
	}
	if p.dialect != OpenBSD && stage < p.stage {
		p.refuse("Rules must be in order")
	}
	p.stage = max(p.stage, stage)
}

func (p *parser) statement() {
	start := p.at
	switch word := p.peek(); word {
	case "set":
		p.enter(stageOption)
		p.option()
	case "table":
		p.table()
	case "scrub":
		p.enter(stageScrub)
		p.scrub()
	case "anchor", "nat-anchor", "rdr-anchor", "scrub-anchor", "dummynet-anchor":
		p.anchorPoint(word)
	case "load":
		p.enter(stageFilter)
		p.at++
		p.expect("anchor")
		name := p.quotedString()
		p.expect("from")
		p.lines = append(p.lines, Load{name, p.quotedString()})
	case "pass", "block", "match":
		p.enter(stageFilter)
		p.rule()
	default:
		p.macro()
	}
	if !p.take("\n") {
		p.refuse("syntax error: more on the line of %q: %q", p.toks[start].text, p.toks[p.at].text)
	}
}

func (p *parser) macro() {
	name := p.str()
	p.expect("=")
	value := p.quotedString()
	if strings.ContainsFunc(name, func(c rune) bool {
		return c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9')
	}) {
		p.refuse("macro %q cannot be used", name)
	}
	sub := *p
	sub.toks, sub.at = p.lex(value+"\n", p.toks[p.at-1].line), 0
	m := Macro{Name: name}
	sub.items(func() { m.Hosts = append(m.Hosts, sub.host()) })
	sub.expect("\n")
	p.lines = append(p.lines, m)
}

func (p *parser) option() {
	p.at++
	name := p.peek()
	p.at++
	var value string
	switch name {
	case "block-policy":
		if value = p.peek(); value != "drop" {
			p.refuse("block-policy %s", value)
		}
		p.at++
	case "skip":
		p.expect("on")
		value = "on " + p.str()
	case "reassemble":
		if p.dialect == FreeBSDOld || p.dialect == MacOS {
			p.refuse("syntax error: set reassemble")
		}
		if value = p.str(); value != "yes" {
			p.refuse("reassemble %s", value)
		}
	case "limit":
		if p.str() != "table-entries" {
			p.refuse("unknown limit")
		}
		value = fmt.Sprint("table-entries ", p.number(1<<31-1))
	default:
		p.refuse("unknown option %s", name)
	}
	p.lines = append(p.lines, Option{name, value})
}

func (p *parser) scrub() {
	if p.dialect == OpenBSD {
		p.refuse("syntax error: scrub")
	}
	p.at++
	p.expect("in")
	p.expect("all")
	p.lines = append(p.lines, Scrub{})
}

func (p *parser) anchorPoint(keyword string) {
	switch keyword {
	case "anchor":
		p.enter(stageFilter)
	case "scrub-anchor":
		p.enter(stageScrub)
	default:
		p.enter(stageTranslation)
	}
	if p.dialect == OpenBSD && keyword != "anchor" || p.dialect != MacOS && keyword == "dummynet-anchor" {
		p.refuse("syntax error: %s", keyword)
	}
	p.at++
	p.lines = append(p.lines, AnchorPoint{keyword, p.quotedString()})
}

func (p *parser) tableName() string {
	p.expect("<")
	name := p.str()
	p.expect(">")
	if len(name) > 31 {
		p.refuse("table name '%s' too long", name)
	}
	return name
}

func (p *parser) table() {
	p.at++
	t := Table{Name: p.tableName(), Open: true}
	if p.tables[t.Name] != nil {
		p.refuse("table <%s> is defined twice", t.Name)
	}
	for p.peek() == "const" || p.peek() == "persist" {
		t.Const = t.Const || p.peek() == "const"
		t.Persist = t.Persist || p.peek() == "persist"
		p.at++
	}
	if p.peek() == "{" {
		t.Open = false
		p.entries(&t)
	}
	p.tables[t.Name] = &t
	p.lines = append(p.lines, t)
}

func (p *parser) entries(t *Table) {
	if p.at+1 < len(p.toks) && p.toks[p.at+1].text == "}" {
		p.at += 2
		return
	}
	p.items(func() {
		not := p.take("!")
		if p.peek() == "self" && !not {
			p.at++
			t.Self = true
			return
		}
		t.Entries = append(t.Entries, Entry{p.prefix(), not})
	})
}

func (p *parser) prefix() netip.Prefix {
	word := p.peek()
	a, err := netip.ParseAddr(word)
	if err != nil {
		p.refuse("%q is a name, and names are looked up when the rules are loaded", word)
	}
	p.at++
	bits := a.BitLen()
	if p.take("/") {
		bits = p.number(bits)
	}
	pre := netip.PrefixFrom(a, bits)
	if pre != pre.Masked() {
		p.refuse("%s has host bits, and prints without them", pre)
	}
	return pre
}

func (p *parser) rule() {
	r := Rule{}
	p.action(&r)
	r.Dir = Dir(1 + slices.Index([]string{"in", "out"}, p.peek()))
	if r.Dir != Both {
		p.at++
	}
	r.Log = p.take("log")
	r.Quick = p.take("quick")
	if p.take("on") {
		p.items(func() { r.On = append(r.On, p.iface()) })
	}
	r.Family = Family(1 + slices.Index([]string{"inet", "inet6"}, p.peek()))
	if r.Family != AnyFamily {
		p.at++
	}
	if p.take("proto") {
		p.items(func() { r.Protos = append(r.Protos, p.proto()) })
	}
	p.fromTo(&r)
	for p.peek() != "\n" {
		p.ruleOption(&r)
	}
	p.consistent(r)
	p.lines = append(p.lines, r)
}

func (p *parser) action(r *Rule) {
	switch p.peek() {
	case "pass":
		p.at++
	case "match":
		if !p.traits.match {
			p.refuse("syntax error: match")
		}
		p.at++
		r.Action = Match
	default:
		p.at++
		switch {
		case p.take("drop"):
			r.Action = Drop
		case p.take("return"):
			r.Action = Return
		default:
			p.refuse("block without drop or return depends on block-policy")
		}
	}
}

func (p *parser) iface() string {
	if p.peek() == "!" {
		p.refuse("on ! is not written")
	}
	name := p.str()
	if len(name) > 15 {
		p.refuse("interface name too long")
	}
	digit := name[len(name)-1] >= '0' && name[len(name)-1] <= '9'
	known := slices.Contains(p.traits.groups, name) || name == "egress" && p.dialect == OpenBSD || name == "dmz" && p.dialect != MacOS
	if !digit && !known {
		p.refuse("on %s matches nothing", name)
	}
	return name
}

var testProtos = map[string]packet.Proto{"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmp6": 58, "sctp": 132}

func (p *parser) proto() packet.Proto {
	if n, ok := testProtos[p.peek()]; ok {
		p.at++
		return n
	}
	n := p.number(255)
	if n == 0 {
		p.refuse("proto 0 cannot be used")
	}
	return packet.Proto(n)
}

func (p *parser) fromTo(r *Rule) {
	if p.take("all") {
		return
	}
	p.expect("from")
	r.From = p.endpoint()
	p.expect("to")
	r.To = p.endpoint()
	if r.From.any() && r.To.any() {
		p.refuse("from any to any is written all")
	}
}

func (p *parser) endpoint() Endpoint {
	var e Endpoint
	if !p.take("any") {
		p.items(func() { e.Hosts = append(e.Hosts, p.host()) })
	}
	if p.take("port") {
		p.items(func() { e.Ports = append(e.Ports, p.ports()) })
	}
	return e
}

func (p *parser) host() Host {
	switch p.peek() {
	case "!":
		p.refuse("a negated host in a list matches everything")
	case "self":
		p.refuse("bare self is expanded when the rules are loaded")
	case "<":
		name := p.tableName()
		p.used[name] = true
		return Host{Table: name}
	case "(":
		p.at++
		name := p.str()
		p.expect(")")
		if name != "self" && name != "self:broadcast" {
			p.refuse("(%s) is not written", name)
		}
		if p.dialect == MacOS {
			p.refuse("(self) is empty on macOS")
		}
		return Host{Dynamic: name}
	}
	return Host{Prefix: p.prefix()}
}

func (p *parser) ports() packet.PortRange {
	lo, hi, ranged := strings.Cut(p.peek(), ":")
	if !ranged {
		hi = lo
	}
	l, err := strconv.ParseUint(lo, 10, 16)
	h, err2 := strconv.ParseUint(hi, 10, 16)
	if err != nil || err2 != nil || l > h || ranged && l == h {
		p.refuse("invalid port range %s", p.peek())
	}
	p.at++
	return packet.PortRange{Lo: uint16(l), Hi: uint16(h)}
}

func (p *parser) ruleOption(r *Rule) {
	not := p.take("!")
	if not && p.peek() != "received-on" {
		p.refuse("syntax error at !")
	}
	word := p.peek()
	p.at++
	switch word {
	case "received-on":
		if !p.traits.receivedOn || r.Received.On != "" {
			p.refuse("syntax error: received-on")
		}
		r.Received.Not = not
		if p.take("any") {
			r.Received.On = "any"
		} else {
			r.Received.On = p.iface()
		}
	case "flags":
		p.expect("S")
		p.expect("/")
		p.expect("SA")
		p.once(&r.SYN)
	case "icmp-type", "icmp6-type":
		p.icmpTypes(r, word)
	case "keep", "no":
		p.state(r, word)
	case "allow-opts":
		p.once(&r.AllowOpts)
	case "label":
		p.onceText(&r.Label, p.quotedString(), 63)
	case "tag":
		p.onceText(&r.Tag, p.str(), 63)
		p.tags[r.Tag] = true
	case "tagged":
		p.onceText(&r.Tagged, p.str(), 63)
		if !p.tags[r.Tagged] && r.Tagged != routedTag {
			p.refuse("nothing above sets the tag %s", r.Tagged)
		}
	default:
		p.at--
		p.refuse("syntax error at %q", p.toks[p.at].text)
	}
}

func (p *parser) once(b *bool) {
	if *b {
		p.refuse("cannot be redefined")
	}
	*b = true
}

func (p *parser) onceText(s *string, v string, longest int) {
	if *s != "" || v == "" || len(v) > longest {
		p.refuse("%q is empty, too long, or cannot be redefined", v)
	}
	*s = v
}

var (
	testICMP  = map[string]uint8{"echorep": 0, "unreach": 3, "echoreq": 8, "routeradv": 9, "routersol": 10, "timex": 11, "paramprob": 12, "timereq": 13, "inforeq": 15, "maskreq": 17}
	testICMP6 = map[string]uint8{"unreach": 1, "toobig": 2, "timex": 3, "paramprob": 4, "echoreq": 128, "echorep": 129, "groupqry": 130, "grouprep": 131, "groupterm": 132, "routersol": 133, "routeradv": 134, "neighbrsol": 135, "neighbradv": 136, "redir": 137}
)

func (p *parser) icmpTypes(r *Rule, word string) {
	names := testICMP
	want := Inet
	if word == "icmp6-type" {
		names, want = testICMP6, Inet6
	}
	if r.Family != want {
		p.refuse("must indicate address family with icmp-type/code")
	}
	p.items(func() {
		t, ok := names[p.peek()]
		if ok {
			p.at++
		} else {
			t = uint8(p.number(255))
		}
		r.ICMPTypes = append(r.ICMPTypes, t)
	})
}

func (p *parser) state(r *Rule, word string) {
	p.expect("state")
	if r.State != Unstated {
		p.refuse("state cannot be redefined")
	}
	if r.State = KeepState; word == "no" {
		r.State = NoState
		return
	}
	if !p.take("(") {
		return
	}
	p.expect("max-src-conn-rate")
	r.Rate.Count = uint32(p.number(4294966))
	p.expect("/")
	r.Rate.Seconds = uint32(p.number(1 << 30))
	p.expect(",")
	p.expect("overload")
	r.Rate.Overload = p.tableName()
	p.used[r.Rate.Overload] = true
	p.expect(")")
	if r.Rate.Count == 0 || r.Rate.Seconds == 0 {
		p.refuse("'max-src-conn-rate' values must be > 0")
	}
	if t := p.tables[r.Rate.Overload]; t == nil || !t.Persist || t.Const {
		p.refuse("overload needs a persist table in the same ruleset")
	}
}

// consistent is what pfctl asks of a whole rule, and what the reader does.
func (p *parser) consistent(r Rule) {
	only := func(ps ...packet.Proto) bool {
		return len(r.Protos) > 0 && !slices.ContainsFunc(r.Protos, func(x packet.Proto) bool { return !slices.Contains(ps, x) })
	}
	ported := []packet.Proto{packet.TCP, packet.UDP}
	if p.dialect == FreeBSD {
		ported = append(ported, packet.SCTP)
	}
	tcp := len(r.Protos) == 0 || slices.Contains(r.Protos, packet.TCP)
	icmp := slices.Contains(r.Protos, packet.ICMP)
	icmp6 := slices.Contains(r.Protos, packet.ICMPv6)
	for _, c := range []struct {
		bad  bool
		text string
	}{
		{len(r.From.Ports)+len(r.To.Ports) > 0 && !only(ported...), "port only applies to tcp/udp"},
		{len(r.ICMPTypes) > 0 && !only(packet.ICMP) && !only(packet.ICMPv6), "icmp-type/code only applies to icmp"},
		{icmp && r.Family != Inet || icmp6 && r.Family != Inet6, "proto does not match address family"},
		{r.SYN && !tcp, "flags only apply to tcp"},
		{r.AllowOpts && r.Action != Pass, "allow-opts can only be specified for pass rules"},
		{r.State != Unstated && r.Action != Pass, "keep state is great, but only for pass rules"},
		{r.Tag != "" && r.Action != Pass && r.Action != Match, "tag on a block rule"},
		{r.Received.On != "" && r.Dir != Out, "received-on is for packets that go out"},
		{!r.possible(), "rule expands to no valid combination"},
		{r.Action == Pass && r.State == Unstated, "pass without a word on state"},
		{r.State == KeepState && tcp && !r.SYN, "TCP without flags S/SA"},
		{r.State == NoState && r.SYN, "flags without state"},
		{r.Rate.Count > 0 && !only(packet.TCP), "max-src-conn-rate does nothing but for tcp"},
		{r.Action == Return && !only(packet.TCP, packet.UDP), "block return answers other protocols too"},
		{r.Action == Pass && r.State == NoState && (only(packet.IGMP) || slices.Contains(r.ICMPTypes, 131)) && !r.AllowOpts, "IGMP and MLD have IP options"},
		{p.form == Anchor && !r.Quick && r.Tag == "", "in an anchor, others decide after a rule that is not quick"},
		{r.Tag == "" && r.Label == "", "rule without a label"},
	} {
		if c.bad {
			p.refuse("%s", c.text)
		}
	}
}

// whole looks for what only the end of the file shows.
func (p *parser) whole() {
	for name := range p.used {
		if p.tables[name] == nil {
			p.refuse("table <%s> is not defined, so it is empty", name)
		}
	}
	for name := range p.tables {
		if !p.used[name] {
			p.refuse("table <%s> is never used", name)
		}
	}
}
