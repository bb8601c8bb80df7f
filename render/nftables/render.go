package nftables

import (
	"cmp"
	"slices"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Render compiles the ruleset. It is canonical: equal rulesets give equal
// programs. nftables can say all that a policy can, so there are no problems but
// notes.
func Render(rs *rules.Ruleset) (*Program, rules.Problems) {
	b := &builder{rs: rs, sets: map[string]*Set{}, chains: map[string]*Chain{}}
	b.prerouting()
	b.input()
	b.output()
	b.forward()
	return b.program(), notes(rs)
}

// notes tells which groups stand for nobody because their names are not
// resolved.
func notes(rs *rules.Ruleset) rules.Problems {
	var ps rules.Problems
	for _, g := range rs.Groups {
		for _, name := range g.Unresolved {
			ps = append(ps, rules.Problem{Pos: g.Pos, Severity: rules.Note,
				Summary: "group." + g.Name + ": " + name + " is not resolved, its addresses are missing from the rendering",
				Hint:    "apply resolves names; give --host FILE to render with known addresses"})
		}
	}
	return ps
}

// builder collects sets and chains by name.
type builder struct {
	rs     *rules.Ruleset
	sets   map[string]*Set
	chains map[string]*Chain
	prefix string // of the chains of services: what is judged twice counts in each place by itself
}

// published is the prefix at prerouting.
const published = "published."

func (b *builder) program() *Program {
	p := &Program{}
	for _, s := range b.sets {
		s.sort()
		p.Sets = append(p.Sets, s)
	}
	for _, c := range b.chains {
		p.Chains = append(p.Chains, c)
	}
	slices.SortFunc(p.Sets, func(x, y *Set) int { return cmp.Compare(x.Name, y.Name) })
	slices.SortFunc(p.Chains, func(x, y *Chain) int {
		return cmp.Or(cmp.Compare(b2i(x.Base != nil), b2i(y.Base != nil)), cmp.Compare(x.Name, y.Name))
	})
	return p
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// chain returns the chain of that name, new if there is none.
func (b *builder) chain(name string) *Chain {
	c, ok := b.chains[name]
	if !ok {
		c = &Chain{Name: name}
		b.chains[name] = c
	}
	return c
}

// set returns the set of that name, made by the template if there is none.
func (b *builder) set(template Set) *Set {
	s, ok := b.sets[template.Name]
	if !ok {
		s = &template
		b.sets[s.Name] = s
	}
	return s
}

func (c *Chain) add(comment string, stmts ...Stmt) {
	c.Rules = append(c.Rules, Rule{Stmts: stmts, Comment: comment})
}

var (
	accept = Verdict{Kind: Accept}
	drop   = Verdict{Kind: Drop}
	ret    = Verdict{Kind: Return}
)

// input is the path of a packet for this host, in the order of the design.
func (b *builder) input() {
	c := b.chain("input")
	c.Base = &Base{Hook: packet.Input, Policy: packet.Drop}
	// First and bare: compliance scanners look for exactly this rule.
	c.add("", Loopback{}, accept)
	b.established(c)
	b.baseline(c, "input", rules.InputBaseline)
	if b.rs.LogDenied {
		c.add("", CTState{[]packet.State{packet.Invalid}}, Log{Prefix: "fwctl invalid: "})
	}
	c.add("invalid", CTState{[]packet.State{packet.Invalid}}, Counter{}, drop)
	b.blocks(c, "blocks", b.rs.Blocks)
	if b.enforced() {
		b.fromContainers(c)
		c.add(rules.ReasonTranslated, Translated{}, Counter{}, accept)
	}
	b.inbound(c)
}

// inbound is what the policy itself says of packets for this host.
func (b *builder) inbound(c *Chain) {
	b.icmp(c, b.rs.ICMP)
	b.dispatch(c, b.rs.Services)
	b.refuse(c, "defaults.inbound", b.rs.Inbound)
}

func (b *builder) enforced() bool { return b.rs.Published == rules.PublishedEnforce }

// prerouting judges new packets for this host before anything translates them. What
// it lets pass, and is not translated, input judges once more.
func (b *builder) prerouting() {
	if !b.enforced() {
		return
	}
	c, judge := b.chain("prerouting"), b.chain("published")
	c.Base = &Base{Hook: packet.Prerouting, Priority: rules.PublishedPriority, Policy: packet.Accept}
	c.add("", Loopback{}, accept)
	b.fromContainers(c)
	c.add("", CTState{[]packet.State{packet.New}}, FibType{Type: "local"}, Verdict{Kind: Jump, Chain: judge.Name})
	b.prefix = published
	defer func() { b.prefix = "" }()
	b.baseline(judge, "input", rules.InputBaseline)
	b.blocks(judge, "blocks", b.rs.Blocks)
	b.inbound(judge)
}

// fromContainers leaves alone what enters from containers.
func (b *builder) fromContainers(c *Chain) {
	for _, i := range b.containers(false) {
		c.add(rules.ReasonContainer, append(i.stmts, accept)...)
	}
}

// containers are the ways to enter from (out: leave to) a container.
func (b *builder) containers(out bool) []alternative {
	if len(b.rs.ContainerInterfaces) == 0 {
		return nil
	}
	return interfaces(b.rs.ContainerInterfaces, out)
}

// output is the path of a packet from this host. Without anything to refuse
// there is none.
func (b *builder) output() {
	if b.rs.Outbound == packet.Accept && len(b.rs.OutboundBlocks) == 0 {
		return
	}
	c := b.chain("output")
	c.Base = &Base{Hook: packet.Output, Policy: packet.Accept}
	c.add("", Loopback{Out: true}, accept)
	b.established(c)
	b.baseline(c, "output", rules.OutputBaseline)
	b.blocks(c, "output.blocks", b.rs.OutboundBlocks)
	if b.rs.ICMP != rules.ICMPMinimal {
		b.icmp(c, rules.ICMPStandard)
	}
	b.dispatch(c, b.rs.Outbounds)
	b.refuse(c, "defaults.outbound", b.rs.Outbound)
}

// forward is the path of a packet through this host.
func (b *builder) forward() {
	ignored := b.rs.Routed == rules.RoutedIgnore
	if ignored && !b.enforced() {
		return
	}
	c := b.chain("forward")
	c.Base = &Base{Hook: packet.Forward, Policy: packet.Accept}
	b.established(c)
	if !ignored {
		b.blocks(c, "blocks", b.rs.Blocks)
	}
	if b.enforced() {
		c.add(rules.ReasonTranslated, Translated{}, Counter{}, accept)
	}
	if b.rs.Routed == rules.RoutedDrop {
		b.dispatch(c, b.rs.Routes)
		b.refuse(c, "defaults.routed", packet.Drop)
		return
	}
	if b.enforced() {
		b.direct(c)
	}
	if !ignored {
		b.refuse(c, "defaults.routed", packet.Accept)
	}
}

// direct refuses new packets that go from outside to a container by its own address.
func (b *builder) direct(c *Chain) {
	const name = "forward.containers"
	for _, i := range b.containers(true) {
		c.add("", append(i.stmts, Verdict{Kind: Jump, Chain: name})...)
	}
	if len(b.rs.ContainerInterfaces) > 0 {
		to := b.chain(name)
		for _, i := range b.containers(false) {
			to.add("", append(i.stmts, ret)...)
		}
		if b.rs.LogDenied {
			to.add("", CTState{[]packet.State{packet.New, packet.Untracked}}, Log{Prefix: "fwctl defaults.published: "})
		}
		to.add(rules.ReasonRouted, CTState{[]packet.State{packet.New, packet.Untracked}}, Counter{}, drop)
	}
}

// established accepts what belongs to a connection. It comes before the baseline,
// which accepts as well, so that most packets are done after two rules.
func (b *builder) established(c *Chain) {
	c.add("", CTState{[]packet.State{packet.Established, packet.Related}}, accept)
}

// baseline gives each protocol of the baseline a chain. There are four of them at
// most: four comparisons cost a packet less than one look-up in a map. Prerouting and
// input share theirs.
func (b *builder) baseline(c *Chain, hook string, allowances rules.Baseline) {
	written := map[string]bool{} // by this call; false: only jumped to
	for _, a := range allowances {
		name := hook + ".baseline." + protoText(a.Proto)
		write, jumped := written[name]
		if !jumped {
			_, done := b.chains[name]
			write = !done
			written[name] = write
			c.add("", L4Proto{a.Proto}, Verdict{Kind: Jump, Chain: name})
		}
		if write {
			b.allow(hook, b.chain(name), a)
		}
	}
}

// allow writes one allowance, a rule for each of its sources.
func (b *builder) allow(hook string, c *Chain, a rules.Allowance) {
	var stmts []Stmt
	switch {
	case len(a.Types) > 0:
		stmts = append(stmts, b.icmpTypes(hook+"."+slug(a.Name), a.Is6, a.Types))
	default:
		stmts = append(stmts, Family{a.Is6})
	}
	if a.Src != 0 {
		stmts = append(stmts,
			Port{Proto: a.Proto, Src: true, Range: packet.PortRange{Lo: a.Src, Hi: a.Src}},
			Port{Proto: a.Proto, Range: packet.PortRange{Lo: a.Dst, Hi: a.Dst}})
	}
	if len(a.From) == 0 {
		c.add(a.Name, append(stmts, accept)...)
	}
	for _, f := range a.From {
		// The address comes first and brings the family's test with it.
		rest := slices.DeleteFunc(slices.Clone(stmts), func(s Stmt) bool { return s == Stmt(Family{a.Is6}) })
		c.add(a.Name, append(append([]Stmt{Addr{Src: true, Prefix: f}}, rest...), accept)...)
	}
}

// icmpTypes matches one type directly and several through a set.
func (b *builder) icmpTypes(name string, is6 bool, types []uint8) Stmt {
	if len(types) == 1 {
		return ICMPType{Is6: is6, Type: types[0]}
	}
	field, suffix := FieldICMP, ".v4"
	if is6 {
		field, suffix = FieldICMP6, ".v6"
	}
	s := b.set(Set{Name: name + suffix, Fields: []Field{field}})
	if len(s.Elements) == 0 {
		for _, t := range types {
			s.Elements = append(s.Elements, Element{ICMP: t})
		}
	}
	return Lookup{Key: []Load{{Field: field}}, Set: s.Name}
}

func (b *builder) icmp(c *Chain, m rules.ICMP) {
	for _, is6 := range []bool{false, true} {
		if types := m.Types(is6); len(types) > 0 {
			c.add("defaults.icmp", b.icmpTypes(choose(c.Base != nil, c.Name, "input")+".icmp-requests", is6, types), Counter{}, accept)
		}
	}
}

// blocks puts the blocks into a chain of their own, which input and forward
// share.
func (b *builder) blocks(c *Chain, name string, blocks []*rules.Rule) {
	if len(blocks) == 0 {
		return
	}
	if _, done := b.chains[name]; !done {
		bc := b.chain(name)
		for _, r := range blocks {
			for _, alt := range b.alternatives(r, conditions{transports: true}) {
				bc.add(r.ID(), append(alt, Counter{}, drop)...)
			}
		}
	}
	c.add("", Verdict{Kind: Jump, Chain: name})
}

// refuse writes the default as the last rule of a base chain.
func (b *builder) refuse(c *Chain, name string, def packet.Verdict) {
	if def == packet.Accept {
		c.add(name, Counter{}, accept)
		return
	}
	if b.rs.LogDenied {
		c.add("", Log{Prefix: "fwctl " + name + ": "})
	}
	if def == packet.Reject {
		c.add(name, FibType{Type: "broadcast"}, Counter{}, drop)
		c.add(name, FibType{Type: "multicast"}, Counter{}, drop)
		c.add(name, L4Proto{packet.TCP}, Counter{}, Reject{Reset: true})
		c.add(name, L4Proto{packet.UDP}, Counter{}, Reject{})
	}
	c.add(name, Counter{}, drop)
}
