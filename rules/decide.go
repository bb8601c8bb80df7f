package rules

import (
	"net/netip"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// Decision is a verdict and what made it.
type Decision struct {
	Verdict packet.Verdict
	Rule    *Rule  // the block, service, outbound or route that decided; nil if none did
	Reason  string // the stage that decided: one of the Reason constants
	Limited bool   // accepted only while Rule's limit is unspent
}

// The stages of a decision, in the order in which they are tried.
const (
	ReasonIgnored     = "routed packets are left alone"
	ReasonLoopback    = "loopback"
	ReasonBaseline    = "baseline"
	ReasonEstablished = "established"
	ReasonInvalid     = "invalid"
	ReasonBlock       = "block"
	ReasonEcho        = "icmp"
	ReasonContainer   = "from a container"
	ReasonTranslated  = "judged before its translation"
	ReasonRouted      = "routed straight to a container"
	ReasonRule        = "rule"
	ReasonDefault     = "default"
)

// Decide is the reference for the meaning of a policy: what becomes of the
// packet at the given time. Limits count as unspent. The packet is one that nothing
// translates: a packet whose hook is Forward is a routed one. Where published ports are
// enforced, it also says what becomes of a packet that is translated, by the address
// and port that it came with, as Input.
func (rs *Ruleset) Decide(p packet.Packet, at time.Time) Decision {
	switch p.Hook {
	case packet.Output:
		return rs.decideOutput(p, at)
	case packet.Forward:
		return rs.decideForward(p, at)
	default:
		return rs.decideInput(p, at)
	}
}

func (rs *Ruleset) decideInput(p packet.Packet, at time.Time) Decision {
	switch {
	case p.In == "lo":
		return Decision{Verdict: packet.Accept, Reason: ReasonLoopback}
	case InputBaseline.Matches(p):
		return Decision{Verdict: packet.Accept, Reason: ReasonBaseline}
	case p.State == packet.Established || p.State == packet.Related:
		return Decision{Verdict: packet.Accept, Reason: ReasonEstablished}
	case p.State == packet.Invalid:
		return Decision{Verdict: packet.Drop, Reason: ReasonInvalid}
	}
	if b := rs.first(rs.Blocks, p, at); b != nil {
		return Decision{Verdict: packet.Drop, Rule: b, Reason: ReasonBlock}
	}
	if rs.fromContainer(p.In) {
		return Decision{Verdict: packet.Accept, Reason: ReasonContainer}
	}
	if rs.ICMP.Answers(p) {
		return Decision{Verdict: packet.Accept, Reason: ReasonEcho}
	}
	return rs.open(rs.Services, p, at, rs.Inbound)
}

func (rs *Ruleset) decideOutput(p packet.Packet, at time.Time) Decision {
	switch {
	case p.Out == "lo":
		return Decision{Verdict: packet.Accept, Reason: ReasonLoopback}
	case OutputBaseline.Matches(p):
		return Decision{Verdict: packet.Accept, Reason: ReasonBaseline}
	case p.State == packet.Established || p.State == packet.Related:
		return Decision{Verdict: packet.Accept, Reason: ReasonEstablished}
	}
	if b := rs.first(rs.OutboundBlocks, p, at); b != nil {
		return Decision{Verdict: packet.Drop, Rule: b, Reason: ReasonBlock}
	}
	if rs.ICMP != ICMPMinimal && isEcho(p) {
		return Decision{Verdict: packet.Accept, Reason: ReasonEcho}
	}
	return rs.open(rs.Outbounds, p, at, rs.Outbound)
}

func (rs *Ruleset) decideForward(p packet.Packet, at time.Time) Decision {
	if rs.Routed == RoutedIgnore && rs.Published != PublishedEnforce {
		return Decision{Verdict: packet.Accept, Reason: ReasonIgnored}
	}
	if p.State == packet.Established || p.State == packet.Related {
		return Decision{Verdict: packet.Accept, Reason: ReasonEstablished}
	}
	if b := rs.first(rs.Blocks, p, at); b != nil && rs.Routed != RoutedIgnore {
		return Decision{Verdict: packet.Drop, Rule: b, Reason: ReasonBlock}
	}
	if rs.Routed == RoutedDrop {
		return rs.open(rs.Routes, p, at, packet.Drop)
	}
	if rs.direct(p) {
		return Decision{Verdict: packet.Drop, Reason: ReasonRouted}
	}
	if rs.Routed == RoutedIgnore {
		return Decision{Verdict: packet.Accept, Reason: ReasonIgnored}
	}
	return rs.open(rs.Routes, p, at, packet.Accept)
}

// fromContainer reports whether what enters there is the containers' own, which
// no service judges.
func (rs *Ruleset) fromContainer(in string) bool {
	return rs.Published == PublishedEnforce && len(rs.ContainerInterfaces) > 0 && matchIn(rs.ContainerInterfaces, in)
}

// direct reports whether a packet goes from outside to a container by its own
// address.
func (rs *Ruleset) direct(p packet.Packet) bool {
	return rs.Published == PublishedEnforce && len(rs.ContainerInterfaces) > 0 && (p.State == packet.New || p.State == packet.Untracked) &&
		matchIn(rs.ContainerInterfaces, p.Out) && !matchIn(rs.ContainerInterfaces, p.In)
}

// open lets the packet in if one of the rules does, unlimited ones first, and
// else gives it the default.
func (rs *Ruleset) open(rules []*Rule, p packet.Packet, at time.Time, def packet.Verdict) Decision {
	var limited *Rule
	for _, r := range rules {
		switch {
		case !rs.Matches(r, p, at):
		case r.Limit.Count == 0:
			return Decision{Verdict: packet.Accept, Rule: r, Reason: ReasonRule}
		case limited == nil:
			limited = r
		}
	}
	if limited != nil {
		return Decision{Verdict: packet.Accept, Rule: limited, Reason: ReasonRule, Limited: true}
	}
	if def == packet.Reject && !rs.answers(p) {
		def = packet.Drop
	}
	return Decision{Verdict: def, Reason: ReasonDefault}
}

// answers reports whether a refused packet gets an answer under "reject".
func (rs *Ruleset) answers(p packet.Packet) bool {
	return (p.Proto == packet.TCP || p.Proto == packet.UDP) && !p.Dst.IsMulticast() && !rs.Host.Broadcast(p.Dst)
}

func (rs *Ruleset) first(rules []*Rule, p packet.Packet, at time.Time) *Rule {
	for _, r := range rules {
		if rs.Matches(r, p, at) {
			return r
		}
	}
	return nil
}

// Matches reports whether the rule's conditions hold for the packet at the given
// time; its limit is not looked at.
func (rs *Ruleset) Matches(r *Rule, p packet.Packet, at time.Time) bool {
	if !r.Expires.IsZero() && !at.Before(r.Expires) {
		return false
	}
	return matchIn(r.In, p.In) &&
		matchTransports(r.Transports, p) &&
		rs.contains(r.From, p.Src, p.In) &&
		rs.contains(r.To, p.Dst, p.Out)
}

func matchIn(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, pat := range patterns {
		if MatchInterface(pat, name) {
			return true
		}
	}
	return false
}

func matchTransports(ts []Transport, p packet.Packet) bool {
	if len(ts) == 0 {
		return true
	}
	for _, t := range ts {
		if t.Any || t.Proto == p.Proto &&
			(len(t.Dst) == 0 || t.Dst.Contains(p.DstPort)) &&
			(len(t.Src) == 0 || t.Src.Contains(p.SrcPort)) {
			return true
		}
	}
	return false
}

// contains reports whether the address, seen on the interface, is in the set.
func (rs *Ruleset) contains(as Addresses, a netip.Addr, iface string) bool {
	if as.Any || as.Host && rs.Host.Local(a) || as.Set != nil && as.Set.Contains(a) {
		return true
	}
	for _, g := range as.Groups {
		if g.Host && rs.Host.Local(a) {
			return true
		}
		for _, t := range g.Terms {
			if matchIn(t.In, iface) && t.Set.Contains(a) {
				return true
			}
		}
	}
	return false
}
