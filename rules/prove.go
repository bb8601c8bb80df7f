package rules

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// Proof is the answer to a test of a policy, for every packet that it speaks of.
type Proof struct {
	Result  ProofResult
	Wrong   *big.Int // how many packets meet another fate, told apart by protocol, ICMP type and code, ports and addresses
	Groups  []string // what they are: "8000/tcp from 10.0.0.0/8"; at most a few
	More    bool     // there are more groups
	Example *Counterexample
}

// ProofResult is how a test came out. The zero value is Holds.
type ProofResult uint8

// The results of tests.
const (
	Holds     ProofResult = iota // every packet meets the expected fate: proved
	Fails                        // one of them does not
	Vacuous                      // the test speaks of no packet
	Undecided                    // the question is too large; a sample of the packets meets the expected fate
)

var proofNames = [...]string{"proved", "failed", "vacuous", "undecided"}

// String returns "proved", "failed", "vacuous" or "undecided".
func (r ProofResult) String() string { return proofNames[r] }

// MarshalText writes the result's name.
func (r ProofResult) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// lintBudget bounds the diagrams of one hook and family, in nodes: some hundred
// megabytes and a few seconds.
const lintBudget = 4_000_000

// Prove decides all tests of the ruleset, in their order. Limits count as
// unspent; what has expired at the given time has expired. Addresses of a host
// that is not known may be any.
func (rs *Ruleset) Prove(at time.Time) []Proof {
	return newMeaning(rs, at, lintBudget).proofs()
}

func (m *meaning) proofs() []Proof {
	out := make([]Proof, len(m.rs.Tests))
	for i := range out {
		var err error
		if out[i], err = m.prove(&m.rs.Tests[i]); err != nil { // the budget is spent
			out[i] = m.sampled(&m.rs.Tests[i])
		}
	}
	return out
}

// isVacuous reports whether a test is known to speak of no packet.
func (m *meaning) isVacuous(t *Test) bool {
	for _, is6 := range []bool{false, true} {
		l, err := m.lane(t.Hook, is6)
		if err != nil {
			return false
		}
		if shape, err := l.set(l.f.shape(t), l.frame); err != nil || shape != packet.False {
			return false
		}
	}
	return true
}

// sampled is what a test is worth that cannot be proved.
func (m *meaning) sampled(t *Test) Proof {
	trial := m.rs.Try(*t, m.at)
	if len(trial.Wrong) == 0 {
		return Proof{Result: Undecided}
	}
	return Proof{Result: Fails, Wrong: big.NewInt(int64(len(trial.Wrong))), Example: &trial.Wrong[0]}
}

// counted are the fields that tell packets apart where they are counted.
var countedFields = []packet.Field{packet.FieldProto, packet.FieldType, packet.FieldCode, packet.FieldDstPort, packet.FieldSrcPort, packet.FieldDst, packet.FieldSrc}

// mostGroups is how many groups of packets a failed test shows.
const mostGroups = 3

func (m *meaning) prove(t *Test) (Proof, error) {
	p := Proof{Result: Vacuous, Wrong: new(big.Int)}
	var found [2][]string
	for i, is6 := range []bool{false, true} {
		l, err := m.lane(t.Hook, is6)
		if err != nil {
			return p, err
		}
		if found[i], err = l.prove(t, &p); err != nil {
			return p, err
		}
	}
	p.Groups = bothFamilies(found[0], found[1])
	return p, nil
}

// bothFamilies joins descriptions of IPv4 and IPv6 packets; the family is said
// where they differ.
func bothFamilies(v4, v6 []string) []string {
	var out []string
	for _, g := range v4 {
		if !slices.Contains(v6, g) {
			g += " (IPv4)"
		}
		out = append(out, g)
	}
	for _, g := range v6 {
		if !slices.Contains(v4, g) {
			out = append(out, g+" (IPv6)")
		}
	}
	return out
}

// prove adds what one family says of a test, and returns the packets for which it
// does not hold.
func (l *lane) prove(t *Test, p *Proof) ([]string, error) {
	shape, err := l.set(l.f.shape(t), l.frame)
	if err != nil || shape == packet.False {
		return nil, err
	}
	if p.Result == Vacuous {
		p.Result = Holds
	}
	right, err := l.space.Where(l.diagram, packet.Outcome(t.Expect))
	if err != nil {
		return nil, err
	}
	wrong, err := l.space.Minus(shape, right)
	if err != nil {
		return nil, err
	}
	if wrong, err = l.set(l.unspent, wrong); err != nil || wrong == packet.False {
		return nil, err
	}
	p.Result = Fails
	over, err := l.set(l.f.understood(t), l.frame)
	if err != nil {
		return nil, err
	}
	return l.wrong(wrong, over, p)
}

// wrong describes the packets for which a test does not hold. What is understood
// of all packets is not said.
func (l *lane) wrong(set, over packet.Node, p *Proof) (texts []string, err error) {
	n, err := l.space.Count(set, countedFields...)
	if err != nil {
		return nil, err
	}
	p.Wrong.Add(p.Wrong, n)
	groups, more, err := l.space.GroupsWithin(set, over, mostGroups)
	if err != nil {
		return nil, err
	}
	p.More = p.More || more
	for _, g := range groups {
		texts = append(texts, g.String())
	}
	if p.Example == nil {
		w, err := l.space.Witness(set)
		if err != nil {
			return nil, err
		}
		p.Example = &Counterexample{Packet: w.Packet, Decision: l.decision(w.Facts)}
	}
	return texts, nil
}

