package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// guardQuestion is a change, and who must not be locked out by it.
type guardQuestion struct {
	Ruleset *rules.Ruleset   // the new policy
	Before  *rules.Ruleset   // the confirmed one; nil if there is none
	Own     *live.Connection // by which the administrator works: TCP, Src is far and Dst here; nil if that is not known
	In      string           // the interface by which it comes; "" if that is not known
	Now     time.Time        // zero: the time of the clock
	Until   time.Time        // the end of the time for a confirmation: what expires before counts as over
	Budget  int              // nodes of the diagrams of one question; zero: a default
}

// LockoutError is a packet that the new policy, together with the rules of others
// on the host, would refuse: nothing was changed.
type LockoutError struct {
	Own     bool           // the administrator's own way in; else a source of a kept service
	Service string         // ID of the kept service, "" for Own
	Packet  packet.Packet  // the first of a connection
	By      packet.Decided // who would refuse it
	Foreign bool           // that rule is not fwctl's
	At      string         // line of the policy that refuses it, or that says whom the service lets in; "" if none does
	From    time.Time      // when it would be refused, if not at once
}

// Error shows the packet and who would refuse it.
func (e *LockoutError) Error() string {
	who := "your own connection"
	if !e.Own {
		who = "a source of " + e.Service + ", which is kept"
	}
	text := fmt.Sprintf("would lock out %s: %s: %s by %s", who, e.Packet, e.By.Outcome, placeText(e.By))
	if e.At != "" && e.At != e.By.By.At {
		text += ", see " + e.At
	}
	if !e.From.IsZero() {
		text += ", from " + e.From.Format(time.RFC3339) + " on"
	}
	return text
}

// placeText names what decides.
func placeText(d packet.Decided) string {
	p := d.By
	switch {
	case d.Policy:
		return "the policy of chain " + p.Chain
	case p.Source == "policy" && p.At != "":
		return p.Name + ", " + p.At
	case p.Source == "policy":
		return p.Name
	}
	where := strings.TrimSpace(p.Source + " " + p.Table + " " + p.Chain)
	return strings.Join(slices.DeleteFunc([]string{where, cmp.Or(p.Text, p.Name)}, func(s string) bool { return s == "" }), ": ")
}

// guard proves that a change locks out neither the administrator nor, of those
// whom the confirmed policy lets in to a kept service, anybody. It changes nothing.
func guard(ctx context.Context, g guardQuestion) (warnings []string, err error) {
	if g.Own == nil && len(g.atRisk()) == 0 {
		return nil, nil
	}
	h, err := live.Rules(ctx)
	if err != nil {
		return nil, err
	}
	return g.ask(ctx, h)
}

// ask is guard on a host whose rules are known.
func (g guardQuestion) ask(ctx context.Context, h *live.HostRules) (warnings []string, err error) {
	if g.Now.IsZero() {
		g.Now = time.Now()
	}
	for _, u := range h.Unread {
		warnings = append(warnings, "whether anybody is locked out by rules that were not read is not known: "+u)
	}
	var questions []*arrivals
	if g.Own != nil {
		questions = append(questions, g.ownArrivals(h))
	}
	if kept := g.atRisk(); len(kept) > 0 {
		questions = append(questions, g.keptArrivals(h, kept, false), g.keptArrivals(h, kept, true))
	}
	var all sync.WaitGroup
	errs := make([]error, len(questions))
	for i, q := range questions {
		all.Go(func() { errs[i] = q.prove(ctx) })
	}
	all.Wait()
	for i, q := range questions {
		var open *openError
		switch {
		case errors.As(errs[i], &open), errors.Is(errs[i], packet.ErrBudget), errors.Is(errs[i], packet.ErrTime):
			warnings = append(warnings, fmt.Sprintf("not proved that %s is not locked out: %v", q.who(), errs[i]))
		case errs[i] != nil:
			return warnings, errs[i]
		}
	}
	return warnings, nil
}

// kept are the services of the confirmed policy that must not lose anybody.
func (g *guardQuestion) kept() []*rules.Rule {
	if g.Before == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(g.Before.Services), func(r *rules.Rule) bool {
		_, kept := slices.BinarySearch(g.Before.Keep, r.Name)
		return !kept
	})
}

