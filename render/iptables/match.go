package iptables

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// product combines each of the one with each of the other.
func product(dims ...[]Match) []Match {
	out := []Match{{}}
	for _, d := range dims {
		next := make([]Match, 0, len(out)*len(d))
		for _, a := range out {
			for _, b := range d {
				next = append(next, a.and(b))
			}
		}
		out = next
	}
	return out
}

// protoText names a protocol as iptables itself does (xtables_chain_protos);
// other names would come from the host's /etc/protocols, so they are numbers.
func protoText(p packet.Proto) string {
	switch p {
	case packet.TCP, packet.UDP, packet.SCTP, packet.UDPLite, packet.ICMP, packet.ICMPv6:
		return p.String()
	}
	return strconv.Itoa(int(p))
}

// transports are the ways in which a packet can be of one of the transports.
func (b *builder) transports(r *rules.Rule) []Match {
	if len(r.Transports) == 0 || slices.ContainsFunc(r.Transports, func(t rules.Transport) bool { return t.Any }) {
		return []Match{{}}
	}
	var ms []Match
	for _, t := range mergeTransports(r.Transports) {
		if !b.canMatch(r, t.Proto) {
			continue
		}
		for _, src := range multiports(t.Proto, t.Src) {
			for _, dst := range multiports(t.Proto, t.Dst) {
				ms = append(ms, Match{Proto: protoText(t.Proto)}.and(portMatch(t.Proto, src, dst)))
			}
		}
	}
	return ms
}

// mergeTransports joins those that differ only in their destination ports, and
// says "all ports" in one way.
func mergeTransports(ts []rules.Transport) []rules.Transport {
	var out []rules.Transport
	for _, t := range ts {
		t.Src, t.Dst = orAll(t.Src), orAll(t.Dst)
		i := slices.IndexFunc(out, func(o rules.Transport) bool {
			return o.Proto == t.Proto && o.Src.Equal(t.Src)
		})
		switch {
		case i < 0:
			out = append(out, t)
		case len(t.Dst) == 0 || len(out[i].Dst) == 0:
			out[i].Dst = nil
		default:
			out[i].Dst = orAll(packet.NewPorts(slices.Concat(out[i].Dst, t.Dst)...))
		}
	}
	return out
}

// orAll turns the set of all ports into no test at all.
func orAll(ps packet.Ports) packet.Ports {
	if len(ps) == 1 && ps[0].Lo == 0 && ps[0].Hi == 65535 {
		return nil
	}
	return ps
}

// canMatch reports whether the family can meet the protocol, and whether
// iptables can ask for it.
func (b *builder) canMatch(r *rules.Rule, p packet.Proto) bool {
	switch {
	case p == 0:
		b.problems.add(r.Pos, rules.Error, r.ID()+": iptables cannot match protocol 0, to it that means every protocol",
			"leave the protocol out, or use the nftables backend")
		return false
	case b.is6 && isExtension(p):
		b.problems.add(r.Pos, rules.Note, r.ID()+": protocol "+p.String()+" is a header of IPv6 before the upper-layer header, so it is matched in IPv4 only", "")
		return false
	}
	return true
}

// isExtension reports whether IPv6 has the protocol as an extension header
// (ipv6_ext_hdr in net/ipv6/exthdrs_core.c): there -p never sees it.
func isExtension(p packet.Proto) bool {
	switch p {
	case 0, 43, 44, 51, 60:
		return true
	}
	return false
}

// multiportSlots is how many ports one multiport match holds
// (XT_MULTI_PORTS, linux/netfilter/xt_multiport.h); a range takes two.
const multiportSlots = 15

// multiports cuts a set of ports into parts that one match can hold; the empty
// set, all ports, is one part.
func multiports(p packet.Proto, ps packet.Ports) []packet.Ports {
	if len(ps) == 0 {
		return []packet.Ports{nil}
	}
	var parts []packet.Ports
	free := 0
	for _, r := range ps {
		need := 1
		if r.Lo != r.Hi {
			need = 2
		}
		if need > free {
			parts, free = append(parts, nil), multiportSlots
		}
		last := len(parts) - 1
		parts[last], free = append(parts[last], r), free-need
	}
	return parts
}

// portMatch matches ports of a protocol; nil is every port. TCP and UDP have a
// match of their own for one port or range, multiport knows all protocols.
func portMatch(p packet.Proto, src, dst packet.Ports) Match {
	own := p == packet.TCP || p == packet.UDP
	single := func(ps packet.Ports) bool { return own && len(ps) == 1 }
	var words []string
	if single(src) {
		words = append(words, "--sport", portText(src[0]))
	}
	if single(dst) {
		words = append(words, "--dport", portText(dst[0]))
	}
	var m Match
	if len(words) > 0 {
		m = ext(append([]string{"-m", p.String()}, words...)...)
	}
	if len(src) > 0 && !single(src) {
		m = m.and(ext("-m multiport --sports", portsText(src)))
	}
	if len(dst) > 0 && !single(dst) {
		m = m.and(ext("-m multiport --dports", portsText(dst)))
	}
	return m
}

func portText(r packet.PortRange) string { return strings.Replace(r.String(), "-", ":", 1) }

func portsText(ps packet.Ports) string { return strings.ReplaceAll(ps.String(), "-", ":") }

