package pf

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// mldReport is the type of a version 2 multicast listener report (RFC 3810).
const mldReport uint8 = 143

// baseline accepts what every host must receive and send. It keeps no state,
// because OpenBSD lets no answer open one, and because each direction has a rule
// of its own.
func (b *builder) baseline() []Line {
	var lines []Line
	for _, a := range rules.InputBaseline {
		r := b.allowance(a)
		r.Dir, r.To.Hosts = In, b.thisHost
		lines = append(lines, r)
	}
	for _, a := range rules.OutputBaseline {
		r := b.allowance(a)
		r.Dir = Out
		if b.rs.Routed != rules.RoutedIgnore && !isError(a) {
			r = b.fromHere(r)
		}
		lines = append(lines, r)
	}
	return lines
}

// isError reports whether the allowance is for ICMP errors. A kernel may make one
// of the packet that it answers, and then it counts as received; so the rule for
// these must not ask. What is routed had to be accepted where it came in.
func isError(a rules.Allowance) bool {
	return a.Proto == packet.ICMP || a.Proto == packet.ICMPv6 && a.Types[0] < 128
}

func (b *builder) allowance(a rules.Allowance) Rule {
	return Rule{
		Quick:     true,
		Family:    family(a.Is6),
		Protos:    []packet.Proto{a.Proto},
		From:      Endpoint{Hosts: prefixHosts(a.From), Ports: onePort(a.Src)},
		To:        Endpoint{Ports: onePort(a.Dst)},
		ICMPTypes: a.Types,
		State:     NoState,
		// IGMP and MLD carry the router alert option (RFC 2236, RFC 2710), and a rule
		// without allow-opts drops what has options; only newer kernels except these.
		AllowOpts: a.Proto == packet.IGMP || slices.Contains(a.Types, mldReport),
		Label:     "baseline." + strings.ReplaceAll(a.Name, " ", "-"),
	}
}

func family(is6 bool) Family {
	if is6 {
		return Inet6
	}
	return Inet
}

func onePort(p uint16) packet.Ports {
	if p == 0 {
		return nil
	}
	return packet.NewPorts(packet.PortRange{Lo: p, Hi: p})
}

func prefixHosts(ps []netip.Prefix) []Host {
	var hs []Host
	for _, p := range ps {
		hs = append(hs, Host{Prefix: p})
	}
	return hs
}

func prefix(s string) Host { return Host{Prefix: netip.MustParsePrefix(s)} }

// requests answers ICMP requests, as [defaults] icmp has it.
func (b *builder) requests() []Line {
	var lines []Line
	for _, is6 := range []bool{false, true} {
		if r, ok := request(is6, b.rs.ICMP.Types(is6)); ok {
			r.Dir, r.To.Hosts = In, b.thisHost
			lines = append(lines, r)
		}
	}
	return lines
}

// echoes lets this host ask, where it may not send whatever it wants.
func (b *builder) echoes() []Line {
	if b.rs.ICMP == rules.ICMPMinimal {
		return nil
	}
	var lines []Line
	for _, is6 := range []bool{false, true} {
		r, _ := request(is6, rules.ICMPStandard.Types(is6))
		r.Dir = Out
		lines = append(lines, b.fromHere(r))
	}
	return lines
}

func request(is6 bool, types []uint8) (Rule, bool) {
	proto := packet.ICMP
	if is6 {
		proto = packet.ICMPv6
	}
	return Rule{
		Quick:     true,
		Family:    family(is6),
		Protos:    []packet.Proto{proto},
		ICMPTypes: types,
		State:     KeepState,
		Label:     "icmp",
	}, len(types) > 0
}
