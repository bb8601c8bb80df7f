package drift

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// comparison is the policy and the host at one hook and in one family.
type comparison struct {
	way
	space     *packet.Space
	is6       bool
	at        time.Time
	links     []string // names of the host's interfaces
	clockless bool     // the host's rules know no time
	policy    side
	host      side        // what becomes of the first packet of a flow
	flow      side        // of the others, whose addresses are as after translation
	frame     packet.Node // the packets that there can be, and that the policy judges
	clock     packet.Node // what holds of the time
	usual     packet.Node // what mostly holds of the unknowns
	exempt    packet.Node // those of them that the policy leaves alone because the host translates them
	astray    packet.Node // translated packets that leave by an interface that does not lead there

	// What is being compared:
	now    side          // host or flow
	over   packet.Node   // the packets
	wanted []packet.Node // those of them that make a good witness, the most wanted first
}

// side is one side's filter and its diagram.
type side struct {
	*packet.Filter
	node packet.Node
}

func newComparison(q Question, hook packet.Hook, is6 bool) (*comparison, error) {
	sources := q.Host.Sources(is6)
	c := &comparison{way: wayTo(hook).of(q.Policy), is6: is6, at: q.Now, links: q.Host.LinkNames(), clockless: q.Host.Clockless()}
	c.policy.Filter, c.host.Filter = c.way.policy(q.Policy, is6), c.filter(sources...)
	c.flow.Filter = c.host.Filter
	filters := []*packet.Filter{c.policy.Filter, c.host.Filter}
	var translation, astray *packet.Filter
	if c.redirects(sources) {
		c.flow.Filter, translation = c.filter(untranslated(sources)...), c.translation(sources, packet.All{})
		astray = c.translation(sources, c.misrouted(sources, q.Route, is6))
		filters = append(filters, c.flow.Filter, translation, astray)
	}
	c.space = packet.NewSpace(is6, q.Host.Addrs(is6), q.Budget, filters...)
	if err := c.build(q.Host.Comparable(hook, is6), filters...); err != nil {
		return nil, err
	}
	if translation == nil {
		return c, nil
	}
	if err := c.routed(astray); err != nil {
		return nil, err
	}
	return c, c.exempted(q, translation)
}

func (c *comparison) build(comparable packet.Cond, filters ...*packet.Filter) (err error) {
	clock := packet.Clock(c.at, filters...)
	if c.clockless { // what ends later still holds there
		clock = packet.During(c.at, c.at, filters...)
	}
	if err := c.space.Assume(clock); err != nil {
		return err
	}
	if c.clock, err = c.space.Set(clock); err != nil {
		return err
	}
	for _, s := range []*side{&c.policy, &c.host, &c.flow} {
		if s == &c.flow && s.Filter == c.host.Filter {
			c.flow = c.host
			continue
		}
		if s.node, err = c.space.Build(s.Filter); err != nil {
			return err
		}
	}
	if c.usual, err = c.space.Set(usualUnknowns(c.at, filters...)); err != nil {
		return err
	}
	c.frame, err = c.space.Set(packet.All{c.space.Frame(c.from), c.judged(), comparable})
	return err
}

// routed finds the packets that routing does not send the way that they go.
func (c *comparison) routed(astray *packet.Filter) error {
	n, err := c.space.Build(astray)
	if err == nil {
		c.astray, err = c.space.Where(n, packet.OutcomeUnknown)
	}
	return err
}

// exempted finds the packets to ports that the host publishes by translation, as
// far as the policy leaves them alone: all of them, or those that enter from
// containers and those that are for many hosts.
func (c *comparison) exempted(q Question, translation *packet.Filter) error {
	n, err := c.space.Build(translation)
	if err != nil {
		return err
	}
	if c.exempt, err = c.space.Where(n, packet.OutcomeUnknown); err != nil || q.Policy.Published == rules.PublishedIgnore {
		return err
	}
	inside := packet.Any{packet.Not{Cond: packet.In{Field: packet.FieldDstType, Set: packet.Ranges{packet.Single(packet.Number(uint64(packet.AddrLocal)))}}}}
	for _, i := range q.Policy.ContainerInterfaces {
		inside = append(inside, packet.Iface{Pattern: i})
	}
	from, err := c.space.Set(inside)
	if err != nil {
		return err
	}
	c.exempt, err = c.space.And(c.exempt, from)
	return err
}

// compare compares all regions.
func (c *comparison) compare(r *Report, q Question) error {
	for _, reg := range q.States.regions() {
		if err := c.region(r, reg); err != nil {
			return err
		}
	}
	return nil
}

