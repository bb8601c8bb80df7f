package iptables

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Options say what the host's iptables can use.
type Options struct {
	IPSet bool // ipset is there; without it large groups become a rule for each prefix
}

// Render compiles the ruleset for both families. It is canonical: equal rulesets
// give equal programs. Where there are problems of severity Error the Program
// must not be used.
func Render(rs *rules.Ruleset, opt Options) (*Program, rules.Problems) {
	sets, problems := map[string]*Set{}, problemSet{}
	p := &Program{}
	for _, is6 := range []bool{false, true} {
		b := &builder{
			rs: rs, opt: opt, is6: is6, family: &p.V4, chains: map[string]*Chain{}, sets: sets, problems: problems,
			addresses: map[*netipx.IPSet]*addresses{},
		}
		if is6 {
			b.family = &p.V6
		}
		b.table = &b.family.Table
		b.prerouting()
		b.input()
		b.output()
		b.forward()
	}
	for _, s := range sets {
		p.Sets = append(p.Sets, s)
	}
	slices.SortFunc(p.Sets, func(a, b *Set) int { return cmp.Compare(a.Name, b.Name) })
	unresolved(rs, problems)
	return p, problems.sorted()
}

// unresolved tells which groups are incomplete.
func unresolved(rs *rules.Ruleset, ps problemSet) {
	for _, g := range rs.Groups {
		for _, name := range g.Unresolved {
			ps.add(g.Pos, rules.Note,
				"group."+g.Name+": "+name+" is not resolved, its addresses are missing from the rendering",
				"apply resolves names; give --host FILE to render with known addresses")
		}
	}
}

// problemSet holds each problem once, though both families meet it.
type problemSet map[rules.Problem]bool

func (ps problemSet) add(pos rules.Pos, s rules.Severity, summary, hint string) {
	ps[rules.Problem{Pos: pos, Severity: s, Summary: summary, Hint: hint}] = true
}

func (ps problemSet) sorted() rules.Problems {
	list := rules.Problems(slices.Collect(maps.Keys(ps)))
	list.Sort()
	return list
}

// builder writes one family.
type builder struct {
	rs        *rules.Ruleset
	opt       Options
	is6       bool
	family    *Family
	table     *Table            // that is being written
	tag       string            // of the chains of services and blocks, in table mangle
	chains    map[string]*Chain // by name
	sets      map[string]*Set   // by name; of both families
	problems  problemSet
	addresses map[*netipx.IPSet]*addresses
}

// chain makes a new chain at the end of the family.
func (b *builder) chain(name string) *Chain {
	c := &Chain{Name: chainName(name, func(s string) bool { return b.chains[s] != nil })}
	b.chains[c.Name] = c
	b.table.Chains = append(b.table.Chains, c)
	return c
}

// hook is one built-in chain and what the policy says of its packets.
type hook struct {
	name    string // of the built-in chain
	packet  packet.Hook
	def     packet.Verdict
	comment string // of the default
}

func (b *builder) enter(h hook) *Chain {
	c := b.chain(h.name)
	b.table.Jumps = append(b.table.Jumps, Jump{From: h.name, To: c.Name})
	return c
}

// input is the path of a packet for this host. The connection state comes before
// the baseline, unlike in the design's list: both accept, so the order between
// them decides nothing, and most packets are done after two rules.
func (b *builder) input() {
	h := hook{name: "INPUT", packet: packet.Input, def: b.rs.Inbound, comment: "defaults.inbound"}
	c := b.enter(h)
	c.add(Match{In: "lo"}, "loopback", accept)
	c.add(ctstate("RELATED,ESTABLISHED"), "established", accept)
	c = b.baseline(c, h, rules.InputBaseline)
	if b.rs.LogDenied {
		c.add(ctstate("INVALID").and(logLimit), "invalid", logTo("invalid"))
	}
	c.add(ctstate("INVALID"), "invalid", drop)
	b.blocks(c, h, b.rs.Blocks)
	if b.enforced() {
		b.fromContainers(c)
		c.add(translated, rules.ReasonTranslated, accept)
	}
	b.icmp(c, b.rs.ICMP)
	b.openings(c, h, b.rs.Services)
}

func (b *builder) enforced() bool { return b.rs.Published == rules.PublishedEnforce }

var (
	translated = ext("-m conntrack --ctstate DNAT")
	fresh      = ctstate("NEW").and(ext("-m addrtype --dst-type LOCAL")) // what prerouting judges
)

// publishedTag is in the names of chains that stand before translation.
const publishedTag = "PUB-"

