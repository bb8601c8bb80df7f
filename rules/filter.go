package rules

import (
	"slices"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
)

// Filter returns the policy as a packet filter at one hook and for one family:
// the same meaning as Decide, for all packets at once. It is made from the
// ruleset alone and shares nothing with the renderers, which are proved against
// it.
func (rs *Ruleset) Filter(hook packet.Hook, is6 bool) *packet.Filter {
	f := newFilterer(rs, hook, is6)
	f.lean = true
	return f.filter()
}

// AtHook is Filter for what stands at one hook alone. The two are the same but where
// published ports are enforced: the packets that prerouting has judged are not counted
// at input once more.
func (rs *Ruleset) AtHook(hook packet.Hook, is6 bool) *packet.Filter {
	f := newFilterer(rs, hook, is6)
	f.lean, f.alone = true, true
	return f.filter()
}

func newFilterer(rs *Ruleset, hook packet.Hook, is6 bool) *filterer {
	return &filterer{rs: rs, hook: hook, is6: is6, ranges: map[*netipx.IPSet]packet.Ranges{}}
}

func (f *filterer) filter() *packet.Filter {
	f.steps = nil
	switch f.hook {
	case packet.Output:
		f.output()
	case packet.Forward:
		f.forward()
	case packet.Prerouting:
		f.prerouting()
	default:
		f.input()
	}
	base := &packet.Chain{Name: f.hook.String(), Policy: packet.OutcomeDrop, Rules: f.steps}
	if f.hook == packet.Prerouting {
		base.Priority = PublishedPriority
	}
	return &packet.Filter{Hook: f.hook, Base: []*packet.Chain{base}}
}

// filterer writes the steps of one hook.
type filterer struct {
	rs     *Ruleset
	hook   packet.Hook
	is6    bool
	lean   bool // leave out rules that no packet of the family can match
	alone  bool // see AtHook
	steps  []packet.Step
	ranges map[*netipx.IPSet]packet.Ranges // each set once: a group stands in many rules
}

func (f *filterer) add(o packet.Outcome, name string, conds ...packet.Cond) {
	f.steps = append(f.steps, packet.Step{Cond: packet.All(conds), Outcome: o, Place: packet.Place{Source: "policy", Chain: f.hook.String(), Name: name}})
}

// addRule adds what a rule of the policy does.
func (f *filterer) addRule(o packet.Outcome, r *Rule, conds ...packet.Cond) {
	f.add(o, r.ID(), conds...)
	f.steps[len(f.steps)-1].Place.At = r.Pos.String()
}

func (f *filterer) input() {
	f.add(packet.OutcomeAccept, ReasonLoopback, packet.Iface{Pattern: "lo"})
	f.baseline(InputBaseline)
	f.add(packet.OutcomeAccept, ReasonEstablished, states(packet.Established, packet.Related))
	f.add(packet.OutcomeDrop, ReasonInvalid, states(packet.Invalid))
	f.blocks(f.rs.Blocks)
	if f.rs.Published == PublishedEnforce {
		f.add(packet.OutcomeAccept, ReasonContainer, f.rs.containers(false))
		f.add(packet.OutcomeAccept, ReasonTranslated, translated())
	}
	f.types("defaults.icmp", f.rs.ICMP.Types(f.is6))
	f.open(f.rs.Services, "defaults.inbound", f.rs.Inbound)
}

// PublishedPriority is the priority at the prerouting hook at which new packets to
// this host are judged where published ports are enforced: before anything translates
// them (NF_IP_PRI_NAT_DST, linux/netfilter_ipv4.h).
const PublishedPriority = -110

