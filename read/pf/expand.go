package pf

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Expand returns the filter rules as the kernel gets them, which is as pfctl -sr
// prints them: lists are multiplied out, options, tables and macros are left out,
// and what a rule leaves to the defaults is written where the system writes it.
func (c *Config) Expand() *Config {
	return &Config{Dialect: c.Dialect, Lines: c.expandLines(c.Lines)}
}

func (c *Config) expandLines(lines []Statement) []Statement {
	var out []Statement
	for _, s := range lines {
		switch s := s.(type) {
		case *Rule:
			out = append(out, c.expandRule(s)...)
		case *Antispoof:
			for _, r := range s.rules(isLoopback) {
				out = append(out, c.expandRule(r)...)
			}
		case *Scrub:
			out = append(out, c.expandScrub(s)...)
		case *Anchor:
			if s.Keyword == "anchor" {
				out = append(out, c.expandAnchor(s)...)
			}
		}
	}
	numbered(out)
	return out
}

// expandAnchor multiplies the lists of an anchor out, but for one with rules of its own:
// they would be there several times.
func (c *Config) expandAnchor(a *Anchor) []Statement {
	all := (&Rule{Match: a.Match, addressesFirst: c.Dialect.modern()}).combinations()
	if a.Inline && len(all) > 1 {
		all = []Match{a.Match}
	}
	var out []Statement
	for _, m := range all {
		one := *a
		one.Match, one.Body = m, c.expandLines(a.Body)
		one.sayFamily()
		if len(m.Protos) == 1 && m.Protos[0] != packet.TCP {
			one.Flags = nil
		}
		out = append(out, &one)
	}
	return out
}

// sayFamily writes the family of single addresses.
func (m *Match) sayFamily() {
	if f := m.addressFamily(); f != AnyFamily {
		m.Family = f
	}
}

// isLoopback reports whether an interface is one by its name.
func isLoopback(name string) bool {
	unit, ok := strings.CutPrefix(name, "lo")
	return ok && unit != "" && strings.Trim(unit, "0123456789") == ""
}

// expandRule multiplies the lists of a rule out: interfaces, protocols, ICMP types,
// sources and destinations, the last changing first.
func (c *Config) expandRule(s *Rule) []Statement {
	var out []Statement
	for _, m := range s.combinations() {
		r := *s
		r.Match = m
		parts := r.binatHalves()
		if parts == nil {
			parts = []*Rule{&r}
		}
		for _, part := range parts {
			c.explicit(part)
			part.fillIn()
			out = append(out, part)
		}
	}
	return out
}

// expandScrub multiplies the lists of a scrub rule out; fragments are put together where
// the rule does not say another thing.
func (c *Config) expandScrub(s *Scrub) []Statement {
	var out []Statement
	lists := Rule{Match: s.Match, addressesFirst: c.Dialect.modern()}
	for _, m := range lists.combinations() {
		one := *s
		one.Match = m
		one.sayFamily()
		if !s.No && !slices.ContainsFunc(s.Options, func(o string) bool { return firstWord(o) == "fragment" }) {
			one.Options = append(slices.Clip(s.Options), "fragment reassemble")
		}
		out = append(out, &one)
	}
	return out
}

// combinations are the products of a rule's lists that some packet can match.
func (s *Rule) combinations() []Match {
	all := []Match{s.Match}
	all[0].Family = s.family()
	all = each(all, len(s.On), func(m *Match, i int) { m.On = s.On[i : i+1] })
	all = each(all, len(s.Protos), func(m *Match, i int) { m.Protos = s.Protos[i : i+1] })
	all = each(all, len(s.Types), func(m *Match, i int) { m.Types = s.Types[i : i+1] })
	all = each(all, len(s.From.Hosts), func(m *Match, i int) { m.From.Hosts = s.From.Hosts[i : i+1] })
	if s.addressesFirst {
		all = each(all, len(s.To.Hosts), func(m *Match, i int) { m.To.Hosts = s.To.Hosts[i : i+1] })
	}
	all = each(all, len(s.From.Ports), func(m *Match, i int) { m.From.Ports = s.From.Ports[i : i+1] })
	all = each(all, len(s.From.OS), func(m *Match, i int) { m.From.OS = s.From.OS[i : i+1] })
	if !s.addressesFirst {
		all = each(all, len(s.To.Hosts), func(m *Match, i int) { m.To.Hosts = s.To.Hosts[i : i+1] })
	}
	all = each(all, len(s.To.Ports), func(m *Match, i int) { m.To.Ports = s.To.Ports[i : i+1] })
	all = eachOwner(eachOwner(all, "user"), "group")
	for i := range all {
		all[i].takeZone()
	}
	return slices.DeleteFunc(all, func(m Match) bool { return !possible(m) || m.zoned() })
}