// prerouting judges new packets for this host before anything translates them. What
// it lets pass, and is not translated, input judges once more.
func (b *builder) prerouting() {
	if !b.enforced() {
		return
	}
	if b.rs.Inbound == packet.Reject {
		b.problems.add(b.rs.PublishedAt, rules.Error, `iptables cannot reject before translation: published = "enforce" with inbound = "reject" cannot be said`,
			`use inbound = "drop", or the nftables backend`)
		return
	}
	b.table, b.tag = &b.family.Mangle, publishedTag
	defer func() { b.table, b.tag = &b.family.Table, "" }()
	h := hook{name: "PREROUTING", packet: packet.Prerouting, def: b.rs.Inbound, comment: "defaults.inbound"}
	c := b.enter(h)
	c.add(Match{In: "lo"}, "loopback", accept)
	b.fromContainers(c)
	c.add(ext("-m conntrack ! --ctstate NEW"), "not new", accept)
	c.add(ext("-m addrtype ! --dst-type LOCAL"), "not for this host", accept)
	c = b.baseline(c, h, rules.InputBaseline)
	b.blocks(c, h, b.rs.Blocks)
	b.icmp(c, b.rs.ICMP)
	b.openings(c, h, b.rs.Services)
}

// fromContainers leaves alone what enters from containers.
func (b *builder) fromContainers(c *Chain) {
	for _, m := range b.containers(false) {
		c.add(m, rules.ReasonContainer, accept)
	}
}

// output is the path of a packet from this host. Without anything to refuse
// there is none.
func (b *builder) output() {
	if b.rs.Outbound == packet.Accept && len(b.rs.OutboundBlocks) == 0 {
		return
	}
	h := hook{name: "OUTPUT", packet: packet.Output, def: b.rs.Outbound, comment: "defaults.outbound"}
	c := b.enter(h)
	c.add(Match{Out: "lo"}, "loopback", accept)
	c.add(ctstate("RELATED,ESTABLISHED"), "established", accept)
	c = b.baseline(c, h, rules.OutputBaseline)
	b.blocks(c, h, b.rs.OutboundBlocks)
	if b.rs.ICMP != rules.ICMPMinimal {
		b.icmp(c, rules.ICMPStandard)
	}
	b.openings(c, h, b.rs.Outbounds)
}

// forward is the path of a packet through this host.
func (b *builder) forward() {
	if b.enforced() && b.rs.Routed != rules.RoutedDrop {
		b.direct()
	}
	if b.rs.Routed == rules.RoutedIgnore {
		return
	}
	h := hook{name: "FORWARD", packet: packet.Forward, def: packet.Drop, comment: "defaults.routed"}
	if b.rs.Routed == rules.RoutedAccept {
		h.def = packet.Accept
	}
	c := b.enter(h)
	c.add(ctstate("RELATED,ESTABLISHED"), "established", accept)
	b.blocks(c, h, b.rs.Blocks)
	if b.enforced() {
		c.add(translated, rules.ReasonTranslated, accept)
	}
	b.openings(c, h, b.rs.Routes)
}

// direct refuses new packets that go from outside to a container by its own address. It
// stands in table mangle, since in table filter the engine's own rules, which accept
// some of them, may come to stand before it. Its chain is entered by a jump, so that all
// others come back.
func (b *builder) direct() {
	from, into := b.containers(false), b.containers(true)
	if len(into) == 0 {
		return
	}
	b.table = &b.family.Mangle
	defer func() { b.table = &b.family.Table }()
	c, to := b.chain(publishedTag+"FORWARD"), b.chain(publishedTag+"CONTAINERS")
	b.table.Jumps = append(b.table.Jumps, Jump{From: "FORWARD", To: c.Name})
	c.add(ctstate("RELATED,ESTABLISHED"), "established", accept)
	c.add(translated, rules.ReasonTranslated, accept)
	for _, m := range into {
		c.add(m, "containers", Verdict{Target: to.Name})
	}
	for _, m := range from {
		to.add(m, rules.ReasonContainer, accept)
	}
	direct := ctstate("NEW,UNTRACKED")
	if b.rs.LogDenied {
		to.add(direct.and(logLimit), rules.ReasonRouted, logTo("routed"))
	}
	to.add(direct, rules.ReasonRouted, drop)
}

func ctstate(states string) Match { return ext("-m conntrack --ctstate", states) }

// baseline writes a rule for each allowance of the family, type and source, and
// returns the chain of what is tried next. Those of ICMP stand in a chain of
// their own, which all other packets pass by.
func (b *builder) baseline(c *Chain, h hook, allowances rules.Baseline) *Chain {
	icmp, next := b.chain(h.name+"/icmp"), b.chain(h.name+"/new")
	c.add(Match{Proto: protoText(b.icmpProto())}, "icmp", goTo(icmp))
	for _, a := range allowances {
		switch {
		case a.Is6 != b.is6:
		case a.Proto == b.icmpProto():
			b.allow(icmp, a)
		default:
			b.allow(c, a)
		}
	}
	icmp.add(Match{}, "new", goTo(next))
	c.add(Match{}, "new", goTo(next))
	return next
}

