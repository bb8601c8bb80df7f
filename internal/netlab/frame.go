package netlab

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// probeClass is the traffic class (IPv4: type of service) of every probe: AF11
// (RFC 2597), which nothing else in the laboratory uses.
const probeClass = 0x28

// hops is the hop limit of every probe: neighbour discovery demands the highest
// (RFC 4861, section 6.1).
const hops = 255

// echoID is the identifier of every ICMP echo.
const echoID = 0x4e4c

// ipPacket returns the probe from its IP header on.
func ipPacket(p packet.Packet, tag uint16) []byte {
	payload := transport(p, tag)
	if p.Is6() {
		return append(header6(p, tag, len(payload)), payload...)
	}
	return append(header4(p, tag, len(payload)), payload...)
}

// header4 is RFC 791, section 3.1: without options, not to be fragmented.
func header4(p packet.Packet, tag uint16, n int) []byte {
	h := make([]byte, 20, 20+n)
	h[0], h[1], h[6], h[8], h[9] = 0x45, probeClass, 0x40, hops, byte(p.Proto)
	binary.BigEndian.PutUint16(h[2:], uint16(20+n))
	binary.BigEndian.PutUint16(h[4:], tag)
	copy(h[12:], p.Src.AsSlice())
	copy(h[16:], p.Dst.AsSlice())
	binary.BigEndian.PutUint16(h[10:], ^sum(0, h))
	return h
}

// header6 is RFC 8200, section 3: without extension headers.
func header6(p packet.Packet, tag uint16, n int) []byte {
	h := make([]byte, 40, 40+n)
	binary.BigEndian.PutUint32(h, 6<<28|probeClass<<20|uint32(tag))
	binary.BigEndian.PutUint16(h[4:], uint16(n))
	h[6], h[7] = byte(p.Proto), hops
	copy(h[8:], p.Src.AsSlice())
	copy(h[24:], p.Dst.AsSlice())
	return h
}

// transport returns what stands behind the IP header: a header that the
// kernel's connection tracking takes for well formed.
func transport(p packet.Packet, tag uint16) []byte {
	var b []byte
	switch p.Proto {
	case packet.TCP:
		b = tcp(p, tag)
		checksum(p, b, 16)
	case packet.UDP, packet.UDPLite: // RFC 768; RFC 3828: the length is the covered part
		b = ports(p, 12)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		checksum(p, b, 6)
	case packet.SCTP:
		b = sctpInit(p)
	case packet.DCCP:
		b = dccpRequest(p)
		checksum(p, b, 6)
	case packet.ICMP, packet.ICMPv6:
		b = icmp(p)
		checksum(p, b, 2)
	default:
		b = make([]byte, 12)
		checksum(p, b, 10)
	}
	return b
}

// ports returns a header of n bytes that begins with the ports.
func ports(p packet.Packet, n int) []byte {
	b := make([]byte, n)
	binary.BigEndian.PutUint16(b, p.SrcPort)
	binary.BigEndian.PutUint16(b[2:], p.DstPort)
	return b
}

// tcp is RFC 9293, section 3.1. The upper halves of the sequence numbers are the
// tag, so that a reset tells it.
func tcp(p packet.Packet, tag uint16) []byte {
	b := ports(p, 20)
	binary.BigEndian.PutUint16(b[4:], tag)
	if p.Flags&packet.ACK != 0 {
		binary.BigEndian.PutUint16(b[8:], tag)
	}
	b[12], b[13] = 5<<4, byte(p.Flags)
	binary.BigEndian.PutUint16(b[14:], 1024)
	return b
}

// sctpInit is a common header and an INIT chunk (RFC 9260, sections 3.1, 3.3.2).
func sctpInit(p packet.Packet) []byte {
	b := ports(p, 12+20)
	c := b[12:]
	c[0], c[3] = 1, 20
	binary.BigEndian.PutUint32(c[4:], 1)     // initiate tag, not zero
	binary.BigEndian.PutUint32(c[8:], 1<<16) // window
	c[13], c[15] = 1, 1                      // streams
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// dccpRequest is RFC 4340, sections 5.1 and 5.2, with long sequence numbers.
func dccpRequest(p packet.Packet) []byte {
	b := ports(p, 20)
	b[4], b[8] = 5, 1 // data offset in words; type 0 (request), extended
	b[15] = 1
	return b
}

// icmp is RFC 792 and RFC 4443: an echo has an identifier, an error quotes the
// packet that the receiver is said to have sent.
func icmp(p packet.Packet) []byte {
	b := make([]byte, 8, 64)
	b[0], b[1] = p.Type, p.Code
	if isError(p) {
		return append(b, ipPacket(quoted(p), 0)...)
	}
	binary.BigEndian.PutUint16(b[4:], echoID)
	return append(b, make([]byte, 24)...) // room for the largest fixed part (neighbour discovery, timestamps)
}

// isError reports whether the ICMP type quotes a packet.
func isError(p packet.Packet) bool {
	if p.Proto == packet.ICMPv6 {
		return p.Type < 128
	}
	switch p.Type {
	case 3, 4, 5, 11, 12:
		return true
	}
	return false
}

// quoted is the packet that an ICMP error complains about.
func quoted(p packet.Packet) packet.Packet {
	return packet.Packet{Proto: packet.UDP, Src: p.Dst, Dst: p.Src, SrcPort: 40000, DstPort: 33434}
}

// checksum fills in the internet checksum (RFC 1071) at the offset, as netfilter
// reckons before it answers a packet that it rejects, whatever the protocol: over
// IPv6 with the pseudo header, over IPv4 with that of TCP and UDP alone
// (nf_checksum, net/netfilter/utils.c).
func checksum(p packet.Packet, b []byte, offset int) {
	start := uint32(0)
	if p.Is6() || slices.Contains([]packet.Proto{packet.TCP, packet.UDP, packet.UDPLite}, p.Proto) {
		start = uint32(sum(uint32(p.Proto)+uint32(len(b)), append(p.Src.AsSlice(), p.Dst.AsSlice()...)))
	}
	binary.BigEndian.PutUint16(b[offset:], ^sum(start, b))
}

// sum is the one's complement sum of the 16-bit words of b, of even length.
func sum(s uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
