package adopt

import (
	"github.com/fwctl/fwctl/packet"
)

// said is a section in one family, and the rule that it came from.
type said struct {
	block bool
	box   box
	place packet.Place
	name  string // what to call it, if the rule does not tell
	// remark is what to say above it, if no rule stands for it.
	remark string
}

// plan is what one family is turned into.
type plan struct {
	*family
	said    []said
	why     map[packet.Place]string // why a rule, or a part of it, is not said
	blocks  packet.Node             // what the blocks refuse
	covered packet.Node             // what the services accept
	open    bool                    // all is accepted but what rules refuse that can be blocks
	anyEcho bool                    // another family accepts echo requests: this one has to refuse them by a block
}

// planFor chooses sections for a family: by default everything is refused, or
// accepted.
func (f *family) planFor(accept bool) *plan {
	p := &plan{family: f, why: map[packet.Place]string{}, blocks: packet.False, covered: packet.False}
	if accept {
		p.refuse()
		return p
	}
	p.open = p.isOpen()
	p.helpful()
	p.accept()
	return p
}

// refuse makes a block of each rule that refuses, where the default accepts.
func (p *plan) refuse() {
	refused := p.less(p.frame, p.accepted)
	var rest []*event
	for _, e := range p.events {
		if !refuses(e.outcome) || e.policy || p.and(p.and(e.decided, p.frame), refused) == packet.False {
			continue
		}
		if p.within(p.and(e.asked, p.frame), refused) && p.sayAll(e, e.asked) {
			continue
		}
		rest = append(rest, e)
	}
	for _, e := range rest {
		set := p.less(e.strict, p.less(p.frame, refused))
		if p.within(p.and(p.and(e.decided, p.frame), refused), p.blocks) {
			continue
		}
		p.say(true, e, set, "")
	}
	p.remaining(true, p.less(refused, p.blocks))
}

// refuses reports whether an outcome ends a packet's way.
func refuses(o packet.Outcome) bool {
	return o == packet.OutcomeDrop || o == packet.OutcomeReject
}

// helpful makes blocks of the rules that refuse a part of what a later one asks
// for: with them the later one can be said as it stands.
func (p *plan) helpful() {
	need := packet.False
	for _, e := range p.candidates() {
		need = p.or(need, p.less(p.and(e.asked, p.frame), p.accepted))
	}
	for _, e := range p.events {
		asked := p.and(e.asked, p.frame)
		if !refuses(e.outcome) || e.policy || p.everything(e) || p.and(p.and(e.decided, p.frame), need) == packet.False {
			continue
		}
		if p.and(asked, p.accepted) == packet.False && !p.within(asked, p.blocks) {
			p.sayAll(e, e.asked)
		}
	}
}

// isOpen reports whether all packets are accepted but those of rules that can be
// blocks. A rule that asks for nothing is then the service of everybody.
func (p *plan) isOpen() bool {
	refused := packet.False
	for _, e := range p.events {
		asked := p.and(e.asked, p.frame)
		if refuses(e.outcome) && !e.policy && !p.everything(e) && p.and(asked, p.accepted) == packet.False {
			refused = p.or(refused, asked)
		}
	}
	return p.within(p.less(p.frame, refused), p.accepted)
}

// everything reports whether a rule asks for nothing.
func (p *plan) everything(e *event) bool { return p.within(p.frame, e.asked) }

// candidates are the rules that accept, or send back what is accepted later.
func (p *plan) candidates() []*event {
	var out []*event
	for _, e := range p.events {
		passes := e.outcome == packet.OutcomeAccept || e.outcome == packet.OutcomeReturn
		if passes && !e.policy && (p.open || !p.everything(e)) && p.and(p.and(e.decided, p.frame), p.accepted) != packet.False {
			out = append(out, e)
		}
	}
	return out
}

// accept makes services, where the default refuses: first of the rules all of whose
// packets are accepted, as they stand; then of what others decide; then of what
// is accepted because no rule refuses it.
func (p *plan) accept() {
	allowed := p.or(p.accepted, p.blocks)
	var rest []*event
	for _, e := range p.candidates() {
		switch {
		case p.within(p.and(e.asked, p.frame), allowed):
			p.say(false, e, e.asked, "")
		case p.within(p.and(e.strict, p.frame), allowed):
			p.say(false, e, e.strict, "")
		default:
			rest = append(rest, e)
		}
	}
	for _, e := range rest {
		if e.outcome == packet.OutcomeReturn || p.within(p.and(p.and(e.decided, p.frame), p.accepted), p.or(p.covered, p.blocks)) {
			continue // what it lets go, another rule accepts
		}
		p.say(false, e, p.less(e.strict, p.less(p.frame, allowed)), "")
	}
	p.remaining(false, p.less(p.and(p.accepted, p.frame), p.or(p.covered, p.blocks)))
}

// remaining says what no rule stands for, other than ICMP.
func (p *plan) remaining(block bool, set packet.Node) {
	if !block {
		set = p.less(set, p.icmp)
	}
	if set == packet.False {
		return
	}
	e := &event{place: packet.Place{Chain: "input"}, asked: set}
	for _, x := range p.events {
		if x.policy {
			e.place = x.place
		}
	}
	// What is not compared makes for no more words.
	p.say(block, e, p.or(set, p.less(p.first, p.frame)), "others")
	if p.why[e.place] != "" {
		p.say(block, e, set, "others")
	}
}

// sayAll is say for a block of the whole of a set; nothing is said if that is not
// possible.
func (p *plan) sayAll(e *event, set packet.Node) bool {
	bs, why := p.boxes(true, set)
	if why != "" {
		p.why[e.place] = why
		return false
	}
	p.add(true, e, bs, "")
	return true
}

// say makes sections of as much of a set as they can say.
func (p *plan) say(block bool, e *event, set packet.Node, name string) {
	bs, why := p.boxes(block, set)
	if why != "" {
		p.why[e.place] = why
	} else {
		delete(p.why, e.place)
	}
	p.add(block, e, bs, name)
}

func (p *plan) add(block bool, e *event, bs []box, name string) {
	for _, b := range bs {
		set := p.set(p.cond(b))
		if !p.right(block, set) {
			p.why[e.place] = "internal error: a section for it would say more than it does"
			continue
		}
		if block {
			p.blocks = p.or(p.blocks, set)
		} else {
			p.covered = p.or(p.covered, set)
		}
		p.said = append(p.said, said{block: block, box: b, place: e.place, name: name})
	}
}

// right reports whether a section may be written: a block of nothing that is
// accepted, a service of nothing that is refused. It is the last thing that stands
// between a mistake in this package and an open port.
func (p *plan) right(block bool, set packet.Node) bool {
	set = p.and(set, p.frame)
	if block {
		return p.and(set, p.accepted) == packet.False
	}
	return p.within(set, p.or(p.accepted, p.blocks))
}
