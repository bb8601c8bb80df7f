package pf

import (
	"fmt"
	"slices"
	"time"

	"github.com/fwctl/fwctl/rules"
)

// Options say for whom and where the rules are rendered. The zero value is a
// whole pf.conf for OpenBSD.
type Options struct {
	Dialect Dialect
	Form    Form
	// At is the time of rendering: rules that ended before are left out. pf has no
	// clock, so the caller has to render again when the next one ends. With the zero
	// Time no rule is left out, and the text is the same on every day.
	At time.Time
}

// Render says the policy in the words of pf.conf. The same ruleset gives the same
// program, whatever the order in which the policy was written. What pf cannot say
// is a problem of severity Error at the rule that asks for it, and the program is
// nil; what it says differently is a Note.
func Render(rs *rules.Ruleset, opt Options) (*Program, rules.Problems) {
	b := newBuilder(rs, opt)
	lines := b.assemble(b.body())
	b.problems.Sort()
	if b.problems.Err() != nil {
		return nil, b.problems
	}
	return &Program{Dialect: opt.Dialect, Form: opt.Form, Lines: lines}, b.problems
}

// builder collects the program. The rules come first, because they say which
// tables and macros there must be.
type builder struct {
	rs  *rules.Ruleset
	opt Options
	traits

	thisHost []Host // destinations of packets for this host; nil: whatever comes in
	own      []Host // sources of packets of this host; nil: asked in another way

	tagged bool // a rule asks for inboundTag

	tables    []Table
	byTable   map[string]int    // into tables, by key
	remarks   map[string]string // on tables, by name
	tableName *names
	labels    *names

	problems rules.Problems
	said     map[rules.Problem]bool
}

var (
	self          = Host{Dynamic: "self"}
	selfBroadcast = Host{Dynamic: "self:broadcast"}

	limitedBroadcast = prefix("255.255.255.255/32")
	multicast4       = prefix("224.0.0.0/4")
	multicast6       = prefix("ff00::/8")
	linkLocal6       = prefix("fe80::/10")
	unspecified4     = prefix("0.0.0.0/32")
	unspecified6     = prefix("::/128")
)

func newBuilder(rs *rules.Ruleset, opt Options) *builder {
	b := &builder{
		rs:        rs,
		opt:       opt,
		traits:    opt.Dialect.traits(),
		byTable:   map[string]int{},
		remarks:   map[string]string{},
		tableName: newNames(maxTable),
		labels:    newNames(maxLabel),
		said:      map[rules.Problem]bool{},
	}
	if b.self {
		b.thisHost = []Host{self, selfBroadcast, b.neverRouted()}
	}
	if b.self && !b.receivedOn {
		b.own = []Host{self, linkLocal6, unspecified4, unspecified6}
	}
	return b
}

// The names of the macros.
const (
	thisHostMacro = "this_host"
	ownMacro      = "own_address"
)

// assemble puts the parts in the order that every dialect takes: macros, tables,
// options, normalization, translation, filter rules.
func (b *builder) assemble(body []Line) []Line {
	tables := b.tableLines(body)
	limits := b.limitLines(tables)
	lines := slices.Concat(b.header(), b.macroLines(body), tables)
	if b.opt.Form == File {
		lines = slices.Concat(lines, b.optionLines(), limits, b.scrubLines(), b.foreign(translationKeywords))
	}
	return append(lines, body...)
}

func (b *builder) header() []Line {
	if b.opt.Form == Anchor {
		return []Line{
			Comment(fmt.Sprintf("The anchor fwctl, for %s. Written by fwctl: change the policy, not this.", b.system)),
			Comment(`pf.conf must evaluate it: anchor "fwctl", best as its last line.`),
		}
	}
	return []Line{Comment(fmt.Sprintf("pf.conf for %s. Written by fwctl: change the policy, not this.", b.system))}
}

