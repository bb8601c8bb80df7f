package pf_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
)

// machine is a host with rules of pf: one packet goes through them, one rule after
// the other, as pf.conf(5) says. It shares nothing with the reader but the syntax
// tree, and the names of what no packet tells.
type machine struct {
	*pf.Config
	opt    pf.Options
	holds  func(unknown string) bool
	natDst netip.Addr // of addresses of which any may be chosen, this is

	anchor string // whose rules are asked
	tables map[home]*pf.Table
	fills  map[home][]*pf.Rule // the rules that fill a table
	skip   []string
	rules  []*pf.Rule
	split  map[*pf.Rule][]*pf.Rule // the rules that the lists of one stand for
}

// home is a table: its name, and the anchor that it belongs to.
type home struct{ anchor, name string }

// crossing is a packet at one interface.
type crossing struct {
	packet.Packet
	fragment bool
	out      bool
	iface    string // that it crosses
	received string // by which it came in, if it goes out
	tag      string
	changed  bool // its addresses, at this interface
}

// verdict is what the rules do with it so far.
type verdict struct {
	outcome packet.Outcome
	apply   *pf.Rule   // whose translation is done when it wins
	within  *pf.Anchor // in which the last rule that matched stands
	hit     bool       // one has matched since this was last asked
	ends    bool       // FreeBSD: a quick anchor was entered
}

func newMachine(c *pf.Config, opt pf.Options) *machine {
	m := &machine{Config: c, opt: opt, tables: map[home]*pf.Table{}, fills: map[home][]*pf.Rule{}, split: map[*pf.Rule][]*pf.Rule{}}
	m.collect(c.Lines)
	m.collectFills(c.Lines)
	return m
}

func (m *machine) collect(lines []pf.Statement) {
	for _, l := range lines {
		switch l := l.(type) {
		case *pf.Table:
			m.tables[home{m.anchor, l.Name}] = l
		case *pf.Option:
			if l.Words[0] == "skip" {
				m.skip = append(m.skip, slices.DeleteFunc(slices.Clone(l.Words[2:]), func(w string) bool { return strings.Contains("{},", w) })...)
			}
		case *pf.Rule:
			m.rules = append(m.rules, m.parts(l)...)
		case *pf.Anchor:
			m.within(l, func(body []pf.Statement) { m.collect(body) })
		}
	}
}

func (m *machine) collectFills(lines []pf.Statement) {
	for _, l := range lines {
		switch l := l.(type) {
		case *pf.Rule:
			for _, part := range m.parts(l) {
				m.fill(part)
			}
		case *pf.Anchor:
			m.within(l, func(body []pf.Statement) { m.collectFills(body) })
		}
	}
}

func (m *machine) fill(r *pf.Rule) {
	for _, rate := range r.Rates {
		where := m.home(rate.Overload)
		if rate.Overload != "" && !slices.Contains(m.fills[where], r) {
			m.fills[where] = append(m.fills[where], r)
		}
	}
}

// parts are the rules that the kernel has for one that counts, each of which counts
// apart.
func (m *machine) parts(r *pf.Rule) []*pf.Rule {
	if parts := m.split[r]; parts != nil {
		return parts
	}
	parts := []*pf.Rule{r}
	again := m.Dialect == pf.FreeBSD && r.Action == pf.Matches && len(r.Translate) > 0 // it counts how many match
	if again || len(r.Rates) > 0 || slices.ContainsFunc(r.Unknown, dice) {
		parts = nil
		for _, s := range (&pf.Config{Dialect: m.Dialect, Lines: []pf.Statement{r}}).Expand().Lines {
			parts = append(parts, s.(*pf.Rule))
		}
	}
	m.split[r] = parts
	return parts
}

// dice reports whether a condition holds for a packet at one rule and not at another.
func dice(u string) bool {
	name, _, _ := strings.Cut(u, " ")
	return slices.Contains([]string{"probability", "max-pkt-rate", "once"}, name)
}

