package pf

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
)

func protocol(ps ...packet.Proto) packet.Cond {
	rs := make([]packet.Range, len(ps))
	for i, p := range ps {
		rs[i] = packet.Single(packet.Number(uint64(p)))
	}
	return packet.In{Field: packet.FieldProto, Set: packet.NewRanges(rs...)}
}

// whole holds for packets with a transport header: no fragment but the first.
var whole = packet.In{Field: packet.FieldFragment, Set: packet.Ranges{packet.Single(packet.Value{})}}

// ruleCond is the condition of a filter rule.
func (r *reader) ruleCond(s *Rule) packet.Cond {
	m := s.Match
	m.Family = s.family()
	c := r.header(m, s.kind())
	if keeps := s.Action == Pass && s.State != NoState; keeps && r.Dialect == OpenBSD && !slices.Contains(s.Options, "sloppy") {
		c = append(c, packet.Not{Cond: r.reply()})
	}
	for _, u := range s.Unknown {
		c = append(c, r.untold(u, func(u string) string { return r.condition(s, u) }))
	}
	return c
}

// untold is a condition that no packet tells, of a list one of them, each by its name.
func (r *reader) untold(u string, name func(string) string) packet.Cond {
	var one packet.Any
	for _, choice := range choices(u) {
		one = append(one, r.unknown(name(choice), false))
	}
	if ofOwner(u) {
		return r.owned(one)
	}
	return one
}

// header is the conditions of a rule that packets tell, and what nobody knows of them.
func (r *reader) header(m Match, kind string) packet.All {
	c := packet.All{r.match(m, kind)}
	if len(m.Types) > 0 {
		c = append(c, whole, r.types(m.Types))
	}
	if m.Fragment {
		c = append(c, packet.Not{Cond: whole})
	}
	if len(m.From.OS) > 0 {
		c = append(c, r.runs(m.From.OS))
	}
	return c
}

// anchorCond is the condition of an anchor.
func (r *reader) anchorCond(a *Anchor) packet.Cond {
	c := r.header(a.Match, "")
	for _, u := range a.Unknown {
		c = append(c, r.untold(u, func(u string) string {
			if ofRule(u) {
				u = fmt.Sprintf("%s of the anchor on line %d", u, a.Line)
			}
			return u
		}))
	}
	return c
}

// ofOwner reports whether a condition is for the owner of a socket.
func ofOwner(u string) bool { return strings.HasPrefix(u, "user ") || strings.HasPrefix(u, "group ") }

// owned is what a kernel makes of the owner of a socket: for protocols that have none
// it does not ask, and fragments without a header have none either; before, these were
// not asked (pf_match_rule, pf_test_fragment).
func (r *reader) owned(is packet.Cond) packet.Cond {
	switch r.Dialect {
	case OpenBSD:
		return packet.All{whole, packet.Any{packet.Not{Cond: protocol(packet.TCP, packet.UDP)}, is}}
	case FreeBSD:
		return packet.All{whole, packet.Any{packet.Not{Cond: protocol(packet.TCP, packet.UDP, packet.SCTP)}, is}}
	}
	return packet.Any{packet.Not{Cond: whole}, is}
}

// runs is a test of the system that the source runs, in a list each one in a rule of its
// own. It shows in TCP alone; OpenBSD asks nothing else for it.
func (r *reader) runs(systems []string) packet.Cond {
	var runs packet.Any
	for _, o := range systems {
		runs = append(runs, r.unknown("the source runs "+o, false))
	}
	tells := packet.All{protocol(packet.TCP), whole}
	if r.Dialect == OpenBSD {
		return append(runs, packet.Not{Cond: tells})
	}
	return append(tells, runs)
}

// ofRule reports whether a condition that no packet tells holds for a packet at one
// rule and not at another.
func ofRule(u string) bool {
	name, _, _ := strings.Cut(u, " ")
	return slices.Contains([]string{"probability", "max-pkt-rate", "once"}, name)
}

// condition is the name of one that no packet tells.
func (r *reader) condition(s *Rule, u string) string {
	if !ofRule(u) {
		return u
	}
	u += " of rule `" + r.ruleText(s) + "`"
	if n := r.nth[s]; n > 0 {
		u += fmt.Sprintf(", the %dth like it", n+1)
	}
	return u
}

// kind is the word of the rule, if its flags have a default: pass with state.
func (s *Rule) kind() string {
	if s.Action == Pass && s.State != NoState && !s.Fragment {
		return "pass"
	}
	return ""
}

// replies are the ICMP types that OpenBSD lets no rule with state match: those that
// pf_icmp_mapping takes for answers (pf_match_rule in pf.c).
var replies = map[bool][]uint8{
	false: {0, 9, 14, 16, 18, 34, 36},
	true:  {129, 140, 200},
}