// region adds what differs among some of the packets.
func (c *comparison) region(r *Report, reg region) error {
	set, err := c.space.Set(reg.cond)
	if err != nil {
		return err
	}
	if c.over, err = c.space.And(c.frame, set); err != nil {
		return err
	}
	c.now = c.host
	c.wanted = nil
	for _, cond := range append(c.believed(), reg.prefer) {
		n, err := c.space.Set(cond)
		if err != nil {
			return err
		}
		c.wanted = append(c.wanted, n)
	}
	c.wanted = append(c.wanted, c.usual)
	if reg.untranslated {
		c.now = c.flow
	} else if err := c.published(r); err != nil {
		return err
	}
	equal, err := c.equal()
	if err != nil {
		return err
	}
	if !equal {
		equal = true
		for _, d := range differences {
			found, err := c.difference(r, reg.name, d)
			if err != nil {
				return err
			}
			equal = equal && !found
		}
	}
	r.Compared = append(r.Compared, Compared{Hook: c.hook.String(), Family: family(c.is6), State: reg.name,
		Equal: equal, Nodes: c.space.Nodes()})
	return nil
}

// equal reports whether both sides decide alike on every packet that is compared.
func (c *comparison) equal() (bool, error) {
	n, err := c.space.Differ(c.policy.node, c.now.node, c.over)
	if err != nil || n == packet.False {
		return true, err
	}
	n, err = c.space.And(n, c.clock)
	return n == packet.False, err
}

// published takes what the policy does not judge out of the comparison, and
// names those of it that get in though no service accepts them.
func (c *comparison) published(r *Report) error {
	if c.exempt == packet.False {
		return nil
	}
	open, err := c.where(c.over, differences[0].pairs)
	if err != nil {
		return err
	}
	if open, err = c.space.And(open, c.exempt); err != nil {
		return err
	}
	if open, err = c.space.Ever(open); err != nil {
		return err
	}
	groups, more, err := c.groups(open)
	if more {
		groups = append(groups, others)
	}
	r.Published = union(r.Published, groups)
	if err != nil {
		return err
	}
	c.over, err = c.space.Minus(c.over, c.exempt)
	return err
}

// differing is a kind of difference: pairs of outcomes, of the policy and of the
// host.
type differing struct {
	kind  Kind
	pairs [][2]packet.Outcome
}

var differences = []differing{
	{Opened, [][2]packet.Outcome{{packet.OutcomeDrop, packet.OutcomeAccept}, {packet.OutcomeReject, packet.OutcomeAccept}}},
	{Closed, [][2]packet.Outcome{{packet.OutcomeAccept, packet.OutcomeDrop}, {packet.OutcomeAccept, packet.OutcomeReject}}},
	{Answer, [][2]packet.Outcome{{packet.OutcomeDrop, packet.OutcomeReject}, {packet.OutcomeReject, packet.OutcomeDrop}}},
	{Unknown, [][2]packet.Outcome{{packet.OutcomeDrop, packet.OutcomeUnknown}, {packet.OutcomeAccept, packet.OutcomeUnknown}, {packet.OutcomeReject, packet.OutcomeUnknown}}},
}

// answered holds for packets to which a kernel that rejects them may answer:
// none to a broadcast or multicast, no reset, no error of ICMP (RFC 1122, section
// 3.2.2; RFC 9293, section 3.5.2), and to ICMP over IPv4 only if it is a question
// or a reply (icmp_pointers, net/ipv4/icmp.c). Of others a rejection is a drop.
var answered packet.Cond = packet.Not{Cond: packet.Any{
	packet.In{Field: packet.FieldDstType, Set: packet.Ranges{{Lo: packet.Number(uint64(packet.AddrBroadcast)), Hi: packet.Number(uint64(packet.AddrMulticast))}}},
	packet.Bits{Field: packet.FieldFlags, Mask: packet.Number(uint64(packet.RST)), Value: packet.Number(uint64(packet.RST))},
	packet.All{
		packet.In{Field: packet.FieldProto, Set: packet.Ranges{packet.Single(packet.Number(uint64(packet.ICMP)))}},
		packet.In{Field: packet.FieldType, Set: packet.NewRanges(packet.Range{Lo: packet.Number(1), Hi: packet.Number(7)}, packet.Range{Lo: packet.Number(9), Hi: packet.Number(12)}, packet.Range{Lo: packet.Number(19), Hi: packet.Number(255)})},
	},
	packet.All{
		packet.In{Field: packet.FieldProto, Set: packet.Ranges{packet.Single(packet.Number(uint64(packet.ICMPv6)))}},
		packet.In{Field: packet.FieldType, Set: packet.Ranges{{Lo: packet.Number(0), Hi: packet.Number(127)}}},
	},
}}