// zoned reports whether an address is one of another interface than the rule is for. A
// group may have it.
func (m Match) zoned() bool {
	if len(m.On) == 0 || m.On[0].Not || strings.HasPrefix(m.On[0].Name, domain) || strings.TrimRight(m.On[0].Name, "0123456789") == m.On[0].Name {
		return false
	}
	return slices.ContainsFunc(slices.Concat(m.From.Hosts, m.To.Hosts), func(h Host) bool { return h.Zone != "" })
}

// takeZone makes a rule for an address of an interface one for that interface, if it is
// not for another.
func (m *Match) takeZone() {
	for _, hs := range []*[]Host{&m.From.Hosts, &m.To.Hosts} {
		if len(*hs) != 1 || (*hs)[0].Zone == "" {
			continue
		}
		h := (*hs)[0]
		if len(m.On) == 0 {
			m.On = []Iface{{Name: h.Zone}}
		}
		if m.On[0] == (Iface{Name: h.Zone}) {
			h.Zone = ""
			*hs = []Host{h}
		}
	}
}

// each puts every one of n choices in the place of each match.
func each(ms []Match, n int, choose func(*Match, int)) []Match {
	if n == 0 {
		return ms
	}
	var out []Match
	for _, m := range ms {
		for i := range n {
			next := m
			choose(&next, i)
			out = append(out, next)
		}
	}
	return out
}

// explicit writes what the rule leaves to defaults: the family of its addresses, the
// flags, the state. OpenBSD does not write a state without options.
func (c *Config) explicit(r *Rule) {
	r.sayFamily()
	r.From.Hosts, r.To.Hosts = masked(r.From.Hosts, r.Family), masked(r.To.Hosts, r.Family)
	r.answerOf()
	kept := r.Action == Pass && r.State != NoState
	if r.Flags != nil && (len(r.Protos) > 0 && r.Protos[0] != packet.TCP || r.Flags.Mask == 0 && (!kept || r.Fragment)) {
		r.Flags = nil
	}
	if !kept {
		return
	}
	if len(r.Protos) > 0 && r.Protos[0] != packet.TCP && r.State > KeepState {
		r.State = KeepState
	}
	r.Options = c.counted(r)
	if r.Flags == nil && !r.Fragment && (len(r.Protos) == 0 || r.Protos[0] == packet.TCP) {
		r.Flags = &Flags{Set: packet.SYN, Mask: packet.SYN | packet.ACK}
	}
	switch {
	case c.Dialect != OpenBSD && r.State == DefaultState:
		r.State = KeepState
	case c.Dialect == OpenBSD && r.State == KeepState && len(r.Options) == 0:
		r.State = DefaultState
	}
}

// masked leaves out the masks of names that are as long as an address.
func masked(hs []Host, f Family) []Host {
	longest := map[Family]int{Inet: 32, Inet6: 128}[f]
	if len(hs) == 0 || longest == 0 || hs[0].Bits < longest {
		return hs
	}
	h := hs[0]
	h.Bits = 0
	return []Host{h}
}

// answerOf writes the codes of the ICMP errors with which the rule answers, those of
// its family.
func (s *Rule) answerOf() {
	name, codes, said := strings.Cut(strings.TrimSuffix(s.Answer, ")"), "(")
	if !strings.HasPrefix(name, "return-icmp") {
		return
	}
	code4, code6, both := strings.Cut(codes, ", ")
	switch {
	case !said:
		code4, code6 = "port-unr", "port-unr"
	case name == "return-icmp6":
		code4, code6 = "port-unr", code4
	case !both:
		code6 = "addr-unr" // pfctl prints 3, which it reads as that
	}
	s.Answer = map[Family]string{
		AnyFamily: "return-icmp(" + code4 + ", " + code6 + ")", Inet: "return-icmp(" + code4 + ")", Inet6: "return-icmp6(" + code6 + ")",
	}[s.Family]
}