// within does something with the rules of an anchor.
func (m *machine) within(a *pf.Anchor, do func(body []pf.Statement)) {
	outer, body := m.anchor, a.Body
	m.anchor = strings.Trim(outer+"/"+a.Name, "/")
	if !a.Inline && m.opt.Anchors != nil {
		if c, ok := m.opt.Anchors(m.anchor); ok {
			body = c.Lines
		}
	}
	do(body)
	m.anchor = outer
}

// cross judges the packet at an interface, and changes it.
func (m *machine) cross(c *crossing) packet.Outcome {
	c.changed = false
	for _, s := range m.skip {
		if m.onName(s, c.iface) || m.Dialect == pf.MacOS && strings.TrimRight(c.iface, "0123456789") == s {
			return packet.OutcomeAccept
		}
	}
	if c.State == packet.Established || c.State == packet.Related {
		return packet.OutcomeAccept
	}
	if m.translate(c) {
		return packet.OutcomeAccept
	}
	v := verdict{outcome: packet.OutcomeAccept}
	if m.opt.Refuses || m.opt.Keeping {
		v.outcome = packet.OutcomeDrop
	}
	if m.Dialect == pf.FreeBSDOld || m.Dialect == pf.MacOS {
		m.stacked(c, &v)
	} else {
		m.evaluate(m.Lines, nil, c, &v)
	}
	if v.apply != nil && v.outcome == packet.OutcomeAccept && !m.rewrite(v.apply, c) {
		return packet.OutcomeDrop
	}
	return v.outcome
}

// evaluate tries the lines of an anchor; true: the evaluation is over. It is what
// OpenBSD and FreeBSD 15 do.
func (m *machine) evaluate(lines []pf.Statement, in *pf.Anchor, c *crossing, v *verdict) bool {
	for _, l := range lines {
		v.hit = false
		over := m.try(l, c, v)
		if v.hit {
			v.within = in
		}
		if a, ok := l.(*pf.Anchor); ok && a.Keyword == "anchor" && m.matches(a.Match, c) {
			over = m.ask(a, c, v)
		}
		if over {
			return true
		}
	}
	return false
}

// try is a statement that is no anchor.
func (m *machine) try(l pf.Statement, c *crossing, v *verdict) bool {
	switch l := l.(type) {
	case *pf.Rule:
		return m.rule(l, c, v)
	case *pf.Antispoof:
		return m.antispoof(l, c, v)
	}
	return false
}

// ask tries the rules of an anchor whose line matches.
func (m *machine) ask(a *pf.Anchor, c *crossing, v *verdict) (over bool) {
	v.ends = v.ends || m.Dialect == pf.FreeBSD && a.Quick
	m.within(a, func(body []pf.Statement) {
		rulesets := [][]pf.Statement{body}
		names := []*pf.Anchor{nil}
		if strings.HasSuffix(a.Name, "/*") {
			rulesets, names = nil, nil
			for _, l := range body {
				rulesets, names = append(rulesets, l.(*pf.Anchor).Body), append(names, l.(*pf.Anchor))
			}
		}
		for i, rules := range rulesets {
			outer := m.anchor
			if names[i] != nil {
				m.anchor = strings.TrimSuffix(outer, "*") + names[i].Name
			}
			over = m.evaluate(rules, a, c, v)
			m.anchor = outer
			if over = over || v.ends || m.Dialect == pf.OpenBSD && a.Quick && v.within == a; over {
				return
			}
		}
	})
	return over
}

// level is where the kernel goes on when it leaves an anchor.
type level struct {
	lines    []pf.Statement
	next     int
	anchor   string
	line     *pf.Anchor
	children [][]pf.Statement
	names    []string
	child    int
	matched  bool
}