// atRisk are the kept services that may have lost somebody. Of one that the new
// policy has, too, nobody is lost if every block of the new policy was one of the
// old: whom the service let in no block refused, and none does now. The rules of
// others decide after the change as before it.
func (g *guardQuestion) atRisk() []*rules.Rule {
	kept := g.kept()
	if len(kept) == 0 {
		return nil
	}
	for _, b := range g.Ruleset.Blocks {
		if !slices.ContainsFunc(g.Before.Blocks, func(o *rules.Rule) bool { return b.Same(o) && b.Expires.Equal(o.Expires) }) {
			return kept
		}
	}
	has := map[string]*rules.Rule{}
	for _, r := range g.Ruleset.Services {
		has[r.ID()] = r
	}
	return slices.DeleteFunc(kept, func(r *rules.Rule) bool {
		now := has[r.ID()]
		return now != nil && now.Same(r) && (now.Expires.IsZero() || now.Expires.Equal(r.Expires))
	})
}

// openError says why it cannot be told whether somebody is locked out.
type openError struct{ why string }

// Error says why.
func (e *openError) Error() string { return e.why }

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

// comes holds for packets from others that Linux takes in at all: no source that
// is its own, broadcast or multicast, but for one who has no address yet; no
// loopback destination (ip_route_input_slow, net/ipv4/route.c; ip6_rcv_core,
// net/ipv6/ip6_input.c); and TCP to one address only (RFC 9293, section 3.10.7.2;
// tcp_v4_rcv).
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
		if h != packet.Input || rs == nil {
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
	out := *rs
	out.Services = slices.DeleteFunc(slices.Clone(rs.Services), func(r *rules.Rule) bool {
		return len(r.Transports) > 0 && !slices.ContainsFunc(r.Transports, func(t rules.Transport) bool { return fits(t, b) })
	})
	return &out
}

// fits reports whether a packet within the bounds can have the protocol and port.
func fits(t rules.Transport, b packet.Bounds) bool {
	protos, known := b.Fields[packet.FieldProto]
	if t.Any || !known {
		return true
	}
	ports, known := b.Fields[packet.FieldDstPort]
	return protos.Contains(packet.Number(uint64(t.Proto))) &&
		(len(t.Dst) == 0 || !known || slices.ContainsFunc(ports, func(r packet.Range) bool {
			return t.Dst.Overlaps(packet.Ports{{Lo: uint16(r.Lo.Lo), Hi: uint16(r.Hi.Lo)}}) //nolint:gosec // of a port's 16 bits
		}))
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
			refused := s
			refused.Outcome, refused.Writes = packet.OutcomeDrop, nil
			refused.Cond = packet.All{s.Cond, packet.Unknown{Key: "refusal by " + placeText(packet.Decided{By: s.Place}), Unsupported: true}}
			out = append(out, refused)
			s.Outcome = packet.OutcomeAccept
		}
		out = append(out, s)
	}
	return out
}

// prove returns an error if some packet is locked out, or may be.
func (a *arrivals) prove(ctx context.Context) error {
	all := a.host.Sources(a.is6)
	for i, s := range all {
		all[i] = understood(s)
	}
	a.after = sources{live.Foreign(all), a.Ruleset}
	after := a.narrow(a.after)
	filters := []*packet.Filter{after}
	if a.kept != nil {
		filters = append(filters, a.narrow(sources{host: all}), a.narrow(sources{policy: a.Before}))
	}
	if err := a.open(ctx, filters); err != nil {
		return err
	}
	over, err := a.over(filters[1:])
	if err != nil {
		return err
	}
	if a.kept == nil && over == packet.False {
		return &openError{fmt.Sprintf("no packet from %s to %s can come by %s", a.Own.Src.Addr(), a.Own.Dst, strings.Join(a.bounds.In, ", "))}
	}
	n, err := a.space.Build(after)
	if err != nil {
		return err
	}
	accepted, err := a.space.Where(n, packet.OutcomeAccept)
	if err != nil {
		return err
	}
	return a.judge(over, accepted)
}

