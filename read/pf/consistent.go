package pf

import (
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// hasPorts reports whether the dialect knows ports of the protocol.
func (d Dialect) hasPorts(p packet.Proto) bool {
	return p == packet.TCP || p == packet.UDP || p == packet.SCTP && d == FreeBSD
}

// consistentMatch refuses what cannot stand together in a rule of any kind.
func (p *parser) consistentMatch(m Match) {
	d := p.config.Dialect
	if len(m.From.Ports)+len(m.To.Ports) > 0 && (len(m.Protos) == 0 || slices.ContainsFunc(m.Protos, func(x packet.Proto) bool { return !d.hasPorts(x) })) {
		p.refuse("port only applies to tcp and udp: each protocol of the rule must be one of these")
	}
	if !possible(m) {
		p.refuse("the rule expands to no valid combination of address families")
	}
}

// possible reports whether the lists multiply out to anything.
func possible(m Match) bool {
	f4, f6 := families(m.From.Hosts)
	t4, t6 := families(m.To.Hosts)
	return f4 && t4 && m.Family != Inet6 || f6 && t6 && m.Family != Inet
}

// addressFamily is the family that all hosts of a side have, as pfctl finds it.
func (m Match) addressFamily() Family {
	for _, hs := range [][]Host{m.From.Hosts, m.To.Hosts} {
		all := AnyFamily
		for i, h := range hs {
			if f := h.family(); i == 0 {
				all = f
			} else if f != all {
				all = AnyFamily
				break
			}
		}
		if all != AnyFamily {
			return all
		}
	}
	return AnyFamily
}

// families are those that one of the hosts can have.
func families(hs []Host) (v4, v6 bool) {
	if len(hs) == 0 {
		return true, true
	}
	for _, h := range hs {
		f := h.family()
		v4, v6 = v4 || f != Inet6, v6 || f != Inet
	}
	return v4, v6
}

// family is the one that a literal address gives to its rule.
func (h Host) family() Family {
	is6 := false
	switch h.Kind {
	case PrefixHost:
		is6 = h.Prefix.Addr().Is6()
	case RangeHost:
		is6 = h.Lo.Is6()
	default:
		return AnyFamily
	}
	if is6 {
		return Inet6
	}
	return Inet
}

// consistent refuses what cannot stand together in a filter rule.
func (p *parser) consistent(r *Rule) {
	icmp := packet.ICMP
	if r.Family == Inet6 {
		icmp = packet.ICMPv6
	}
	switch {
	case len(r.Types) > 0 && !r.only(icmp):
		p.refuse("icmp-type only applies to icmp, and icmp6-type to icmp6")
	case r.Action == Block && r.AllowOpts:
		p.refuse("allow-opts can only stand in pass rules")
	case r.Action == Block && strings.HasPrefix(r.Answer, "return-rst") && !r.only(packet.TCP):
		p.refuse("return-rst only applies to tcp")
	case r.Flags != nil && r.Flags.Mask != 0 && len(r.Protos) > 0 && !slices.Contains(r.Protos, packet.TCP):
		p.refuse("flags only applies to tcp")
	case len(r.From.OS) > 0 && !r.only(packet.TCP):
		p.refuse("os only applies to tcp")
	case slices.Contains(r.Options, "sloppy") && (r.State == ModulateState || r.State == SynproxyState):
		p.refuse("sloppy does not go with modulate and synproxy state")
	case r.Fragment && (len(r.From.Ports)+len(r.To.Ports) > 0 || len(r.Types) > 0 || r.Flags != nil):
		p.refuse("a rule for fragments cannot ask for ports, flags or types")
	}
	for _, t := range r.Translate {
		if t.Kind != "af-to" {
			p.consistentPool(r.Match, t.To)
		}
	}
	if !slices.ContainsFunc(r.Translate, func(t Translate) bool { return t.Kind == "af-to" }) {
		p.consistentPool(r.Match, r.hops)
	}
	p.consistentFamily(r)
	p.consistentOwner(r)
	p.consistentRates(r)
}

// consistentPool refuses a rule that gives packets addresses of another family than it
// is for.
func (p *parser) consistentPool(m Match, to []Host) {
	f := given(m.Family, to)
	m.Family = f
	if pool := familyOf(to); pool != AnyFamily && pool != f || !possible(m) {
		p.refuse("the rule and the addresses that it gives are of different families")
	}
}

func (p *parser) consistentOwner(r *Rule) {
	for _, u := range r.Unknown {
		owner := len(u) > 5 && (u[:5] == "user " || u[:5] == "group")
		if owner && p.config.Dialect == OpenBSD && !r.only(packet.TCP, packet.UDP) {
			p.refuse("user and group only apply to tcp and udp")
		}
	}
}

func (p *parser) consistentRates(r *Rule) {
	global := slices.Contains(r.Options, "source-track global")
	for _, rate := range r.Rates {
		if rate.Name != "max" && rate.Name != "max-src-states" && global {
			p.refuse("%s does not go with source-track global", rate.Name)
		}
	}
}

// consistentFamily refuses ICMP of one family in rules for the other, of which each part
// of a list is one.
func (p *parser) consistentFamily(r *Rule) {
	switch {
	case slices.Contains(r.Protos, packet.ICMP) && r.canBe(Inet6):
		p.refuse("icmp does not go with the family of the rule, inet6")
	case slices.Contains(r.Protos, packet.ICMPv6) && r.canBe(Inet):
		p.refuse("icmp6 does not go with the family of the rule, inet")
	}
}

// canBe reports whether a part of the rule says that it is for the family.
func (s *Rule) canBe(f Family) bool {
	of := func(hs []Host) []Family {
		if len(hs) == 0 {
			return []Family{AnyFamily}
		}
		return slices.Compact(slices.Sorted(slices.Values(mapped(hs, Host.family))))
	}
	for _, a := range of(s.From.Hosts) {
		for _, b := range of(s.To.Hosts) {
			said := slices.DeleteFunc([]Family{s.family(), a, b}, func(x Family) bool { return x == AnyFamily })
			if len(said) > 0 && !slices.ContainsFunc(said, func(x Family) bool { return x != f }) {
				return true
			}
		}
	}
	return false
}
