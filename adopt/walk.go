package adopt

import (
	"fmt"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// event is one rule that decides, or sends packets back out of its chain.
type event struct {
	place   packet.Place
	outcome packet.Outcome
	asked   packet.Node // what the rule asks for, with the rules that lead to it
	strict  packet.Node // that without what rules before it sent out of their chain
	decided packet.Node // what of that comes to it
	policy  bool        // it is the policy of a base chain
}

// walker follows all packets at once through a filter.
type walker struct {
	algebra
	filter *packet.Filter
	events []*event
	byRule map[way]*event
	left   int
	busy   map[string]bool // the chains that packets are in
	lost   []Left          // rules that lead nowhere
}

// way is how packets came to a rule: what a rule asks for is told apart by that.
type way struct {
	place packet.Place
	path  string
}

// The bounds of a walk: rules that may be tried, chains one below the other.
const (
	mostTries = 2_000_000
	mostDepth = 32
)

// walk returns what each rule decides of some packets, in the order of the rules, and
// those that the filter accepts. Rules that decide none are left out.
func walk(a algebra, f *packet.Filter, reach packet.Node) (w *walker, accepted packet.Node) {
	w = &walker{algebra: a, filter: f, byRule: map[way]*event{}, left: mostTries, busy: map[string]bool{}}
	for _, c := range f.Base {
		when := packet.True
		if c.When != nil {
			when = a.set(c.When)
		}
		reach = a.or(w.base(c, a.and(reach, when)), a.less(reach, when))
	}
	w.merge()
	return w, reach
}

// mostWays is for how many ways to a rule it is asked whether one is the other.
const mostWays = 16

// merge makes one of two ways to a rule by which it asks for the same, or for a part
// of it: chains of all packets are often entered by several ways.
func (w *walker) merge() {
	var out []*event
	byPlace := map[packet.Place][]*event{}
	for _, e := range w.events {
		others := byPlace[e.place]
		i := -1
		if len(others) < mostWays {
			i = slices.IndexFunc(others, func(o *event) bool { return w.within(e.asked, o.asked) || w.within(o.asked, e.asked) })
		}
		if i < 0 {
			byPlace[e.place] = append(others, e)
			out = append(out, e)
			continue
		}
		o := others[i]
		o.asked, o.strict, o.decided = w.or(o.asked, e.asked), w.or(o.strict, e.strict), w.or(o.decided, e.decided)
	}
	w.events = out
}

// base returns the packets that a base chain accepts.
func (w *walker) base(c *packet.Chain, reach packet.Node) packet.Node {
	t := &through{w: w, accepted: packet.False}
	end := t.chain(c, sets{reach, packet.True, packet.True, ""}, 0)
	w.note(packet.Place{Chain: c.Name}, c.Policy, sets{end, packet.True, packet.True, ""}, true)
	if c.Policy == packet.OutcomeAccept {
		return w.or(t.accepted, end)
	}
	return t.accepted
}

// sets are packets on their way: those that really come, those that the rules on the
// way ask for, and those but for what was sent elsewhere.
type sets struct {
	reach, asked, strict packet.Node
	path                 string // of the rules that lead here
}

func (w *walker) cut(s sets, c packet.Node) sets {
	return sets{w.and(s.reach, c), w.and(s.asked, c), w.and(s.strict, c), s.path}
}

func (w *walker) note(p packet.Place, o packet.Outcome, s sets, policy bool) {
	e := w.byRule[way{p, s.path}]
	if e == nil {
		e = &event{place: p, outcome: o, asked: packet.False, strict: packet.False, decided: packet.False, policy: policy}
		w.byRule[way{p, s.path}] = e
		w.events = append(w.events, e)
	}
	e.asked, e.strict, e.decided = w.or(e.asked, s.asked), w.or(e.strict, s.strict), w.or(e.decided, s.reach)
}

// through is the way through one base chain.
type through struct {
	w        *walker
	accepted packet.Node
}

// chain returns the packets that come out of a chain.
func (t *through) chain(c *packet.Chain, s sets, depth int) packet.Node {
	back := packet.False
	for i := range c.Rules {
		if t.w.left--; t.w.left < 0 {
			panic(spent{packet.ErrBudget})
		}
		back = t.w.or(back, t.rule(&c.Rules[i], &s, depth, fmt.Sprintf("%s/%d", s.path, i)))
	}
	return t.w.or(back, s.reach)
}

// rule takes from the sets what a rule decides, and returns what leaves the chain.
func (t *through) rule(r *packet.Step, s *sets, depth int, path string) packet.Node {
	cond := t.w.set(r.Cond)
	if len(r.Cases) == 0 {
		return t.act(r, cond, s, depth, path)
	}
	back := packet.False
	for i := range r.Cases {
		c := &r.Cases[i]
		of := t.w.and(cond, t.w.set(c.Cond))
		cond = t.w.less(cond, of)
		back = t.w.or(back, t.act(c, of, s, depth, fmt.Sprintf("%s.%d", path, i)))
	}
	return back
}

// lead returns the packets that come out of the chain that a rule leads to. One that
// is not there, or that packets are in already, no kernel takes.
func (t *through) lead(r *packet.Step, s sets, depth int) packet.Node {
	w := t.w
	c := w.filter.Chains[r.Chain]
	if c == nil || w.busy[r.Chain] || depth > mostDepth {
		w.lost = append(w.lost, left(r.Place, "the chain that it leads to is not there, or leads back to it"))
		return s.reach
	}
	w.busy[r.Chain] = true
	defer delete(w.busy, r.Chain)
	return t.chain(c, s, depth+1)
}

func (t *through) act(r *packet.Step, cond packet.Node, s *sets, depth int, path string) packet.Node {
	w := t.w
	here := w.cut(*s, cond)
	here.path = path
	switch r.Outcome {
	case packet.OutcomeContinue:
		return packet.False
	case packet.OutcomeJump, packet.OutcomeGoto:
		out := packet.False
		if here.reach != packet.False {
			out = t.lead(r, here, depth)
		}
		s.reach = w.less(s.reach, cond)
		if r.Outcome == packet.OutcomeGoto {
			s.strict = w.less(s.strict, cond)
			return out
		}
		s.reach = w.or(s.reach, out)
		return packet.False
	}
	if here.reach != packet.False {
		w.note(r.Place, r.Outcome, here, false)
	}
	s.reach = w.less(s.reach, cond)
	switch r.Outcome {
	case packet.OutcomeAccept:
		t.accepted = w.or(t.accepted, here.reach)
	case packet.OutcomeReturn:
		s.strict = w.less(s.strict, cond)
		return here.reach
	}
	return packet.False
}
