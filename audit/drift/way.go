package drift

import (
	"slices"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// way is a packet's whole way through the host: where it begins, and the hooks
// of the policy that it may come to.
type way struct {
	frame packet.Hook // where it begins
	full  func(...packet.Source) *packet.Filter
	hooks []packet.Hook
}

// ways returns those on which a policy says something.
func ways(rs *rules.Ruleset) []way {
	in := way{packet.Prerouting, packet.Arrival, []packet.Hook{packet.Input}}
	if rs.Routed != rules.RoutedIgnore {
		in.hooks = append(in.hooks, packet.Forward)
	}
	ws := []way{in}
	if rs.Outbound != packet.Accept || len(rs.OutboundBlocks) > 0 {
		ws = append(ws, way{packet.Output, packet.Departure, []packet.Hook{packet.Output}})
	}
	return ws
}

// policyOn returns the policy on a way. It translates nothing, so it judges a
// packet by the address that it came with.
func (w way) policy(rs *rules.Ruleset, is6 bool) *packet.Filter {
	return w.full(func(h packet.Hook) *packet.Filter {
		if !slices.Contains(w.hooks, h) {
			return nil
		}
		return rs.Filter(h, is6)
	})
}

// toHost holds for packets whose destination is the host itself.
var toHost packet.Cond = packet.In{Field: packet.FieldDstType,
	Set: packet.Ranges{{Lo: packet.Number(uint64(packet.AddrLocal)), Hi: packet.Number(uint64(packet.AddrMulticast))}}}

// at is the condition of the packets that the policy judges at a hook of the way.
func (w way) at(h packet.Hook) packet.Cond {
	switch h {
	case packet.Input:
		return toHost
	case packet.Forward:
		return packet.Not{Cond: toHost}
	}
	return packet.All{}
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

// anyTranslation reports whether chains at the hooks that packets come to first
// translate destinations.
func anyTranslation(sources []packet.Source, h packet.Hook) bool {
	return slices.ContainsFunc(sources, func(source packet.Source) bool {
		f := source(h)
		return f != nil && slices.ContainsFunc(f.Base, translates)
	})
}

// translation is a filter that leaves nothing but packets with another
// destination unknown.
func (w way) translation(sources []packet.Source) *packet.Filter {
	first := make([]packet.Source, len(sources))
	for i, source := range sources {
		first[i] = func(h packet.Hook) *packet.Filter {
			if h != w.frame {
				return nil
			}
			return source(h)
		}
	}
	f := w.full(first...)
	f.Base = append(f.Base, &packet.Chain{Name: "translated", Policy: packet.OutcomeAccept, Rules: []packet.Step{{
		Cond:    packet.Bits{Field: packet.FieldCTStatus, Mask: packet.Number(packet.DstNAT), Value: packet.Number(packet.DstNAT)},
		Outcome: packet.OutcomeUnknown,
	}}})
	return f
}
