package pf

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// translations are the rules of the old grammar, which change packets before the
// filter sees them. Each kind has rules of its own: of a packet that goes out those of
// binat are asked before those of nat, of one that comes in those of rdr before those
// of binat, and the first that matches is it (pf_get_translation in pf.c).
func (r *reader) translations(lines []Statement) []packet.Step {
	c := &packet.Chain{Name: "translation " + map[Dir]string{In: "in", Out: "out"}[r.dir], Policy: packet.OutcomeAccept}
	for _, kind := range map[Dir][]string{In: {"rdr", "binat"}, Out: {"binat", "nat"}}[r.dir] {
		t := &translating{reader: r, kind: kind, chain: c}
		t.statements(lines, nil)
	}
	if len(c.Rules) == 0 {
		return nil
	}
	r.filter.Chains[c.Name] = c
	return []packet.Step{{Outcome: packet.OutcomeJump, Chain: c.Name}}
}

// translating reads the rules of one kind.
type translating struct {
	*reader
	kind  string
	chain *packet.Chain
	not   packet.All // what the rules with "no" keep from those behind them
}

func (t *translating) statements(lines []Statement, guard packet.Cond) {
	for _, s := range lines {
		switch s := s.(type) {
		case *Translation:
			if s.Kind == t.kind {
				t.rule(s, guard)
			}
		case *Anchor:
			if s.Keyword != t.kind+"-anchor" {
				continue
			}
			outer, inner := t.anchor, guarded(guard, t.match(s.Match, ""))
			t.anchor = within(outer, s)
			t.statements(t.body(s, outer), inner)
			t.anchor = outer
		}
	}
}

func (t *translating) rule(s *Translation, guard packet.Cond) {
	dst := t.dir == In
	m := s.Match
	if s.Kind == "binat" && dst {
		m.From, m.To = Endpoint{Hosts: s.Match.To.Hosts}, Endpoint{Hosts: s.To} // the way back
	}
	w := printer{dialect: t.Dialect}
	w.statement(s)
	cond := guarded(guard, t.match(m, ""))
	if t.Dialect.early() { // which translates no fragments
		cond = packet.All{whole, cond}
	}
	step := packet.Step{
		Cond: append(slices.Clip(t.not), cond), Outcome: packet.OutcomeReturn,
		Place: packet.Place{Source: "pf", Chain: t.ruleset(), Line: s.Line, Text: w.b.String()},
	}
	step.Writes = t.tag(s.Tag)
	if s.No {
		if len(step.Writes) > 0 {
			step.Outcome = packet.OutcomeContinue
			t.chain.Rules = append(t.chain.Rules, step)
		}
		t.not = append(t.not, packet.Not{Cond: cond})
		return
	}
	step.Writes = append(step.Writes, t.writes(dst, s.target(dst), step.Place.Text)...)
	if t.once() {
		step.Writes = append(step.Writes, remember(translatedBit))
	}
	if s.Pass {
		step.Outcome = packet.OutcomeAccept
	}
	t.chain.Rules = append(t.chain.Rules, step)
}

// target is what the rule gives to a packet that comes in, or goes out.
func (s *Translation) target(dst bool) target {
	switch {
	case s.Kind == "binat" && dst:
		return target{to: s.From.Hosts}
	case s.Kind == "binat":
		return target{to: s.To, keeps: true}
	}
	return target{s.To, s.Port, strings.Contains(s.Text, "static-port")}
}

// given is the family of a rule that gives packets addresses of one, where it says none
// itself.
func given(f Family, to []Host) Family {
	if f == AnyFamily {
		return familyOf(to)
	}
	return f
}

// family is the one that the rule is for.
func (s *Rule) family() Family {
	f := s.Family
	for _, t := range s.Translate {
		if t.Kind != "af-to" {
			f = given(f, t.To)
		}
	}
	return f
}

// sentFamily is the family of a rule that says none, by where it sends packets.
func (s *Rule) sentFamily() Family {
	f := given(s.addressFamily(), s.hops)
	for _, t := range s.Translate {
		switch {
		case f != AnyFamily || t.Kind != "af-to":
		case t.into == Inet6:
			f = Inet
		default:
			f = Inet6
		}
	}
	return f
}