// stacked tries all rules as the kernels do that keep a stack of anchors.
func (m *machine) stacked(c *crossing, v *verdict) {
	var stack []*level
	lines, i, match := filterRules(m.Lines), 0, false
	for {
		switch {
		case i < len(lines):
			l := lines[i]
			i++
			if a, ok := l.(*pf.Anchor); ok {
				if m.matches(a.Match, c) {
					match = false
					top := &level{lines: lines, next: i, anchor: m.anchor, line: a}
					stack = append(stack, top)
					lines, i = m.down(a, top), 0
				}
				break
			}
			v.hit = false
			over := m.try(l, c, v)
			match = match || v.hit
			if over {
				m.anchor = ""
				return
			}
		}
		if i < len(lines) {
			continue
		}
		quick := false
		for i >= len(lines) && len(stack) > 0 {
			top := stack[len(stack)-1]
			if top.child < len(top.children) {
				if match {
					top.matched, match = true, false
				}
				if top.child++; top.child < len(top.children) {
					lines, i, m.anchor = top.children[top.child], 0, top.names[top.child]
					continue
				}
			}
			stack = stack[:len(stack)-1]
			lines, i, m.anchor = top.lines, top.next, top.anchor
			if top.matched || match {
				quick = top.line.Quick
			}
		}
		if quick || i >= len(lines) {
			m.anchor = ""
			return
		}
	}
}

// down goes into an anchor: to its rules, or those of the first of its children.
func (m *machine) down(a *pf.Anchor, top *level) (rules []pf.Statement) {
	name := ""
	m.within(a, func(body []pf.Statement) {
		name, rules = m.anchor, filterRules(body)
		if !strings.HasSuffix(a.Name, "/*") {
			return
		}
		rules = nil
		for _, l := range body {
			child := l.(*pf.Anchor)
			top.children = append(top.children, filterRules(child.Body))
			top.names = append(top.names, strings.TrimSuffix(m.anchor, "*")+child.Name)
		}
	})
	if len(top.children) > 0 {
		name, rules = top.names[0], top.children[0]
	}
	m.anchor = name
	return rules
}

// filterRules are the statements that the kernel has among the rules that filter.
func filterRules(lines []pf.Statement) (out []pf.Statement) {
	for _, l := range lines {
		switch l := l.(type) {
		case *pf.Rule, *pf.Antispoof:
			out = append(out, l)
		case *pf.Anchor:
			if l.Keyword == "anchor" {
				out = append(out, l)
			}
		}
	}
	return out
}

func (m *machine) rule(r *pf.Rule, c *crossing, v *verdict) bool {
	for _, part := range m.parts(r) {
		for _, half := range halves(part) {
			if m.one(half, c, v) {
				return true
			}
		}
	}
	return false
}

// halves are the two rules of binat-to, for packets that go out and for those that come
// in, or the rule itself.
func halves(r *pf.Rule) []*pf.Rule {
	if len(r.Translate) != 1 || r.Translate[0].Kind != "binat-to" {
		return []*pf.Rule{r}
	}
	out, in := *r, *r
	to := r.Translate[0].To
	out.Dir, out.Translate = pf.Out, []pf.Translate{{Kind: "nat-to", To: to, Text: "static-port"}}
	in.Dir, in.Translate = pf.In, []pf.Translate{{Kind: "rdr-to", To: r.From.Hosts}}
	in.From.Hosts, in.To.Hosts = r.To.Hosts, to
	return []*pf.Rule{&out, &in}
}

func (m *machine) one(r *pf.Rule, c *crossing, v *verdict) bool {
	if !m.ruleMatches(r, c) {
		return false
	}
	if r.Action == pf.Matches && m.leaves(r, c) { // what comes of it is not said
		v.outcome, v.hit, v.apply = packet.OutcomeUnknown, true, nil
		return true
	}
	if early := m.Dialect == pf.FreeBSDOld || m.Dialect == pf.MacOS; r.Tag != "" && !(early && c.fragment) {
		c.tag = r.Tag
	}
	if r.Action == pf.Matches {
		if !m.rewrite(r, c) {
			v.outcome, v.apply = packet.OutcomeDrop, nil
			return true
		}
		return r.Quick
	}
	v.hit, v.apply = true, nil
	if r.Action == pf.Pass {
		v.outcome, v.apply = m.passed(r, c), r
	} else {
		v.outcome = m.refused(r, c)
	}
	return r.Quick
}

// leaves reports whether a rule sends packets where no rule says what becomes of them.
func (m *machine) leaves(r *pf.Rule, c *crossing) bool {
	switch {
	case strings.HasPrefix(r.Divert, "divert-packet"), strings.HasPrefix(r.Route, "route-to"):
		return true
	case strings.HasPrefix(r.Divert, "divert-to") && (m.Dialect != pf.OpenBSD || !c.out && c.Hook == packet.Forward):
		return true
	}
	return len(r.Translate) > 0 && r.Translate[0].Kind == "af-to"
}