func (b *builder) icmpProto() packet.Proto {
	if b.is6 {
		return packet.ICMPv6
	}
	return packet.ICMP
}

func (b *builder) allow(c *Chain, a rules.Allowance) {
	proto := Match{Proto: protoText(a.Proto)}
	if a.Src != 0 {
		proto = proto.and(portMatch(a.Proto, packet.Ports{{Lo: a.Src, Hi: a.Src}}, packet.Ports{{Lo: a.Dst, Hi: a.Dst}}))
	}
	from := []Match{{}}
	if len(a.From) > 0 {
		from = nil
	}
	for _, p := range a.From {
		from = append(from, Match{Src: p.String()})
	}
	for _, m := range product([]Match{proto}, from, b.icmpTypes(a.Types)) {
		c.add(m, a.Name, accept)
	}
}

// icmpTypes matches each of the types; all packets if there are none.
func (b *builder) icmpTypes(types []uint8) []Match {
	if len(types) == 0 {
		return []Match{{}}
	}
	ms := make([]Match, len(types))
	for i, t := range types {
		n := strconv.Itoa(int(t))
		if b.is6 {
			ms[i] = ext("-m icmp6 --icmpv6-type", n)
		} else {
			ms[i] = ext("-m icmp --icmp-type", n)
		}
	}
	return ms
}

func (b *builder) icmp(c *Chain, m rules.ICMP) {
	types := m.Types(b.is6)
	if len(types) == 0 {
		return
	}
	for _, m := range product([]Match{{Proto: protoText(b.icmpProto())}}, b.icmpTypes(types)) {
		c.add(m, "defaults.icmp", accept)
	}
}

// blocks drops what a block names. Several blocks stand in a chain that input
// and forward share: it is entered by a jump, so that what no block names comes
// back.
func (b *builder) blocks(c *Chain, h hook, blocks []*rules.Rule) {
	at := h.packet
	if at == packet.Input || at == packet.Prerouting {
		at = packet.Forward // the chain is for both; what asks for an interface to leave by matches nothing in input
	}
	var open []opening
	lines := 0
	for _, r := range blocks {
		if o := b.opening(r, at); o.possible() {
			open, lines = append(open, o), lines+o.product()
		}
	}
	if lines > inlineRules {
		name := b.tag + "BLOCKS"
		if h.packet == packet.Output {
			name = "OUT-BLOCKS"
		}
		shared, done := b.chains["FWCTL-"+name]
		if !done {
			shared = b.chain(name)
		}
		c.add(Match{}, "blocks", Verdict{Target: shared.Name})
		if done {
			return
		}
		c = shared
	}
	for _, o := range open {
		b.spread(c, o.dims, spreading{name: b.chainOf(o.rule), id: o.rule.ID(), nest: true, hit: drop})
	}
}

// refusal is the verdict on what nothing accepts. A default that takes more than
// one rule gets a chain of its own.
func (b *builder) refusal(h hook) Verdict {
	switch {
	case h.def == packet.Accept:
		return accept
	case h.def == packet.Drop && !b.rs.LogDenied:
		return drop
	}
	c := b.chain(h.name + "/deny")
	if b.rs.LogDenied {
		c.add(logLimit, h.comment, logTo(h.comment))
	}
	if h.def == packet.Reject {
		b.reject(c, h.comment)
	}
	c.add(Match{}, h.comment, drop)
	return goTo(c)
}

// reject answers TCP and UDP, but nothing that more than one host hears.
func (b *builder) reject(c *Chain, comment string) {
	port := "icmp-port-unreachable"
	if b.is6 {
		port = "icmp6-port-unreachable"
	} else {
		c.add(ext("-m addrtype --dst-type BROADCAST"), comment, drop)
	}
	c.add(ext("-m addrtype --dst-type MULTICAST"), comment, drop)
	c.add(Match{Proto: "tcp"}, comment, Verdict{Target: "REJECT", Args: "--reject-with tcp-reset"})
	c.add(Match{Proto: "udp"}, comment, Verdict{Target: "REJECT", Args: "--reject-with " + port})
}

// logLimit bounds every line that is logged: ten a second, twenty at once, as
// in the other renderings.
var logLimit = ext("-m limit --limit 10/sec --limit-burst 20")

// maxPrefix is what the LOG target takes (struct xt_log_info, 30 bytes with the
// final zero).
const maxPrefix = 29

// logTo writes to the kernel's log, with a prefix that names the cause; "~"
// stands for what does not fit.
func logTo(cause string) Verdict {
	if room := maxPrefix - len("fwctl : "); len(cause) > room {
		cause = cause[:room-1] + "~"
	}
	return Verdict{Target: "LOG", Args: `--log-prefix "fwctl ` + cause + `: "`}
}