// decision follows one packet through the filter, rule by rule.
func (l *lane) decision(f *packet.Facts) Decision {
	facts := *f
	d := l.filter.Decide(&facts)
	out := Decision{Verdict: packet.Verdict(d.Outcome), Reason: ReasonRule}
	if r := l.byID[d.By.Name]; r != nil {
		out.Rule, out.Limited = r, r.Limit.Count > 0 && d.Outcome == packet.OutcomeAccept
		if r.Kind == Block {
			out.Reason = ReasonBlock
		}
		return out
	}
	out.Reason = stageOf(d.By.Name)
	return out
}

// stageOf returns the stage that a place in a filter belongs to which is no rule
// of the policy.
func stageOf(name string) string {
	switch {
	case name == "defaults.icmp":
		return ReasonEcho
	case strings.HasPrefix(name, "defaults."):
		return ReasonDefault
	case name == ReasonLoopback, name == ReasonEstablished, name == ReasonInvalid, name == ReasonIgnored,
		name == ReasonContainer, name == ReasonTranslated, name == ReasonRouted:
		return name
	}
	return ReasonBaseline
}

// shape is the condition of the packets that a test speaks of.
func (f *filterer) shape(t *Test) packet.Cond {
	c := packet.All{f.understood(t), f.matches(&t.Match), packet.Not{Cond: f.addresses(t.Except, false)}}
	if t.Out != "" {
		c = append(c, packet.Iface{Out: true, Pattern: t.Out})
	}
	if t.Type != nil {
		c = append(c, number(packet.FieldType, uint64(*t.Type)))
	}
	if t.Code != nil {
		c = append(c, number(packet.FieldCode, uint64(*t.Code)))
	}
	return c
}

// understood is what holds of a test's packets without being written: they begin
// flows, come from one host, use no loopback interface unless it is named, are not
// translated, and what is called icmp is that of the family.
func (f *filterer) understood(t *Test) packet.Cond {
	not := packet.Any{packet.In{Field: packet.FieldSrc, Set: packet.Multicast(f.is6)}}
	for _, tr := range t.Match.Transports {
		if !tr.Any && tr.Proto.IsICMP() && (tr.Proto == packet.ICMPv6) != f.is6 {
			not = append(not, protocol(tr.Proto))
		}
	}
	if len(t.Match.In) == 0 {
		not = append(not, packet.Iface{Pattern: "lo"})
	}
	if t.Out == "" {
		not = append(not, packet.Iface{Out: true, Pattern: "lo"})
	}
	return packet.All{packet.FirstPackets(), packet.Not{Cond: append(not, translated())}}
}

// meaning is a ruleset as diagrams, made when they are asked for.
type meaning struct {
	rs     *Ruleset
	at     time.Time
	budget int
	lanes  map[point]*lane
}

// point is a hook and a family.
type point struct {
	hook packet.Hook
	is6  bool
}

// lane is what a ruleset means at one point. Limits and expiries are unknowns in
// it.
type lane struct {
	space   *packet.Space
	filter  *packet.Filter
	f       *filterer
	diagram packet.Node
	frame   packet.Node
	clock   packet.Cond // what the time says of the unknowns
	unspent packet.Cond // the unknowns as they are at the time, limits unspent
	byID    map[string]*Rule
	err     error // the budget is spent
}

func newMeaning(rs *Ruleset, at time.Time, budget int) *meaning {
	return &meaning{rs: rs, at: at, budget: budget, lanes: map[point]*lane{}}
}

func (m *meaning) lane(hook packet.Hook, is6 bool) (*lane, error) {
	at := point{hook, is6}
	l := m.lanes[at]
	if l == nil {
		l = m.newLane(at)
		m.lanes[at] = l
	}
	return l, l.err
}

func (m *meaning) newLane(at point) *lane {
	f := newFilterer(m.rs, at.hook, at.is6)
	l := &lane{filter: f.filter(), f: f, byID: map[string]*Rule{}}
	for _, r := range l.f.rules() {
		l.byID[r.ID()] = r
	}
	l.clock = packet.Clock(m.at, l.filter)
	l.unspent = append(packet.All{l.clock}, l.f.nowHold(m.at)...)
	// The tests' own interfaces have to be known to the Space.
	tests := &packet.Chain{}
	for i := range m.rs.Tests {
		if t := &m.rs.Tests[i]; t.Hook == at.hook {
			tests.Rules = append(tests.Rules, packet.Step{Cond: l.f.shape(t)})
		}
	}
	l.space = packet.NewSpace(at.is6, m.rs.Host.HostAddrs(at.is6), m.budget, l.filter, &packet.Filter{Base: []*packet.Chain{tests}})
	if l.diagram, l.err = l.space.Build(l.filter); l.err == nil {
		l.frame, l.err = l.space.Set(l.space.Frame(at.hook))
	}
	return l
}

// nowHold are the conditions that what has not expired holds and that no limit is
// spent.
func (f *filterer) nowHold(at time.Time) []packet.Cond {
	var c []packet.Cond
	for _, r := range f.rules() {
		if r.Limit.Count > 0 {
			c = append(c, f.limit(r))
		}
		if !r.Expires.IsZero() && at.Before(r.Expires) {
			c = append(c, packet.TimeBefore(r.Expires))
		}
	}
	return c
}

// rules returns the rules that count at the hook.
func (f *filterer) rules() []*Rule {
	switch f.hook {
	case packet.Output:
		return slices.Concat(f.rs.OutboundBlocks, f.rs.Outbounds)
	case packet.Forward:
		if f.rs.Routed == RoutedIgnore {
			return nil
		}
		return slices.Concat(f.rs.Blocks, f.rs.Routes)
	}
	return slices.Concat(f.rs.Blocks, f.rs.Services)
}

// set is a condition's set within another.
func (l *lane) set(c packet.Cond, within packet.Node) (packet.Node, error) {
	n, err := l.space.Set(c)
	if err != nil {
		return 0, err
	}
	return l.space.And(within, n)
}
