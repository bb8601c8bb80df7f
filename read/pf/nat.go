package pf

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// translations are the rules of the old grammar, which change packets before the
// filter sees them: the first that matches.
func (r *reader) translations(lines []Statement, guard packet.Cond) []packet.Step {
	c := &packet.Chain{Name: "translation " + map[Dir]string{In: "in", Out: "out"}[r.dir], Policy: packet.OutcomeAccept}
	r.translationsIn(c, lines, guard)
	if len(c.Rules) == 0 {
		return nil
	}
	r.filter.Chains[c.Name] = c
	return []packet.Step{{Outcome: packet.OutcomeJump, Chain: c.Name}}
}

func (r *reader) translationsIn(c *packet.Chain, lines []Statement, guard packet.Cond) {
	for _, s := range lines {
		switch s := s.(type) {
		case *Translation:
			r.translation(c, s, guard)
		case *Anchor:
			if s.Keyword == "anchor" || s.Keyword == "scrub-anchor" || s.Keyword == "dummynet-anchor" {
				continue
			}
			outer, inner := r.anchor, guarded(guard, r.match(s.Match, ""))
			r.anchor = within(outer, s)
			r.translationsIn(c, r.body(s, outer), inner)
			r.anchor = outer
		}
	}
}

func (r *reader) translation(c *packet.Chain, t *Translation, guard packet.Cond) {
	dst := t.Kind == "rdr" || t.Kind == "binat" && r.dir == In
	if dst != (r.dir == In) || !r.applies(t.Match) {
		return
	}
	m := t.Match
	if t.Kind == "binat" && dst {
		m.From, m.To = Endpoint{Hosts: t.Match.To.Hosts}, Endpoint{Hosts: t.To} // the way back
	}
	w := printer{dialect: r.Dialect}
	w.statement(t)
	step := packet.Step{
		Cond: guarded(guard, r.match(m, "")), Outcome: packet.OutcomeReturn,
		Place: packet.Place{Source: "pf", Chain: r.ruleset(), Line: t.Line, Text: w.b.String()},
	}
	switch {
	case t.No:
	case t.Kind == "binat" && dst:
		step.Writes = r.writes(true, t.From.Hosts, nil, step.Place.Text)
	default:
		step.Writes = r.writes(dst, t.To, t.Port, step.Place.Text)
	}
	if t.Pass {
		step.Outcome = packet.OutcomeAccept
	}
	c.Rules = append(c.Rules, step)
}

// binatHalves are the two rules that pfctl makes of one with binat-to: one for each
// way. It is nil of other rules.
func (s *Rule) binatHalves() []*Rule {
	i := slices.IndexFunc(s.Translate, func(t Translate) bool { return t.Kind == "binat-to" })
	if i < 0 {
		return nil
	}
	t := s.Translate[i]
	out, in := *s, *s
	out.Dir, in.Dir = Out, In
	out.Translate = []Translate{{Kind: "nat-to", To: t.To, Text: "static-port"}}
	in.Translate = []Translate{{Kind: "rdr-to", To: s.From.Hosts}}
	in.From, in.To = Endpoint{Hosts: s.To.Hosts}, Endpoint{Hosts: t.To}
	return []*Rule{&out, &in}
}

// translated is what nat-to and rdr-to of a rule change when it decides.
func (r *reader) translated(s *Rule) []packet.Write {
	var ws []packet.Write
	for _, t := range s.Translate {
		if dst := t.Kind == "rdr-to"; dst == (r.dir == In) && (dst || t.Kind == "nat-to") {
			ws = append(ws, r.writes(dst, t.To, t.Port, t.String())...)
		}
	}
	return ws
}

// writes give a packet another address and port. Which one of several is not known.
func (r *reader) writes(dst bool, to []Host, port *PortOp, text string) []packet.Write {
	var ws []packet.Write
	a, one := r.single(to)
	field, portField := addrField(dst), packet.FieldSrcPort
	if dst {
		portField = packet.FieldDstPort
	}
	switch {
	case one && a.Is6() != r.is6:
		return nil
	case one:
		ws = append(ws, packet.Write{Field: field, Mask: packet.Ones(field.Width(true)), Value: packet.AddrValue(a)})
	case dst:
		ws = packet.OpenDst(packet.Ones(128), text)
	default:
		ws = append(ws, packet.Write{Field: field, Mask: packet.Ones(field.Width(r.is6)), Unknown: "the source after " + strings.TrimSpace(text)})
	}
	if port != nil && port.Op == "" && port.Lo == port.Hi {
		ws = append(ws, packet.Write{Field: portField, Mask: packet.Ones(16), Value: packet.Number(uint64(port.Lo))})
	} else if port != nil || !dst {
		ws = append(ws, packet.Write{Field: portField, Mask: packet.Ones(16), Unknown: "the port after " + strings.TrimSpace(text)})
	}
	return ws
}

// single is the one address that the hosts stand for.
func (r *reader) single(hs []Host) (netip.Addr, bool) {
	if len(hs) != 1 {
		return netip.Addr{}, false
	}
	h := hs[0]
	if h.Kind == PrefixHost && h.Prefix.IsSingleIP() {
		return h.Prefix.Addr(), true
	}
	rs, known := r.interfaceRanges(h)
	if (h.Kind == DynamicHost || h.Kind == NamedHost) && known && len(rs) == 1 && rs[0].Lo == rs[0].Hi {
		return rs[0].Lo.Addr(r.is6), true
	}
	return netip.Addr{}, false
}

// antispoof is the two rules that it stands for: what has an address of the
// interface's networks and comes by another, and what has the interface's own. For the
// loopback interface it is the first alone.
func (r *reader) antispoof(a *Antispoof, guard packet.Cond) {
	for _, i := range a.On {
		rules := []Match{
			{On: []Iface{{i.Name, !i.Not}}, From: Endpoint{Hosts: []Host{{Kind: DynamicHost, Name: i.Name, Mods: []string{"network"}}}}},
			{From: Endpoint{Hosts: []Host{{Kind: DynamicHost, Name: i.Name}}}},
		}
		if i.Name == "lo" || slices.Contains(r.loopback, i.Name) || i.Name == "lo0" {
			rules = rules[:1] // what the host says to itself comes from its own addresses
		}
		for _, m := range rules {
			m.Dir, m.Quick, m.Log, m.Family = In, a.Quick, a.Log, a.Family
			r.rule(&Rule{Line: a.Line, Action: Block, Match: m, Label: a.Label}, guard)
		}
	}
}