// open makes the space.
func (a *arrivals) open(ctx context.Context, filters []*packet.Filter) (err error) {
	names := packet.Any{}
	for _, name := range slices.Concat(a.outside(), a.bounds.In, []string{a.In}) {
		names = append(names, packet.Iface{Pattern: name})
	}
	asks := func(c packet.Cond) *packet.Filter {
		return &packet.Filter{Base: []*packet.Chain{{Rules: []packet.Step{{Cond: c}}}}}
	}
	filters = append(filters, asks(names), asks(a.which), asks(a.routes))
	a.space = packet.NewSpace(a.is6, a.host.Addrs(a.is6), cmp.Or(a.Budget, proofNodes), filters...)
	if until, ok := ctx.Deadline(); ok {
		a.space.Until(until)
	}
	if a.clock, err = a.space.Set(packet.During(a.Now, a.later(), filters...)); err != nil {
		return err
	}
	if a.atOnce, err = a.space.Set(packet.During(a.Now, a.Now, filters...)); err != nil {
		return err
	}
	a.usual, err = a.space.Set(a.mostly(filters))
	return err
}

// later is the last instant that matters.
func (a *arrivals) later() time.Time {
	if a.Until.Before(a.Now) {
		return a.Now
	}
	return a.Until
}

// mostly is the condition that the unknowns are as they mostly are: limits are
// not spent. The time is not one of them, nor what was not understood.
func (a *arrivals) mostly(filters []*packet.Filter) packet.Cond {
	all := packet.All{}
	told := map[string]bool{}
	for _, c := range a.routes {
		if not, no := c.(packet.Not); no {
			c = not.Cond
		}
		told[c.(packet.Unknown).Key] = true
	}
	for _, f := range filters {
		for key, unsupported := range f.Unknowns() {
			if !unsupported && !told[key] && !strings.HasPrefix(key, "before ") {
				all = append(all, packet.Unknown{Key: key})
			}
		}
	}
	return append(all, a.routes...)
}

// entering holds for packets by one of the interfaces, or by any but loopback if
// none is named.
func entering(names []string) packet.Cond {
	if len(names) == 0 {
		return packet.Not{Cond: packet.Iface{Pattern: "lo"}}
	}
	any := packet.Any{}
	for _, name := range names {
		any = append(any, packet.Iface{Pattern: name})
	}
	return any
}

// over returns the packets that must be let in: those that are let in by all
// filters, the host as it is and the policy as it was.
func (a *arrivals) over(filters []*packet.Filter) (packet.Node, error) {
	cond := packet.All{a.space.Frame(packet.Input), a.which}
	for f, set := range a.bounds.Fields {
		cond = append(cond, packet.In{Field: f, Set: set})
	}
	cond = append(cond, entering(a.bounds.In))
	over, err := a.space.Set(cond)
	if err != nil {
		return 0, err
	}
	if over, err = a.space.And(over, a.clock); err != nil {
		return 0, err
	}
	for _, f := range filters {
		n, err := a.space.Build(f)
		if err != nil {
			return 0, err
		}
		if n, err = a.space.Where(n, packet.OutcomeAccept); err != nil {
			return 0, err
		}
		if over, err = a.space.And(over, n); err != nil {
			return 0, err
		}
	}
	return over, nil
}

// judge tells what is refused in any case from what may be refused. A packet that
// is let in for some values of what is not known is one of the latter.
func (a *arrivals) judge(over, accepted packet.Node) error {
	refused, err := a.space.Minus(over, accepted)
	if err != nil {
		return err
	}
	if refused, err = a.space.And(refused, a.usual); err != nil || refused == packet.False {
		return err
	}
	passed, err := a.space.And(over, accepted)
	if err != nil {
		return err
	}
	never, err := a.space.Minus(packet.True, passed)
	if err != nil {
		return err
	}
	if never, err = a.space.Throughout(never, a.loose...); err != nil {
		return err
	}
	surely, err := a.space.And(refused, never)
	if err != nil {
		return err
	}
	if surely == packet.False {
		return a.maybe(refused)
	}
	return a.lockout(surely)
}

// maybe says on what it depends whether packets are refused.
func (a *arrivals) maybe(refused packet.Node) error {
	w, d, err := a.witness(refused)
	if err != nil {
		return err
	}
	var on []string
	for _, u := range w.Unknowns {
		if u.Unsupported {
			on = append(on, u.Key)
		}
	}
	why := fmt.Sprintf("%s: %s by %s", w.Packet, d.Outcome, placeText(d))
	if len(on) > 0 {
		why += ", depending on what is not understood: " + strings.Join(on, "; ")
	}
	return &openError{why}
}

