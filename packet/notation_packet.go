package packet

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Packet makes the expression concrete. An end that is not an address is given
// to resolve, with the family that is wanted: that of the other end if it is an
// address, IPv6 for icmpv6, else IPv4. A nil resolve knows no names. Of a range
// of ports the first is taken. Errors are of type *SyntaxError.
func (e Expr) Packet(resolve func(name string, is6 bool) (netip.Addr, bool)) (Packet, error) {
	p := Packet{Hook: e.Hook, In: e.In, Out: e.Out, State: e.State, Proto: e.Proto}
	if e.AnyProto {
		return Packet{}, failEnd(e.Src, "any is for tests of a policy", "one packet has one protocol, not any")
	}
	is6, known := e.family()
	if !known {
		is6 = e.named && e.Proto == ICMPv6
	}
	var err error
	if p.Src, err = e.Src.resolve(is6, resolve); err != nil {
		return Packet{}, err
	}
	if p.Dst, err = e.Dst.resolve(is6, resolve); err != nil {
		return Packet{}, err
	}
	if p.Src.Is6() != p.Dst.Is6() {
		return Packet{}, failEnd(e.Dst, "", "source and destination are of different address families")
	}
	return p, e.header(&p)
}

func failEnd(e End, hint, summary string) error {
	return &SyntaxError{Offset: e.Offset, Summary: summary, Hint: hint}
}

func (e End) resolve(is6 bool, resolve func(string, bool) (netip.Addr, bool)) (netip.Addr, error) {
	if a, ok := e.Addr(); ok {
		return a, nil
	}
	if resolve != nil {
		if a, ok := resolve(e.Name, is6); ok {
			return a, nil
		}
	}
	return netip.Addr{}, failEnd(e, "", strconv.Quote(e.Name)+" is not an address")
}

// header fills in the fields of the protocol's own header.
func (e Expr) header(p *Packet) error {
	switch {
	case e.Proto.HasPorts():
		if len(e.Dst.Ports) == 0 {
			return failEnd(e.Dst, "write for example "+e.Dst.Name+":22", "the destination needs a port")
		}
		p.SrcPort, p.DstPort = firstPort(e.Src.Ports, EphemeralPort), firstPort(e.Dst.Ports, 0)
	case e.Proto.IsICMP():
		p.Type, p.Code = orElse(e.Type, echoRequest(e.Proto)), orElse(e.Code, 0)
	}
	if e.Proto == TCP {
		p.Flags = orElse(e.Flags, SYN)
	}
	return nil
}

func firstPort(s Ports, missing uint16) uint16 {
	if len(s) == 0 {
		return missing
	}
	return s[0].Lo
}

func orElse[T any](p *T, missing T) T {
	if p == nil {
		return missing
	}
	return *p
}

// String writes the packet in the notation that [Parse] reads; what Parse takes
// for granted is left out.
func (p Packet) String() string {
	ws := make([]string, 0, 8)
	if p.Hook != hookOf(p.In, p.Out) {
		ws = append(ws, p.Hook.String())
	}
	if p.In != "" {
		ws = append(ws, "in", p.In)
	}
	if p.Out != "" {
		ws = append(ws, "out", p.Out)
	}
	ws = append(ws, p.protoName(), p.endString(p.Src, p.SrcPort, EphemeralPort), "->", p.endString(p.Dst, p.DstPort, -1))
	if p.Proto.IsICMP() {
		ws = append(ws, p.icmpString())
	}
	if p.State != New {
		ws = append(ws, p.State.String())
	}
	if p.Proto == TCP && p.Flags != SYN {
		ws = append(ws, "flags", p.Flags.String())
	}
	return strings.Join(ws, " ")
}

// protoName writes nft's "icmpv6", and the number where the name would be read
// as another protocol: ICMP over IPv6 and the other way round.
func (p Packet) protoName() string {
	switch {
	case p.Proto.IsICMP() && p.Is6() != (p.Proto == ICMPv6):
		return strconv.Itoa(int(p.Proto))
	case p.Proto == ICMPv6:
		return "icmpv6"
	}
	return p.Proto.String()
}

func (p Packet) endString(a netip.Addr, port uint16, usual int) string {
	switch {
	case !p.Proto.HasPorts() || int(port) == usual:
		return a.String()
	}
	return netip.AddrPortFrom(a, port).String()
}

func (p Packet) icmpString() string {
	s := ICMPTypeName(p.Proto, p.Type)
	if p.Code != 0 {
		s += "/" + strconv.Itoa(int(p.Code))
	}
	return s
}

var flagNames = [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"}

// String joins the names of the set bits with commas, as nft does; "none" if
// there are none. The two bits of RFC 3168 have nft's names, ecn and cwr.
func (f Flags) String() string {
	var set []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	if set == nil {
		return "none"
	}
	return strings.Join(set, ",")
}

func parseFlags(s string) (Flags, bool) {
	if s == "none" {
		return 0, true
	}
	var f Flags
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(flagNames[:], name)
		if i < 0 {
			return 0, false
		}
		f |= 1 << i
	}
	return f, true
}

func parseUint[T uint8 | uint16](s string, bits int) (T, bool) {
	n, err := strconv.ParseUint(s, 10, bits)
	return T(n), err == nil
}
