package compare

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// Side is one of two rulesets to compare, as its meaning.
type Side struct {
	Name   string // what a person calls it: "nft:rules.nft"
	V4, V6 bool   // the families that it speaks of
	Filter func(hook packet.Hook, is6 bool) *packet.Filter
	Beside []string // what acts on packets beside the rules, and is not compared
	Unread []string // what of the rules could not be read: nothing is proved equal without it
}

// DefaultBudget takes at most some 1.3 gigabytes, and half a minute of a processor
// until it is spent.
const DefaultBudget = 20_000_000

// Question is what to compare two rulesets for. The zero value asks for every
// packet at every hook of a host of which nothing is known.
type Question struct {
	Hooks        []packet.Hook // nil: input, output, forward
	Kinds        []Kind        // nil: all
	RejectIsDrop bool          // whether a refusal is answered does not matter
	Now          time.Time     // what expired before counts as expired
	Budget       int           // nodes of a Space; 0: DefaultBudget
	// Addrs are the host's own addresses of a family; nil: not known.
	Addrs func(is6 bool) packet.HostAddrs
	// Over are the packets that are compared; nil: all that can stand at the hook.
	Over func(hook packet.Hook, is6 bool) packet.Cond
}

// Kind is a part of all packets, which a person asks about apart from the
// others.
type Kind uint8

// The kinds of packets. Fragments are in none of them: what is compared is what
// filters see behind reassembly.
const (
	First       Kind = iota // that begin a flow: state new; TCP with SYN, without ACK, RST and FIN
	InFlow                  // state established or related
	Remaining               // state invalid or untracked, and TCP of state new that begins no flow
	kindsOfFlow = iota
)

var kindNames = [kindsOfFlow]string{"new", "established", "other"}

// String returns the kind's word: "new", "established" or "other".
func (k Kind) String() string { return kindNames[k] }

// MarshalText writes the kind's word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// cond is the condition of a packet of the kind.
func (k Kind) cond() packet.Cond {
	inFlow := values(packet.FieldState, uint64(packet.Established), uint64(packet.Related))
	whole := values(packet.FieldFragment, 0)
	switch k {
	case First:
		return packet.FirstPackets()
	case InFlow:
		return packet.All{whole, inFlow}
	}
	return packet.All{whole, packet.Not{Cond: inFlow}, packet.Not{Cond: packet.FirstPackets()}}
}

func values(f packet.Field, ns ...uint64) packet.Cond {
	rs := make([]packet.Range, len(ns))
	for i, n := range ns {
		rs[i] = packet.Single(packet.Number(n))
	}
	return packet.In{Field: f, Set: packet.NewRanges(rs...)}
}

// Result is the answer to a comparison. The order is that of weight: an answer
// of several parts is the weightiest of theirs.
type Result uint8

// The results.
const (
	Equal     Result = iota // every packet is decided alike: proved
	Undecided               // the budget did not suffice; nothing follows
	Depends                 // some packet is decided differently if unknowns hold or do not
	Different               // some packet is decided differently, whatever the unknowns are
)

var resultNames = [...]string{"equal", "undecided", "different only if", "different"}

// String returns the result in words.
func (r Result) String() string { return resultNames[r] }

// MarshalText writes the result in words.
func (r Result) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Comparison is the answer of Compare.
type Comparison struct {
	A        string   `json:"a"`
	B        string   `json:"b"`
	Result   Result   `json:"result"`
	Families []string `json:"families"`          // "ipv4", "ipv6": those that both speak of
	Parts    []Part   `json:"parts"`             // by family, hook and kind, equal ones included
	Unknown  []Opaque `json:"unknown,omitempty"` // sorted
	Beside   []Opaque `json:"beside,omitempty"`  // what is not compared
	Unread   []Opaque `json:"unread,omitempty"`  // for lack of which nothing is proved equal
}

// Opaque is something of one side that is not understood. What a rule asks for
// counts as an unknown: the same text is the same unknown on both sides.
type Opaque struct {
	Text string `json:"text"`
	Side string `json:"side"` // the name of the side
}

// Part is the answer for one hook, one family and one kind of packets.
type Part struct {
	Hook    string        `json:"hook"`
	Family  string        `json:"family"`
	Kind    Kind          `json:"kind"`
	Result  Result        `json:"result"`
	Differ  []Discrepancy `json:"differences,omitempty"` // by the verdicts of both sides
	Example *Example      `json:"example,omitempty"`
	Nodes   int           `json:"nodes"` // how many nodes of diagrams it took
}

// Discrepancy is a set of packets to which A and B give one pair of verdicts.
type Discrepancy struct {
	A       string   `json:"a"`
	B       string   `json:"b"`
	Depends bool     `json:"depends,omitempty"` // on unknowns
	Count   *big.Int `json:"count"`             // packets, told apart by protocol, ICMP type and code, ports and addresses
	Groups  []string `json:"groups"`
	More    bool     `json:"more,omitempty"` // there are more groups
}

// Example is one packet, and what becomes of it on both sides.
type Example struct {
	Packet packet.Packet `json:"-"`
	Text   string        `json:"packet"`
	If     []string      `json:"if,omitempty"` // what has to hold, or "not …", where it depends on unknowns
	A      Decision      `json:"a"`
	B      Decision      `json:"b"`
}

