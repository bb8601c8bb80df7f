package pf

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Print writes the rules in the grammar of their dialect, one statement a line, in
// the order and the words in which pfctl prints rules; macros are put in. The text
// means the same, and printing what Parse makes of it gives the same text again.
func (c *Config) Print() string {
	w := printer{dialect: c.Dialect}
	w.statements(c.Lines)
	return w.b.String()
}

type printer struct {
	b       strings.Builder
	dialect Dialect
	depth   int
}

func (w *printer) statements(lines []Statement) {
	for _, s := range lines {
		if _, macro := s.(*Macro); macro {
			continue
		}
		w.b.WriteString(strings.Repeat("  ", w.depth))
		w.statement(s)
		w.b.WriteByte('\n')
	}
}

func (w *printer) statement(s Statement) {
	switch s := s.(type) {
	case *Option:
		w.b.WriteString("set " + optionText(s.Words))
	case *Table:
		w.b.WriteString(s.text())
	case *Rule:
		w.b.WriteString(strings.Join(w.rule(s), " "))
	case *Translation:
		w.b.WriteString(strings.Join(w.translation(s), " "))
	case *Anchor:
		w.anchor(s)
	case *Load:
		w.b.WriteString("load anchor " + quote(s.Anchor) + " from " + quote(s.File))
	case *Antispoof:
		w.b.WriteString(strings.Join(w.antispoof(s), " "))
	case *Scrub:
		w.b.WriteString(strings.Join(w.scrub(s), " "))
	case *Include:
		w.b.WriteString("include " + quote(s.File))
	case *Ignored:
		w.b.WriteString(s.Text)
	case *Unread:
		w.b.WriteString("# not read: " + strings.Map(printable, s.Text))
	}
}

// printable keeps an unread text a comment of one line.
func printable(c rune) rune {
	if c < ' ' || c == '\\' || c == 0x7f || c == utf8.RuneError {
		return '?'
	}
	return c
}

// optionText writes the words of an option; signs stand apart, as lists do.
func optionText(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if strings.IndexFunc(w, func(c rune) bool { return c >= 0x80 || !inWord(byte(c)) }) >= 0 && !slices.Contains(append(operators, "{", "}", ",", "(", ")", "!", "=", "/", "<", ">"), w) || w == "" {
			out[i] = quote(w)
		}
	}
	return strings.Join(out, " ")
}

// quote writes a string so that the lexer reads it again.
func quote(s string) string {
	end := `"`
	if strings.Contains(s, `"`) {
		end = "'"
	}
	var b strings.Builder
	for i, c := range []byte(s) {
		if string(c) == end || c == '\\' && i+1 < len(s) && (s[i+1:i+2] == end || s[i+1] == ' ' || s[i+1] == '\t') {
			b.WriteByte('\\')
			if c == '\\' {
				continue
			}
		}
		b.WriteByte(c)
	}
	return end + b.String() + end
}

func (t *Table) text() string {
	s := "table <" + t.Name + ">"
	for _, o := range []struct {
		on   bool
		word string
	}{{t.Persist, " persist"}, {t.Const, " const"}, {t.Counters, " counters"}} {
		if o.on {
			s += o.word
		}
	}
	for _, f := range t.Files {
		s += " file " + quote(f)
	}
	if !t.Listed || len(t.Files) > 0 && len(t.Entries) == 0 {
		return s
	}
	words := make([]string, len(t.Entries))
	for i, e := range t.Entries {
		words[i] = e.String()
	}
	return s + " { " + strings.TrimSpace(strings.Join(words, ", ")+" ") + " }"
}

// String writes the entry as pf.conf does.
func (e Entry) String() string {
	s := e.Name
	if e.Prefix.IsValid() {
		s = prefixText(e.Prefix, "")
	}
	if e.Not {
		return "!" + s
	}
	return s
}

func prefixText(p netip.Prefix, zone string) string {
	s := p.Addr().WithZone(zone).String()
	if p.IsSingleIP() {
		return s
	}
	return s + "/" + strconv.Itoa(p.Bits())
}