func (m *machine) passed(r *pf.Rule, c *crossing) packet.Outcome {
	switch {
	case m.opt.Keeping && r.State == pf.NoState:
		return packet.OutcomeDrop
	case m.leaves(r, c):
		return packet.OutcomeUnknown
	}
	name := r.Label
	if name == "" {
		name = m.text(r)
	}
	for _, l := range r.Rates {
		if l.Overload == "" && m.holds(fmt.Sprintf("rule `%s` is over its %s %d", name, l.Name, l.Count)) {
			return packet.OutcomeDrop
		}
	}
	return packet.OutcomeAccept
}

func (m *machine) refused(r *pf.Rule, c *crossing) packet.Outcome {
	switch {
	case r.Answer == "", c.fragment:
		return packet.OutcomeDrop
	case c.Proto == packet.TCP && !strings.HasPrefix(r.Answer, "return-icmp") && c.Flags&packet.RST == 0:
		return packet.OutcomeReject // by a reset
	case strings.HasPrefix(r.Answer, "return-rst"):
		return packet.OutcomeDrop
	case m.Dialect == pf.MacOS && (c.Proto == 50 || c.Proto == 51):
		return packet.OutcomeDrop
	case c.Proto != packet.ICMP && !c.Is6(), c.Proto != packet.ICMPv6 && c.Is6():
		return packet.OutcomeReject
	}
	query := slices.Contains([]uint8{0, 8, 9, 10, 13, 14, 15, 16, 17, 18}, c.Type)
	if c.Is6() {
		query = c.Type >= 128 && c.Type != 137
	}
	if m.Dialect == pf.OpenBSD && query {
		return packet.OutcomeReject
	}
	return packet.OutcomeDrop
}

func (m *machine) ruleMatches(r *pf.Rule, c *crossing) bool {
	stateful := r.Action == pf.Pass && r.State != pf.NoState
	match := r.Match
	if stateful && match.Flags == nil && !r.Fragment {
		match.Flags = &pf.Flags{Set: packet.SYN, Mask: packet.SYN | packet.ACK}
	}
	for _, t := range r.Translate {
		if t.Kind != "af-to" {
			match.Family = narrowed(match.Family, t.To)
		}
	}
	switch {
	case !m.matches(match, c), r.Fragment && !c.fragment:
		return false
	case len(r.Types) > 0 && (c.fragment || !slices.ContainsFunc(r.Types, func(t pf.ICMPType) bool {
		return t.Type == c.Type && (t.Code < 0 || t.Code == int(c.Code))
	})):
		return false
	case stateful && m.Dialect == pf.OpenBSD && answers(c) && !slices.Contains(r.Options, "sloppy"):
		return false
	case len(r.From.OS) > 0 && !m.runs(r.From.OS, c):
		return false
	}
	return !slices.ContainsFunc(r.Unknown, func(u string) bool { return !m.hidden(r, u, c) })
}

// runs asks for the system of the source, which TCP alone betrays.
func (m *machine) runs(systems []string, c *crossing) bool {
	if c.fragment || c.Proto != packet.TCP {
		return m.Dialect == pf.OpenBSD // asks no other packet
	}
	return slices.ContainsFunc(systems, func(o string) bool { return m.holds("the source runs " + o) })
}

// hidden is a condition that the packet does not tell; the owner of a socket is not
// asked of every packet.
func (m *machine) hidden(r *pf.Rule, u string, c *crossing) bool {
	if !strings.HasPrefix(u, "user") && !strings.HasPrefix(u, "group") {
		return m.holds(m.unknown(r, u))
	}
	sockets := c.Proto == packet.TCP || c.Proto == packet.UDP
	switch m.Dialect {
	case pf.FreeBSDOld, pf.MacOS:
		return c.fragment || m.asked(r, u)
	case pf.FreeBSD:
		sockets = sockets || c.Proto == packet.SCTP
	}
	return !c.fragment && (!sockets || m.asked(r, u))
}

