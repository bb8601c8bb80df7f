package iptables

import (
	"fmt"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

func states(ss ...packet.State) packet.Cond {
	ns := make([]uint64, len(ss))
	for i, s := range ss {
		ns[i] = uint64(s)
	}
	return number(packet.FieldState, ns...)
}

// untracked are the packets without an entry in the connection tracking table;
// tracked is the condition of having one.
var (
	untracked = states(packet.Invalid, packet.Untracked)
	tracked   = packet.Not{Cond: untracked}
)

// conntrack is the match of that name, and its older form "state". Of a packet
// without an entry only the state is asked for, and without that question it
// does not match, not even what is negated (xt_conntrack.c).
func (r *reader) conntrack(p *part, _ *rule) packet.Cond {
	if r.table.Name == "raw" {
		return r.unknown(p.String(), false) // the table comes before the tracking
	}
	var state, rest packet.All
	for i := range p.options {
		o := &p.options[i]
		c := r.option(p, o, conntrackOption)
		if o.name == "ctstate" || o.name == "state" {
			state = append(state, c)
		} else {
			rest = append(rest, c)
		}
	}
	switch {
	case len(state) == 0:
		return append(rest, tracked)
	case len(rest) == 0:
		return state
	}
	return append(state, packet.Any{untracked, rest})
}

func conntrackOption(r *reader, o *option) packet.Cond {
	text, ok := o.arg()
	if !ok {
		return nil
	}
	switch o.name {
	case "ctstate", "state":
		return stateList(text)
	case "ctstatus":
		return statusList(text)
	case "ctproto":
		return r.flowProtocol(text)
	case "ctorigdst":
		return r.network(packet.FieldOrigDst, text)
	case "ctorigdstport":
		return r.originalPort(o, text)
	case "ctdir":
		return direction(text)
	}
	return r.flowUnknown(o)
}

// flowUnknown is for what is not known of a packet's flow.
func (r *reader) flowUnknown(o *option) packet.Cond {
	plain := option{name: o.name, args: o.args}
	if text, _ := o.arg(); strings.HasSuffix(o.name, "port") {
		if p, ok := r.ports(text); ok {
			plain.args = []string{fmt.Sprintf("%d:%d", p.Lo.Lo, p.Hi.Lo)}
		}
	}
	return packet.Unknown{Key: r.key("-m conntrack " + plain.String())}
}

// Bits of ct status (IPS_*, linux/netfilter/nf_conntrack_common.h).
const (
	statusExpected, statusSeenReply, statusAssured, statusConfirmed = 1, 2, 4, 8
	statusSourceNAT, statusDestinationNAT                           = 16, 32
)

// status is the condition that one of the bits is set.
func status(mask uint64) packet.Cond {
	return packet.Not{Cond: packet.Bits{Field: packet.FieldCTStatus, Mask: packet.Number(mask)}}
}

func stateList(text string) packet.Cond {
	var any packet.Any
	for word := range strings.SplitSeq(strings.ToUpper(text), ",") {
		switch word {
		case "NEW":
			any = append(any, states(packet.New))
		case "ESTABLISHED":
			any = append(any, states(packet.Established))
		case "RELATED":
			any = append(any, states(packet.Related))
		case "INVALID":
			any = append(any, states(packet.Invalid))
		case "UNTRACKED":
			any = append(any, states(packet.Untracked))
		case "SNAT":
			any = append(any, packet.All{tracked, status(statusSourceNAT)})
		case "DNAT":
			any = append(any, packet.All{tracked, status(statusDestinationNAT)})
		default:
			return nil
		}
	}
	return any
}

func statusList(text string) packet.Cond {
	var mask uint64
	for word := range strings.SplitSeq(strings.ToUpper(text), ",") {
		switch word {
		case "NONE":
		case "EXPECTED":
			mask |= statusExpected
		case "SEEN_REPLY":
			mask |= statusSeenReply
		case "ASSURED":
			mask |= statusAssured
		case "CONFIRMED":
			mask |= statusConfirmed
		default:
			return nil
		}
	}
	return status(mask)
}

// flowProtocol tests the protocol of the packet's flow: its own, but for an ICMP
// error, which belongs to the flow that it speaks of.
func (r *reader) flowProtocol(text string) packet.Cond {
	ps, ok := r.protocols(text)
	if !ok || ps == nil {
		return nil
	}
	about := packet.All{states(packet.Related), number(packet.FieldProto, uint64(packet.ICMP), uint64(packet.ICMPv6))}
	return packet.Any{
		packet.All{packet.Not{Cond: about}, packet.In{Field: packet.FieldProto, Set: ps}},
		packet.All{about, packet.Unknown{Key: r.key(fmt.Sprintf("-m conntrack --ctproto %d of an ICMP error's flow", ps[0].Lo.Lo))}},
	}
}

// originalPort tests the port that the flow's first packet asked for.
func (r *reader) originalPort(o *option, text string) packet.Cond {
	p, ok := r.ports(text)
	if !ok {
		return nil
	}
	return packet.Any{
		packet.All{header(withPorts...), between(packet.FieldOrigPort, p)},
		packet.All{packet.Not{Cond: header(withPorts...)}, r.flowUnknown(o)},
	}
}

// direction tests which way of its flow a packet goes. The first one goes the
// original way; the others are not known to.
func direction(text string) packet.Cond {
	original := packet.Any{
		states(packet.New),
		packet.All{states(packet.Established, packet.Related), packet.Unknown{Key: "the packet goes the way of its flow's first one"}},
	}
	switch strings.ToUpper(text) {
	case "ORIGINAL":
		return original
	case "REPLY":
		return packet.Not{Cond: original}
	}
	return nil
}

// connmarkOption tests the connection's mark. In table raw there is none yet.
func connmarkOption(r *reader, o *option) packet.Cond {
	text, _ := o.arg()
	if r.table.Name == "raw" {
		return packet.Unknown{Key: r.key("-m connmark " + o.String())}
	}
	return maskedTest(packet.FieldCTMark, text)
}

func markOption(_ *reader, o *option) packet.Cond {
	text, _ := o.arg()
	return maskedTest(packet.FieldMark, text)
}

// maskedTest reads "VALUE" or "VALUE/MASK".
func maskedTest(f packet.Field, text string) packet.Cond {
	value, mask, ok := masked(text, 32)
	if !ok {
		return nil
	}
	return packet.Bits{Field: f, Mask: packet.Number(mask), Value: packet.Number(value)}
}

// masked reads "VALUE" or "VALUE/MASK"; without a mask it is all bits.
func masked(text string, bits int) (value, mask uint64, ok bool) {
	v, m, has := strings.Cut(text, "/")
	value, ok = integer(v, bits)
	mask = 1<<bits - 1
	if has {
		n, okM := integer(m, bits)
		mask, ok = n, ok && okM
	}
	return value, mask, ok
}
