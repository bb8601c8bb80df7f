package adopt

import (
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// icmpLevels are the values of defaults.icmp, the most first.
var icmpLevels = []struct {
	word  string
	level rules.ICMP
}{{"all", rules.ICMPAll}, {"standard", rules.ICMPStandard}, {"minimal", rules.ICMPMinimal}}

// icmpLevel chooses defaults.icmp: the most that no family refuses, if it makes any
// difference.
func icmpLevel(plans []*plan) string {
	for _, l := range icmpLevels {
		refused, wanted := false, false
		for _, p := range plans {
			set := p.answered(l.level)
			refused = refused || !p.within(set, p.or(p.accepted, p.blocks))
			wanted = wanted || !p.within(p.and(set, p.accepted), p.covered) || l.level == rules.ICMPStandard && p.and(set, p.accepted) != packet.False
		}
		if !refused && wanted {
			return l.word
		}
	}
	return "minimal"
}

// answered are the packets that a level of defaults.icmp accepts.
func (f *family) answered(l rules.ICMP) packet.Node {
	var types []packet.Range
	for _, t := range l.Types(f.is6) {
		types = append(types, packet.Single(packet.Number(uint64(t))))
	}
	return f.and(f.icmpTyped(), f.set(packet.In{Field: packet.FieldType, Set: packet.NewRanges(types...)}))
}

// pingFromSome turns a rule that accepts echo requests from some into a block of
// ICMP from all others, so that defaults.icmp can be "standard". That is the same
// where nothing else of ICMP is accepted from those others.
func (p *plan) pingFromSome() {
	echo := p.answered(rules.ICMPStandard)
	if p.within(p.and(echo, p.accepted), p.covered) && !p.anyEcho {
		return // nobody gets an answer, or a service says who
	}
	others := p.less(echo, p.or(p.accepted, p.blocks))
	if others == packet.False {
		return
	}
	// All ICMP of those that are refused an answer.
	ends := p.and(p.only(others, packet.FieldIn, packet.FieldProto, packet.FieldDst, packet.FieldSrc), p.first)
	if p.and(p.and(ends, p.frame), p.accepted) != packet.False {
		return
	}
	bs, why := p.boxes(true, ends)
	if why != "" || p.keyed(echo) {
		return
	}
	p.add(true, &event{}, bs, "ping")
	for i := range p.said {
		if p.said[i].name == "ping" {
			p.said[i].remark = "Echo requests are answered, but to these."
		}
	}
}

// keyed reports whether what is accepted of a set depends on a limit or an end.
func (p *plan) keyed(set packet.Node) bool {
	in := p.and(set, p.accepted)
	for _, k := range p.keys {
		if p.given(in, k, true) != p.given(in, k, false) {
			return true
		}
	}
	return false
}