// prerouting judges new packets to this host as input does, as far as they do not come
// from containers.
func (f *filterer) prerouting() {
	if f.rs.Published != PublishedEnforce {
		f.add(packet.OutcomeAccept, ReasonIgnored)
		return
	}
	f.add(packet.OutcomeAccept, ReasonLoopback, packet.Iface{Pattern: "lo"})
	f.add(packet.OutcomeAccept, ReasonContainer, f.rs.containers(false))
	f.add(packet.OutcomeAccept, ReasonIgnored, packet.Not{Cond: packet.All{states(packet.New), number(packet.FieldDstType, uint64(packet.AddrLocal))}})
	f.baseline(InputBaseline)
	f.blocks(f.rs.Blocks)
	f.types("defaults.icmp", f.rs.ICMP.Types(f.is6))
	f.open(f.rs.Services, "defaults.inbound", f.rs.Inbound)
}

// containers holds for what enters (out: leaves) by an interface of containers.
func (rs *Ruleset) containers(out bool) packet.Cond { return ifaceCond(rs.ContainerInterfaces, out) }

// translated holds for packets whose destination was translated.
func translated() packet.Cond {
	return packet.All{packet.Not{Cond: states(packet.Invalid, packet.Untracked)}, // those belong to no connection
		packet.Bits{Field: packet.FieldCTStatus, Mask: packet.Number(packet.DstNAT), Value: packet.Number(packet.DstNAT)}}
}

func (f *filterer) output() {
	f.add(packet.OutcomeAccept, ReasonLoopback, packet.Iface{Out: true, Pattern: "lo"})
	f.baseline(OutputBaseline)
	f.add(packet.OutcomeAccept, ReasonEstablished, states(packet.Established, packet.Related))
	f.blocks(f.rs.OutboundBlocks)
	if f.rs.ICMP != ICMPMinimal {
		f.types("defaults.icmp", ICMPStandard.Types(f.is6))
	}
	f.open(f.rs.Outbounds, "defaults.outbound", f.rs.Outbound)
}

func (f *filterer) forward() {
	if f.rs.Routed == RoutedIgnore && f.rs.Published != PublishedEnforce {
		f.add(packet.OutcomeAccept, ReasonIgnored)
		return
	}
	f.add(packet.OutcomeAccept, ReasonEstablished, states(packet.Established, packet.Related))
	if f.rs.Routed != RoutedIgnore {
		f.blocks(f.rs.Blocks)
	}
	if f.rs.Published == PublishedEnforce {
		f.add(packet.OutcomeAccept, ReasonTranslated, translated())
	}
	if f.rs.Routed == RoutedDrop {
		f.open(f.rs.Routes, "defaults.routed", packet.Drop)
		return
	}
	if f.rs.Published == PublishedEnforce {
		f.add(packet.OutcomeDrop, ReasonRouted, f.rs.Direct())
	}
	f.add(packet.OutcomeAccept, choose(f.rs.Routed == RoutedIgnore, ReasonIgnored, "defaults.routed"))
}

// Direct holds for packets through this host that begin a flow from outside to a
// container by its own address: those that the policy refuses where published ports are
// enforced, unless a route says otherwise.
func (rs *Ruleset) Direct() packet.Cond {
	if rs.Published != PublishedEnforce {
		return packet.Never
	}
	return packet.All{states(packet.New, packet.Untracked), rs.containers(true), packet.Not{Cond: rs.containers(false)}}
}

