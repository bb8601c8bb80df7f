package pf

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// What is written into the connection's mark, of which pf knows nothing: the number of
// the decision of the last rule that matched, and above it what is remembered on the
// way through anchors and translations.
const (
	decisionBits  = 22
	wildcardBit   = decisionBits // the first of them: a child of the wildcard decided
	stopBit       = 28           // the evaluation is over
	translatedBit = 29           // the packet has another address
	quickBit      = 30           // FreeBSD: a quick anchor was entered
	matchBit      = 31           // before: a rule decided since the last anchor was entered
)

// bit holds if something is remembered.
func bit(n uint) packet.Cond {
	return packet.Bits{Field: packet.FieldCTMark, Mask: packet.Number(1).Shift(n), Value: packet.Number(1).Shift(n)}
}

// remember is the write of it, forget that of its contrary.
func remember(n uint) packet.Write {
	return packet.Write{Field: packet.FieldCTMark, Mask: packet.Number(1).Shift(n), Value: packet.Number(1).Shift(n)}
}

func forget(n uint) packet.Write {
	return packet.Write{Field: packet.FieldCTMark, Mask: packet.Number(1).Shift(n)}
}

// decides notes what a rule decides, and is how it is written down that it matched.
func (r *reader) decides(decision packet.Step) []packet.Write {
	r.decisions, r.owners = append(r.decisions, decision), append(r.owners, r.frame)
	ws := []packet.Write{{Field: packet.FieldCTMark, Mask: packet.Ones(decisionBits), Value: packet.Number(uint64(len(r.decisions)))}}
	if r.stops && r.Dialect.early() {
		ws = append(ws, remember(matchBit))
	}
	return ws
}

// last holds if the last rule that matched is one with a number.
func last(n int) packet.Cond {
	return packet.Bits{Field: packet.FieldCTMark, Mask: packet.Ones(decisionBits), Value: packet.Number(uint64(n))}
}

// decided are the cases of all decisions, and of none.
func (r *reader) decided() []packet.Step {
	var cases []packet.Step
	for i, d := range r.decisions {
		d.Cond = last(i + 1)
		cases = append(cases, d)
	}
	return append(cases, r.unmatched())
}

// stop ends the evaluation under a condition: what was decided last is done.
func (r *reader) stop(cond packet.Cond) {
	r.chain.Rules = append(r.chain.Rules, packet.Step{Cond: cond, Writes: []packet.Write{remember(stopBit)}, Outcome: packet.OutcomeReturn})
}

// filters reports whether a statement makes rules that filter.
func filters(s Statement) bool {
	switch s := s.(type) {
	case *Rule, *Antispoof, *Unread, *Include:
		return true
	case *Anchor:
		return s.Keyword == "anchor"
	}
	return false
}

// wild reports whether an anchor is for all that are below its name.
func (a *Anchor) wild() bool { return strings.HasSuffix(a.Name, "/*") }

// surveyQuick notes anchors that end the evaluation. Where it is not for any rule of
// theirs that matches, and for no other reason, the order counts.
func (r *reader) surveyQuick(a *Anchor, outer string, body []Statement) {
	if a.Keyword != "anchor" || !a.Quick || !r.crosses(a.Dir) {
		return
	}
	r.stops = true
	nested := func(s Statement) bool { _, ok := s.(*Anchor); return ok && filters(s) }
	r.ordered = r.ordered || r.Dialect == FreeBSD || r.Dialect.early() && outer != "" || slices.ContainsFunc(body, nested)
}

// anchored reads the rules of an anchor. Its line is asked once, whatever the rules do
// to the packet then; followed: others stand behind it.
func (r *reader) anchored(a *Anchor, guard packet.Cond, followed bool) {
	if !r.applies(a.Match) {
		return
	}
	outer, later := r.anchor, len(r.later)
	cond := guarded(guard, r.anchorCond(a)) // its tables are those of the rules around it
	if r.ordered {
		r.enter(a, cond, followed)
		return
	}
	r.anchor = within(outer, a)
	r.statements(r.body(a, outer), cond)
	r.anchor = outer
	if a.Quick {
		r.quick = append(r.quick, reversed(r.later[later:])...)
		r.later = r.later[:later]
	}
}