// Compare says whether two rulesets decide every packet of the question alike.
// An error is a mistake of the engine itself: its two evaluators disagree.
func Compare(a, b Side, q Question) (*Comparison, error) {
	c := &comparing{a: a, b: b, q: q, opaque: map[Opaque]bool{}}
	out := &Comparison{A: a.Name, B: b.Name, Families: []string{}, Parts: []Part{}}
	for _, is6 := range []bool{false, true} {
		if !a.speaksOf(is6) || !b.speaksOf(is6) {
			continue
		}
		out.Families = append(out.Families, familyName(is6))
		for _, h := range q.hooks() {
			parts, err := c.at(h, is6)
			if err != nil {
				return nil, err
			}
			out.Parts = append(out.Parts, parts...)
		}
	}
	for _, s := range []Side{a, b} {
		out.Beside = append(out.Beside, opaque(s.Name, s.Beside)...)
		out.Unread = append(out.Unread, opaque(s.Name, s.Unread)...)
	}
	if len(out.Unread) > 0 {
		out.Result = Undecided
	}
	for _, p := range out.Parts {
		out.Result = max(out.Result, p.Result)
	}
	out.Unknown = slices.SortedFunc(maps.Keys(c.opaque), func(a, b Opaque) int {
		return cmp.Or(cmp.Compare(a.Text, b.Text), cmp.Compare(a.Side, b.Side))
	})
	return out, nil
}

func opaque(side string, texts []string) []Opaque {
	var out []Opaque
	for _, t := range texts {
		out = append(out, Opaque{t, side})
	}
	return out
}

func (s Side) speaksOf(is6 bool) bool {
	if is6 {
		return s.V6
	}
	return s.V4
}

func (q Question) hooks() []packet.Hook {
	if q.Hooks == nil {
		return []packet.Hook{packet.Input, packet.Output, packet.Forward}
	}
	return q.Hooks
}

func (q Question) addrs(is6 bool) packet.HostAddrs {
	if q.Addrs == nil {
		return packet.HostAddrs{}
	}
	return q.Addrs(is6)
}

func (q Question) kinds() []Kind {
	if q.Kinds == nil {
		return []Kind{First, InFlow, Remaining}
	}
	return q.Kinds
}

func familyName(is6 bool) string {
	if is6 {
		return "ipv6"
	}
	return "ipv4"
}

// comparing is the work on one question.
type comparing struct {
	a, b   Side
	q      Question
	opaque map[Opaque]bool
}

// at compares at one hook and in one family.
func (c *comparing) at(h packet.Hook, is6 bool) ([]Part, error) {
	fa, fb := c.a.Filter(h, is6), c.b.Filter(h, is6)
	for side, f := range map[string]*packet.Filter{c.a.Name: fa, c.b.Name: fb} {
		for key, unsupported := range f.Unknowns() {
			if unsupported {
				c.opaque[Opaque{packet.UnknownName(key), side}] = true
			}
		}
	}
	budget := cmp.Or(c.q.Budget, DefaultBudget)
	p := &pair{fa: fa, fb: fb, q: c.q, space: packet.NewSpace(is6, c.q.addrs(is6), budget, fa, fb)}
	var parts []Part
	err := p.build(h, is6)
	for _, k := range c.q.kinds() {
		part := Part{Hook: h.String(), Family: familyName(is6), Kind: k, Result: Undecided}
		if err == nil {
			err = p.compare(&part)
		}
		if err != nil && !errors.Is(err, packet.ErrBudget) {
			return nil, fmt.Errorf("compare at %s, %s: %w", h, familyName(is6), err)
		}
		part.Nodes = p.space.Nodes()
		parts = append(parts, part)
	}
	return parts, nil
}

// pair is the two filters of one hook and family in one Space.
type pair struct {
	fa, fb *packet.Filter
	q      Question
	space  *packet.Space
	a, b   packet.Node
	frame  packet.Node
}

func (p *pair) build(h packet.Hook, is6 bool) (err error) {
	for _, x := range []struct {
		f *packet.Filter
		n *packet.Node
	}{{p.fa, &p.a}, {p.fb, &p.b}} {
		if *x.n, err = p.space.Build(x.f); err != nil {
			return err
		}
		if p.q.RejectIsDrop {
			if *x.n, err = p.space.Overlay(*x.n); err != nil {
				return err
			}
		}
	}
	if err = p.space.Assume(packet.Clock(p.q.Now, p.fa, p.fb)); err != nil {
		return err
	}
	over := p.space.Frame(h)
	if p.q.Over != nil {
		over = packet.All{over, p.q.Over(h, is6)}
	}
	p.frame, err = p.space.Set(over)
	return err
}

// compare answers for one kind of packets.
func (p *pair) compare(part *Part) error {
	over, err := p.set(part.Kind.cond(), p.frame)
	if err != nil {
		return err
	}
	d, err := p.space.Compare(p.a, p.b, over)
	if err != nil {
		return err
	}
	if d.Kind == packet.Equal {
		part.Result = Equal
		return nil
	}
	if part.Differ, err = p.discrepancies(d, over); err != nil {
		return err
	}
	part.Example, err = p.example(d.Witness)
	part.Result = Different
	if d.Kind == packet.Depends {
		part.Result = Depends
	}
	return err
}