func choose(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

func number(f packet.Field, ns ...uint64) packet.Cond {
	rs := make([]packet.Range, len(ns))
	for i, n := range ns {
		rs[i] = packet.Single(packet.Number(n))
	}
	return packet.In{Field: f, Set: packet.NewRanges(rs...)}
}

func states(ss ...packet.State) packet.Cond {
	ns := make([]uint64, len(ss))
	for i, s := range ss {
		ns[i] = uint64(s)
	}
	return number(packet.FieldState, ns...)
}

func protocol(p packet.Proto) packet.Cond { return number(packet.FieldProto, uint64(p)) }

func (f *filterer) baseline(b Baseline) {
	for _, a := range b {
		if a.Is6 != f.is6 {
			continue
		}
		conds := []packet.Cond{protocol(a.Proto)}
		if len(a.Types) > 0 {
			conds = append(conds, icmpTypes(a.Types))
		}
		if a.Src != 0 {
			conds = append(conds, number(packet.FieldSrcPort, uint64(a.Src)), number(packet.FieldDstPort, uint64(a.Dst)))
		}
		if len(a.From) > 0 {
			var set netipx.IPSetBuilder
			for _, p := range a.From {
				set.AddPrefix(p)
			}
			from, _ := set.IPSet() // made of valid prefixes
			conds = append(conds, f.within(packet.FieldSrc, from))
		}
		f.add(packet.OutcomeAccept, a.Name, conds...)
	}
}

func icmpTypes(types []uint8) packet.Cond {
	ns := make([]uint64, len(types))
	for i, t := range types {
		ns[i] = uint64(t)
	}
	return number(packet.FieldType, ns...)
}

// types accepts types of the family's own ICMP.
func (f *filterer) types(name string, types []uint8) {
	p := packet.ICMP
	if f.is6 {
		p = packet.ICMPv6
	}
	if len(types) > 0 {
		f.add(packet.OutcomeAccept, name, protocol(p), icmpTypes(types))
	}
}

func (f *filterer) blocks(blocks []*Rule) {
	for _, b := range blocks {
		if !f.concerns(b) {
			continue
		}
		f.addRule(packet.OutcomeDrop, b, f.matches(b))
	}
}

// open accepts what the rules accept, unlimited ones first, and refuses the rest
// as the default says.
func (f *filterer) open(rules []*Rule, name string, def packet.Verdict) {
	for _, limited := range []bool{false, true} {
		for _, r := range rules {
			if (r.Limit.Count > 0) == limited && f.concerns(r) {
				f.addRule(packet.OutcomeAccept, r, f.matches(r), f.limit(r))
			}
		}
	}
	switch def {
	case packet.Accept:
		f.add(packet.OutcomeAccept, name)
		return
	case packet.Reject:
		kinds := number(packet.FieldDstType, uint64(packet.AddrBroadcast), uint64(packet.AddrMulticast))
		f.add(packet.OutcomeReject, name, number(packet.FieldProto, uint64(packet.TCP), uint64(packet.UDP)), packet.Not{Cond: kinds})
	}
	f.add(packet.OutcomeDrop, name)
}

// concerns reports whether the rule gets a step.
func (f *filterer) concerns(r *Rule) bool { return !f.lean || f.some(r.From) && f.some(r.To) }

func (f *filterer) some(as Addresses) bool {
	holds := func(set *netipx.IPSet) bool { return set != nil && len(f.within(packet.FieldSrc, set).Set) > 0 }
	return as.Any || as.Host || holds(as.Set) || slices.ContainsFunc(as.Groups, func(g *Group) bool {
		return g.Host || slices.ContainsFunc(g.Terms, func(t Term) bool { return holds(t.Set) })
	})
}

// matches is the condition that Ruleset.Matches tests for one packet.
func (f *filterer) matches(r *Rule) packet.Cond {
	c := packet.All{}
	if !r.Expires.IsZero() {
		c = append(c, packet.TimeBefore(r.Expires))
	}
	if len(r.In) > 0 {
		c = append(c, ifaceCond(r.In, false))
	}
	if len(r.Transports) > 0 {
		c = append(c, transportCond(r.Transports))
	}
	return append(c, f.addresses(r.From, false), f.addresses(r.To, true))
}

// limit holds while the rule's limit is unspent.
func (f *filterer) limit(r *Rule) packet.Cond {
	if r.Limit.Count == 0 {
		return packet.All{}
	}
	unspent := packet.Unspent(r.ID(), uint64(r.Limit.Count), r.Limit.Per, f.is6)
	if f.alone && f.rs.Published == PublishedEnforce && f.hook == packet.Input {
		return packet.Any{packet.All{states(packet.New), number(packet.FieldDstType, uint64(packet.AddrLocal))}, unspent}
	}
	return unspent
}

func ifaceCond(ps []string, out bool) packet.Cond {
	c := make(packet.Any, len(ps))
	for i, p := range ps {
		c[i] = packet.Iface{Out: out, Pattern: p}
	}
	return c
}

func transportCond(ts []Transport) packet.Cond {
	var c packet.Any
	for _, t := range ts {
		if t.Any {
			return packet.All{}
		}
		all := packet.All{protocol(t.Proto)}
		if len(t.Dst) > 0 {
			all = append(all, packet.In{Field: packet.FieldDstPort, Set: t.Dst.Ranges()})
		}
		if len(t.Src) > 0 {
			all = append(all, packet.In{Field: packet.FieldSrcPort, Set: t.Src.Ranges()})
		}
		c = append(c, all)
	}
	return c
}

// addresses is the condition that Ruleset.contains tests for one address.
func (f *filterer) addresses(as Addresses, dst bool) packet.Cond {
	if as.Any {
		return packet.All{}
	}
	field, kind := packet.FieldSrc, packet.FieldSrcType
	if dst {
		field, kind = packet.FieldDst, packet.FieldDstType
	}
	local := number(kind, uint64(packet.AddrLocal))
	c := packet.Any{}
	if as.Host {
		c = append(c, local)
	}
	if as.Set != nil {
		c = append(c, f.within(field, as.Set))
	}
	for _, g := range as.Groups {
		if g.Host {
			c = append(c, local)
		}
		for _, t := range g.Terms {
			in := packet.Cond(f.within(field, t.Set))
			if len(t.In) > 0 {
				in = packet.All{ifaceCond(t.In, dst), in}
			}
			c = append(c, in)
		}
	}
	return c
}

// within is a set of addresses, as far as they are of the family.
func (f *filterer) within(field packet.Field, set *netipx.IPSet) packet.In {
	r, ok := f.ranges[set]
	if !ok {
		r = AddrRanges(set, f.is6)
		f.ranges[set] = r
	}
	return packet.In{Field: field, Set: r}
}

// AddrRanges returns the addresses of one family that the set holds.
func AddrRanges(set *netipx.IPSet, is6 bool) packet.Ranges {
	var out packet.Ranges
	for _, r := range set.Ranges() { // sorted, and neither overlapping nor touching
		if r.From().Is6() == is6 {
			out = append(out, packet.Range{Lo: packet.AddrValue(r.From()), Hi: packet.AddrValue(r.To())})
		}
	}
	return out
}

// HostAddrs returns the host's own and broadcast addresses for a Space, not
// known without a host.
func (h *Host) HostAddrs(is6 bool) packet.HostAddrs {
	if h == nil {
		return packet.HostAddrs{}
	}
	var local, broadcast []packet.Range
	for _, i := range h.Interfaces {
		for _, p := range i.Addrs {
			if p.Addr().Is6() != is6 {
				continue
			}
			local = append(local, packet.Single(packet.AddrValue(p.Addr())))
			if !is6 && p.Bits() < 31 {
				broadcast = append(broadcast, packet.Single(packet.AddrValue(lastAddr(p))))
			}
		}
	}
	if !is6 {
		broadcast = append(broadcast, packet.Single(packet.Number(0xffffffff)))
	}
	return packet.HostAddrs{Known: true, Local: packet.NewRanges(local...), Broadcast: packet.NewRanges(broadcast...)}
}

// Condition returns the packets of a family at a hook that one of the rules
// matches, as Matches tells; limits are not looked at.
func (rs *Ruleset) Condition(of []*Rule, hook packet.Hook, is6 bool) packet.Cond {
	f := newFilterer(rs, hook, is6)
	any := packet.Any{}
	for _, r := range of {
		any = append(any, f.matches(r))
	}
	return any
}
