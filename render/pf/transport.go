package pf

import (
	"fmt"
	"slices"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// transport is what one rule can say of protocols and ports: all of the
// protocols, each with the same ports. No protocol is every packet.
type transport struct {
	family   Family
	protos   []packet.Proto
	src, dst packet.Ports
}

// transports is a rule's union of protocols and ports in as few rules as the
// grammar allows.
func (b *builder) transports(r *rules.Rule) []transport {
	if len(r.Transports) == 0 || slices.ContainsFunc(r.Transports, func(t rules.Transport) bool { return t.Any }) {
		return []transport{{}}
	}
	var ts []transport
	for _, t := range r.Transports {
		if !b.sayable(r.Pos, t) {
			continue
		}
		next := transport{icmpFamily(t.Proto), []packet.Proto{t.Proto}, t.Src, t.Dst}
		i := slices.IndexFunc(ts, next.joins)
		if i < 0 {
			ts = append(ts, next)
			continue
		}
		ts[i].protos = append(ts[i].protos, t.Proto)
	}
	return ts
}

// joins reports whether the two can be one rule: ICMP needs one with a family,
// and all else only has to have the same ports.
func (t transport) joins(o transport) bool {
	return t.family == AnyFamily && o.family == AnyFamily && t.src.Equal(o.src) && t.dst.Equal(o.dst)
}

// icmpFamily is the family that an ICMP protocol is of; pf throws the packet of
// the other away before any rule.
func icmpFamily(p packet.Proto) Family {
	switch p {
	case packet.ICMP:
		return Inet
	case packet.ICMPv6:
		return Inet6
	}
	return AnyFamily
}

func (b *builder) sayable(at rules.Pos, t rules.Transport) bool {
	known := t.Proto == packet.TCP || t.Proto == packet.UDP || t.Proto == packet.SCTP && b.sctpPorts
	switch {
	case t.Proto == 0:
		b.fail(at, "pf has no rule for protocol 0", "")
		return false
	case len(t.Src)+len(t.Dst) > 0 && !known:
		b.fail(at, fmt.Sprintf("%s knows no ports of %s", b.system, t.Proto), `name the protocol without ports, protocols = ["`+t.Proto.String()+`"]`)
		return false
	}
	return true
}

// set fills in the rule's protocols and ports.
func (t transport) set(r Rule) Rule {
	r.Family, r.Protos = t.family, t.protos
	r.From.Ports, r.To.Ports = narrow(t.src), narrow(t.dst)
	return r
}

// narrow leaves out the set of all ports, which says nothing.
func narrow(ps packet.Ports) packet.Ports {
	if len(ps) == 1 && ps[0] == (packet.PortRange{Lo: 0, Hi: 65535}) {
		return nil
	}
	return ps
}