// difference adds the findings of one kind, and reports whether there are any. They come in three parts: what
// differs whatever the unknowns are; what differs under some condition that no
// packet decides, like a rate; what differs only if something that was not
// understood holds, or does not.
func (c *comparison) difference(r *Report, state string, d differing) (found bool, err error) {
	set, err := c.where(c.over, d.pairs)
	if err != nil {
		return false, err
	}
	if d.kind == Answer {
		may, err := c.space.Set(answered)
		if err != nil {
			return false, err
		}
		if set, err = c.space.And(set, may); err != nil {
			return false, err
		}
	}
	// Routing may also go by mark or source; so these count where they get in.
	if d.kind == Closed || d.kind == Answer {
		if set, err = c.space.Minus(set, c.astray); err != nil {
			return false, err
		}
	}
	if set == packet.False {
		return false, nil
	}
	always, sometimes, perhaps, err := c.parts(set)
	if err != nil {
		return true, err
	}
	if err := c.findings(r, always, finding{kind: d.kind, state: state}, d); err != nil {
		return true, err
	}
	if err := c.findings(r, sometimes, finding{kind: d.kind, state: state}, d); err != nil {
		return true, err
	}
	return true, c.findings(r, perhaps, finding{kind: Unknown, would: d.kind, state: state}, d)
}

// parts cuts a set by what its packets depend on: nothing, known unknowns, what
// was not understood.
func (c *comparison) parts(set packet.Node) (always, sometimes, perhaps packet.Node, err error) {
	if always, err = c.space.Always(set); err != nil {
		return 0, 0, 0, err
	}
	if set, err = c.space.Minus(set, always); err != nil {
		return 0, 0, 0, err
	}
	if sometimes, err = c.space.Whatever(set); err != nil {
		return 0, 0, 0, err
	}
	ever, err := c.space.Ever(sometimes)
	if err != nil {
		return 0, 0, 0, err
	}
	perhaps, err = c.space.Minus(set, ever)
	return always, sometimes, perhaps, err
}

// where returns the packets with one of the pairs of outcomes.
func (c *comparison) where(over packet.Node, pairs [][2]packet.Outcome) (packet.Node, error) {
	all := packet.False
	for _, pair := range pairs {
		p, err := c.space.Where(c.policy.node, pair[0])
		if err != nil {
			return 0, err
		}
		h, err := c.space.Where(c.now.node, pair[1])
		if err != nil {
			return 0, err
		}
		both, err := c.space.And(p, h)
		if err != nil {
			return 0, err
		}
		if both, err = c.space.And(over, both); err != nil {
			return 0, err
		}
		if all, err = c.space.Or(all, both); err != nil {
			return 0, err
		}
	}
	return c.space.And(all, c.clock)
}

// finding is what the findings of one set have in common.
type finding struct {
	kind, would Kind
	state       string
}

// mostFindings is how many findings of one kind are made for one hook and
// family; the packets that remain go into the last.
const mostFindings = 12

// blamed is a set of packets, and one of them, that the same rule of the host
// decides, or rules with the same comment.
type blamed struct {
	set     packet.Node
	witness witnessed
	rules   []Side // all rules of the host, if there are several
}

// findings cuts a set into those packets that one rule of the host decides, and
// makes a finding of each.
func (c *comparison) findings(r *Report, set packet.Node, f finding, d differing) error {
	var parts []blamed
	for set != packet.False {
		w, err := c.witness(set, d)
		if err != nil {
			return err
		}
		mine := set
		if len(parts) < mostFindings {
			if mine, err = c.decidedBy(c.now, w.host, set); err != nil {
				return err
			}
		}
		// Of a packet that is in the set whatever an unknown is, one finding is
		// enough, even if for other values of it another rule decides.
		if mine, err = c.space.Ever(mine); err != nil {
			return err
		}
		if parts, err = c.blame(parts, mine, w); err != nil {
			return err
		}
		if set, err = c.space.Minus(set, mine); err != nil {
			return err
		}
	}
	parts, err := c.byBlock(parts)
	if err != nil {
		return err
	}
	for _, p := range parts {
		out, err := c.describe(p.set, p.witness, f)
		if err != nil {
			return err
		}
		out.Rules = p.rules
		r.merge(out)
	}
	return nil
}