// addressesIn finds addresses among words.
func addressesIn(text string) []Host {
	var out []Host
	for _, w := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" (){},/", c) }) {
		if a, err := netip.ParseAddr(w); err == nil {
			out = append(out, Host{Kind: PrefixHost, Prefix: netip.PrefixFrom(a.WithZone(""), a.BitLen())})
		}
	}
	return out
}

// target is the addresses and ports of which a translation gives a packet one.
type target struct {
	to    []Host
	port  *PortOp
	keeps bool // the port that the source has
}

// familyOf is the family that the addresses of a translation give to its rule.
func familyOf(to []Host) Family {
	v4, v6 := families(to)
	switch {
	case v4 && !v6:
		return Inet
	case v6 && !v4:
		return Inet6
	}
	return AnyFamily
}

// binatHalves are the two rules that pfctl makes of one with binat-to: one for each
// way, for each source of a list. It is nil of other rules.
func (s *Rule) binatHalves() []*Rule {
	i := slices.IndexFunc(s.Translate, func(t Translate) bool { return t.Kind == "binat-to" })
	if i < 0 {
		return nil
	}
	t := s.Translate[i]
	var halves []*Rule
	for i := range s.From.Hosts {
		m := s.Match
		m.From.Hosts = s.From.Hosts[i : i+1]
		out, in := *s, *s
		out.Match, in.Match = m, m
		out.Dir, in.Dir = Out, In
		out.Translate = []Translate{{Kind: "nat-to", To: t.To, Text: "static-port"}}
		in.Translate = []Translate{{Kind: "rdr-to", To: m.From.Hosts}}
		in.From, in.To = Endpoint{Hosts: m.To.Hosts, Ports: m.To.Ports}, Endpoint{Hosts: t.To, Ports: m.From.Ports}
		halves = append(halves, &out, &in)
	}
	return halves
}

// translated is what nat-to and rdr-to of a rule change when it decides, whichever way
// the packet goes (pf_get_transaddr).
func (r *reader) translated(s *Rule) []packet.Write {
	var ws []packet.Write
	for _, t := range s.Translate {
		if dst := t.Kind == "rdr-to"; dst || t.Kind == "nat-to" {
			ws = append(ws, r.writes(dst, target{t.To, t.Port, strings.Contains(t.Text, "static-port")}, t.String())...)
		}
	}
	if len(ws) > 0 && r.once() {
		ws = append(ws, remember(translatedBit))
	}
	return ws
}

// writes give a packet another address and port. Which one of several is not known.
func (r *reader) writes(dst bool, t target, text string) []packet.Write {
	var ws []packet.Write
	a, one := r.single(t.to)
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
	switch {
	case t.port != nil && t.port.Op == "" && t.port.Lo == t.port.Hi:
		ws = append(ws, packet.Write{Field: portField, Mask: packet.Ones(16), Value: packet.Number(uint64(t.port.Lo))})
	case t.port != nil, !dst && !t.keeps:
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
	for _, s := range a.rules(func(name string) bool { return name == "lo0" || slices.Contains(r.loopback, name) }) {
		r.rule(s, guard)
	}
}

func (a *Antispoof) rules(loopback func(string) bool) []*Rule {
	var out []*Rule
	for _, i := range a.On {
		h := Host{Kind: NamedHost, Name: i.Name}
		if i.dynamic {
			h.Kind = DynamicHost
		}
		own := h
		h.Mods = []string{"network"}
		rules := []Match{
			{On: []Iface{{Name: i.Name, Not: !i.Not}}, From: Endpoint{Hosts: []Host{h}}},
			{From: Endpoint{Hosts: []Host{own}}},
		}
		if loopback(i.Name) {
			rules = rules[:1] // what the host says to itself comes from its own addresses
		}
		for _, m := range rules {
			m.Dir, m.Quick, m.Log, m.Family = In, a.Quick, a.Log, a.Family
			out = append(out, &Rule{Line: a.Line, Action: Block, Match: m, Label: a.Label})
		}
	}
	return out
}