// counted adds what pfctl makes of limits: how sources are tracked, and how long,
// and shorter timeouts where there are many states.
func (c *Config) counted(r *Rule) []string {
	options := slices.DeleteFunc(slices.Clone(r.Options), func(o string) bool { return o == "floating" || strings.HasPrefix(o, "source-track") })
	has := func(name string) bool {
		return slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, name) })
	}
	add := func(name string, n uint64) {
		if n > 0 {
			options = append(options, name+" "+strconv.FormatUint(n, 10))
		}
	}
	for _, rate := range r.Rates {
		switch {
		case rate.Name == "max" && !has("adaptive."):
			add("adaptive.start", rate.Count/10*6)
			add("adaptive.end", rate.Count/10*12)
		case rate.Name == "max-src-conn-rate":
			options = trackedFor(options, rate.Seconds)
		}
	}
	if t := r.track(); t != "" {
		options = append(options, "source-track "+t)
	}
	inStateOrder(options)
	return options
}

// trackedFor makes sources known for so many seconds, if the rule does not say more.
func trackedFor(options []string, seconds uint64) []string {
	const name = "src.track "
	for i, o := range options {
		if n, is := strings.CutPrefix(o, name); is {
			if said, err := strconv.ParseUint(n, 10, 64); err == nil && said < seconds {
				options[i] = name + strconv.FormatUint(seconds, 10)
			}
			return options
		}
	}
	return append(options, name+strconv.FormatUint(seconds, 10))
}

// track is what the limits of the rule count: the sources of the rule, or of all rules.
func (s *Rule) track() string {
	t := ""
	for _, o := range s.Options {
		switch name, value, _ := strings.Cut(o, " "); name {
		case "max-src-conn", "max-src-conn-rate", "max-src-nodes":
			return "rule"
		case "source-track":
			t = cmp.Or(value, "global")
		case "max-src-states":
			t = cmp.Or(t, "global")
		}
	}
	return t
}

// numbered fills the numbers of rules in, which count all rules of their ruleset.
func numbered(lines []Statement) {
	n := 0
	for _, l := range lines {
		if _, scrub := l.(*Scrub); scrub {
			continue
		}
		if r, ok := l.(*Rule); ok {
			r.names(func(s string) string { return strings.ReplaceAll(s, "$nr", strconv.Itoa(n)) })
		}
		n++
	}
}

// names changes the names of a rule in which pfctl fills in what the rule is.
func (s *Rule) names(f func(string) string) {
	s.Label, s.Tag, s.Tagged = f(s.Label), f(s.Tag), f(s.Tagged)
	s.Labels = texts(s.Labels, f)
}

// fillIn puts what the rule is for in the place of the words for it.
func (s *Rule) fillIn() {
	on := "any"
	if len(s.On) > 0 && !strings.HasPrefix(s.On[0].Name, domain) {
		on = s.On[0].Name
	}
	proto := "ip"
	if len(s.Protos) > 0 {
		proto = protoName(s.Protos[0])
	}
	for _, w := range [][2]string{
		{"$if", on}, {"$srcaddr", hostLabel(s.From.Hosts)}, {"$dstaddr", hostLabel(s.To.Hosts)},
		{"$srcport", portLabel(s.From.Ports)}, {"$dstport", portLabel(s.To.Ports)}, {"$proto", proto},
	} {
		s.names(func(t string) string { return strings.ReplaceAll(t, w[0], w[1]) })
	}
}

// hostLabel is an address as it stands in a label.
func hostLabel(hs []Host) string {
	if len(hs) == 0 {
		return "any"
	}
	h := hs[0]
	h.Mods, h.Bits, h.Zone = nil, 0, ""
	switch {
	case h.Kind == RangeHost, h.Kind == RouteHost:
		return "?"
	case h.Kind == PrefixHost && h.Prefix.Bits() == 0:
		return map[bool]string{true: "! "}[h.Not] + "any"
	}
	return h.String()
}

// portLabel is a port as it stands in a label, which has no ranges.
func portLabel(ps []PortOp) string {
	if len(ps) == 0 || ps[0].Op == "" && ps[0].Lo != ps[0].Hi {
		return ""
	}
	return strings.TrimPrefix(strings.ReplaceAll(ps[0].String(), " ", ""), "=")
}