// lockout is the error of packets that are refused.
func (a *arrivals) lockout(refused packet.Node) error {
	w, d, err := a.witness(refused)
	if err != nil {
		return err
	}
	if d.Outcome == packet.OutcomeAccept {
		return fmt.Errorf("internal error: two ways of deciding %s do not agree: accepted by %s", w.Packet, placeText(d))
	}
	e := &LockoutError{Own: a.kept == nil, Packet: w.Packet, By: d, Foreign: d.By.Source != "policy", At: d.By.At}
	if !e.Own {
		e.Service = a.keptFor(w.Packet).ID()
	}
	if !e.Foreign && e.At == "" {
		e.At = a.heir(w.Packet)
	}
	if !e.Foreign {
		e.From = a.refusedFrom(w.Packet)
	}
	return e
}

// witness picks a packet that people believe, and who decides on it.
func (a *arrivals) witness(set packet.Node) (*packet.Witness, packet.Decided, error) {
	if n, err := a.space.And(set, a.atOnce); err != nil {
		return nil, packet.Decided{}, err
	} else if n != packet.False {
		set = n
	}
	for _, wanted := range []packet.Cond{packet.Iface{Pattern: a.In}, entering(a.outside()), packet.In{Field: packet.FieldSrcType, Set: one(uint64(packet.AddrOther))}} {
		n, err := a.space.Set(wanted)
		if err != nil {
			return nil, packet.Decided{}, err
		}
		if n, err = a.space.And(set, n); err != nil {
			return nil, packet.Decided{}, err
		}
		if n != packet.False {
			set = n
		}
	}
	w, err := a.space.Witness(set)
	if err != nil {
		return nil, packet.Decided{}, err
	}
	return w, a.decide(w.Facts), nil
}

// decide asks the rules themselves, apart from the diagrams. The new policy is to
// blame for what it refuses, even if others refuse it before; a rule that sends the
// packet elsewhere, for that.
func (a *arrivals) decide(facts *packet.Facts) packet.Decided {
	trail := a.trail(a.after, facts)
	last := trail[len(trail)-1]
	if last.By.Chain == elsewhere && last.By.Source == "" {
		return sender(trail)
	}
	policy := a.trail(sources{policy: a.Ruleset}, facts)
	if d := policy[len(policy)-1]; d.Outcome != packet.OutcomeAccept {
		return d
	}
	return last
}

// trail follows a packet through rules. Unknowns that it does not name are as they
// mostly are.
func (a *arrivals) trail(s sources, facts *packet.Facts) []packet.Decided {
	f := a.whole(s)
	for key, unsupported := range f.Unknowns() {
		if _, set := facts.Unknowns[key]; !set {
			facts.Unknowns[key] = !unsupported
		}
	}
	changed := *facts
	return f.Trail(&changed)
}

// sender is the last rule that decided on a packet before it was found to go
// elsewhere.
func sender(trail []packet.Decided) packet.Decided {
	last := trail[len(trail)-1]
	for _, d := range slices.Backward(trail[:len(trail)-1]) {
		if !d.Policy {
			last.By = d.By
			break
		}
	}
	return last
}

// keptFor is the kept service that a packet is for.
func (a *arrivals) keptFor(p packet.Packet) *rules.Rule {
	for _, r := range a.kept {
		if a.Before.Matches(r, p, a.Now) {
			return r
		}
	}
	return a.kept[0]
}

// heir is where the new policy speaks of the service by which a packet was let in
// before; "" if it does not.
func (a *arrivals) heir(p packet.Packet) string {
	if a.Before == nil {
		return ""
	}
	was := a.Before.Decide(p, a.Now).Rule
	for _, r := range a.Ruleset.Services {
		if was != nil && r.ID() == was.ID() {
			return r.Pos.String()
		}
	}
	return ""
}

// refusedFrom is when the last service expires by which the policy lets a packet
// in until then; zero if it does not.
func (a *arrivals) refusedFrom(p packet.Packet) time.Time {
	var from time.Time
	if a.Ruleset.Decide(p, a.Now).Verdict != packet.Accept {
		return from
	}
	for _, r := range a.Ruleset.Services {
		if a.Ruleset.Matches(r, p, a.Now) && from.Before(r.Expires) {
			from = r.Expires
		}
	}
	return from
}