// enter reads the rules of an anchor where the order counts, in a chain of their own.
func (r *reader) enter(a *Anchor, cond packet.Cond, followed bool) {
	outer, chain, frame, behind := r.anchor, r.chain, r.frame, r.behind
	body := r.body(a, outer)
	r.anchor, r.frame, r.behind = within(outer, a), a, false
	r.chain = &packet.Chain{Name: chain.Name + ", " + r.ruleset() + " " + strconv.Itoa(len(r.filter.Chains)), Policy: packet.OutcomeAccept}
	r.filter.Chains[r.chain.Name] = r.chain
	step := packet.Step{Cond: cond, Writes: r.entering(a), Outcome: packet.OutcomeJump, Chain: r.chain.Name}
	chain.Rules = append(chain.Rules, r.tagging(step, a.Tag), packet.Step{Cond: bit(stopBit), Outcome: packet.OutcomeReturn})
	if a.wild() {
		r.children(a, body)
	} else {
		r.statements(body, nil)
		r.leave(a, followed)
	}
	r.anchor, r.chain, r.frame, r.behind = outer, chain, frame, behind
}

// entering is what is remembered when the line of an anchor matches.
func (r *reader) entering(a *Anchor) []packet.Write {
	switch {
	case !r.stops:
	case r.Dialect.early() && a.wild():
		return []packet.Write{forget(matchBit), forget(r.level())}
	case r.Dialect.early():
		return []packet.Write{forget(matchBit)}
	case r.Dialect == FreeBSD && a.Quick:
		return []packet.Write{remember(quickBit)}
	}
	return nil
}

// children reads the anchors that a wildcard is for.
func (r *reader) children(a *Anchor, body []Statement) {
	outer, level := r.anchor, r.level()
	r.wildcards++
	for i, s := range body {
		if child, ok := s.(*Anchor); ok && filters(child) {
			r.anchor, r.behind = within(outer, child), slices.ContainsFunc(body[i+1:], filters)
			r.statements(r.body(child, outer), nil)
			r.leaveChild(a, level)
		}
	}
	r.anchor, r.behind = outer, false
	r.wildcards--
	if r.Dialect.early() && a.Quick {
		r.stop(bit(level))
	}
}

// level is where it is remembered of a wildcard: of those that stand in many, together.
func (r *reader) level() uint { return min(wildcardBit+r.wildcards, stopBit-1) }

func (r *reader) leaveChild(a *Anchor, level uint) {
	switch {
	case !r.Dialect.early():
		r.leave(a, true)
	case r.stops:
		ws := []packet.Write{forget(matchBit), remember(level)}
		r.chain.Rules = append(r.chain.Rules, packet.Step{Cond: bit(matchBit), Writes: ws, Outcome: packet.OutcomeContinue})
	}
}

// leave ends the evaluation behind the rules of a quick anchor. On OpenBSD it does so
// if the last rule that matched stands in the anchor itself, on FreeBSD in any case;
// before, if a rule matched behind the last anchor within that was entered, and if
// others stand behind it: else the anchor around it says (pf_match_rule,
// pf_step_out_of_anchor).
func (r *reader) leave(a *Anchor, followed bool) {
	switch {
	case !r.stops:
	case r.Dialect == FreeBSD:
		r.stop(bit(quickBit))
	case !a.Quick:
	case r.Dialect == OpenBSD:
		var own packet.Any
		for i, owner := range r.owners {
			if owner == a {
				own = append(own, last(i+1))
			}
		}
		r.stop(own)
	case followed:
		r.stop(bit(matchBit))
	}
}

// early reports whether the kernel is older than OpenBSD's of 2010, which asks the
// rules of fragments as of other packets.
func (d Dialect) early() bool { return d == FreeBSDOld || d == MacOS }

// once reports whether a packet may be translated once, and is dropped where rules do
// it again (pf_rule_apply_nat): where there are several rules.
func (r *reader) once() bool { return r.Dialect == FreeBSD && r.translates > 1 }
