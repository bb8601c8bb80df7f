package drift

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// hooks returns the hooks at which a policy says something.
func hooks(rs *rules.Ruleset) []packet.Hook {
	hs := []packet.Hook{packet.Input}
	if rs.Routed != rules.RoutedIgnore || rs.Published == rules.PublishedEnforce && len(rs.ContainerInterfaces) > 0 {
		hs = append(hs, packet.Forward)
	}
	if rs.Outbound != packet.Accept || len(rs.OutboundBlocks) > 0 {
		hs = append(hs, packet.Output)
	}
	return hs
}

// way is how packets come to a hook of the policy, and how they go on.
type way struct {
	hook packet.Hook
	from packet.Hook // where it begins
	only packet.Cond // the packets of which the policy says something; nil: all
}

func wayTo(h packet.Hook) way {
	if h == packet.Output {
		return way{hook: h, from: packet.Output}
	}
	return way{hook: h, from: packet.Prerouting}
}

// of leaves out packets through the host that the policy leaves alone.
func (w way) of(rs *rules.Ruleset) way {
	if w.hook == packet.Forward && rs.Routed == rules.RoutedIgnore {
		w.only = rs.Direct()
	}
	return w
}

// filter returns what the sources do on the whole way. Packets of which a rule
// changes the destination may then come to other hooks.
func (w way) filter(sources ...packet.Source) *packet.Filter { return packet.Way(w.hook, sources...) }

// policy returns the policy on the way. It judges packets by the address that
// they came with.
func (w way) policy(rs *rules.Ruleset, is6 bool) *packet.Filter {
	return w.filter(func(h packet.Hook) *packet.Filter {
		if h != w.hook {
			return nil
		}
		return rs.Filter(h, is6)
	})
}

// judged is the condition of the packets that the policy judges at the hook.
func (w way) judged() packet.Cond {
	local := packet.In{Field: packet.FieldDstType,
		Set: packet.Ranges{{Lo: packet.Number(uint64(packet.AddrLocal)), Hi: packet.Number(uint64(packet.AddrMulticast))}}}
	switch w.hook {
	case packet.Input:
		return local
	case packet.Forward:
		if w.only != nil {
			return packet.All{packet.Not{Cond: local}, w.only}
		}
		return packet.Not{Cond: local}
	}
	return packet.All{}
}

// believed are packets that people believe at the hook, the most wanted first.
func (w way) believed() []packet.Cond {
	kind := func(f packet.Field, k packet.AddrType) packet.Cond {
		return packet.In{Field: f, Set: packet.Ranges{packet.Single(packet.Number(uint64(k)))}}
	}
	own := func(f packet.Field) packet.Cond { return kind(f, packet.AddrLocal) }
	looped := func(out bool) packet.Cond { return packet.Iface{Pattern: "lo", Out: out} }
	switch w.hook {
	case packet.Output:
		far := packet.All{kind(packet.FieldDstType, packet.AddrOther), packet.Not{Cond: looped(true)}}
		return []packet.Cond{own(packet.FieldSrcType), packet.Any{far, packet.All{looped(true), own(packet.FieldDstType)}}}
	case packet.Input:
		far := packet.All{kind(packet.FieldSrcType, packet.AddrOther), packet.Not{Cond: looped(false)}}
		return []packet.Cond{own(packet.FieldDstType), packet.Any{far, packet.All{looped(false), own(packet.FieldSrcType)}}}
	}
	return []packet.Cond{packet.All{packet.Not{Cond: looped(false)}, packet.Not{Cond: looped(true)}}, kind(packet.FieldSrcType, packet.AddrOther), kind(packet.FieldDstType, packet.AddrOther)}
}

// redirects reports whether rules at the beginning of the way change the
// destinations of packets.
func (w way) redirects(sources []packet.Source) bool {
	return slices.ContainsFunc(sources, func(source packet.Source) bool {
		f := source(w.from)
		return f != nil && (slices.ContainsFunc(f.Base, translates) || f.Writes(packet.FieldDst) || f.Writes(packet.FieldDstType))
	})
}

// untranslated leaves the chains out that translate addresses.
func untranslated(sources []packet.Source) []packet.Source {
	out := make([]packet.Source, len(sources))
	for i, source := range sources {
		out[i] = func(h packet.Hook) *packet.Filter {
			f := source(h)
			if f == nil || !slices.ContainsFunc(f.Base, translates) {
				return f
			}
			less := *f
			less.Base = slices.DeleteFunc(slices.Clone(f.Base), translates)
			return &less
		}
	}
	return out
}

func translates(c *packet.Chain) bool { return c.NAT }

// translation is a filter that leaves nothing but packets with another
// destination unknown, those for which a condition holds.
func (w way) translation(sources []packet.Source, cond packet.Cond) *packet.Filter {
	first := make([]packet.Source, len(sources))
	for i, source := range sources {
		first[i] = func(h packet.Hook) *packet.Filter {
			if h != w.from {
				return nil
			}
			return source(h)
		}
	}
	f := w.filter(first...)
	other := packet.Bits{Field: packet.FieldCTStatus, Mask: packet.Number(packet.DstNAT), Value: packet.Number(packet.DstNAT)}
	f.Base = append(f.Base, &packet.Chain{Name: "translated", Policy: packet.OutcomeAccept, Rules: []packet.Step{{
		Cond: packet.All{other, cond}, Outcome: packet.OutcomeUnknown,
	}}})
	return f
}

// misrouted is the condition of packets that leave by an interface that does not
// lead to the destination that a rule gave them.
func (w way) misrouted(sources []packet.Source, route func(netip.Addr) string, is6 bool) packet.Cond {
	lead := map[string]packet.Ranges{}
	for _, source := range sources {
		f := source(w.from)
		if f == nil {
			continue
		}
		for _, v := range f.Constants(packet.FieldDst) {
			if link := route(v.Addr(is6)); link != "" && link != "lo" {
				lead[link] = append(lead[link], packet.Single(v))
			}
		}
	}
	cond := packet.Any{}
	for _, link := range slices.Sorted(maps.Keys(lead)) {
		to := packet.In{Field: packet.FieldDst, Set: packet.NewRanges(lead[link]...)}
		cond = append(cond, packet.All{to, packet.Not{Cond: packet.Iface{Pattern: link, Out: true}}})
	}
	return cond
}