// sources are the ways in which a packet can come from one of the rule's
// sources, by one of its interfaces.
func (b *builder) sources(r *rules.Rule, at packet.Hook) []Match {
	var ms []Match
	for _, w := range b.whereabouts(r, r.From, true) {
		in := w.in
		if in == nil {
			in = r.In
		} else if len(r.In) > 0 {
			in = meet(in, r.In)
			if len(in) == 0 {
				continue
			}
		}
		if at == packet.Output && len(in) > 0 {
			continue // a packet from this host has entered by no interface
		}
		ms = append(ms, product(b.interfaces(r, in, false), w.members)...)
	}
	return ms
}

// destinations are the ways in which a packet can go to one of the rule's
// destinations.
func (b *builder) destinations(r *rules.Rule, at packet.Hook) []Match {
	var ms []Match
	for _, w := range b.whereabouts(r, r.To, false) {
		if (at == packet.Input || at == packet.Prerouting) && len(w.in) > 0 {
			continue // a packet for this host leaves by no interface
		}
		ms = append(ms, product(b.interfaces(r, w.in, true), w.members)...)
	}
	return ms
}

// meet returns the patterns that fit what both fit.
func meet(as, bs []string) []string {
	var out []string
	for _, a := range as {
		for _, b := range bs {
			switch {
			case rules.MatchInterface(b, a): // also of two wildcards, the longer one
				out = append(out, a)
			case rules.MatchInterface(a, b):
				out = append(out, b)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// maxInterface is how long an interface's name can be (IFNAMSIZ, linux/if.h,
// with its final zero).
const maxInterface = 15

// interfaces matches each of the patterns; no pattern is any interface.
func (b *builder) interfaces(r *rules.Rule, patterns []string, out bool) []Match {
	return b.named(r.Pos, r.ID(), patterns, out)
}

// containers matches what enters (out: leaves) by an interface of containers.
func (b *builder) containers(out bool) []Match {
	if len(b.rs.ContainerInterfaces) == 0 {
		return nil
	}
	return b.named(b.rs.PublishedAt, "defaults.container_interfaces", b.rs.ContainerInterfaces, out)
}

func (b *builder) named(pos rules.Pos, who string, patterns []string, out bool) []Match {
	if len(patterns) == 0 {
		return []Match{{}}
	}
	var ms []Match
	for _, p := range patterns {
		name, wild := strings.CutSuffix(p, "*")
		switch {
		case wild && name == "":
			return []Match{{}}
		case len(name) > maxInterface || !wild && strings.HasSuffix(name, "+"):
			b.problems.add(pos, rules.Error, who+": iptables cannot match the interface "+p, "")
			continue
		case wild && len(name) < maxInterface:
			name += "+"
		}
		if out {
			ms = append(ms, Match{Out: name})
		} else {
			ms = append(ms, Match{In: name})
		}
	}
	return ms
}

// whereabout is a set of addresses, seen on certain interfaces.
type whereabout struct {
	in      []string // patterns; nil: any interface
	members []Match
}

func (b *builder) whereabouts(r *rules.Rule, as rules.Addresses, src bool) []whereabout {
	if as.Any {
		return []whereabout{{members: []Match{{}}}}
	}
	var ws []whereabout
	if as.Host || slices.ContainsFunc(as.Groups, func(g *rules.Group) bool { return g.Host }) {
		ws = append(ws, whereabout{members: []Match{side("-m addrtype --src-type LOCAL", "-m addrtype --dst-type LOCAL", src)}})
	}
	for _, g := range as.Groups {
		for _, t := range g.Terms {
			ws = append(ws, whereabout{in: t.In, members: b.members(r, g.Name, t.Set, src)})
		}
	}
	if as.Set != nil {
		ws = append(ws, whereabout{members: b.members(r, shortID(r), as.Set, src)})
	}
	return ws
}

func side(srcText, dstText string, src bool) Match {
	if src {
		return ext(srcText)
	}
	return ext(dstText)
}

// before matches until the instant, which --datestop names by its last second.
func (b *builder) before(r *rules.Rule) []Match {
	if r.Expires.IsZero() {
		return nil
	}
	last := r.Expires.UTC().Add(-time.Second)
	if last.After(maxDate) {
		b.problems.add(r.Pos, rules.Error, r.ID()+": iptables knows no time after "+maxDate.Format(time.DateOnly)+", expires cannot be said",
			"leave expires out, or use the nftables backend")
		return nil
	}
	return []Match{ext("-m time --datestop", last.Format("2006-01-02T15:04:05"))}
}

// maxDate is the last date of the match "time": iptables-extensions(8).
var maxDate = time.Date(2038, 1, 19, 4, 17, 7, 0, time.UTC)

// prefixes reads the family's part of a set, without looking it up twice.
func (b *builder) prefixes(set *netipx.IPSet) *addresses {
	a, known := b.addresses[set]
	if !known {
		a = &addresses{prefixes: familyPrefixes(set, b.is6)}
		b.addresses[set] = a
	}
	return a
}

func familyPrefixes(set *netipx.IPSet, is6 bool) []netip.Prefix {
	all := set.Prefixes() // sorted, IPv4 first
	i := slices.IndexFunc(all, func(p netip.Prefix) bool { return p.Addr().Is6() })
	switch {
	case i < 0 && is6:
		return nil
	case i < 0:
		return all
	case is6:
		return all[i:]
	}
	return all[:i]
}
