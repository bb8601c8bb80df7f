package iptables

import (
	"fmt"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// addrtype tests what the routing table says of an address. The words of a list
// are alternatives in IPv4; in IPv6 they are conditions, but for those that only
// the routing knows, of which one will do (xt_addrtype.c).
func (r *reader) addrtype(p *part, _ *rule) packet.Cond {
	var all packet.All
	for i := range p.options {
		o := &p.options[i]
		if strings.HasPrefix(o.name, "limit-iface") {
			return r.unknown(p.String(), false)
		}
		all = append(all, r.option(p, o, addrtypeOption))
	}
	return all
}

func addrtypeOption(r *reader, o *option) packet.Cond {
	text, ok := o.arg()
	if !ok {
		return nil
	}
	f, kinds := packet.FieldSrc, packet.FieldSrcType
	if o.name == "dst-type" {
		f, kinds = packet.FieldDst, packet.FieldDstType
	}
	var address, routing []packet.Cond
	for word := range strings.SplitSeq(strings.ToUpper(text), ",") {
		switch word {
		case "LOCAL":
			routing = append(routing, number(kinds, uint64(packet.AddrLocal)))
		case "BROADCAST":
			routing = append(routing, number(kinds, uint64(packet.AddrBroadcast)))
		case "MULTICAST":
			address = append(address, number(kinds, uint64(packet.AddrMulticast)))
		case "UNICAST":
			address = append(address, unicast(f, kinds, r.is6))
		case "UNSPEC":
			address = append(address, unspecified(f, r.is6))
		case "ANYCAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE":
			routing = append(routing, r.route(kinds, word))
		default:
			return nil
		}
	}
	switch {
	case !r.is6:
		return packet.Any(append(address, routing...))
	case len(routing) > 0:
		address = append(address, packet.Any(routing))
	}
	return packet.All(address)
}

// unicast: in IPv4 the kind of what is not of another, in IPv6 every address but
// multicast ones, the unspecified and those that stand for IPv4's
// (ipv6_addr_type).
func unicast(f, kinds packet.Field, is6 bool) packet.Cond {
	if !is6 {
		return number(kinds, uint64(packet.AddrOther))
	}
	mapped := packet.Range{Lo: packet.Value{Lo: 0xffff << 32}, Hi: packet.Value{Lo: 0xffffffffffff}}
	not := packet.NewRanges(packet.Single(packet.Value{}), mapped, packet.Multicast(true)[0])
	return packet.Not{Cond: packet.In{Field: f, Set: not}}
}

// unspecified is a kind of no IPv4 address.
func unspecified(f packet.Field, is6 bool) packet.Cond {
	if !is6 {
		return packet.Never
	}
	return packet.In{Field: f, Set: packet.Ranges{packet.Single(packet.Value{})}}
}

// route is a kind that some routes give to addresses which count as others.
func (r *reader) route(kinds packet.Field, word string) packet.Cond {
	side := "--src-type "
	if kinds == packet.FieldDstType {
		side = "--dst-type "
	}
	u := r.unknown("-m addrtype "+side+word, false)
	if r.is6 {
		return u // such an address may also be local
	}
	return packet.All{number(kinds, uint64(packet.AddrOther)), u}
}

// packetTypeOption tests how the packet came over the link.
func packetTypeOption(_ *reader, o *option) packet.Cond {
	text, _ := o.arg()
	switch strings.ToLower(text) {
	case "unicast", "host":
		return number(packet.FieldPacketType, 0)
	case "broadcast":
		return number(packet.FieldPacketType, 1)
	case "multicast":
		return number(packet.FieldPacketType, 2)
	case "otherhost":
		return number(packet.FieldPacketType, 3)
	}
	return nil
}

// owner tests who has the socket that sent the packet. One that nobody sent
// matches only what is negated; for that, it has an owner that nobody can be
// (xt_owner.c).
func (r *reader) owner(p *part, _ *rule) packet.Cond {
	if r.hook != packet.Output && r.hook != packet.Postrouting {
		return nil // no kernel takes it there
	}
	if p.option("suppl-groups") != nil {
		return r.unknown(p.String(), false)
	}
	var all packet.All
	for i := range p.options {
		all = append(all, r.option(p, &p.options[i], ownerOption))
	}
	return all
}

// nobody is the owner of a packet without a socket; the kernel takes no such
// number for a user's.
const nobody = 1<<32 - 1

func ownerOption(_ *reader, o *option) packet.Cond {
	someone := packet.Range{Hi: packet.Number(nobody - 1)}
	f := packet.FieldUser
	switch o.name {
	case "socket-exists":
		return between(f, someone)
	case "gid-owner":
		f = packet.FieldUserGroup
	}
	text, _ := o.arg()
	if text == "root" {
		text = "0" // on every system; other names are the host's
	}
	ids, ok := span(text, "-", 32)
	if !ok {
		return nil
	}
	return packet.All{between(f, ids), between(f, someone)}
}

// ttlOption tests the TTL or hop limit.
func ttlOption(_ *reader, o *option) packet.Cond {
	text, _ := o.arg()
	n, ok := integer(text, 8)
	if !ok {
		return nil
	}
	v := packet.Number(n)
	switch o.name {
	case "ttl-eq", "hl-eq":
		return number(packet.FieldTTL, n)
	case "ttl-lt", "hl-lt":
		if n == 0 {
			return packet.Never
		}
		return between(packet.FieldTTL, packet.Range{Hi: v.Previous()})
	}
	return between(packet.FieldTTL, packet.Range{Lo: v.Next(), Hi: packet.Number(255)})
}

// lengthOption tests the length of the packet, its header included.
func lengthOption(_ *reader, o *option) packet.Cond {
	text, _ := o.arg()
	if n, ok := span(text, ":", 16); ok {
		return between(packet.FieldLength, n)
	}
	return nil
}

func dscpOption(_ *reader, o *option) packet.Cond {
	text, _ := o.arg()
	if n, ok := dscp(o.name, text); ok {
		return number(packet.FieldDSCP, n)
	}
	return nil
}

// dscp reads a code point or, for an option whose name says so, its class: CSn is
// n in the upper three bits, AFxy x there and y in the next two (RFC 2474, 2597),
// EF is 46 (RFC 3246).
func dscp(option, text string) (uint64, bool) {
	if !strings.HasSuffix(option, "-class") {
		return integer(text, 6)
	}
	name := strings.ToUpper(text)
	switch {
	case name == "BE":
		return 0, true
	case name == "EF":
		return 46, true
	case len(name) == 3 && name[:2] == "CS" && name[2] >= '0' && name[2] <= '7':
		return uint64(name[2]-'0') << 3, true
	case len(name) == 4 && name[:2] == "AF" && name[2] >= '1' && name[2] <= '4' && name[3] >= '1' && name[3] <= '3':
		return uint64(name[2]-'0')<<3 | uint64(name[3]-'0')<<1, true
	}
	return 0, false
}

// tosNames are of the field that DSCP took the place of (RFC 1349).
var tosNames = map[string]uint64{
	"minimize-delay": 0x10, "maximize-throughput": 0x08, "maximize-reliability": 0x04, "minimize-cost": 0x02, "normal-service": 0,
}

// tos reads "VALUE", "VALUE/MASK" or a name, which is about six bits.
func tos(text string) (value, mask uint64, ok bool) {
	if v, named := tosNames[strings.ToLower(text)]; named {
		return v, 0x3f, true
	}
	return masked(text, 8)
}

// tosOption tests the byte of which DSCP is the upper six bits. The lower two,
// ECN, are not known.
func tosOption(r *reader, o *option) packet.Cond {
	text, _ := o.arg()
	value, mask, ok := tos(text)
	if !ok {
		return nil
	}
	if value&^mask != 0 {
		return packet.Never
	}
	c := packet.All{packet.Bits{Field: packet.FieldDSCP, Mask: packet.Number(mask >> 2), Value: packet.Number(value >> 2)}}
	if mask&3 != 0 {
		c = append(c, packet.Unknown{Key: r.key(fmt.Sprintf("-m tos --tos 0x%02x/0x%02x, the bits of ECN", value, mask))})
	}
	return c
}
