package iptables

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
)

// withPorts are the protocols whose ports rules can ask for.
var withPorts = []packet.Proto{packet.TCP, packet.UDP, packet.DCCP, packet.SCTP, packet.UDPLite}

// header is the condition that a packet shows the header of a protocol: no
// fragment does but the first.
func header(ps ...packet.Proto) packet.Cond {
	ns := make([]uint64, len(ps))
	for i, p := range ps {
		ns[i] = uint64(p)
	}
	return packet.All{number(packet.FieldProto, ns...), number(packet.FieldFragment, 0)}
}

// portOption are the options of the matches of protocols with ports.
func portOption(r *reader, o *option) packet.Cond {
	switch o.name {
	case "syn":
		return flags(packet.FIN|packet.SYN|packet.RST|packet.ACK, packet.SYN)
	case "tcp-flags":
		return tcpFlags(o.args)
	case "sport", "dport":
		text, _ := o.arg()
		if p, ok := r.ports(text); ok {
			return between(map[string]packet.Field{"sport": packet.FieldSrcPort, "dport": packet.FieldDstPort}[o.name], p)
		}
	case "tcp-option", "chunk-types", "dccp-types", "dccp-option":
		return packet.Unknown{Key: r.key((&option{name: o.name, args: o.args}).String())}
	}
	return nil
}

// ports reads a port or a range of ports, either end of which may be missing.
func (r *reader) ports(text string) (packet.Range, bool) {
	lo, hi, isRange := strings.Cut(text, ":")
	if !isRange {
		hi = lo
	}
	if isRange && lo == "" {
		lo = "0"
	}
	if isRange && hi == "" {
		hi = "65535"
	}
	a, okA := r.opt.Services.port(lo)
	b, okB := r.opt.Services.port(hi)
	return packet.Range{Lo: packet.Number(uint64(a)), Hi: packet.Number(uint64(b))}, okA && okB
}

// Services are the names that a host gives to ports: its /etc/services.
type Services map[string]uint16

// ParseServices reads the text of /etc/services.
func ParseServices(text string) Services {
	m := Services{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		port, _, _ := strings.Cut(f[1], "/")
		n, err := strconv.ParseUint(port, 10, 16)
		for i, name := range f {
			if _, known := m[name]; err == nil && i != 1 && !known {
				m[name] = uint16(n)
			}
		}
	}
	return m
}

func (m Services) port(word string) (uint16, bool) {
	if n, ok := integer(word, 16); ok {
		return uint16(n), true
	}
	p, ok := m[word]
	return p, ok
}

// multiport tests a list of ports.
func (r *reader) multiport(o *option) packet.Cond {
	text, ok := o.arg()
	if !ok {
		return nil
	}
	var rs []packet.Range
	for word := range strings.SplitSeq(text, ",") {
		p, ok := r.ports(word)
		if !ok {
			return nil
		}
		if p.Lo.Compare(p.Hi) <= 0 {
			rs = append(rs, p)
		}
	}
	set := packet.NewRanges(rs...)
	src, dst := packet.In{Field: packet.FieldSrcPort, Set: set}, packet.In{Field: packet.FieldDstPort, Set: set}
	switch o.name {
	case "sports":
		return src
	case "dports":
		return dst
	}
	return packet.Any{src, dst}
}

func flags(mask, value packet.Flags) packet.Cond {
	return packet.Bits{Field: packet.FieldFlags, Mask: packet.Number(uint64(mask)), Value: packet.Number(uint64(value))}
}

// tcpFlags reads a mask and the flags under it that must be set.
func tcpFlags(args []string) packet.Cond {
	if len(args) != 2 {
		return nil
	}
	mask, ok1 := flagNames(args[0])
	value, ok2 := flagNames(args[1])
	if !ok1 || !ok2 {
		return nil
	}
	return flags(mask, value)
}

func flagNames(text string) (packet.Flags, bool) {
	if n, ok := integer(text, 8); ok {
		return packet.Flags(n), true
	}
	var f packet.Flags
	for name := range strings.SplitSeq(strings.ToUpper(text), ",") {
		switch name {
		case "FIN":
			f |= packet.FIN
		case "SYN":
			f |= packet.SYN
		case "RST":
			f |= packet.RST
		case "PSH":
			f |= packet.PSH
		case "ACK":
			f |= packet.ACK
		case "URG":
			f |= packet.URG
		case "ALL":
			f |= packet.FIN | packet.SYN | packet.RST | packet.PSH | packet.ACK | packet.URG
		case "NONE":
		default:
			return 0, false
		}
	}
	return f, true
}