// words collects what is written of a rule.
type words []string

func (ws *words) add(when bool, s string) {
	if when {
		*ws = append(*ws, s)
	}
}

// head writes what rules of all kinds begin with.
func (w *printer) head(ws *words, m Match) {
	ws.add(m.Dir == In, "in")
	ws.add(m.Dir == Out, "out")
	ws.add(m.Log != "", m.Log)
	ws.add(m.Quick, "quick")
	if len(m.On) > 0 {
		ws.add(true, "on "+list(texts(m.On, Iface.String)))
	}
}

func (w *printer) middle(ws *words, m Match) {
	ws.add(m.Family == Inet, "inet")
	ws.add(m.Family == Inet6, "inet6")
	if len(m.Protos) > 0 {
		ws.add(true, "proto "+list(texts(m.Protos, protoName)))
	}
	if len(m.From.Hosts)+len(m.From.Ports)+len(m.From.OS)+len(m.To.Hosts)+len(m.To.Ports) == 0 {
		ws.add(true, "all")
		return
	}
	ws.add(true, "from "+w.endpoint(m.From))
	ws.add(true, "to "+w.endpoint(m.To))
}

// some adds those of the texts that begin with one of the names, in the names' order.
func (ws *words) some(texts []string, names ...string) {
	for _, name := range names {
		for _, t := range texts {
			ws.add(firstWord(t) == name, t)
		}
	}
}

// firstWord is the name of a condition or an effect.
func firstWord(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "abcdefghijklmnopqrstuvwxyz-."))]
}

func received(ws *words, m Match) {
	if i := m.Received; i != nil {
		not := map[bool]string{true: "!"}[i.Not]
		ws.add(true, not+"received-on "+Iface{Name: i.Name}.String())
	}
}

func flags(ws *words, m Match) {
	if m.Flags != nil {
		ws.add(true, "flags "+m.Flags.String())
	}
}

// tagged comes last; pfctl prints it behind the label.
func tagged(ws *words, m Match) {
	if m.Tagged != "" {
		ws.add(m.NotTag, "!")
		ws.add(true, "tagged "+quoteName(m.Tagged))
	}
}

func (ws *words) labels(first string, more []string) {
	ws.add(first != "", "label "+quote(first))
	for _, l := range more {
		ws.add(true, "label "+quote(l))
	}
}

func texts[T any](xs []T, text func(T) string) []string { return mapped(xs, text) }

func mapped[T, U any](xs []T, f func(T) U) []U {
	out := make([]U, len(xs))
	for i, x := range xs {
		out[i] = f(x)
	}
	return out
}

// list writes one word as it is and several in braces.
func list(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return "{ " + strings.Join(words, ", ") + " }"
}

// String writes the interface as a rule does.
func (i Iface) String() string {
	name := quoteName(i.Name)
	if i.Name == "any" || strings.HasPrefix(i.Name, domain) {
		name = i.Name
	}
	if i.dynamic {
		name = "(" + name + ")"
	}
	if i.Not {
		return "! " + name
	}
	return name
}

// quoteName writes a name so that it is read as one string.
func quoteName(s string) string {
	plain := s != "" && (alnum(s[0]) || s[0] == '_') && !isKeyword(s)
	for i := range len(s) {
		plain = plain && inWord(s[i]) && s[i] != '"' && s[i] != '\'' && s[i] != '$' && s[i] != '\\'
	}
	if plain {
		return s
	}
	return quote(s)
}

func (w *printer) endpoint(e Endpoint) string {
	s := "any"
	if len(e.Hosts) > 0 {
		s = list(texts(e.Hosts, Host.String))
	}
	if len(e.Ports) > 0 {
		s += " port " + list(texts(e.Ports, PortOp.String))
	}
	if len(e.OS) > 0 {
		s += " os " + list(texts(e.OS, quote))
	}
	return s
}