// asked reports whether a condition that no packet tells holds; of a list one of them.
func (m *machine) asked(r *pf.Rule, u string) bool {
	name, list, isList := strings.Cut(u, " { ")
	if !isList {
		return m.holds(m.unknown(r, u))
	}
	return slices.ContainsFunc(strings.Split(strings.TrimSuffix(list, " }"), ", "), func(who string) bool { return m.holds(name + " " + who) })
}

// narrowed is the family of a rule that gives packets addresses of one.
func narrowed(f pf.Family, to []pf.Host) pf.Family {
	if len(to) == 0 || slices.ContainsFunc(to, func(h pf.Host) bool {
		return h.Kind != pf.PrefixHost || h.Prefix.Addr().Is6() != to[0].Prefix.Addr().Is6()
	}) {
		return f
	}
	if to[0].Prefix.Addr().Is6() {
		return pf.Inet6
	}
	return pf.Inet
}

// unknown is the name of a condition. Each rule throws its own dice and counts its own
// packets.
func (m *machine) unknown(r *pf.Rule, u string) string {
	if !dice(u) {
		return u
	}
	u += " of rule `" + m.text(r) + "`"
	n := 0
	for _, other := range m.rules {
		if other == r {
			break
		}
		if m.text(other) == m.text(r) {
			n++
		}
	}
	if n > 0 {
		u += fmt.Sprintf(", the %dth like it", n+1)
	}
	return u
}

func (m *machine) text(s pf.Statement) string {
	return strings.TrimSuffix((&pf.Config{Dialect: m.Dialect, Lines: []pf.Statement{s}}).Print(), "\n")
}

// answers reports whether the packet is an answer of ICMP, which opens no state on
// OpenBSD.
func answers(c *crossing) bool {
	switch c.Proto {
	case packet.ICMP: // to echo, router solicitation, timestamp, information, mask, where, mobile registration
		return !c.fragment && !c.Is6() && slices.Contains([]uint8{0, 9, 14, 16, 18, 34, 36}, c.Type)
	case packet.ICMPv6: // to echo, node information, multicast trace
		return !c.fragment && c.Is6() && slices.Contains([]uint8{129, 140, 200}, c.Type)
	}
	return false
}

// matches tries every combination of the lists: each is a rule of its own.
func (m *machine) matches(r pf.Match, c *crossing) bool {
	if r.Dir == pf.In && c.out || r.Dir == pf.Out && !c.out || r.Family == pf.Inet && c.Is6() || r.Family == pf.Inet6 && !c.Is6() {
		return false
	}
	if len(r.On) > 0 && !slices.ContainsFunc(r.On, func(i pf.Iface) bool { return m.onName(i.Name, c.iface) != i.Not }) {
		return false
	}
	proto := c.Proto
	if c.fragment && c.Is6() && m.Dialect != pf.MacOS { // the kernel does not look behind its header
		proto = 44
	}
	if len(r.Protos) > 0 && !slices.Contains(r.Protos, proto) {
		return false
	}
	if !m.endpoint(r.From, false, c) || !m.endpoint(r.To, true, c) {
		return false
	}
	if f := r.Flags; f != nil && f.Mask != 0 && proto == packet.TCP && (c.fragment || c.Flags&f.Mask != f.Set) {
		return false
	}
	if r.Received != nil {
		came := c.iface
		if c.out {
			came = c.received
		}
		by := came != "" && m.onName(r.Received.Name, came)
		if by == r.Received.Not {
			return false
		}
	}
	return r.Tagged == "" || (r.Tagged == c.tag) != r.NotTag
}

func (m *machine) endpoint(e pf.Endpoint, dst bool, c *crossing) bool {
	port := c.SrcPort
	if dst {
		port = c.DstPort
	}
	if len(e.Hosts) > 0 && !slices.ContainsFunc(e.Hosts, func(h pf.Host) bool { return m.host(h, dst, c) }) {
		return false
	}
	return len(e.Ports) == 0 || !c.fragment && slices.ContainsFunc(e.Ports, func(p pf.PortOp) bool { return onPort(p, int(port)) })
}

