package pf

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Options are what the text does not say. The zero value is a host of which
// nothing is known; what depends on it is a named unknown then.
type Options struct {
	// Links are the interfaces with their addresses; nil: not known.
	Links []packet.Link
	// Groups are the interface groups and their members; nil: not known, but for
	// those that the kernel keeps for the drivers of cloned interfaces.
	Groups map[string][]string
	// Tables returns what the kernel has in a table of an anchor, "" for the main
	// rules; nil, or false: what the text says of it.
	Tables func(anchor, name string) ([]Entry, bool)
	// Anchors returns the rules of an anchor whose rules are not in the text; nil,
	// or false: it has none.
	Anchors func(name string) (*Config, bool)
	// Files returns a file of addresses for a table; nil, or an error: not known.
	Files func(name string) ([]byte, error)
	// Skip are interfaces and groups that the kernel leaves alone, beside those of
	// `set skip` in the text: pfctl -sr does not print it.
	Skip []string
	// Refuses says that the kernel refuses what no rule matches
	// (net.pf.default_to_drop of FreeBSD).
	Refuses bool
	// Silent says that it does not matter who gets an answer to a refusal: which
	// protocols do is not the same everywhere.
	Silent bool
	// Keeping asks which packets pass and leave a state behind, so that their
	// answers pass too: a pass rule without state counts as a refusal.
	Keeping bool
}

// Filter returns what the rules do with packets of a family at a hook: at input
// where they come in, at output where they go out, at forward both.
func Filter(c *Config, hook packet.Hook, is6 bool, opt Options) *packet.Filter {
	r := newReader(c, hook, is6, opt)
	switch hook {
	case packet.Input:
		r.cross(In)
	case packet.Output:
		r.cross(Out)
	case packet.Forward:
		r.cross(In)
		r.cross(Out)
	}
	return r.filter
}

// Source returns the rules by the place where they stand on a packet's way: those
// for packets that come in before the routing, those for packets that go out
// behind it.
func Source(c *Config, is6 bool, opt Options) packet.Source {
	return func(hook packet.Hook) *packet.Filter {
		r := newReader(c, hook, is6, opt)
		switch hook {
		case packet.Prerouting:
			r.cross(In)
		case packet.Forward:
			r.cross(Out)
		case packet.Output:
			r.cross(Out)
		default:
			return nil
		}
		return r.filter
	}
}

func newReader(c *Config, hook packet.Hook, is6 bool, opt Options) *reader {
	r := &reader{
		Config: &Config{Dialect: c.Dialect, Lines: c.apart(c.Lines)}, opt: opt, hook: hook, is6: is6, sets: map[string]contents{},
		loaded: map[*Config][]Statement{c: nil}, // it does not ask itself
		filter: &packet.Filter{Hook: hook, Chains: map[string]*packet.Chain{}},
	}
	r.survey(r.Lines)
	return r
}

// reader translates the rules for one hook.
type reader struct {
	*Config
	opt    Options
	hook   packet.Hook
	is6    bool
	filter *packet.Filter
	loaded map[*Config][]Statement // the rules of anchors that are not in the text

	tables     map[string]map[string]*Table // by anchor and name
	limited    map[string]*Rule             // by anchor and table: the rule that fills it with sources over its limit; nil: several
	fills      []fill                       // the rules that fill tables
	parts      map[*Rule][]*Rule            // of rules with tags that are filled in
	nth        map[*Rule]int                // how many rules before say the same, of those that count packets or throw dice
	same       map[string]int               // how many say the same
	skip       []string                     // set skip
	tags       []string                     // that some rule asks for, in order
	ordered    bool                         // rules depend on what earlier ones did to the packet
	stops      bool                         // there are anchors that are quick
	translates int                          // how many rules give packets other addresses
	sets       map[string]contents          // of tables, so that each is made once
	loopback   []string                     // names of loopback interfaces

	// While the rules are crossed:
	dir       Dir
	chain     *packet.Chain
	decisions []packet.Step // of rules that are not quick, by the number that they leave
	quick     []packet.Step // where the order does not count
	later     []packet.Step // likewise, of rules that are not quick, as they stand
	anchor    string        // whose rules are read
	frame     *Anchor       // likewise, by its line; of the children of a wildcard that line
	owners    []*Anchor     // of decisions
	wildcards uint          // that are read
	behind    bool          // the rules are a child's of a wildcard, and another child follows
}