// String writes the host as a rule does.
func (h Host) String() string {
	s := ""
	switch h.Kind {
	case AnyHost:
		s = "any"
	case PrefixHost:
		s = prefixText(h.Prefix, h.Zone)
	case RangeHost:
		s = h.Lo.String() + " - " + h.Hi.String()
	case TableHost:
		s = "<" + quoteName(h.Name) + ">"
	case NoRoute:
		s = "no-route"
	case URPFFailed:
		s = "urpf-failed"
	case RouteHost:
		s = "route " + quote(h.Name)
	default:
		s = h.bare()
	}
	if h.Not {
		s = "! " + s
	}
	return s + h.weighted
}

// bare writes a name with its modifiers and its mask.
func (h Host) bare() string {
	s := h.Name
	for _, m := range h.Mods {
		s += ":" + m
	}
	s = quoteName(s)
	if h.Kind == DynamicHost {
		s = "(" + s + ")"
	}
	if h.Bits > 0 {
		s += "/" + strconv.Itoa(h.Bits)
	}
	return s
}

// String writes the test as a rule does.
func (p PortOp) String() string {
	lo, hi := strconv.Itoa(int(p.Lo)), strconv.Itoa(int(p.Hi))
	switch {
	case p.Op == "><" || p.Op == "<>":
		return lo + " " + p.Op + " " + hi
	case p.Op == "*":
		return lo + ":*"
	case p.Op != "":
		return p.Op + " " + lo
	case p.Lo == p.Hi:
		return "= " + lo
	}
	return lo + ":" + hi
}

// String writes the test as a rule does.
func (f Flags) String() string {
	if f.Mask == 0 {
		return "any"
	}
	letters := func(n uint8) string {
		s := ""
		for i, c := range flagLetters {
			if n&(1<<i) != 0 {
				s += string(c)
			}
		}
		return s
	}
	return letters(uint8(f.Set)) + "/" + letters(uint8(f.Mask))
}

func (w *printer) rule(r *Rule) []string {
	var ws words
	switch r.Action {
	case Pass:
		ws.add(true, "pass")
	case Matches:
		ws.add(true, "match")
	default:
		ws.add(true, strings.TrimSuffix("block "+cmp.Or(r.Answer, "drop"), " "))
	}
	w.head(&ws, r.Match)
	ws.add(r.Route != "" && w.dialect != OpenBSD, r.Route)
	w.middle(&ws, r.Match)
	received(&ws, r.Match)
	ws.some(r.Unknown, "user", "group")
	flags(&ws, r.Match)
	ws.add(len(r.Types) > 0, w.icmp(&r.Match))
	ws.some(r.Unknown, "tos", "prio", "max-pkt-rate", "max-pkt-size")
	ws.some(r.Effects, "set")
	if len(r.Options) > 0 { // behind the state pfctl prints it, but does not read it there
		ws.some(r.Unknown, "probability")
	}
	w.state(&ws, r)
	if len(r.Options) == 0 {
		ws.some(r.Unknown, "probability")
	}
	ws.add(r.Fragment, "fragment")
	ws.some(r.Effects, "scrub")
	ws.add(r.AllowOpts, "allow-opts")
	ws.labels(r.Label, r.Labels)
	ws.some(r.Unknown, "once")
	ws.some(r.Effects, "ridentifier", "dnpipe", "dnqueue", "queue")
	ws.add(r.Tag != "", "tag "+quoteName(r.Tag))
	tagged(&ws, r.Match)
	ws.some(r.Effects, "rtable")
	ws.add(r.Divert != "", r.Divert)
	for _, t := range r.Translate {
		ws.add(true, t.String())
	}
	ws.add(r.Route != "" && w.dialect == OpenBSD, r.Route)
	return ws
}