func onPort(p pf.PortOp, n int) bool {
	lo, hi := int(p.Lo), int(p.Hi)
	switch p.Op {
	case "!=":
		return n != lo
	case "<":
		return n < lo
	case "<=":
		return n <= lo
	case ">":
		return n > lo
	case ">=":
		return n >= lo
	case "><":
		return n > lo && n < hi
	case "<>":
		return n < lo || n > hi
	}
	return n >= lo && n <= hi
}

func (m *machine) host(h pf.Host, dst bool, c *crossing) bool {
	a, side := c.Src, "the source"
	if dst {
		a, side = c.Dst, "the destination"
	}
	bare := h
	bare.Not = false
	is := false
	switch h.Kind {
	case pf.AnyHost:
		is = true
	case pf.PrefixHost:
		if h.Prefix.Addr().BitLen() != a.BitLen() || h.Zone != "" && h.Zone != c.iface {
			return false
		}
		is = h.Prefix.Contains(a)
	case pf.RangeHost:
		if h.Lo.BitLen() != a.BitLen() {
			return false
		}
		is = h.Lo.Compare(a) <= 0 && a.Compare(h.Hi) <= 0
	case pf.TableHost:
		is = m.inTable(h.Name, a, side)
	case pf.NoRoute, pf.URPFFailed, pf.RouteHost:
		is = m.holds(side + " is " + bare.String())
	default:
		of, known := m.addresses(h, a.Is6())
		switch {
		case !known:
			is = m.holds(side + " is " + bare.String())
		case h.Kind == pf.NamedHost: // each is a rule of its own
			return slices.ContainsFunc(of, func(p netip.Prefix) bool { return p.Contains(a) != h.Not })
		default:
			is = contains(of, a)
		}
	}
	return is != h.Not
}

func contains(of []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(of, func(p netip.Prefix) bool { return p.Contains(a) })
}

// addresses are those that the name of an interface stands for, of a family.
func (m *machine) addresses(h pf.Host, is6 bool) (out []netip.Prefix, known bool) {
	if h.Kind == pf.DynamicHost && h.Name == "self" && m.Dialect == pf.MacOS {
		return nil, true
	}
	for _, l := range links {
		if h.Name != "self" && h.Name != l.Name && (m.Dialect == pf.MacOS || !slices.Contains(groups[h.Name], l.Name)) {
			continue
		}
		known = true
		first := true
		for _, p := range l.Addrs {
			if p.Addr().Is6() != is6 || slices.Contains(h.Mods, "0") && !first || m.unseen(h, p) {
				continue
			}
			first = false
			if q, ok := modified(p, h); ok {
				out = append(out, q)
			}
		}
	}
	return out, known && !slices.Contains(h.Mods, "peer")
}

// unseen reports whether an address of the link alone is not among those of a name: of
// XNU's kernel none is.
func (m *machine) unseen(h pf.Host, p netip.Prefix) bool {
	link := p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()
	return link && (m.Dialect == pf.MacOS && h.Kind == pf.DynamicHost || m.Dialect == pf.FreeBSD && slices.Contains(h.Mods, "0"))
}

