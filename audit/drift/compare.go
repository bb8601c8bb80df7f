package drift

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// comparison is the policy and the host at one hook and in one family.
type comparison struct {
	space        *packet.Space
	hook         packet.Hook
	is6          bool
	policy, host *packet.Filter
	p, h         packet.Node // their diagrams
	frame        packet.Node // the packets that can stand at the hook
	over         packet.Node // those of them that are compared
}

func newComparison(q Question, hook packet.Hook, is6 bool) (*comparison, error) {
	c := &comparison{hook: hook, is6: is6, policy: q.Policy.Filter(hook, is6), host: q.Host.Filter(hook, is6)}
	c.space = packet.NewSpace(is6, q.Host.Addrs(is6), q.Budget, c.policy, c.host)
	var errs [3]error
	c.p, errs[0] = c.space.Build(c.policy)
	if errs[0] == nil {
		c.h, errs[1] = c.space.Build(c.host)
	}
	if errs[0] == nil && errs[1] == nil {
		c.frame, errs[2] = c.space.Set(c.space.Frame(hook))
	}
	return c, errors.Join(errs[:]...)
}

// region adds what differs among some of the packets.
func (c *comparison) region(r *Report, reg region) error {
	cond, err := c.space.Set(reg.cond)
	if err != nil {
		return err
	}
	over, err := c.space.And(c.frame, cond)
	if err != nil {
		return err
	}
	c.over = over
	equal := true
	for _, d := range differences {
		found, err := c.difference(r, reg.name, d)
		if err != nil {
			return err
		}
		equal = equal && !found
	}
	r.Compared = append(r.Compared, Compared{Hook: c.hook.String(), Family: family(c.is6), State: reg.name,
		Equal: equal, Nodes: c.space.Nodes()})
	return nil
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

// difference adds the findings of one kind, and reports whether there are any.
// They come in three parts: what differs whatever the unknowns are; what differs
// under some condition that no packet decides, like a rate; what differs only if
// something that was not understood holds, or does not.
func (c *comparison) difference(r *Report, state string, d differing) (found bool, err error) {
	set, err := c.where(c.over, d.pairs)
	if err != nil || set == packet.False {
		return false, err
	}
	always, err := c.space.Always(set)
	if err != nil {
		return true, err
	}
	if err := c.findings(r, always, finding{kind: d.kind, state: state}, d); err != nil {
		return true, err
	}
	if set, err = c.space.Minus(set, always); err != nil {
		return true, err
	}
	sometimes, err := c.space.Whatever(set)
	if err != nil {
		return true, err
	}
	if err := c.findings(r, sometimes, finding{kind: d.kind, state: state}, d); err != nil {
		return true, err
	}
	ever, err := c.space.Ever(sometimes)
	if err != nil {
		return true, err
	}
	if set, err = c.space.Minus(set, ever); err != nil {
		return true, err
	}
	return true, c.findings(r, set, finding{kind: Unknown, would: d.kind, state: state}, d)
}

// where returns the packets with one of the pairs of outcomes.
func (c *comparison) where(over packet.Node, pairs [][2]packet.Outcome) (packet.Node, error) {
	all := packet.False
	for _, pair := range pairs {
		p, err := c.space.Where(c.p, pair[0])
		if err != nil {
			return 0, err
		}
		h, err := c.space.Where(c.h, pair[1])
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
	return all, nil
}

// finding is what the findings of one set have in common.
type finding struct {
	kind, would Kind
	state       string
}

// mostFindings is how many findings of one kind are made for one hook and
// family; the packets that remain go into the last.
const mostFindings = 12

// findings cuts a set into those packets that one rule of the host decides, and
// makes a finding of each.
func (c *comparison) findings(r *Report, set packet.Node, f finding, d differing) error {
	for n := 1; set != packet.False; n++ {
		w, err := c.witness(set, d)
		if err != nil {
			return err
		}
		mine := set
		if n < mostFindings {
			if mine, err = c.decidedBy(c.host, c.h, w.host, set); err != nil {
				return err
			}
		}
		// Of a packet that is in the set whatever an unknown is, one finding is
		// enough, even if for other values of it another rule decides.
		if mine, err = c.space.Ever(mine); err != nil {
			return err
		}
		out, err := c.describe(mine, w, f)
		if err != nil {
			return err
		}
		r.merge(out)
		if set, err = c.space.Minus(set, mine); err != nil {
			return err
		}
	}
	return nil
}

// witnessed is a packet and what decides on it on both sides.
type witnessed struct {
	*packet.Witness
	policy, host packet.Decided // of the host: what is to blame
	outcome      packet.Outcome // of the host
}

// ErrDisagree says that a witness does not show on the filters themselves what
// the diagrams said: an error of fwctl.
var ErrDisagree = errors.New("internal error: two ways of deciding a packet do not agree")

// witness picks a packet and has both filters decide it, apart from the diagrams.
func (c *comparison) witness(set packet.Node, d differing) (witnessed, error) {
	found, err := c.space.Witness(set)
	if err != nil {
		return witnessed{}, err
	}
	w := witnessed{Witness: found}
	c.usual(found.Facts)
	p, h := *found.Facts, *found.Facts
	w.policy = c.policy.Decide(&p)
	trail := c.host.Trail(&h)
	w.host, w.outcome = blame(trail), packet.OutcomeAccept
	if len(trail) > 0 {
		w.outcome = trail[len(trail)-1].Outcome
	}
	if !slices.Contains(d.pairs, [2]packet.Outcome{w.policy.Outcome, w.outcome}) {
		return w, fmt.Errorf("%w: %s at %s: policy %s by %s, host %s by %s", ErrDisagree, found.Packet, c.hook,
			w.policy.Outcome, w.policy.By.Name, w.outcome, w.host.By.Text)
	}
	return w, nil
}

// usual sets the unknowns that the witness leaves open: a rate is not used up, a
// date has not come.
func (c *comparison) usual(f *packet.Facts) {
	for _, unknowns := range []map[string]bool{c.policy.Unknowns(), c.host.Unknowns()} {
		for key, unsupported := range unknowns {
			if _, set := f.Unknowns[key]; !set {
				f.Unknowns[key] = !unsupported
			}
		}
	}
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
func (c *comparison) decidedBy(f *packet.Filter, n packet.Node, d packet.Decided, set packet.Node) (packet.Node, error) {
	if d.Policy && d.By == (packet.Place{}) { // no base chain at all
		return set, nil
	}
	m, err := c.space.Build(marked(f, d))
	if err != nil {
		return 0, err
	}
	now, err := c.space.Where(m, packet.OutcomeUnknown)
	if err != nil {
		return 0, err
	}
	// What was unknown before is no sign of the rule, unless it was the rule's.
	if d.Outcome != packet.OutcomeUnknown {
		before, err := c.space.Where(n, packet.OutcomeUnknown)
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
		if d.Policy && c.Name == d.By.Chain {
			c = &packet.Chain{Name: c.Name, Policy: packet.OutcomeUnknown, Rules: c.Rules}
		}
		m.Base = append(m.Base, markedChain(c, d))
	}
	for name, c := range f.Chains {
		m.Chains[name] = markedChain(c, d)
	}
	return m
}

func markedChain(c *packet.Chain, d packet.Decided) *packet.Chain {
	hit := func(s packet.Step) bool { return !d.Policy && s.Outcome == d.Outcome && s.Place == d.By }
	if !slices.ContainsFunc(c.Rules, hit) {
		return c
	}
	out := &packet.Chain{Name: c.Name, Policy: c.Policy, Rules: slices.Clone(c.Rules)}
	for i := range out.Rules {
		if hit(out.Rules[i]) {
			out.Rules[i].Outcome = packet.OutcomeUnknown
		}
	}
	return out
}