// fill is a rule of an anchor that fills a table.
type fill struct {
	anchor, table string
	rule          *Rule
}

// survey notes what counts for the whole text, wherever it stands.
func (r *reader) survey(lines []Statement) {
	r.tables, r.limited = map[string]map[string]*Table{}, map[string]*Rule{}
	r.nth, r.same = map[*Rule]int{}, map[string]int{}
	r.parts = map[*Rule][]*Rule{}
	r.loopback = []string{"lo"}
	r.skip = slices.Clone(r.opt.Skip)
	r.surveyIn("", lines)
	r.surveyFills()
	for _, l := range r.opt.Links {
		r.isLoopback(l.Name)
	}
	slices.Sort(r.tags)
	r.tags = slices.Compact(r.tags)
	r.ordered = r.ordered || len(r.tags) > 0 || r.once()
}

func (r *reader) surveyIn(anchor string, lines []Statement) {
	for _, s := range lines {
		switch s := s.(type) {
		case *Table:
			if r.tables[anchor] == nil {
				r.tables[anchor] = map[string]*Table{}
			}
			r.tables[anchor][s.Name] = s
		case *Option:
			if s.Words[0] == "skip" {
				r.skip = append(r.skip, skipped(s.Words[1:])...)
			}
		case *Rule:
			for _, part := range r.filled(s) {
				r.surveyRule(part, anchor)
			}
		case *Translation:
			r.surveyMatch(s.Match)
			r.translates++
		case *Anchor:
			r.surveyMatch(s.Match)
			body := r.body(s, anchor)
			r.surveyQuick(s, anchor, body)
			r.surveyIn(within(anchor, s), body)
		}
	}
}

// within is the path of an anchor that stands in another, from the main rules on.
// What a wildcard is for stands beside its star: pfctl prints "x/y" as y in "x/*".
func within(outer string, a *Anchor) string {
	name := cmp.Or(a.Name, a.made)
	if rest, absolute := strings.CutPrefix(name, "/"); absolute {
		return rest
	}
	return path.Join(strings.TrimSuffix("/"+outer, "/*"), name)[1:]
}

func (r *reader) surveyRule(s *Rule, anchor string) {
	r.surveyMatch(s.Match)
	if len(s.Translate) > 0 {
		r.translates++
	}
	if s.Action == Matches && r.crosses(s.Dir) {
		r.ordered = r.ordered || s.Quick || len(s.Translate) > 0
	}
	for _, rate := range s.Rates {
		if rate.Overload != "" {
			r.fills = append(r.fills, fill{anchor, rate.Overload, s})
		}
	}
	if slices.ContainsFunc(s.Unknown, ofRule) {
		text := r.ruleText(s)
		if _, known := r.nth[s]; !known {
			r.nth[s] = r.same[text]
			r.same[text]++
		}
	}
}

// surveyFills finds for each table the rule that fills it, when all tables are known.
func (r *reader) surveyFills() {
	for _, f := range r.fills {
		key := r.home(f.anchor, f.table) + " " + f.table
		if other, known := r.limited[key]; known && other != f.rule && (other == nil || !sameLimit(other, f.rule)) {
			r.limited[key] = nil
			continue
		}
		r.limited[key] = f.rule
	}
}

// sameLimit reports whether two rules are parts of one limit.
func sameLimit(a, b *Rule) bool {
	return a.Label == b.Label && a.Label != "" && slices.Equal(a.Rates, b.Rates)
}

// crosses reports whether rules for a direction count at the hook: packets for the
// host only come in, those of it only go out.
func (r *reader) crosses(dir Dir) bool {
	return dir == Both || !(dir == In && r.hook == packet.Output || dir == Out && r.hook == packet.Input)
}

func (r *reader) surveyMatch(m Match) {
	if m.Tagged != "" && r.crosses(m.Dir) {
		r.tags = append(r.tags, m.Tagged)
	}
	for _, i := range m.On {
		r.isLoopback(i.Name)
	}
}

// skipped are the interfaces of `set skip on`.
func skipped(words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return slices.Contains([]string{"on", "{", "}", ","}, w) })
}