func (w *printer) icmp(r *Match) string {
	word, names, codes := "icmp-type ", icmpTypes, icmpCodes
	if r.Family == Inet6 {
		word, names, codes = "icmp6-type ", icmp6Types, icmp6Codes
	}
	return word + list(texts(r.Types, func(t ICMPType) string {
		if t.Code < 0 {
			return nameFor(names, int(t.Type))
		}
		return nameFor(names, int(t.Type)) + " code " + w.dialect.codeName(codes, int(t.Type), t.Code)
	}))
}

// state writes what the rule leaves behind. OpenBSD leaves out the implied one.
func (w *printer) state(ws *words, r *Rule) {
	kept := [...]string{KeepState: "keep state", ModulateState: "modulate state", SynproxyState: "synproxy state", NoState: "no state"}[r.State]
	if len(r.Options) > 0 {
		kept = cmp.Or(kept, "keep state") + " (" + strings.Join(r.Options, ", ") + ")"
	}
	ws.add(kept != "", kept)
}

// String writes the translation as a rule does.
func (t Translate) String() string {
	if t.Kind == "af-to" {
		return "af-to " + t.Text
	}
	return t.Kind + " " + poolText(t.To, t.Port, t.Text)
}

func (w *printer) translation(t *Translation) []string {
	var ws words
	ws.add(t.No, "no")
	ws.add(true, t.Kind)
	ws.add(t.Pass, "pass")
	w.head(&ws, t.Match)
	w.middle(&ws, t.Match)
	ws.add(t.Tag != "", "tag "+quoteName(t.Tag))
	tagged(&ws, t.Match)
	ws.add(t.Rtable != "", t.Rtable)
	if t.No {
		return ws
	}
	ws.add(true, "-> "+poolText(t.To, t.Port, t.Text))
	return ws
}

func (w *printer) anchor(a *Anchor) {
	var ws words
	ws.add(true, a.Keyword)
	ws.add(a.Name != "", quote(a.Name))
	w.head(&ws, a.Match)
	w.middle(&ws, a.Match)
	w.options(&ws, a)
	for _, o := range a.Options {
		ws.add(true, o)
	}
	ws.add(a.Inline, "{")
	w.b.WriteString(strings.Join(ws, " "))
	if !a.Inline {
		return
	}
	w.b.WriteByte('\n')
	w.depth++
	w.statements(a.Body)
	w.depth--
	w.b.WriteString(strings.Repeat("  ", w.depth) + "}")
}

// options writes what stands behind the addresses of an anchor, as of a rule.
func (w *printer) options(ws *words, a *Anchor) {
	received(ws, a.Match)
	ws.some(a.Unknown, "user", "group")
	flags(ws, a.Match)
	ws.add(len(a.Types) > 0, w.icmp(&a.Match))
	ws.some(a.Unknown, "tos", "prio", "max-pkt-rate", "max-pkt-size")
	ws.some(a.Effects, "set")
	ws.some(a.Unknown, "probability")
	ws.add(a.Fragment, "fragment")
	ws.some(a.Effects, "scrub")
	ws.labels(a.Label, a.Labels)
	ws.some(a.Effects, "ridentifier", "dnpipe", "dnqueue", "queue")
	ws.add(a.Tag != "", "tag "+quoteName(a.Tag))
	tagged(ws, a.Match)
	ws.some(a.Effects, "rtable")
}

func (w *printer) antispoof(a *Antispoof) []string {
	var ws words
	ws.add(true, "antispoof")
	ws.add(a.Log != "", a.Log)
	ws.add(a.Quick, "quick")
	ws.add(true, "for "+list(texts(a.On, Iface.String)))
	ws.add(a.Family == Inet, "inet")
	ws.add(a.Family == Inet6, "inet6")
	ws.add(a.Label != "", "label "+quote(a.Label))
	return ws
}

func (w *printer) scrub(s *Scrub) []string {
	var ws words
	ws.add(s.No, "no")
	ws.add(true, "scrub")
	w.head(&ws, s.Match)
	w.middle(&ws, s.Match)
	for _, o := range s.Options {
		ws.add(true, o)
	}
	return ws
}
