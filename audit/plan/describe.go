package plan

import (
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Bounds of what a person reads.
const (
	mostReasons = 50 // rules that a change is told apart by
	mostGroups  = 8  // groups of packets of each
)

// counted are the fields by which packets are told apart when they are counted.
var counted = []packet.Field{packet.FieldProto, packet.FieldType, packet.FieldCode, packet.FieldDstPort, packet.FieldSrcPort, packet.FieldDst, packet.FieldSrc}

// describe cuts a set of packets by the rules of the policy that decide: first
// what changes whatever the unknowns are, then what depends on them.
func (l *lane) describe(k Kind, set packet.Node) ([]Change, error) {
	always, err := l.space.Always(set)
	if err != nil {
		return nil, err
	}
	depends, err := l.space.Minus(set, always)
	if err != nil {
		return nil, err
	}
	sure, err := l.describePart(k, always, false)
	if err != nil {
		return nil, err
	}
	perhaps, err := l.describePart(k, depends, true)
	return slices.Concat(sure, perhaps), err
}

func (l *lane) describePart(k Kind, set packet.Node, depends bool) ([]Change, error) {
	var out []Change
	for set != packet.False && len(out) < mostReasons {
		w, err := l.space.Witness(set)
		if err != nil || w == nil {
			return out, err
		}
		by := l.decider(w)
		part, err := l.decidedBy(by, set, w)
		if err != nil {
			return nil, err
		}
		c, err := l.change(k, part, by, depends)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
		if set, err = l.space.Minus(set, part); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// decider returns the rule of the policy that decides on a packet on its way;
// the last rule of all if it never comes to the policy.
func (l *lane) decider(w *packet.Witness) packet.Place {
	facts := *w.Facts
	trail := l.after.Trail(&facts)
	for _, d := range slices.Backward(trail) {
		if d.By.Source == "policy" {
			return d.By
		}
	}
	if len(trail) == 0 {
		return packet.Place{}
	}
	return trail[len(trail)-1].By
}

// decidedBy returns the packets of a set that the rule decides which decides on
// the witness, all of them if that cannot be told: where addresses are translated,
// a rule sees others than a packet comes with.
func (l *lane) decidedBy(by packet.Place, set packet.Node, w *packet.Witness) (packet.Node, error) {
	steps := l.policy.Base[0].Rules
	i := slices.IndexFunc(steps, func(s packet.Step) bool { return s.Place == by })
	if i < 0 {
		return set, nil
	}
	matched, err := l.space.Set(steps[i].Cond)
	if err != nil {
		return 0, err
	}
	n, err := l.space.And(matched, set)
	if err != nil {
		return 0, err
	}
	earlier, err := l.before(steps[:i])
	if err != nil {
		return 0, err
	}
	if n, err = l.space.Minus(n, earlier); err != nil || l.space.Eval(n, w.Facts) == packet.False {
		return set, err
	}
	return n, nil
}

// before returns the packets that some rules decide on.
func (l *lane) before(steps []packet.Step) (packet.Node, error) {
	any := &packet.Chain{Policy: packet.OutcomeDrop}
	for _, s := range steps {
		any.Rules = append(any.Rules, packet.Step{Cond: s.Cond, Outcome: packet.OutcomeAccept})
	}
	d, err := l.space.Build(&packet.Filter{Base: []*packet.Chain{any}})
	if err != nil {
		return 0, err
	}
	return l.space.Where(d, packet.OutcomeAccept)
}

func (l *lane) change(k Kind, set packet.Node, by packet.Place, depends bool) (Change, error) {
	c := Change{Kind: k, Hook: l.hook.String(), Families: []string{familyName(l.is6)}, Rule: reason(by), At: by.At}
	ever, err := l.space.Ever(set)
	if err != nil {
		return c, err
	}
	if c.Count, err = l.space.Count(ever, counted...); err != nil {
		return c, err
	}
	groups, more, err := l.space.GroupsWithin(ever, l.over, mostGroups)
	if err != nil {
		return c, err
	}
	for _, g := range groups {
		c.Packets = append(c.Packets, g.String())
	}
	c.More = more
	return c, l.example(&c, set, depends)
}

// example shows one packet, and what it depends on.
func (l *lane) example(c *Change, set packet.Node, depends bool) error {
	for _, c := range l.believed() {
		n, err := l.space.Set(c)
		if err != nil {
			return err
		}
		if n, err = l.space.And(n, set); err != nil {
			return err
		}
		// Some may be there at times only that cannot be.
		if can, err := l.space.Ever(n); err != nil {
			return err
		} else if can != packet.False {
			set = n
		}
	}
	w, err := l.space.Witness(set)
	if err != nil {
		return err
	}
	p := w.Packet
	if p.Hook = l.hook; l.hook == packet.Input {
		p.Out = ""
	}
	c.Example = p.String()
	if !depends {
		return nil
	}
	for _, u := range w.Unknowns {
		text := u.Key
		if !u.Holds {
			text = "not " + text
		}
		c.If = append(c.If, text)
	}
	return nil
}

// believed are the packets that people expect at the hook.
func (l *lane) believed() []packet.Cond {
	kind := func(f packet.Field, k packet.AddrType) packet.Cond {
		return packet.In{Field: f, Set: packet.Ranges{packet.Single(packet.Number(uint64(k)))}}
	}
	switch l.hook {
	case packet.Input:
		return []packet.Cond{kind(packet.FieldDstType, packet.AddrLocal), kind(packet.FieldSrcType, packet.AddrOther)}
	case packet.Output:
		return []packet.Cond{kind(packet.FieldSrcType, packet.AddrLocal), kind(packet.FieldDstType, packet.AddrOther), l.far()}
	}
	return []packet.Cond{kind(packet.FieldSrcType, packet.AddrOther), kind(packet.FieldDstType, packet.AddrOther), l.far()}
}

// far is the address that stands for others, made for documents (RFC 5737, RFC
// 3849).
func (l *lane) far() packet.Cond {
	a := netip.AddrFrom4([4]byte{203, 0, 113, 9})
	if l.is6 {
		a = netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 9})
	}
	return packet.In{Field: packet.FieldDst, Set: packet.Ranges{packet.Single(packet.AddrValue(a))}}
}

// reason names what decides.
func reason(by packet.Place) string {
	switch {
	case by.Name != "":
		return by.Name
	case by.Chain != "":
		return "chain " + by.Chain
	}
	return rules.ReasonIgnored
}