// modified is what the modifiers of a name make of an address.
func modified(p netip.Prefix, h pf.Host) (netip.Prefix, bool) {
	bits := p.Addr().BitLen()
	switch {
	case slices.Contains(h.Mods, "network"):
		return p.Masked(), !p.Addr().Is6() || !p.Addr().IsLinkLocalUnicast()
	case slices.Contains(h.Mods, "broadcast"):
		if p.Addr().Is6() || p.Bits() >= 31 {
			return p, false
		}
		return netip.PrefixFrom(lastOf(p), bits), true
	case h.Bits > 0:
		bits = min(bits, h.Bits)
	}
	return netip.PrefixFrom(p.Addr(), bits).Masked(), true
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// home is the table of a name that the rules ask: the anchor's own, or that of the main
// rules.
func (m *machine) home(name string) home {
	if m.tables[home{m.anchor, name}] != nil {
		return home{m.anchor, name}
	}
	return home{"", name}
}

func (m *machine) inTable(name string, a netip.Addr, side string) bool {
	where := m.home(name)
	t, fills := m.tables[where], m.fills[where]
	over := side + " is in table <" + name + ">"
	switch {
	case len(fills) == 0 && t != nil && !t.Listed:
		return m.holds(over)
	case len(fills) == 0:
		return t != nil && m.listed(t, a)
	}
	if key, ok := oneLimit(fills, a.Is6()); ok && side == "the source" {
		return !m.holds(key) || t != nil && t.Listed && m.listed(t, a)
	}
	return m.holds(over) || t != nil && t.Listed && m.listed(t, a)
}

// oneLimit is the name of the limit that alone fills a table.
func oneLimit(fills []*pf.Rule, is6 bool) (string, bool) {
	for _, r := range fills {
		if r.Label == "" && len(fills) > 1 || r.Label != fills[0].Label || !slices.Equal(r.Rates, fills[0].Rates) {
			return "", false
		}
	}
	for _, l := range fills[0].Rates {
		if l.Name == "max-src-conn-rate" && fills[0].Label != "" {
			return packet.Unspent(fills[0].Label, l.Count, time.Duration(l.Seconds)*time.Second, is6).(packet.Unknown).Key, true
		}
	}
	return "", false
}

// listed finds the longest entry that holds the address.
func (m *machine) listed(t *pf.Table, a netip.Addr) bool {
	best, in := -1, false
	try := func(p netip.Prefix, not bool) {
		if p.Contains(a) && p.Bits() > best {
			best, in = p.Bits(), !not
		}
	}
	for _, e := range t.Entries {
		if e.Name == "" {
			try(e.Prefix, e.Not)
			continue
		}
		name, network := strings.CutSuffix(e.Name, ":network")
		h := pf.Host{Kind: pf.NamedHost, Name: name}
		if network {
			h.Mods = []string{"network"}
		}
		of, _ := m.addresses(h, a.Is6())
		for _, p := range of {
			try(p, e.Not)
		}
	}
	for _, name := range t.Files {
		text, _ := m.opt.Files(name)
		for line := range strings.Lines(string(text)) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if word == "" || word == "#" {
				continue
			}
			net, not := strings.CutPrefix(word, "!")
			if net == "10/8" {
				net = "10.0.0.0/8"
			}
			p, err := netip.ParsePrefix(net)
			if err != nil {
				p = netip.PrefixFrom(netip.MustParseAddr(net), netip.MustParseAddr(net).BitLen())
			}
			try(p.Masked(), not)
		}
	}
	return in
}

// onName reports whether the interface is the one of the name, or of the group.
func (m *machine) onName(name, iface string) bool {
	switch name {
	case "any":
		return iface != "lo0"
	case iface:
		return true
	}
	return m.Dialect != pf.MacOS && slices.Contains(groups[name], iface)
}

func (m *machine) antispoof(a *pf.Antispoof, c *crossing, v *verdict) bool {
	if c.out || a.Family == pf.Inet && c.Is6() || a.Family == pf.Inet6 && !c.Is6() {
		return false
	}
	for _, i := range a.On {
		lo := i.Name == "lo" || i.Name == "lo0" // whose addresses are not refused elsewhere
		own, _ := m.addresses(pf.Host{Kind: pf.DynamicHost, Name: i.Name}, c.Is6())
		nets, _ := m.addresses(pf.Host{Kind: pf.DynamicHost, Name: i.Name, Mods: []string{"network"}}, c.Is6())
		spoofed := !m.onName(i.Name, c.iface) && contains(nets, c.Src)
		if spoofed || !lo && contains(own, c.Src) {
			v.outcome, v.hit, v.apply = packet.OutcomeDrop, true, nil
			if a.Quick {
				return true
			}
		}
	}
	return false
}

// rewrite does nat-to and rdr-to. FreeBSD does so once, and else throws the packet away.
func (m *machine) rewrite(r *pf.Rule, c *crossing) bool {
	for _, t := range r.Translate {
		if t.Kind != "nat-to" && t.Kind != "rdr-to" {
			continue
		}
		if m.Dialect == pf.FreeBSD && c.changed {
			return false
		}
		c.changed = true
		m.give(t.Kind == "rdr-to", t.To, t.Port, strings.Contains(t.Text, "static-port"), t.String(), c)
	}
	return true
}

