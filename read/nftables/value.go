package nftables

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// valueKind says how nft writes a value.
type valueKind uint8

const (
	hexKind valueKind = iota
	numberKind
	stringKind
	ipv4Kind
	ipv6Kind
	etherKind
	protoKind
	nameKind
	tcpFlagsKind
	icmpKind
	icmp6Kind
	icmpCodeKind
	icmp6CodeKind
	pktTypeKind
	nfprotoKind
	etherTypeKind
	dscpKind
	directionKind
	dayKind
	existsKind
	// From here on the kernel keeps values in the order of this machine's memory.
	hostNumberKind
	markKind
	trafficKind
	indexKind
	groupKind
	stateKind
	statusKind
	addrTypeKind
	linkTypeKind
	timeKind
	hourKind
	spanKind
)

// host reports whether values are in the order of this machine's memory.
func (k valueKind) host() bool { return k >= hostNumberKind }

// wordsOf are the kinds whose values have names.
var wordsOf = map[valueKind]map[uint64]string{
	pktTypeKind: pktTypeWords, nfprotoKind: nfprotoWords, etherTypeKind: etherWords, dscpKind: dscpWords, addrTypeKind: addrTypeWords,
	linkTypeKind: linkTypeWords, dayKind: dayWords, icmpCodeKind: icmpCodes, icmp6CodeKind: icmp6Codes,
	directionKind: {0: "original", 1: "reply"}, existsKind: {0: "missing", 1: "exists"}, groupKind: {0: `"default"`},
}

// bitWords are the kinds whose values are sets of bits with names.
var bitWords = map[valueKind][]string{stateKind: stateWords, statusKind: statusWords, tcpFlagsKind: flagWords}

// text writes a value.
func (k valueKind) text(b []byte) string {
	if k.host() && !bigEndianHost() {
		b = slices.Clone(b)
		slices.Reverse(b)
	}
	return k.network(b)
}

// network writes a value whose highest byte comes first.
func (k valueKind) network(b []byte) string {
	n := number(b)
	if words := bitWords[k]; words != nil {
		return strings.Join(bitsOf(words, n), " | ")
	}
	if word, ok := wordsOf[k][n]; ok {
		return word
	}
	switch k {
	case ipv4Kind, ipv6Kind:
		if a, ok := netip.AddrFromSlice(b); ok {
			return a.String()
		}
	case etherKind:
		return net.HardwareAddr(b).String()
	case protoKind:
		return protoText(n)
	case nameKind, stringKind:
		return strconv.Quote(namePattern(b))
	case markKind:
		return fmt.Sprintf("0x%08x", n)
	case trafficKind:
		return fmt.Sprintf("%x:%x", n>>16, n&0xffff)
	case indexKind:
		if n == 1 {
			return `"lo"`
		}
		return strconv.FormatUint(n, 10)
	case dscpKind, etherTypeKind:
		return fmt.Sprintf("0x%02x", n)
	}
	return k.more(n, b)
}

func (k valueKind) more(n uint64, b []byte) string {
	switch k {
	case icmpKind:
		return packet.ICMPTypeName(packet.ICMP, uint8(n))
	case icmp6Kind:
		return packet.ICMPTypeName(packet.ICMPv6, uint8(n))
	case timeKind:
		return strconv.Quote(time.Unix(0, int64(n)).UTC().Format(time.DateTime))
	case hourKind:
		return strconv.Quote(fmt.Sprintf("%02d:%02d", n/3600%24, n/60%60))
	case spanKind:
		return (time.Duration(min(n, 1<<40)) * time.Millisecond).String()
	case hexKind:
		return hexText(b)
	}
	if len(b) > 8 {
		return hexText(b)
	}
	return strconv.FormatUint(n, 10)
}

func protoText(n uint64) string {
	if n > 255 {
		return strconv.FormatUint(n, 10)
	}
	return packet.Proto(n).String()
}

// bitsOf names the bits of a number.
func bitsOf(words []string, n uint64) []string {
	var out []string
	for i, w := range words {
		if n&(1<<i) != 0 && w != "" {
			out = append(out, w)
			n &^= 1 << i
		}
	}
	if n != 0 || len(out) == 0 {
		out = append(out, fmt.Sprintf("0x%x", n))
	}
	return out
}

// span writes a range, of addresses as a prefix where it is one.
func (k valueKind) span(lo, hi []byte) string {
	if string(lo) == string(hi) {
		return k.text(lo)
	}
	if bits, ok := prefixBits(lo, hi); ok && (k == ipv4Kind || k == ipv6Kind) {
		return fmt.Sprintf("%s/%d", k.text(lo), bits)
	}
	if k == nameKind {
		if p, ok := prefixOf(lo, hi); ok {
			return strconv.Quote(string(p) + "*")
		}
	}
	return k.end(lo) + "-" + k.end(hi)
}

// end writes the end of a range: without names, and in the order of bytes, since
// numbers were turned around.
func (k valueKind) end(b []byte) string {
	switch k {
	case icmpKind, icmp6Kind, icmpCodeKind, icmp6CodeKind, protoKind, pktTypeKind:
		return strconv.FormatUint(number(b), 10)
	case dscpKind:
		return fmt.Sprintf("0x%02x", number(b))
	}
	return k.network(b)
}

// prefixBits returns how many bits a range has in common, if it is all values
// with them.
func prefixBits(lo, hi []byte) (int, bool) {
	n := 0
	for n < 8*len(lo) && bitAt(lo, n) == bitAt(hi, n) {
		n++
	}
	for i := n; i < 8*len(lo); i++ {
		if bitAt(lo, i) || !bitAt(hi, i) {
			return 0, false
		}
	}
	return n, true
}

// dataKinds are the kinds by nft's numbers of data types (TYPE_*, datatype.h of
// nft(8)), for what maps hold.
var dataKinds = map[uint32]valueKind{7: ipv4Kind, 8: ipv6Kind, 9: etherKind, 12: protoKind, 13: numberKind, 19: markKind, 20: indexKind, 41: nameKind, 4: numberKind, 36: dscpKind}

func nativeNumber(b []byte) uint64 {
	switch len(b) {
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	case 8:
		return binary.NativeEndian.Uint64(b)
	}
	return number(b)
}