func (b *builder) macroLines(body []Line) []Line {
	var lines []Line
	for _, m := range []Macro{{thisHostMacro, b.thisHost}, {ownMacro, b.own}} {
		if len(m.Hosts) > 0 && slices.ContainsFunc(body, func(l Line) bool { return uses(l, m.Hosts) }) {
			lines = append(lines, m)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return append([]Line{Blank{}}, lines...)
}

func uses(l Line, hosts []Host) bool {
	r, ok := l.(Rule)
	return ok && (slices.Equal(r.From.Hosts, hosts) || slices.Equal(r.To.Hosts, hosts))
}

func (b *builder) optionLines() []Line {
	lines := []Line{Blank{}, Option{"block-policy", "drop"}, Option{"skip", "on " + b.loopback}}
	if o, ok := b.reassembly.(Option); ok {
		lines = append(lines, o)
	}
	return lines
}

func (b *builder) scrubLines() []Line {
	lines := b.foreign(scrubKeywords)
	if s, ok := b.reassembly.(Scrub); ok {
		lines = append(lines, s)
	}
	return lines
}

// body is the filter rules, in the order in which they decide.
func (b *builder) body() []Line {
	b.whole()
	blocks, services := b.blocks(), b.services()
	parts := []part{
		{"Never filtered.", b.loopbackLines()},
		{"Packets that are for this host, whatever address a rule below names.", b.tagging()},
		{b.earlyTitle(), b.early()},
		{"What the network needs to work, in and out.", b.baseline()},
		{"Blocks. They win over every service, and spare what is established.", blocks},
		{"Blocks of what this host sends.", b.outboundBlocks()},
		{"The rules of others.", b.foreign(filterKeywords)},
		{"Requests that are answered.", b.requests()},
		{"Services.", services},
		{"The rest of what is for this host.", b.beforeRoutes()},
		{"Routes, where packets come in and where they go out.", b.routes()},
		{"What this host may send.", b.outbounds()},
		{"What nothing above decides.", b.late()},
	}
	var lines []Line
	for _, p := range parts {
		if len(p.lines) > 0 {
			lines = append(append(lines, Blank{}, Comment(p.title)), p.lines...)
		}
	}
	return lines
}

func (b *builder) earlyTitle() string {
	title := "What nothing below decides: here the last match counts."
	if b.rs.Routed == rules.RoutedIgnore && b.self {
		title += " Packets through this host are left alone."
	}
	return title
}

// part is some rules and the comment above them.
type part struct {
	title string
	lines []Line
}

// whole looks at what does not belong to one rule.
func (b *builder) whole() {
	none := rules.Pos{}
	if !b.self {
		b.wholeIncoming()
	} else if !b.receivedOn {
		b.note(none, b.system+" tells routed packets from those of this host by their source address", "")
	}
	if b.rs.LogDenied {
		b.note(none, "pf logs refused packets to pflog0 without a rate limit, by the rule's label", "")
	}
	if b.opt.Form == Anchor && b.reassembly != nil {
		b.note(none, "this anchor needs a pf.conf that puts fragments together", "it must have the line `"+lineText(b.reassembly)+"`")
	}
}

// wholeIncoming is for a kernel that does not know which packets are for the host.
func (b *builder) wholeIncoming() {
	summary := b.system + " cannot tell routed packets from those for this host"
	if b.rs.Routed != rules.RoutedIgnore {
		b.fail(rules.Pos{}, summary, `leave routed = "ignore"`)
		return
	}
	b.note(rules.Pos{}, summary+", and judges them like these", "")
}

func lineText(l Line) string {
	w := writer{}
	w.line(l)
	return w.b.String()
}

func (b *builder) fail(at rules.Pos, summary, hint string) {
	b.say(rules.Problem{Pos: at, Severity: rules.Error, Summary: summary, Hint: hint})
}

func (b *builder) note(at rules.Pos, summary, hint string) {
	b.say(rules.Problem{Pos: at, Severity: rules.Note, Summary: summary, Hint: hint})
}

// say reports a problem once, however many rules come of it.
func (b *builder) say(p rules.Problem) {
	if !b.said[p] {
		b.said[p] = true
		b.problems = append(b.problems, p)
	}
}

func (b *builder) label(id string) string { return b.labels.of(id, id) }
