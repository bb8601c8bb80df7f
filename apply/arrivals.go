package apply

import (
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// arrivals are packets that begin connections to the host, and what becomes of
// them now and in the new state.
type arrivals struct {
	guardQuestion
	host   *live.HostRules
	is6    bool
	kept   []*rules.Rule  // nil: the administrator's own packets
	bounds packet.Bounds  // within which they are
	which  packet.Cond    // those within the bounds that are meant
	routes packet.All     // what the routes say of their sources
	loose  []packet.Field // what of them is not known

	after  sources // the new state
	space  *packet.Space
	clock  packet.Node // the instants that matter
	atOnce packet.Node // the first of them
	usual  packet.Node // what mostly holds of the unknowns
}

func (a *arrivals) who() string {
	switch {
	case a.kept == nil:
		return "your own connection"
	case a.is6:
		return "every source of kept services, over IPv6,"
	}
	return "every source of kept services, over IPv4,"
}

func one(n uint64) packet.Ranges { return packet.Ranges{packet.Single(packet.Number(n))} }

// toHost are the kinds of destinations of packets that are for the host.
var toHost = packet.Ranges{{Lo: packet.Number(uint64(packet.AddrLocal)), Hi: packet.Number(uint64(packet.AddrMulticast))}}

// begun are the fields of the first packet of a connection.
func begun() map[packet.Field]packet.Ranges {
	return map[packet.Field]packet.Ranges{
		packet.FieldState: one(uint64(packet.New)), packet.FieldFragment: one(0), packet.FieldDstType: toHost,
	}
}

// ownArrivals are the packets with which the administrator would come anew, from
// any port.
func (g *guardQuestion) ownArrivals(h *live.HostRules) *arrivals {
	src, dst := g.Own.Src.Addr().Unmap().WithZone(""), g.Own.Dst.Addr().Unmap().WithZone("")
	a := &arrivals{guardQuestion: *g, host: h, is6: dst.Is6(), which: packet.All{}}
	p := packet.Packet{Src: src, Dst: dst, Proto: packet.TCP, DstPort: g.Own.Dst.Port(), Flags: packet.SYN}
	facts := p.Facts()
	facts.SetKinds(h.Addrs(a.is6))
	a.bounds = packet.Bounds{Fields: begun(), In: a.interfaces(src)}
	for _, f := range []packet.Field{packet.FieldProto, packet.FieldFlags, packet.FieldDstPort, packet.FieldDst, packet.FieldSrc,
		packet.FieldDstType, packet.FieldSrcType, packet.FieldPacketType} {
		a.bounds.Fields[f] = packet.Ranges{packet.Single(facts.Fields[f])}
	}
	a.loose = []packet.Field{packet.FieldMAC, packet.FieldDSCP, packet.FieldTTL, packet.FieldLength}
	if len(a.bounds.In) != 1 {
		a.loose = append(a.loose, packet.FieldIn)
		return a
	}
	if back, known := live.RouteBack(src, a.bounds.In[0]); known {
		a.routes = packet.All{packet.Unknown{Key: packet.RouteBack}}
		if !back {
			a.routes = packet.All{packet.Not{Cond: a.routes[0]}}
		}
	}
	return a
}

// interfaces are those by which the administrator's packets may come.
func (a *arrivals) interfaces(src netip.Addr) []string {
	switch {
	case src.IsLoopback(), a.host.Addrs(a.is6).Local.Contains(packet.AddrValue(src)):
		return []string{"lo"}
	case a.In != "":
		return []string{a.In}
	case a.Own.Src.Addr().Zone() != "":
		return []string{a.Own.Src.Addr().Zone()}
	}
	return a.outside()
}

// mostLinks is how many interfaces are told apart. A host with more of them has
// them for containers; packets may then come by any interface, of whatever name.
const mostLinks = 1000

// outside are the interfaces of the host but for loopback, nil for any.
func (a *arrivals) outside() []string {
	names := slices.DeleteFunc(a.host.LinkNames(), func(n string) bool { return n == "lo" })
	if len(names) > mostLinks {
		return nil
	}
	return names
}

// keptArrivals are the first packets of connections to kept services.
func (g *guardQuestion) keptArrivals(h *live.HostRules, kept []*rules.Rule, is6 bool) *arrivals {
	a := &arrivals{guardQuestion: *g, host: h, is6: is6, kept: kept}
	a.which = packet.All{packet.FirstPackets(), g.Before.Condition(a.kept, packet.Input, is6), comes(is6)}
	a.bounds = packet.Bounds{Fields: begun(), In: a.outside()}
	maps.Copy(a.bounds.Fields, transports(a.kept))
	return a
}

// comes holds for packets that others can send and Linux takes in: of no source
// that is the host's own, broadcast or multicast, or none but for one who has no
// address yet; to no loopback address (ip_route_input_slow, net/ipv4/route.c;
// ip6_rcv_core, net/ipv6/ip6_input.c); TCP not to many (RFC 9293, section 3.9.2.3).
func comes(is6 bool) packet.Cond {
	kind := func(f packet.Field, t packet.AddrType) packet.Cond { return packet.In{Field: f, Set: one(uint64(t))} }
	unspecified := packet.In{Field: packet.FieldSrc, Set: one(0)}
	from := packet.Cond(packet.All{kind(packet.FieldSrcType, packet.AddrOther), packet.Not{Cond: unspecified}})
	if !is6 {
		from = packet.Any{from, packet.All{unspecified, kind(packet.FieldDstType, packet.AddrBroadcast)}}
	}
	loopback := packet.Ranges{{Lo: packet.Number(0x7f000000), Hi: packet.Number(0x7fffffff)}}
	if is6 {
		loopback = one(1)
	}
	alone := packet.All{kind(packet.FieldDstType, packet.AddrLocal), packet.In{Field: packet.FieldPacketType, Set: one(0)}}
	return packet.All{from, packet.Not{Cond: packet.In{Field: packet.FieldDst, Set: loopback}},
		packet.Any{packet.Not{Cond: packet.In{Field: packet.FieldProto, Set: one(uint64(packet.TCP))}}, alone}}
}

// transports are the protocols and ports of all rules, as far as they are bounds.
func transports(rs []*rules.Rule) map[packet.Field]packet.Ranges {
	var protos, ports []packet.Range
	anyProto, anyPort := false, false
	for _, r := range rs {
		anyProto = anyProto || len(r.Transports) == 0
		for _, t := range r.Transports {
			anyProto = anyProto || t.Any
			anyPort = anyPort || len(t.Dst) == 0
			protos = append(protos, packet.Single(packet.Number(uint64(t.Proto))))
			for _, p := range t.Dst {
				ports = append(ports, packet.Range{Lo: packet.Number(uint64(p.Lo)), Hi: packet.Number(uint64(p.Hi))})
			}
		}
	}
	out := map[packet.Field]packet.Ranges{}
	if !anyProto {
		out[packet.FieldProto] = packet.NewRanges(protos...)
		if !anyPort {
			out[packet.FieldDstPort] = packet.NewRanges(ports...)
		}
	}
	return out
}

// sources are rules that packets meet: those of the host, and a policy where its
// rendering stands.
type sources struct {
	host   []packet.Source
	policy *rules.Ruleset // nil: none
}

// whole is what becomes of packets at the hooks that they pass.
func (a *arrivals) whole(s sources) *packet.Filter {
	return packet.ArrivalAt(packet.Input, append(slices.Clone(s.host), policySource(s.policy, a.is6), a.elsewhere())...)
}

// narrow is whole with what matters to packets within the bounds alone.
func (a *arrivals) narrow(s sources) *packet.Filter {
	at := a.known(s.host)
	all := append(slices.Clone(s.host), policySource(concerning(s.policy, at[packet.Input]), a.is6), a.elsewhere())
	for i, source := range all {
		all[i] = func(h packet.Hook) *packet.Filter {
			if f := source(h); f != nil {
				return f.Narrow(at[h])
			}
			return nil
		}
	}
	return packet.ArrivalAt(packet.Input, all...)
}

// policySource is a policy where its rendering stands.
func policySource(rs *rules.Ruleset, is6 bool) packet.Source {
	return func(h packet.Hook) *packet.Filter {
		if rs == nil || h != packet.Input && (h != packet.Prerouting || rs.Published != rules.PublishedEnforce) {
			return nil
		}
		return rs.Filter(h, is6)
	}
}

// concerning leaves out of a policy what cannot match packets within the bounds.
func concerning(rs *rules.Ruleset, b packet.Bounds) *rules.Ruleset {
	if rs == nil {
		return nil
	}
	protos, known := b.Fields[packet.FieldProto]
	if !known {
		return rs
	}
	var ports packet.Ports
	for _, r := range b.Fields[packet.FieldDstPort] {
		ports = append(ports, packet.PortRange{Lo: uint16(r.Lo.Lo), Hi: uint16(r.Hi.Lo)}) //nolint:gosec // of a port's 16 bits
	}
	fits := func(t rules.Transport) bool {
		return t.Any || protos.Contains(packet.Number(uint64(t.Proto))) && (len(t.Dst) == 0 || len(ports) == 0 || t.Dst.Overlaps(ports))
	}
	out := *rs
	out.Services = slices.DeleteFunc(slices.Clone(rs.Services), func(r *rules.Rule) bool {
		return len(r.Transports) > 0 && !slices.ContainsFunc(r.Transports, fits)
	})
	return &out
}

// asked are the fields of a destination, which translation may change before
// routing.
var asked = []packet.Field{packet.FieldDst, packet.FieldDstType, packet.FieldDstPort}

// elsewhere refuses packets that rules before routing send to others than they
// are for.
func (a *arrivals) elsewhere() packet.Source {
	here := packet.All{}
	for _, f := range asked {
		if set, ok := a.bounds.Fields[f]; ok {
			here = append(here, packet.In{Field: f, Set: set})
		}
	}
	gone := packet.Step{Cond: packet.Not{Cond: here}, Outcome: packet.OutcomeDrop, Place: packet.Place{Chain: elsewhere, Text: "another destination"}}
	return func(h packet.Hook) *packet.Filter {
		if h != packet.Prerouting {
			return nil
		}
		return &packet.Filter{Hook: h, Base: []*packet.Chain{{Name: elsewhere, Policy: packet.OutcomeAccept, Priority: math.MaxInt, Rules: []packet.Step{gone}}}}
	}
}

const elsewhere = "elsewhere"

// known is what is known of the packets at each hook: what no rule has changed,
// and the destination of those that are not sent elsewhere.
func (a *arrivals) known(host []packet.Source) map[packet.Hook]packet.Bounds {
	first, later := a.bounds, a.bounds
	first.Fields = unwritten(a.bounds.Fields, host, packet.Prerouting)
	later.Fields = maps.Clone(first.Fields)
	for _, f := range asked {
		if set, ok := a.bounds.Fields[f]; ok {
			later.Fields[f] = set
		}
	}
	later.Fields = unwritten(later.Fields, host, packet.Input)
	return map[packet.Hook]packet.Bounds{packet.Prerouting: first, packet.Input: later}
}

// unwritten leaves out what rules at a hook may change.
func unwritten(fields map[packet.Field]packet.Ranges, sources []packet.Source, h packet.Hook) map[packet.Field]packet.Ranges {
	out := maps.Clone(fields)
	for _, s := range sources {
		filter := s(h)
		if filter == nil {
			continue
		}
		filter.Steps(func(s *packet.Step) {
			for _, w := range s.Writes {
				delete(out, w.Field)
				switch w.Field {
				case packet.FieldDst:
					delete(out, packet.FieldDstType)
				case packet.FieldSrc:
					delete(out, packet.FieldSrcType)
				}
			}
		})
	}
	return out
}

// understood makes of a verdict that something else gives, like a queue, one that
// depends on an unknown, the same before and after the change.
func understood(source packet.Source) packet.Source {
	return func(h packet.Hook) *packet.Filter {
		f := source(h)
		if f == nil || !leavesOpen(f) {
			return f
		}
		out := *f
		out.Base, out.Chains = nil, map[string]*packet.Chain{}
		for _, c := range f.Base {
			out.Base = append(out.Base, decidable(c))
		}
		for name, c := range f.Chains {
			out.Chains[name] = decidable(c)
		}
		return &out
	}
}

// leavesOpen reports whether some rule leaves it to something else.
func leavesOpen(f *packet.Filter) bool {
	open := false
	f.Steps(func(s *packet.Step) { open = open || s.Outcome == packet.OutcomeUnknown && len(s.Cases) == 0 })
	return open
}

func decidable(c *packet.Chain) *packet.Chain {
	out := *c
	out.Rules = decidableSteps(c.Rules)
	return &out
}

func decidableSteps(steps []packet.Step) []packet.Step {
	var out []packet.Step
	for _, s := range steps {
		if len(s.Cases) > 0 {
			s.Cases = decidableSteps(s.Cases)
		} else if s.Outcome == packet.OutcomeUnknown {
			var cond packet.Cond = packet.Unknown{Key: "refusal by " + placeText(packet.Decided{By: s.Place}), Unsupported: true}
			if s.Cond != nil {
				cond = packet.All{s.Cond, cond}
			}
			out = append(out, packet.Step{Cond: cond, Outcome: packet.OutcomeDrop, Place: s.Place})
			s.Outcome = packet.OutcomeAccept
		}
		out = append(out, s)
	}
	return out
}
