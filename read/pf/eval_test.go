package pf_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
)

// machine is a host with rules of pf: one packet goes through them, one rule after
// the other, as pf.conf(5) says. It shares nothing with the reader but the syntax
// tree.
type machine struct {
	*pf.Config
	links  map[string][]netip.Prefix
	groups map[string][]string
	tables map[string]*pf.Table
	skip   []string
	holds  func(unknown string) bool
}

// crossing is a packet at one interface.
type crossing struct {
	packet.Packet
	fragment bool
	out      bool
	iface    string // that it crosses
	received string // by which it came in, if it goes out
	tag      string
}

// verdict is what the rules do with it so far.
type verdict struct {
	outcome packet.Outcome
	matched bool
	apply   *pf.Rule // whose translation is done when it wins
}

func newMachine(c *pf.Config) *machine {
	m := &machine{Config: c, tables: map[string]*pf.Table{}}
	for _, l := range c.Lines {
		switch l := l.(type) {
		case *pf.Table:
			m.tables[l.Name] = l
		case *pf.Option:
			if l.Words[0] == "skip" {
				for _, w := range l.Words[2:] {
					if w != "{" && w != "}" && w != "," {
						m.skip = append(m.skip, w)
					}
				}
			}
		}
	}
	return m
}

// cross judges the packet at an interface, and changes it.
func (m *machine) cross(c *crossing) packet.Outcome {
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
	m.evaluate(m.Lines, c, &v)
	if v.apply != nil && v.outcome == packet.OutcomeAccept {
		m.rewrite(v.apply, c)
	}
	return v.outcome
}

// evaluate tries the lines; true: the evaluation is over.
func (m *machine) evaluate(lines []pf.Statement, c *crossing, v *verdict) bool {
	for _, l := range lines {
		switch l := l.(type) {
		case *pf.Rule:
			if m.rule(l, c, v) {
				return true
			}
		case *pf.Antispoof:
			if m.antispoof(l, c, v) {
				return true
			}
		case *pf.Anchor:
			if l.Keyword != "anchor" || !m.matches(l.Match, c) {
				continue
			}
			inner := verdict{outcome: v.outcome, apply: v.apply}
			over := m.evaluate(l.Body, c, &inner)
			if inner.matched {
				*v = inner
			}
			if over || inner.matched && l.Quick {
				return true
			}
		}
	}
	return false
}

func (m *machine) rule(r *pf.Rule, c *crossing, v *verdict) bool {
	if !m.ruleMatches(r, c) {
		return false
	}
	if r.Tag != "" {
		c.tag = r.Tag
	}
	if r.Action == pf.Matches {
		m.rewrite(r, c)
		return false
	}
	v.matched, v.apply = true, nil
	if r.Action == pf.Pass {
		v.outcome, v.apply = m.passed(r), r
	} else {
		v.outcome = m.refused(r, c)
	}
	return r.Quick
}

func (m *machine) passed(r *pf.Rule) packet.Outcome {
	w := (&pf.Config{Dialect: m.Dialect, Lines: []pf.Statement{r}}).Print()
	name := r.Label
	if name == "" {
		name = strings.TrimSuffix(w, "\n")
	}
	for _, o := range r.Options {
		limit, n, _ := strings.Cut(o, " ")
		if strings.HasPrefix(limit, "max") && m.holds("rule `"+name+"` is over its "+limit+" "+n) {
			return packet.OutcomeDrop
		}
	}
	return packet.OutcomeAccept
}