// body returns the rules of an anchor: those in its braces, else those that the
// host has loaded.
func (r *reader) body(a *Anchor, outer string) []Statement {
	if a.Inline {
		return a.Body
	}
	if r.opt.Anchors == nil || a.Name == "" {
		return nil
	}
	c, ok := r.opt.Anchors(within(outer, a))
	if !ok {
		return nil
	}
	lines, known := r.loaded[c]
	if !known {
		lines = r.apart(c.Lines)
		r.loaded[c] = lines
	}
	return lines
}

// Anchors returns the names of the anchors whose rules are not in the text, in
// order. They may decide more than the text shows.
func (c *Config) Anchors() []string {
	var names []string
	eachAnchor(c.Lines, func(a *Anchor) {
		if !a.Inline {
			names = append(names, a.Name)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// Includes are the lines that read other files in their place. What stands there is not
// known: Filter takes it for a named unknown.
func (c *Config) Includes() []*Include {
	var out []*Include
	collect := func(lines []Statement) {
		for _, s := range lines {
			if i, ok := s.(*Include); ok {
				out = append(out, i)
			}
		}
	}
	collect(c.Lines)
	eachAnchor(c.Lines, func(a *Anchor) { collect(a.Body) })
	return out
}

func eachAnchor(lines []Statement, f func(*Anchor)) {
	for _, s := range lines {
		if a, ok := s.(*Anchor); ok {
			f(a)
			eachAnchor(a.Body, f)
		}
	}
}

// cross adds what the rules do with packets that cross an interface in one
// direction.
//
// Where no rule depends on what an earlier one did to the packet, the quick rules
// come first in their order, and then the others in the reverse one: the first that
// matches decides. Else they are tried in their order, and which one matched last is
// written down in the connection's mark, of which pf knows nothing; so are tags, in
// the packet's.
func (r *reader) cross(dir Dir) {
	r.dir, r.anchor, r.frame = dir, "", nil
	name := map[Dir]string{In: "in", Out: "out"}[dir]
	r.chain = &packet.Chain{Name: name, Policy: packet.OutcomeAccept}
	r.undecided()
	r.emit("set skip", packet.OutcomeAccept, r.skipped(r.skip, dir == Out))
	r.emit("state", packet.OutcomeAccept, states(packet.Established, packet.Related))
	r.chain.Rules = append(r.chain.Rules, r.translations(r.Lines)...)
	r.quick, r.later = nil, nil
	base := r.chain
	if r.ordered {
		r.chain = &packet.Chain{Name: name + ", " + r.ruleset(), Policy: packet.OutcomeAccept}
		r.filter.Chains[r.chain.Name] = r.chain
		base.Rules = append(base.Rules, packet.Step{Outcome: packet.OutcomeJump, Chain: r.chain.Name})
	}
	r.statements(r.Lines, nil)
	if r.ordered {
		base.Rules = append(base.Rules, packet.Step{Cases: r.decided()})
	} else {
		base.Rules = slices.Concat(base.Rules, r.quick, reversed(r.later), []packet.Step{r.unmatched()})
	}
	r.filter.Base, r.chain = append(r.filter.Base, base), base
}

// undecided forgets what rules decided about a packet where it crossed another
// interface, and of one that comes in or begins its way here its tag.
func (r *reader) undecided() {
	r.decisions, r.owners = nil, nil
	if !r.ordered {
		return
	}
	ws := []packet.Write{{Field: packet.FieldCTMark, Mask: packet.Ones(32)}}
	if r.dir == In || r.hook == packet.Output {
		ws = append(ws, packet.Write{Field: packet.FieldMark, Mask: packet.Ones(32)})
	}
	r.chain.Rules = append(r.chain.Rules, packet.Step{Writes: ws, Outcome: packet.OutcomeContinue})
}

// mark is the write that gives a mark a number.
func mark(f packet.Field, n int) packet.Write {
	return packet.Write{Field: f, Mask: packet.Ones(32), Value: packet.Number(uint64(n))}
}

// unmatched is what becomes of packets that no rule matched.
func (r *reader) unmatched() packet.Step {
	s := packet.Step{Outcome: packet.OutcomeAccept, Place: packet.Place{Source: "pf", Chain: r.ruleset(), Text: "no rule matches"}}
	if r.opt.Refuses || r.opt.Keeping { // the default keeps no state
		s.Outcome = packet.OutcomeDrop
	}
	return s
}

func (r *reader) emit(text string, o packet.Outcome, cond packet.Cond) {
	r.chain.Rules = append(r.chain.Rules, packet.Step{Cond: cond, Outcome: o, Place: packet.Place{Source: "pf", Chain: r.chain.Name, Text: text}})
}

func states(ss ...packet.State) packet.Cond {
	rs := make([]packet.Range, len(ss))
	for i, s := range ss {
		rs[i] = packet.Single(packet.Number(uint64(s)))
	}
	return packet.In{Field: packet.FieldState, Set: packet.NewRanges(rs...)}
}

// statements reads rules under the conditions of the anchors around them.
func (r *reader) statements(lines []Statement, guard packet.Cond) {
	for i, s := range lines {
		switch s := s.(type) {
		case *Rule:
			for _, part := range r.filled(s) {
				r.rule(part, guard)
			}
		case *Antispoof:
			r.antispoof(s, guard)
		case *Unread:
			r.unread(s, guard)
		case *Include:
			r.unread(&Unread{s.Line, "include " + quote(s.File)}, guard)
		case *Anchor:
			if s.Keyword == "anchor" {
				r.anchored(s, guard, r.behind || slices.ContainsFunc(lines[i+1:], filters))
			}
		}
	}
}

// unread is a statement of which nobody knows what it decides.
func (r *reader) unread(s *Unread, guard packet.Cond) {
	cond := r.unknown(fmt.Sprintf("the statement on line %d matches: %s", s.Line, s.Text), true)
	r.decide(packet.Step{
		Cond: guarded(guard, cond), Outcome: packet.OutcomeUnknown,
		Place: packet.Place{Source: "pf", Chain: r.ruleset(), Line: s.Line, Text: s.Text},
	})
}

func guarded(guard, cond packet.Cond) packet.Cond {
	if guard == nil {
		return cond
	}
	return packet.All{guard, cond}
}

// applies reports whether a rule is for the direction.
func (r *reader) applies(m Match) bool { return m.Dir == Both || m.Dir == r.dir }

// decide adds a step that ends the evaluation.
func (r *reader) decide(s packet.Step) {
	if r.ordered {
		r.chain.Rules = append(r.chain.Rules, s)
		return
	}
	r.quick = append(r.quick, s)
}

func reversed(steps []packet.Step) []packet.Step {
	out := slices.Clone(steps)
	slices.Reverse(out)
	return out
}

// filled are the rules that are made of a list where a tag says what each of them is for,
// as "$srcaddr" does; of other rules it is the rule itself.
func (r *reader) filled(s *Rule) []*Rule {
	if !strings.Contains(s.Tag+s.Tagged, "$") {
		return []*Rule{s}
	}
	parts, known := r.parts[s]
	if !known {
		for _, part := range r.expandRule(s) {
			parts = append(parts, part.(*Rule))
		}
		r.parts[s] = parts
	}
	return parts
}

func (r *reader) rule(s *Rule, guard packet.Cond) {
	if halves := s.binatHalves(); halves != nil {
		for _, half := range halves {
			r.rule(half, guard)
		}
		return
	}
	if !r.applies(s.Match) {
		return
	}
	place := packet.Place{Source: "pf", Chain: r.ruleset(), Line: s.Line, Name: s.Label, Text: r.ruleText(s)}
	cond, decision := guarded(guard, r.ruleCond(s)), r.decision(s, place)
	if s.Action == Matches && r.leaves(s) {
		r.decide(packet.Step{Cond: cond, Outcome: packet.OutcomeUnknown, Place: place})
	}
	if r.ordered {
		r.inOrder(s, cond, decision)
		return
	}
	decision.Cond = cond
	switch {
	case s.Action == Matches:
	case s.Quick:
		r.quick = append(r.quick, decision)
	default:
		r.later = append(r.later, decision)
	}
}

// inOrder adds a rule where the order counts.
func (r *reader) inOrder(s *Rule, cond packet.Cond, decision packet.Step) {
	step := packet.Step{Cond: cond, Outcome: packet.OutcomeContinue, Place: decision.Place}
	switch {
	case s.Action == Matches:
		if r.once() && len(s.Translate) > 0 {
			r.chain.Rules = append(r.chain.Rules, packet.Step{Cond: packet.All{cond, bit(translatedBit)}, Outcome: packet.OutcomeDrop, Place: decision.Place})
		}
		step.Writes = decision.Writes
		if s.Quick {
			step.Outcome, step.Writes = packet.OutcomeReturn, append(step.Writes, remember(stopBit))
		}
	case s.Quick:
		step.Outcome, step.Cases, step.Writes = decision.Outcome, decision.Cases, decision.Writes
	default:
		step.Writes = r.decides(decision)
	}
	r.chain.Rules = append(r.chain.Rules, r.tagging(step, s.Tag))
}

// tagging is a step that gives a packet a tag besides. Where fragments are asked on
// their own, none gets one (pf_test_fragment).
func (r *reader) tagging(step packet.Step, tag string) packet.Step {
	ws := r.tag(tag)
	if len(ws) == 0 || !r.Dialect.early() {
		step.Writes = slices.Concat(step.Writes, ws)
		return step
	}
	plain := step
	plain.Cond, plain.Writes = nil, nil
	tagged := plain
	tagged.Cond, tagged.Writes = whole, ws
	step.Cases = []packet.Step{tagged, plain}
	return step
}

// tag gives a packet a tag, in the place of the one that it has.
func (r *reader) tag(tag string) []packet.Write {
	i, asked := slices.BinarySearch(r.tags, tag)
	switch {
	case asked:
		return []packet.Write{mark(packet.FieldMark, i+1)}
	case tag != "" && r.ordered: // for which no rule asks
		return []packet.Write{mark(packet.FieldMark, 0)}
	}
	return nil
}

// ruleset names the rules that are read.
func (r *reader) ruleset() string {
	if r.anchor == "" {
		return "main ruleset"
	}
	return "anchor " + r.anchor
}

// ruleText is the rule as pfctl prints it.
func (r *reader) ruleText(s *Rule) string {
	w := printer{dialect: r.Dialect}
	w.statement(s)
	return w.b.String()
}

// decision is what the rule does with packets that match.
func (r *reader) decision(s *Rule, place packet.Place) packet.Step {
	step := packet.Step{Place: place, Outcome: packet.OutcomeAccept}
	switch {
	case s.Action == Block && s.Answer == "":
		step.Outcome = packet.OutcomeDrop
	case s.Action == Block && r.opt.Silent:
		step.Outcome = packet.OutcomeReject
	case s.Action == Block:
		step.Cases = r.answers(s, place)
	case s.State == NoState && r.opt.Keeping:
		step.Outcome = packet.OutcomeDrop
	case r.leaves(s):
		step.Outcome = packet.OutcomeUnknown
	default:
		step.Writes = r.translated(s)
		step.Cases = r.withinLimits(s, place)
		if s.Action == Pass && r.once() && len(s.Translate) > 0 {
			step = packet.Step{Place: place, Cases: []packet.Step{{Cond: bit(translatedBit), Outcome: packet.OutcomeDrop, Place: place}, step}}
		}
	}
	return step
}

// leaves reports whether something else than the rules says what becomes of
// packets that the rule passes.
func (r *reader) leaves(s *Rule) bool {
	forced := strings.HasPrefix(s.Route, "route-to") || strings.HasPrefix(s.Route, "fastroute")
	af := slices.ContainsFunc(s.Translate, func(t Translate) bool { return t.Kind == "af-to" })
	return forced || af || r.diverted(s)
}

// diverted reports whether packets go to a socket that may not give them back. On
// OpenBSD what goes out is left alone by divert-to, and what comes in for the host
// stays there; FreeBSD knows none but divert(4).
func (r *reader) diverted(s *Rule) bool {
	switch {
	case strings.HasPrefix(s.Divert, "divert-packet"):
		return true
	case !strings.HasPrefix(s.Divert, "divert-to"):
		return false
	case r.Dialect == OpenBSD:
		return r.dir == In && r.hook != packet.Input
	}
	return true
}

// answers are the cases of a refusal that is answered: TCP gets a reset, all else an
// ICMP error, and so does a reset by a rule that says no more than "return".
// Fragments without a header get nothing (pf_test_rule, pf_return).
func (r *reader) answers(s *Rule, place packet.Place) []packet.Step {
	tcp := protocol(packet.TCP)
	reset := packet.All{tcp, packet.Not{Cond: packet.Bits{Field: packet.FieldFlags, Mask: packet.Number(uint64(packet.RST)), Value: packet.Number(uint64(packet.RST))}}}
	answered := packet.Any{}
	if !strings.HasPrefix(s.Answer, "return-icmp") {
		answered = append(answered, reset)
	}
	if !strings.HasPrefix(s.Answer, "return-rst") {
		answered = append(answered, packet.Not{Cond: r.unanswered()})
	}
	return []packet.Step{
		{Cond: packet.All{whole, answered}, Outcome: packet.OutcomeReject, Place: place},
		{Outcome: packet.OutcomeDrop, Place: place},
	}
}

// unanswered holds for packets that get no ICMP error: other ICMP, on OpenBSD errors
// alone, on macOS what IPsec protects too.
func (r *reader) unanswered() packet.Cond {
	own, errors := packet.ICMP, packet.NewRanges(span(1, 7), span(11, 12), span(19, 255))
	if r.is6 {
		own, errors = packet.ICMPv6, packet.NewRanges(span(0, 127), span(137, 137))
	}
	switch r.Dialect {
	case OpenBSD:
		return packet.All{protocol(own), packet.In{Field: packet.FieldType, Set: errors}}
	case MacOS:
		return protocol(own, 50, 51)
	}
	return protocol(own)
}

func span(lo, hi uint64) packet.Range {
	return packet.Range{Lo: packet.Number(lo), Hi: packet.Number(hi)}
}

// withinLimits are the cases of a rule that counts what it passes: what is over a
// limit is dropped, and no other rule is tried. A limit that fills a table shows in
// the rules that ask for the table.
func (r *reader) withinLimits(s *Rule, place packet.Place) []packet.Step {
	var cases []packet.Step
	for _, rate := range s.Rates {
		if rate.Overload == "" {
			over := r.unknown(fmt.Sprintf("rule `%s` is over its %s %d", cmp.Or(s.Label, place.Text), rate.Name, rate.Count), false)
			cases = append(cases, packet.Step{Cond: over, Outcome: packet.OutcomeDrop, Place: place})
		}
	}
	if cases == nil {
		return nil
	}
	return append(cases, packet.Step{Outcome: packet.OutcomeAccept, Place: place})
}

// unknown makes a condition of something that no packet tells, or that is not
// known. The same text is the same unknown.
func (r *reader) unknown(text string, unsupported bool) packet.Cond {
	return packet.Unknown{Key: text, Unsupported: unsupported}
}

// tagIs is the condition that a packet has the tag.
func (r *reader) tagIs(tag string) packet.Cond {
	i, _ := slices.BinarySearch(r.tags, tag)
	return packet.In{Field: packet.FieldMark, Set: packet.Ranges{packet.Single(packet.Number(uint64(i + 1)))}}
}

// EachTable calls f for each table that a rule names, with the anchor in which the
// rule stands, "" for the main rules.
func (c *Config) EachTable(f func(anchor, name string)) { eachTable(c.Lines, "", f) }

func eachTable(lines []Statement, anchor string, f func(anchor, name string)) {
	match := func(m Match) {
		for _, h := range slices.Concat(m.From.Hosts, m.To.Hosts) {
			if h.Kind == TableHost {
				f(anchor, h.Name)
			}
		}
	}
	for _, s := range lines {
		switch s := s.(type) {
		case *Rule:
			match(s.Match)
		case *Translation:
			match(s.Match)
		case *Anchor:
			match(s.Match)
			eachTable(s.Body, within(anchor, s), f)
		}
	}
}

// Without returns the rules without those of an anchor.
func (c *Config) Without(anchor string) *Config {
	out := *c
	out.Lines = slices.DeleteFunc(slices.Clone(c.Lines), func(s Statement) bool {
		a, ok := s.(*Anchor)
		return ok && a.Name == anchor
	})
	return &out
}