// byBlock joins what one block of the policy would refuse: where it is missing,
// the rules that let the packets in are not to blame one by one.
func (c *comparison) byBlock(parts []blamed) ([]blamed, error) {
	var out []blamed
	at := map[string]int{}
	for _, p := range parts {
		p.rules = []Side{hostSide(p.witness)}
		name := p.witness.policy.By.Name
		if !strings.HasPrefix(name, "block.") {
			out = append(out, p)
			continue
		}
		mine, err := c.decidedBy(c.policy, p.witness.policy, p.set)
		if err != nil {
			return nil, err
		}
		i, known := at[name]
		switch {
		case mine != p.set:
			out = append(out, p)
		case !known:
			at[name] = len(out)
			out = append(out, p)
		default:
			if out[i].set, err = c.space.Or(out[i].set, p.set); err != nil {
				return nil, err
			}
			out[i].rules = append(out[i].rules, p.rules...)
		}
	}
	return out, nil
}

// blame adds packets to those for which the same rule is to blame.
func (c *comparison) blame(parts []blamed, set packet.Node, w witnessed) ([]blamed, error) {
	for i := range parts {
		if SideOf(parts[i].witness.host).identity() != SideOf(w.host).identity() {
			continue
		}
		var err error
		parts[i].set, err = c.space.Or(parts[i].set, set)
		return parts, err
	}
	return append(parts, blamed{set: set, witness: w}), nil
}

// witnessed is a packet and what decides on it on both sides.
type witnessed struct {
	*packet.Witness
	policy, host packet.Decided // of the host: what is to blame
	outcome      packet.Outcome // of the host
	with         []string       // what its notation does not say and matters
}

// ErrDisagree says that a witness does not show on the filters themselves what
// the diagrams said: an error of fwctl.
var ErrDisagree = errors.New("internal error: two ways of deciding a packet do not agree")

// witness picks a packet and has both filters decide it, apart from the diagrams.
func (c *comparison) witness(set packet.Node, d differing) (witnessed, error) {
	whole := set
	for _, wanted := range c.wanted {
		good, err := c.space.And(set, wanted)
		if err != nil {
			return witnessed{}, err
		}
		if good != packet.False {
			set = good
		}
	}
	found, err := c.space.Witness(set)
	if err != nil {
		return witnessed{}, err
	}
	w := witnessed{Witness: found}
	found.Unknowns = c.space.Holding(whole, found.Facts)
	usual(found.Facts, c.at, c.policy.Filter, c.now.Filter)
	c.realLinks(found, d)
	p, h := *found.Facts, *found.Facts
	w.policy = c.policy.Decide(&p)
	trail := slices.DeleteFunc(c.now.Trail(&h), isKernels)
	w.host, w.outcome = blame(trail), outcome(trail)
	if !slices.Contains(d.pairs, [2]packet.Outcome{w.policy.Outcome, w.outcome}) {
		return w, fmt.Errorf("%w: %s at %s: policy %s by %s, host %s by %s", ErrDisagree, found.Packet, c.hook,
			w.policy.Outcome, w.policy.By.Name, w.outcome, w.host.By.Text)
	}
	w.with = c.unsaid(found.Facts, d)
	return w, nil
}

// unsaid are the fields that packets in notation lack, as far as the difference
// depends on their values.
func (c *comparison) unsaid(f *packet.Facts, d differing) []string {
	var out []string
	for _, field := range []packet.Field{packet.FieldMark, packet.FieldCTMark, packet.FieldCTStatus, packet.FieldUser, packet.FieldUserGroup,
		packet.FieldMAC, packet.FieldDSCP, packet.FieldTTL, packet.FieldLength, packet.FieldPacketType} {
		v := f.Fields[field]
		for _, other := range []packet.Value{{}, packet.Number(1), packet.Number(64)} {
			p, h := *f, *f
			p.Fields[field], h.Fields[field] = other, other
			if !slices.Contains(d.pairs, [2]packet.Outcome{c.policy.Decide(&p).Outcome, c.now.Decide(&h).Outcome}) {
				out = append(out, fmt.Sprintf("%s %d", field, v.Lo))
				break
			}
		}
	}
	return out
}

// usual sets the unknowns that are still open: a rate is not used up, a date has
// not come unless it has.
func usual(f *packet.Facts, now time.Time, filters ...*packet.Filter) {
	for _, filter := range filters {
		for key, unsupported := range filter.Unknowns() {
			if _, set := f.Unknowns[key]; !set {
				f.Unknowns[key] = !unsupported && !isOver(key, now)
			}
		}
	}
}