func (m *machine) refused(r *pf.Rule, c *crossing) packet.Outcome {
	switch {
	case r.Answer == "":
		return packet.OutcomeDrop
	case c.Proto == packet.TCP && (c.fragment || c.Flags&packet.RST == 0), c.Proto == packet.UDP:
		return packet.OutcomeReject
	case c.Proto != packet.TCP && m.holds("pf answers protocols other than TCP and UDP"):
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
	switch {
	case !m.matches(match, c), r.Fragment && !c.fragment:
		return false
	case len(r.Types) > 0 && (c.fragment || !slices.ContainsFunc(r.Types, func(t pf.ICMPType) bool {
		return t.Type == c.Type && (t.Code < 0 || t.Code == int(c.Code))
	})):
		return false
	case stateful && m.Dialect == pf.OpenBSD && answers(c):
		return false
	}
	for _, u := range r.Unknown {
		if strings.HasPrefix(u, "probability") { // each rule throws its own dice
			u += " of rule `" + m.text(r) + "`"
			if n := m.before(r); n > 0 {
				u += fmt.Sprintf(", the %dth like it", n+1)
			}
		}
		if !m.holds(u) {
			return false
		}
	}
	return true
}

func (m *machine) text(r *pf.Rule) string {
	return strings.TrimSuffix((&pf.Config{Dialect: m.Dialect, Lines: []pf.Statement{r}}).Print(), "\n")
}

// before counts the rules before that say the same.
func (m *machine) before(r *pf.Rule) int {
	n, found := 0, false
	var count func(lines []pf.Statement)
	count = func(lines []pf.Statement) {
		for _, l := range lines {
			switch l := l.(type) {
			case *pf.Anchor:
				count(l.Body)
			case *pf.Rule:
				found = found || l == r
				if !found && m.text(l) == m.text(r) {
					n++
				}
			}
		}
	}
	count(m.Lines)
	return n
}

// answers reports whether the packet is an answer of ICMP, which opens no state on
// OpenBSD.
func answers(c *crossing) bool {
	switch c.Proto {
	case packet.ICMP:
		return !c.Is6() && slices.Contains([]uint8{0, 9, 14, 16, 18}, c.Type)
	case packet.ICMPv6:
		return c.Is6() && slices.Contains([]uint8{129, 131, 132, 134, 140, 143}, c.Type)
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
	if len(r.Protos) > 0 && !slices.Contains(r.Protos, c.Proto) {
		return false
	}
	if !m.endpoint(r.From, c.Src, c.SrcPort, "the source", c) || !m.endpoint(r.To, c.Dst, c.DstPort, "the destination", c) {
		return false
	}
	if f := r.Flags; f != nil && f.Mask != 0 && c.Proto == packet.TCP && (c.fragment || c.Flags&f.Mask != f.Set) {
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

func (m *machine) endpoint(e pf.Endpoint, a netip.Addr, port uint16, side string, c *crossing) bool {
	if len(e.Hosts) > 0 && !slices.ContainsFunc(e.Hosts, func(h pf.Host) bool { return m.host(h, a, side) }) {
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

func (m *machine) host(h pf.Host, a netip.Addr, side string) bool {
	is := false
	switch h.Kind {
	case pf.AnyHost:
		is = true
	case pf.PrefixHost:
		if h.Prefix.Addr().BitLen() != a.BitLen() {
			return false
		}
		is = h.Prefix.Contains(a)
	case pf.RangeHost:
		if h.Lo.BitLen() != a.BitLen() {
			return false
		}
		is = h.Lo.Compare(a) <= 0 && a.Compare(h.Hi) <= 0
	case pf.TableHost:
		is = m.inTable(h.Name, a)
	case pf.NoRoute:
		is = m.holds(side + " is no-route")
	case pf.URPFFailed:
		is = m.holds(side + " is urpf-failed")
	default:
		is = m.ofInterface(h, a)
	}
	return is != h.Not
}

// ofInterface reports whether an address is one that the name of an interface
// stands for.
func (m *machine) ofInterface(h pf.Host, a netip.Addr) bool {
	if h.Kind == pf.DynamicHost && h.Name == "self" && m.Dialect == pf.MacOS {
		return false
	}
	for name, addrs := range m.links {
		if h.Name != "self" && h.Name != name {
			continue
		}
		first := true
		for _, p := range addrs {
			if p.Addr().BitLen() != a.BitLen() || slices.Contains(h.Mods, "0") && !first {
				continue
			}
			first = false
			switch {
			case slices.Contains(h.Mods, "network") && p.Contains(a) && !p.Addr().IsLinkLocalUnicast(),
				slices.Contains(h.Mods, "broadcast") && a.Is4() && p.Bits() < 31 && a == lastOf(p),
				!slices.Contains(h.Mods, "network") && !slices.Contains(h.Mods, "broadcast") && p.Addr() == a:
				return true
			}
		}
	}
	return false
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

func (m *machine) inTable(name string, a netip.Addr) bool {
	t := m.tables[name]
	if t == nil {
		return false
	}
	best, in := -1, false
	for _, e := range t.Entries {
		if e.Prefix.Contains(a) && e.Prefix.Bits() > best {
			best, in = e.Prefix.Bits(), !e.Not
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
	return m.Dialect != pf.MacOS && slices.Contains(m.groups[name], iface)
}

func (m *machine) antispoof(a *pf.Antispoof, c *crossing, v *verdict) bool {
	if c.out || a.Family == pf.Inet && c.Is6() || a.Family == pf.Inet6 && !c.Is6() {
		return false
	}
	for _, i := range a.On {
		lo := i.Name == "lo" || i.Name == "lo0" // whose addresses are not refused elsewhere
		spoofed := !m.onName(i.Name, c.iface) && m.ofInterface(pf.Host{Kind: pf.DynamicHost, Name: i.Name, Mods: []string{"network"}}, c.Src)
		if spoofed || !lo && m.ofInterface(pf.Host{Kind: pf.DynamicHost, Name: i.Name}, c.Src) {
			v.outcome, v.matched, v.apply = packet.OutcomeDrop, true, nil
			if a.Quick {
				return true
			}
		}
	}
	return false
}

// rewrite does nat-to and rdr-to.
func (m *machine) rewrite(r *pf.Rule, c *crossing) {
	for _, t := range r.Translate {
		m.give(t.Kind == "rdr-to", t.To[0].Prefix.Addr(), t.Port, t.String(), c)
	}
}

func (m *machine) give(dst bool, to netip.Addr, port *pf.PortOp, text string, c *crossing) {
	if dst == c.out || to.BitLen() != c.Src.BitLen() {
		return
	}
	if !dst {
		c.Src = to
		c.SrcPort = 0 // which one is not known
		for i := range uint(16) {
			if m.holds(packet.UnknownBit("the port after "+text, i)) {
				c.SrcPort |= 1 << i
			}
		}
		return
	}
	c.Dst = to
	if port != nil {
		c.DstPort = port.Lo
	}
}

// translate does nat and rdr of the old grammar; true: the packet passes.
func (m *machine) translate(c *crossing) bool {
	for _, l := range m.Lines {
		t, ok := l.(*pf.Translation)
		if !ok || (t.Kind == "rdr") == c.out || !m.matches(t.Match, c) {
			continue
		}
		if !t.No {
			text := (&pf.Config{Dialect: m.Dialect, Lines: []pf.Statement{t}}).Print()
			m.give(t.Kind == "rdr", t.To[0].Prefix.Addr(), t.Port, strings.TrimSpace(text), c)
		}
		return t.Pass
	}
	return false
}