// set is the condition's set within another.
func (p *pair) set(c packet.Cond, within packet.Node) (packet.Node, error) {
	n, err := p.space.Set(c)
	if err != nil {
		return 0, err
	}
	return p.space.And(n, within)
}

// verdicts are the outcomes that a filter can have.
var verdicts = []packet.Outcome{packet.OutcomeAccept, packet.OutcomeReject, packet.OutcomeDrop, packet.OutcomeUnknown}

// discrepancies describes the difference, by pairs of verdicts: first what
// differs whatever the unknowns are, then the rest.
func (p *pair) discrepancies(d packet.Difference, over packet.Node) ([]Discrepancy, error) {
	always := packet.False
	if d.Kind == packet.Different {
		always = d.Packets
	}
	a, b, err := p.differing(over)
	if err != nil {
		return nil, err
	}
	var sure, perhaps []Discrepancy
	for _, va := range verdicts {
		for _, vb := range verdicts {
			if va == vb {
				continue
			}
			set, err := p.decided(a, va, b, vb)
			if err != nil {
				return nil, err
			}
			for _, x := range []struct {
				list    *[]Discrepancy
				part    func(a, b packet.Node) (packet.Node, error)
				depends bool
			}{{&sure, p.space.And, false}, {&perhaps, p.space.Minus, true}} {
				n, err := x.part(set, always)
				if err != nil {
					return nil, err
				}
				if *x.list, err = p.describe(*x.list, n, over, Discrepancy{A: va.String(), B: vb.String(), Depends: x.depends}); err != nil {
					return nil, err
				}
			}
		}
	}
	return slices.Concat(sure, perhaps), nil
}

// differing returns the sides for the packets alone to which they give different
// verdicts. These are few, mostly, whatever the size of the sides.
func (p *pair) differing(over packet.Node) (a, b packet.Node, err error) {
	set, err := p.space.Differ(p.a, p.b, over)
	if err != nil {
		return 0, 0, err
	}
	if a, err = p.space.Within(p.a, set); err != nil {
		return 0, 0, err
	}
	b, err = p.space.Within(p.b, set)
	return a, b, err
}

// decided returns the packets to which the sides give these verdicts for some
// value of the unknowns.
func (p *pair) decided(a packet.Node, va packet.Outcome, b packet.Node, vb packet.Outcome) (packet.Node, error) {
	ofA, err := p.space.Where(a, va)
	if err != nil {
		return 0, err
	}
	ofB, err := p.space.Where(b, vb)
	if err != nil {
		return 0, err
	}
	both, err := p.space.And(ofA, ofB)
	if err != nil {
		return 0, err
	}
	return p.space.Ever(both)
}

// mostGroups is how many groups of packets a person reads.
const mostGroups = 12

// described are the fields by which packets are counted.
var described = []packet.Field{packet.FieldProto, packet.FieldType, packet.FieldCode, packet.FieldDstPort, packet.FieldSrcPort, packet.FieldDst, packet.FieldSrc}

// describe appends what a set of packets is, if it holds any; all of them are in
// another one.
func (p *pair) describe(list []Discrepancy, set, over packet.Node, d Discrepancy) ([]Discrepancy, error) {
	if set == packet.False {
		return list, nil
	}
	groups, more, err := p.space.GroupsWithin(set, over, mostGroups)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		d.Groups = append(d.Groups, g.String())
	}
	d.More = more
	d.Count, err = p.space.Count(set, described...)
	return append(list, d), err
}

// Translated is what has to hold of an example that is no packet as it arrives.
const Translated = "the destination of its connection was translated"

// example has both filters decide the witness once more, one rule after the
// other: an evaluator that shares nothing with the diagrams.
func (p *pair) example(w *packet.Witness) (*Example, error) {
	x := &Example{Packet: w.Packet, Text: w.Packet.String()}
	for _, h := range w.Unknowns {
		x.If = append(x.If, heldText(h))
	}
	if w.Facts.Fields[packet.FieldCTStatus].Lo&packet.DstNAT != 0 {
		x.If = append(x.If, Translated)
	}
	for _, side := range []struct {
		filter  *packet.Filter
		diagram packet.Node
		to      *Decision
	}{{p.fa, p.a, &x.A}, {p.fb, p.b, &x.B}} {
		facts := *w.Facts
		d := side.filter.Decide(&facts)
		if want := packet.Outcome(p.space.Eval(side.diagram, w.Facts)); d.Outcome != want && !(p.q.RejectIsDrop && d.Outcome == packet.OutcomeReject) {
			return nil, fmt.Errorf("internal error: for %s the diagram says %v and the evaluator %v", w.Packet, want, d.Outcome)
		}
		*side.to = decision(d)
	}
	return x, nil
}

func heldText(h packet.Held) string {
	if h.Holds {
		return h.Key
	}
	return "not " + h.Key
}