// give gives a packet another destination, or another source.
func (m *machine) give(dst bool, to []pf.Host, port *pf.PortOp, keeps bool, text string, c *crossing) {
	a, one := m.single(to, c.Is6())
	text = strings.TrimSpace(text)
	if dst {
		if c.Dst = m.natDst; one {
			c.Dst = a
		}
		c.DstPort = m.port(c.DstPort, port, port == nil, text)
		return
	}
	if c.Src = a; !one {
		c.Src = m.anySource(text, c.Is6())
	}
	c.SrcPort = m.port(c.SrcPort, port, port == nil && keeps, text)
}

// port is the one that a packet gets.
func (m *machine) port(was uint16, port *pf.PortOp, keeps bool, text string) uint16 {
	switch {
	case keeps:
		return was
	case port != nil && port.Op == "" && port.Lo == port.Hi:
		return port.Lo
	}
	var n uint16 // which one is not known
	for i := range uint(16) {
		if m.holds(packet.UnknownBit("the port after "+text, i)) {
			n |= 1 << i
		}
	}
	return n
}

// anySource is one that is not known.
func (m *machine) anySource(text string, is6 bool) netip.Addr {
	bytes := make([]byte, 4)
	if is6 {
		bytes = make([]byte, 16)
	}
	for i := range uint(8 * len(bytes)) {
		if m.holds(packet.UnknownBit("the source after "+text, i)) {
			bytes[len(bytes)-1-int(i/8)] |= 1 << (i % 8)
		}
	}
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// single is the one address of a pool.
func (m *machine) single(to []pf.Host, is6 bool) (netip.Addr, bool) {
	if len(to) != 1 {
		return netip.Addr{}, false
	}
	if to[0].Kind == pf.PrefixHost {
		return to[0].Prefix.Addr(), to[0].Prefix.IsSingleIP()
	}
	of, _ := m.addresses(to[0], is6)
	if len(of) != 1 {
		return netip.Addr{}, false
	}
	return of[0].Addr(), true
}

// translate does nat, rdr and binat of the old grammar; true: the packet passes. Each
// kind has rules of its own.
func (m *machine) translate(c *crossing) bool {
	if c.fragment && (m.Dialect == pf.FreeBSDOld || m.Dialect == pf.MacOS) {
		return false
	}
	for _, kind := range map[bool][]string{false: {"rdr", "binat"}, true: {"binat", "nat"}}[c.out] {
		t, _ := m.translation(m.Lines, kind, c)
		if t == nil {
			continue
		}
		to, port, keeps := t.To, t.Port, strings.Contains(t.Text, "static-port")
		if kind == "binat" {
			port, keeps = nil, true
			if !c.out {
				to = t.From.Hosts
			}
		}
		c.changed = true
		m.give(!c.out, to, port, keeps, m.text(t), c)
		if t.Tag != "" {
			c.tag = t.Tag
		}
		return t.Pass
	}
	return false
}

// translation is the first of a kind that matches; over: none behind it is asked.
func (m *machine) translation(lines []pf.Statement, kind string, c *crossing) (found *pf.Translation, over bool) {
	for _, l := range lines {
		switch l := l.(type) {
		case *pf.Translation:
			match := l.Match
			match.Family = narrowed(match.Family, l.To)
			if kind == "binat" && !c.out {
				match.From.Hosts, match.To.Hosts = l.Match.To.Hosts, l.To
			}
			if l.Kind != kind || !m.matches(match, c) {
				continue
			}
			if l.No {
				if l.Tag != "" {
					c.tag = l.Tag
				}
				return nil, true
			}
			return l, true
		case *pf.Anchor:
			if l.Keyword != kind+"-anchor" || !m.matches(l.Match, c) {
				continue
			}
			m.within(l, func(body []pf.Statement) { found, over = m.translation(body, kind, c) })
			if over {
				return found, true
			}
		}
	}
	return nil, false
}
