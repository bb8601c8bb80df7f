package pf

import (
	"slices"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// The labels of what no rule of the policy decides.
const (
	labelDefault  = "default"
	labelInbound  = "default.inbound"
	labelOutbound = "default.outbound"
	labelRouted   = "default.routed"
	labelLoopback = "loopback"
)

// defaults are the rules for what is not decided otherwise, those that come
// first deciding first: packets for this host, from it, through it.
type defaults struct{ inbound, outbound, routed []Rule }

func (b *builder) defaults() defaults {
	d := defaults{b.inboundDefault(), b.outboundDefault(), b.routedDefault()}
	if b.rs.Routed == rules.RoutedDrop {
		// One last line refuses all three.
		if b.rs.Inbound == packet.Drop {
			d.inbound = nil
		}
		if b.rs.Outbound == packet.Drop {
			d.outbound = nil
		}
	}
	return d
}

// early is the defaults of a whole file: they stand first and are not quick, the
// most general one on top, because there the last match decides.
func (b *builder) early() []Line {
	if b.opt.Form != File {
		return nil
	}
	d := b.defaults()
	if b.routesAny() {
		d.inbound = nil // see beforeRoutes
	}
	all := slices.Concat(d.inbound, d.outbound, d.routed)
	slices.Reverse(all)
	return ruleLines(all, false)
}

// late is the defaults of an anchor, where nothing may be left to others.
func (b *builder) late() []Line {
	if b.opt.Form == File {
		return nil
	}
	d := b.defaults()
	if b.routesAny() {
		d.inbound = nil
	}
	if b.rs.Routed == rules.RoutedIgnore {
		d.routed = nil // not ours to decide
	}
	return ruleLines(slices.Concat(d.inbound, d.outbound, d.routed), true)
}

// beforeRoutes decides all that is for this host before a route may, because the
// destination of a route can hold addresses of this host.
func (b *builder) beforeRoutes() []Line {
	if !b.routesAny() {
		return nil
	}
	return ruleLines(b.inboundDefault(), true)
}

func ruleLines(rs []Rule, quick bool) []Line {
	lines := make([]Line, len(rs))
	for i, r := range rs {
		r.Quick = quick
		lines[i] = r
	}
	return lines
}

func (b *builder) inboundDefault() []Rule {
	base := Rule{Dir: In, To: Endpoint{Hosts: b.thisHost}, Label: labelInbound}
	if b.rs.Inbound == packet.Accept {
		return []Rule{stateful(base)}
	}
	base.Action, base.Log = Drop, b.rs.LogDenied
	if b.rs.Inbound != packet.Reject {
		return []Rule{base}
	}
	answered := answer(base)
	answered.To.Hosts = b.ownHosts(rules.Pos{})
	return []Rule{answered, base}
}

func (b *builder) outboundDefault() []Rule {
	base := b.fromHere(Rule{Dir: Out, Label: labelOutbound})
	if b.rs.Outbound == packet.Accept {
		return []Rule{stateful(base)}
	}
	base.Action, base.Log = Drop, b.rs.LogDenied
	if b.rs.Outbound != packet.Reject {
		return []Rule{base}
	}
	silent := base
	silent.To.Hosts = []Host{limitedBroadcast, multicast4, multicast6}
	if b.self {
		silent.To.Hosts = append([]Host{selfBroadcast}, silent.To.Hosts...)
	}
	return []Rule{silent, answer(base), base}
}

// answer makes a reject of a refusal: TCP gets a reset, UDP port unreachable.
// Other protocols would get something too, so they are left out.
func answer(r Rule) Rule {
	r.Action, r.Protos = Return, []packet.Proto{packet.TCP, packet.UDP}
	return r
}

func (b *builder) routedDefault() []Rule {
	base := Rule{Label: labelRouted}
	switch {
	case !b.self:
		return nil // whatever comes in is inbound
	case b.rs.Routed == rules.RoutedDrop:
		base.Action, base.Log, base.Label = Drop, b.rs.LogDenied, labelDefault
	case b.rs.Routed == rules.RoutedAccept:
		base = stateful(base)
	default:
		base.State = NoState // not ours to track
	}
	return []Rule{base}
}

// stateful makes a pass rule keep state: what belongs to the connection passes
// by it, and only a first segment opens one.
func stateful(r Rule) Rule {
	r.Action, r.State = Pass, KeepState
	r.SYN = len(r.Protos) == 0 || slices.Contains(r.Protos, packet.TCP)
	return r
}

// fromHere narrows a rule for packets that go out to those that this host sends.
func (b *builder) fromHere(r Rule) Rule {
	switch {
	case b.receivedOn:
		r.Received = Received{On: "any", Not: true}
	case b.own != nil:
		r.From.Hosts = b.own
	}
	return r
}

func (b *builder) loopbackLines() []Line {
	if b.opt.Form == File {
		return nil // set skip
	}
	return []Line{Rule{Quick: true, On: []string{b.loopback}, State: NoState, Label: labelLoopback}}
}
