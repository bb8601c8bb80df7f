package iptables

import (
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// An icmpName is a type, and a code of it or all.
type icmpName struct {
	typ     uint8
	code    uint8
	hasCode bool
}

func kind(typ uint8) icmpName        { return icmpName{typ: typ} }
func coded(typ, code uint8) icmpName { return icmpName{typ, code, true} }

// The names of iptables and ip6tables ("iptables -p icmp -h"); the numbers are
// IANA's. ipset uses them, too.
var (
	icmpNames = map[string]icmpName{
		"echo-reply": kind(0), "pong": kind(0),
		"destination-unreachable": kind(3), "network-unreachable": coded(3, 0), "host-unreachable": coded(3, 1),
		"protocol-unreachable": coded(3, 2), "port-unreachable": coded(3, 3), "fragmentation-needed": coded(3, 4),
		"source-route-failed": coded(3, 5), "network-unknown": coded(3, 6), "host-unknown": coded(3, 7),
		"network-prohibited": coded(3, 9), "host-prohibited": coded(3, 10), "tos-network-unreachable": coded(3, 11),
		"tos-host-unreachable": coded(3, 12), "communication-prohibited": coded(3, 13), "host-precedence-violation": coded(3, 14),
		"precedence-cutoff": coded(3, 15),
		"source-quench":     kind(4), "redirect": kind(5), "network-redirect": coded(5, 0), "host-redirect": coded(5, 1),
		"tos-network-redirect": coded(5, 2), "tos-host-redirect": coded(5, 3),
		"echo-request": kind(8), "ping": kind(8), "router-advertisement": kind(9), "router-solicitation": kind(10),
		"time-exceeded": kind(11), "ttl-exceeded": kind(11), "ttl-zero-during-transit": coded(11, 0), "ttl-zero-during-reassembly": coded(11, 1),
		"parameter-problem": kind(12), "ip-header-bad": coded(12, 0), "required-option-missing": coded(12, 1),
		"timestamp-request": kind(13), "timestamp-reply": kind(14), "address-mask-request": kind(17), "address-mask-reply": kind(18),
	}
	icmp6Names = map[string]icmpName{
		"destination-unreachable": kind(1), "no-route": coded(1, 0), "communication-prohibited": coded(1, 1), "beyond-scope": coded(1, 2),
		"address-unreachable": coded(1, 3), "port-unreachable": coded(1, 4), "failed-policy": coded(1, 5), "reject-route": coded(1, 6),
		"packet-too-big": kind(2),
		"time-exceeded":  kind(3), "ttl-exceeded": kind(3), "ttl-zero-during-transit": coded(3, 0), "ttl-zero-during-reassembly": coded(3, 1),
		"parameter-problem": kind(4), "bad-header": coded(4, 0), "unknown-header-type": coded(4, 1), "unknown-option": coded(4, 2),
		"echo-request": kind(128), "ping": kind(128), "echo-reply": kind(129), "pong": kind(129),
		"mld-listener-query": kind(130), "mld-listener-report": kind(131), "mld-listener-done": kind(132), "mld-listener-reduction": kind(132),
		"router-solicitation": kind(133), "router-advertisement": kind(134),
		"neighbour-solicitation": kind(135), "neighbor-solicitation": kind(135),
		"neighbour-advertisement": kind(136), "neighbor-advertisement": kind(136), "redirect": kind(137),
	}
)

// icmpOption tests type and code. Type 255 of ICMP stands for all, with whatever
// code (xt_tcpudp.c).
func icmpOption(_ *reader, o *option) packet.Cond {
	text, _ := o.arg()
	text = strings.ToLower(text)
	is6 := o.name == "icmpv6-type"
	if text == "any" && !is6 {
		return packet.All{}
	}
	typ, code, ok := icmpType(text, is6)
	switch {
	case !ok:
		return nil
	case typ == 255 && !is6:
		return packet.All{}
	}
	return packet.All{number(packet.FieldType, typ), between(packet.FieldCode, code)}
}

// icmpType reads a name, "TYPE", "TYPE/CODE" or "TYPE/FROM:TO".
func icmpType(text string, is6 bool) (typ uint64, code packet.Range, ok bool) {
	names := icmpNames
	if is6 {
		names = icmp6Names
	}
	code = packet.Range{Hi: packet.Number(255)}
	if n, ok := names[text]; ok {
		if n.hasCode {
			code = packet.Single(packet.Number(uint64(n.code)))
		}
		return uint64(n.typ), code, true
	}
	t, c, coded := strings.Cut(text, "/")
	typ, ok = integer(t, 8)
	if coded && ok {
		code, ok = span(c, ":", 8)
	}
	return typ, code, ok
}
