package adopt

import (
	"github.com/fwctl/fwctl/packet"
)

// event is one rule that decides, or sends packets back out of its chain.
type event struct {
	place   packet.Place
	outcome packet.Outcome
	asked   packet.Node // what the rule asks for, with the rules that lead to it
	decided packet.Node // what of that comes to it
	policy  bool        // it is the policy of a base chain
}

// walker follows all packets at once through a filter.
type walker struct {
	algebra
	filter *packet.Filter
	events []*event
	byRule map[packet.Place]*event
	left   int
}

// The bounds of a walk: rules that may be tried, chains one below the other.
const (
	mostTries = 2_000_000
	mostDepth = 32
)

// walk returns what each rule decides, in the order of the rules, and the packets
// that the filter accepts.
func walk(a algebra, f *packet.Filter) (events []*event, accepted packet.Node) {
	w := &walker{algebra: a, filter: f, byRule: map[packet.Place]*event{}, left: mostTries}
	reach := packet.True
	for _, c := range f.Base {
		when := packet.True
		if c.When != nil {
			when = a.set(c.When)
		}
		reach = a.or(w.base(c, a.and(reach, when)), a.less(reach, when))
	}
	return w.events, reach
}

// base returns the packets that a base chain accepts.
func (w *walker) base(c *packet.Chain, reach packet.Node) packet.Node {
	t := &through{w: w, accepted: packet.False}
	end := t.chain(c, reach, packet.True, 0)
	w.note(packet.Place{Chain: c.Name}, c.Policy, packet.True, end, true)
	if c.Policy == packet.OutcomeAccept {
		return w.or(t.accepted, end)
	}
	return t.accepted
}

func (w *walker) note(p packet.Place, o packet.Outcome, asked, decided packet.Node, policy bool) {
	e := w.byRule[p]
	if e == nil {
		e = &event{place: p, outcome: o, asked: packet.False, decided: packet.False, policy: policy}
		w.byRule[p] = e
		w.events = append(w.events, e)
	}
	e.asked, e.decided = w.or(e.asked, asked), w.or(e.decided, decided)
}

// through is the way through one base chain.
type through struct {
	w        *walker
	accepted packet.Node
}

// chain returns the packets that come out of a chain at its end. Asked are those
// that the rules which lead to it ask for, whatever became of them before.
func (t *through) chain(c *packet.Chain, reach, asked packet.Node, depth int) packet.Node {
	if c == nil || depth > mostDepth {
		return reach // a loop, or a chain that is not there: no kernel takes it
	}
	back := packet.False
	for i := range c.Rules {
		if w := t.w; w.left == 0 {
			panic(spent{packet.ErrBudget})
		} else {
			w.left--
		}
		out := t.step(&c.Rules[i], &reach, &asked, depth)
		back = t.w.or(back, out)
	}
	return t.w.or(back, reach)
}

// step takes from reach what a rule decides, and returns what leaves the chain.
func (t *through) step(s *packet.Step, reach, asked *packet.Node, depth int) packet.Node {
	cond := t.w.set(s.Cond)
	if len(s.Cases) == 0 {
		return t.act(s, cond, reach, asked, depth)
	}
	back := packet.False
	for i := range s.Cases {
		c := &s.Cases[i]
		of := t.w.and(cond, t.w.set(c.Cond))
		cond = t.w.less(cond, of)
		back = t.w.or(back, t.act(c, of, reach, asked, depth))
	}
	return back
}

func (t *through) act(s *packet.Step, cond packet.Node, reach, asked *packet.Node, depth int) packet.Node {
	w := t.w
	here, want := w.and(*reach, cond), w.and(*asked, cond)
	switch s.Outcome {
	case packet.OutcomeContinue:
		return packet.False
	case packet.OutcomeJump, packet.OutcomeGoto:
		out := packet.False
		if want != packet.False {
			out = t.chain(w.filter.Chains[s.Chain], here, want, depth+1)
		}
		*reach = w.less(*reach, here)
		if s.Outcome == packet.OutcomeGoto {
			*asked = w.less(*asked, cond)
			return out
		}
		*reach = w.or(*reach, out)
		return packet.False
	}
	if want != packet.False {
		w.note(s.Place, s.Outcome, want, here, false)
	}
	*reach = w.less(*reach, here)
	switch s.Outcome {
	case packet.OutcomeAccept:
		t.accepted = w.or(t.accepted, here)
	case packet.OutcomeReturn:
		*asked = w.less(*asked, cond)
		return here
	}
	return packet.False
}