// usualUnknowns is the condition that the unknowns are as usual sets them.
func usualUnknowns(now time.Time, filters ...*packet.Filter) packet.Cond {
	f := &packet.Facts{Unknowns: map[string]bool{}}
	usual(f, now, filters...)
	all := packet.All{}
	for key, holds := range f.Unknowns {
		if holds {
			all = append(all, packet.Unknown{Key: key})
		}
	}
	return all
}

// isOver reports whether an unknown stands for an instant that is over.
func isOver(key string, now time.Time) bool {
	text, isTime := strings.CutPrefix(key, "before ")
	t, err := time.Parse(time.RFC3339, text)
	return isTime && err == nil && !now.Before(t)
}

// isKernels reports whether a decision is that of a part of the way that is the
// kernel's own.
func isKernels(d packet.Decided) bool {
	return d.Policy && (d.By.Chain == "arrival" || d.By.Chain == "departure" || d.By.Chain == "translation")
}

// realLinks gives the witness interfaces that the host has, where they fit as
// well.
func (c *comparison) realLinks(w *packet.Witness, d differing) {
	for _, name := range []*string{&w.Facts.In, &w.Facts.Out} {
		was := *name
		if was == "" || slices.Contains(c.links, was) {
			continue
		}
		for _, link := range c.links {
			*name = link
			p, h := *w.Facts, *w.Facts
			pair := [2]packet.Outcome{c.policy.Decide(&p).Outcome, c.now.Decide(&h).Outcome}
			if link != "lo" && slices.Contains(d.pairs, pair) {
				break
			}
			*name = was
		}
	}
	w.Packet.In, w.Packet.Out = w.Facts.In, w.Facts.Out
}

// blame picks from the base chains that a packet met the decision that matters:
// the last if it refuses; else that of fwctl's own chain, which should have
// refused it; else the last that is a rule's.
func blame(trail []packet.Decided) packet.Decided {
	if len(trail) == 0 {
		return packet.Decided{Outcome: packet.OutcomeAccept, Policy: true}
	}
	last := trail[len(trail)-1]
	if last.Outcome != packet.OutcomeAccept {
		return last
	}
	for _, test := range []func(packet.Decided) bool{isOwn, func(d packet.Decided) bool { return !d.Policy }} {
		for _, d := range slices.Backward(trail) {
			if test(d) {
				return d
			}
		}
	}
	return last
}

// decidedBy returns the packets of a set on which the same rule decides. It does
// so by having the rule decide otherwise.
func (c *comparison) decidedBy(s side, d packet.Decided, set packet.Node) (packet.Node, error) {
	if d.Policy && d.By == (packet.Place{}) { // no base chain at all
		return set, nil
	}
	m, err := c.space.Build(marked(s.Filter, d))
	if err != nil {
		return 0, err
	}
	now, err := c.space.Where(m, packet.OutcomeUnknown)
	if err != nil {
		return 0, err
	}
	// What was unknown before is no sign of the rule, unless it was the rule's.
	if d.Outcome != packet.OutcomeUnknown {
		before, err := c.space.Where(s.node, packet.OutcomeUnknown)
		if err != nil {
			return 0, err
		}
		if now, err = c.space.Minus(now, before); err != nil {
			return 0, err
		}
	}
	mine, err := c.space.And(set, now)
	if err == nil && mine == packet.False {
		mine = set
	}
	return mine, err
}

// marked is the filter with another outcome for what decided. Chains that do not
// hold it are shared with the old filter.
func marked(f *packet.Filter, d packet.Decided) *packet.Filter {
	m := &packet.Filter{Hook: f.Hook, Chains: map[string]*packet.Chain{}}
	for _, c := range f.Base {
		c = markedChain(c, d)
		if d.Policy && c.Name == d.By.Chain {
			other := *c
			other.Policy, c = packet.OutcomeUnknown, &other
		}
		m.Base = append(m.Base, c)
	}
	for name, c := range f.Chains {
		m.Chains[name] = markedChain(c, d)
	}
	return m
}

func markedChain(c *packet.Chain, d packet.Decided) *packet.Chain {
	if d.Policy {
		return c
	}
	rules, found := markedSteps(c.Rules, d)
	if !found {
		return c
	}
	out := *c
	out.Rules = rules
	return &out
}

func markedSteps(steps []packet.Step, d packet.Decided) (out []packet.Step, found bool) {
	for i, s := range steps {
		cases, inside := markedSteps(s.Cases, d)
		hit := s.Outcome == d.Outcome && s.Place == d.By
		if !inside && !hit {
			continue
		}
		if !found {
			out, found = slices.Clone(steps), true
		}
		if inside {
			out[i].Cases = cases
		}
		if hit {
			out[i].Outcome = packet.OutcomeUnknown
		}
	}
	return out, found
}