func (r *reader) reply() packet.Cond {
	p := packet.ICMP
	if r.is6 {
		p = packet.ICMPv6
	}
	rs := make([]packet.Range, len(replies[r.is6]))
	for i, t := range replies[r.is6] {
		rs[i] = packet.Single(packet.Number(uint64(t)))
	}
	return packet.All{protocol(p), whole, packet.In{Field: packet.FieldType, Set: packet.NewRanges(rs...)}}
}

// types is a test for ICMP types and codes; the protocol is tested elsewhere.
func (r *reader) types(ts []ICMPType) packet.Cond {
	var c packet.Any
	for _, t := range ts {
		one := packet.All{packet.In{Field: packet.FieldType, Set: packet.NewRanges(packet.Single(packet.Number(uint64(t.Type))))}}
		if t.Code >= 0 {
			one = append(one, packet.In{Field: packet.FieldCode, Set: packet.NewRanges(packet.Single(packet.Number(uint64(t.Code))))})
		}
		c = append(c, one)
	}
	return c
}

// match is the conditions that all kinds of rules have.
func (r *reader) match(m Match, kind string) packet.Cond {
	c := packet.All{}
	if m.Family == Inet && r.is6 || m.Family == Inet6 && !r.is6 {
		return packet.Never
	}
	if len(m.On) > 0 {
		c = append(c, r.ifaces(m.On, r.dir == Out))
	}
	if len(m.Protos) > 0 {
		c = append(c, r.protocols(m.Protos))
	}
	if len(m.From.Ports)+len(m.To.Ports) > 0 {
		c = append(c, whole)
	}
	c = append(c, r.hosts(m.From.Hosts, false), r.hosts(m.To.Hosts, true),
		ports(m.From.Ports, packet.FieldSrcPort), ports(m.To.Ports, packet.FieldDstPort), r.flags(m, kind))
	if m.Received != nil {
		c = append(c, r.received(*m.Received))
	}
	if m.Tagged != "" {
		is := r.tagIs(m.Tagged)
		if m.NotTag {
			is = packet.Not{Cond: is}
		}
		c = append(c, is)
	}
	return c
}

// ip6Fragment is the number of the header of an IPv6 fragment.
const ip6Fragment packet.Proto = 44

// headless reports whether a fragment of IPv6 counts as of no protocol but its own, if
// it is not the first: the kernel reads on no further (pf_walk_header6).
func (r *reader) headless() bool { return r.is6 && r.Dialect != MacOS }

// protocols is a test for one of some protocols.
func (r *reader) protocols(ps []packet.Proto) packet.Cond {
	if !r.headless() {
		return protocol(ps...)
	}
	c := packet.Any{packet.All{whole, protocol(ps...)}}
	if slices.Contains(ps, ip6Fragment) {
		c = append(c, packet.Not{Cond: whole})
	}
	return c
}

// flags is a test of TCP's flags, of TCP alone. A pass rule with state and no word
// on them asks for S/SA.
func (r *reader) flags(m Match, kind string) packet.Cond {
	f := m.Flags
	if f == nil && kind == "pass" && (len(m.Protos) == 0 || slices.Contains(m.Protos, packet.TCP)) {
		f = &Flags{Set: packet.SYN, Mask: packet.SYN | packet.ACK}
	}
	if f == nil || f.Mask == 0 {
		return packet.All{}
	}
	return packet.Any{
		packet.Not{Cond: r.protocols([]packet.Proto{packet.TCP})},
		packet.All{whole, packet.Bits{Field: packet.FieldFlags, Mask: packet.Number(uint64(f.Mask)), Value: packet.Number(uint64(f.Set))}},
	}
}

// ports is a test of a port; several are a union.
func ports(ops []PortOp, field packet.Field) packet.Cond {
	if len(ops) == 0 {
		return packet.All{}
	}
	var rs []packet.Range
	for _, o := range ops {
		rs = append(rs, o.ranges()...)
	}
	return packet.In{Field: field, Set: packet.NewRanges(rs...)}
}

// ranges are the ports that the test holds for.
func (p PortOp) ranges() []packet.Range {
	span := func(lo, hi int) []packet.Range {
		if lo > hi || lo > 65535 || hi < 0 {
			return nil
		}
		return []packet.Range{{Lo: packet.Number(uint64(lo)), Hi: packet.Number(uint64(hi))}}
	}
	lo, hi := int(p.Lo), int(p.Hi)
	switch p.Op {
	case "!=":
		return append(span(0, lo-1), span(lo+1, 65535)...)
	case "<":
		return span(0, lo-1)
	case "<=":
		return span(0, lo)
	case ">":
		return span(lo+1, 65535)
	case ">=":
		return span(lo, 65535)
	case "><":
		return span(lo+1, hi-1)
	case "<>":
		return append(span(0, lo-1), span(hi+1, 65535)...)
	}
	return span(lo, hi)
}