// addresses tests a list of addresses and networks.
func (r *reader) addresses(f packet.Field, text string) packet.Cond {
	var any packet.Any
	for word := range strings.SplitSeq(text, ",") {
		c := r.network(f, word)
		if c == nil {
			return nil
		}
		any = append(any, c)
	}
	if len(any) == 1 {
		return any[0]
	}
	return any
}

// network tests for an address, a prefix, or an address with any mask.
func (r *reader) network(f packet.Field, text string) packet.Cond {
	word, mask, masked := strings.Cut(text, "/")
	a, ok := r.address(word)
	if !ok {
		return nil
	}
	bits := a.BitLen()
	if masked {
		m, ok := r.address(mask)
		if n, isNumber := integer(mask, 8); isNumber && int(n) <= bits {
			bits, ok = int(n), true
		} else if ok {
			if bits = prefixLength(m); bits < 0 {
				mv := packet.AddrValue(m)
				return packet.Bits{Field: f, Mask: mv, Value: packet.AddrValue(a).And(mv)}
			}
		}
		if !ok {
			return nil
		}
	}
	return within(f, netip.PrefixFrom(a, bits))
}

// address reads an address of the family. Zeros may be missing at the end of one
// of IPv4: "10/8".
func (r *reader) address(text string) (netip.Addr, bool) {
	if !r.is6 && text != "" {
		for strings.Count(text, ".") < 3 && !strings.Contains(text, ":") {
			text += ".0"
		}
	}
	a, err := netip.ParseAddr(text)
	return a.WithZone(""), err == nil && a.Zone() == "" && a.Is6() == r.is6
}

// prefixLength is the length of the prefix that a mask leaves, -1 if it is none.
func prefixLength(mask netip.Addr) int {
	ones, size := net.IPMask(mask.AsSlice()).Size()
	if size == 0 {
		return -1
	}
	return ones
}

func within(f packet.Field, p netip.Prefix) packet.Cond {
	return packet.In{Field: f, Set: packet.Ranges{prefixRange(p)}}
}

func prefixRange(p netip.Prefix) packet.Range {
	p = p.Masked()
	return packet.Range{Lo: packet.AddrValue(p.Addr()), Hi: packet.AddrValue(netipx.PrefixLastIP(p))}
}

// rangeOption tests a range of addresses; one alone is a range, too.
func rangeOption(r *reader, o *option) packet.Cond {
	text, _ := o.arg()
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	a, okA := r.address(from)
	b, okB := r.address(to)
	if !okA || !okB {
		return nil
	}
	f := packet.FieldSrc
	if o.name == "dst-range" {
		f = packet.FieldDst
	}
	return between(f, packet.Range{Lo: packet.AddrValue(a), Hi: packet.AddrValue(b)})
}

// macOption tests the address from which the last link was crossed. Interfaces
// that have no such addresses match neither it nor its negation; of those only
// the loopback interface is known here.
func macOption(_ *reader, o *option) packet.Cond {
	text, _ := o.arg()
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return nil
	}
	return packet.In{Field: packet.FieldMAC, Set: packet.Ranges{packet.Single(packet.BytesValue(mac))}}
}

// integer reads a number as strtoul does: decimal, or hexadecimal or octal by its
// first characters.
func integer(text string, bits int) (uint64, bool) {
	if strings.ContainsAny(text, "_bBoO+-") && !strings.HasPrefix(text, "0x") && !strings.HasPrefix(text, "0X") || strings.Contains(text, "_") {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 0, bits)
	return n, err == nil
}

// span reads "N" or "LO:HI", either end of which may be missing.
func span(text string, separator string, bits int) (packet.Range, bool) {
	lo, hi, isRange := strings.Cut(text, separator)
	switch {
	case !isRange:
		hi = lo
	case lo == "":
		lo = "0"
	}
	if isRange && hi == "" {
		hi = strconv.FormatUint(1<<bits-1, 10)
	}
	a, okA := integer(lo, bits)
	b, okB := integer(hi, bits)
	return packet.Range{Lo: packet.Number(a), Hi: packet.Number(b)}, okA && okB
}