// received is a test of the interface by which a packet came in, which at its way in
// is the one that it crosses (pf_match_rcvif in pf.c).
func (r *reader) received(i Iface) packet.Cond {
	none := packet.Iface{Pattern: ""}
	c := packet.Cond(packet.All{packet.Not{Cond: none}, r.iface(i.Name, false)})
	if r.dir == In {
		c = r.iface(i.Name, false)
	}
	if i.Not {
		return packet.Not{Cond: c}
	}
	return c
}

// ifaces is a test for one of some interfaces, in a list each one a rule of its own.
func (r *reader) ifaces(is []Iface, out bool) packet.Cond {
	c := packet.Any{}
	for _, i := range is {
		one := r.iface(i.Name, out)
		if i.Not {
			one = packet.Not{Cond: one}
		}
		c = append(c, one)
	}
	return c
}

// iface is a test for an interface or one of a group. The loopback interface lo0 goes
// by the name "lo", as a policy calls it.
func (r *reader) iface(name string, out bool) packet.Cond {
	exact := packet.Iface{Out: out, Pattern: name}
	last := name[len(name)-1]
	switch {
	case strings.HasPrefix(name, domain):
		return r.unknown("the packet is in "+name, false)
	case name == "any":
		return packet.Not{Cond: r.iface("lo", out)}
	case name == "lo0":
		return packet.Iface{Out: out, Pattern: "lo"}
	case name == "lo" && r.Dialect == MacOS:
		return packet.Never // no interface is called so
	case name == "lo":
		return r.loopbacks(out)
	case r.Dialect == MacOS, last >= '0' && last <= '9':
		return exact
	}
	if members, known := r.opt.Groups[name]; known || r.opt.Groups != nil {
		c := packet.Any{exact}
		for _, m := range members {
			c = append(c, packet.Iface{Out: out, Pattern: m})
		}
		return c
	}
	if slices.Contains(r.Dialect.drivers(), name) {
		return packet.Iface{Out: out, Pattern: name + "*"}
	}
	way := "enters by"
	if out {
		way = "leaves by"
	}
	return packet.Any{exact, r.unknown("it "+way+" an interface of group "+name, true)}
}

// loopbacks is the group lo.
func (r *reader) loopbacks(out bool) packet.Cond {
	c := packet.Any{}
	for _, n := range r.loopback {
		c = append(c, packet.Iface{Out: out, Pattern: n})
	}
	return c
}

// skipped is a test for the interfaces of `set skip`; macOS compares the beginning of
// the name with a driver's.
func (r *reader) skipped(names []string, out bool) packet.Cond {
	c := packet.Any{}
	for _, name := range names {
		switch {
		case r.Dialect != MacOS || name[len(name)-1] >= '0' && name[len(name)-1] <= '9':
			c = append(c, r.iface(name, out))
		case name == "lo":
			c = append(c, r.loopbacks(out))
		default:
			c = append(c, units(name, out))
		}
	}
	return c
}

// units is a test for the interfaces of a driver (pfi_skip_if in pf_if.c of XNU).
func units(driver string, out bool) packet.Cond {
	c := packet.Any{packet.Iface{Out: out, Pattern: driver}}
	for unit := '0'; unit <= '9'; unit++ {
		c = append(c, packet.Iface{Out: out, Pattern: driver + string(unit) + "*"})
	}
	return c
}

// isLoopback notes another interface of the driver lo.
func (r *reader) isLoopback(name string) {
	unit, ok := strings.CutPrefix(name, "lo")
	if ok && unit != "" && unit != "0" && strings.Trim(unit, "0123456789") == "" && !slices.Contains(r.loopback, name) {
		r.loopback = append(r.loopback, name)
	}
}

// drivers are those of cloned interfaces, each with a group of its name
// (if_clone of both systems); hardware has none.
func (d Dialect) drivers() []string {
	switch d {
	case OpenBSD:
		return []string{
			"aggr", "bpe", "bridge", "carp", "egre", "enc", "eoip", "etherip", "gif", "gre", "mgre", "mpe", "mpip", "mpw",
			"nvgre", "pair", "pflog", "pflow", "pfsync", "ppp", "pppoe", "sec", "svlan", "tap", "tpmr", "trunk", "tun",
			"veb", "vether", "vlan", "vport", "vxlan", "wg",
		}
	case FreeBSD, FreeBSDOld:
		return []string{
			"bridge", "disc", "edsc", "enc", "epair", "gif", "gre", "ipsec", "lagg", "me", "ovpn", "pflog", "pfsync",
			"stf", "tap", "tun", "vlan", "vmnet", "vxlan", "wg", "wlan",
		}
	}
	return nil
}

// unspent is the condition that a source is not over the limit that fills a table.
func (r *reader) unspent(s *Rule) (packet.Cond, bool) {
	if s == nil { // several fill it
		return nil, false
	}
	i := slices.IndexFunc(s.Rates, func(x Rate) bool { return x.Name == "max-src-conn-rate" })
	if i < 0 || s.Label == "" {
		return nil, false
	}
	return packet.Unspent(s.Label, s.Rates[i].Count, time.Duration(s.Rates[i].Seconds)*time.Second, r.is6), true
}
