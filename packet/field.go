package packet

import "slices"

// Field is a part of a packet, or of what the kernel knows of it, that rules
// can ask for.
type Field uint8

// The fields, in the order in which diagrams ask for them: small ones first, so
// that large sets of addresses stand at the end and many conditions share them.
const (
	FieldIn         Field = iota // the interface by which it enters, as a class of names
	FieldOut                     // the interface by which it leaves
	FieldState                   // the State
	FieldFragment                // 1 for a fragment that is not the first
	FieldDstType                 // kind of the destination address, where the host's addresses are not known: an AddrType
	FieldSrcType                 // kind of the source address, likewise
	FieldPacketType              // link-layer kind: 0 to this host, 1 broadcast, 2 multicast, 3 to another (linux/if_packet.h)
	FieldProto                   // the Proto
	FieldFlags                   // the Flags of TCP, all eight bits
	FieldType                    // ICMP type
	FieldCode                    // ICMP code
	FieldDstPort                 // destination port of protocols with ports
	FieldNATPort                 // the one that the packet gets by a translation that leaves open which, or that was made for an older packet
	FieldSrcPort
	FieldDst    // destination address
	FieldNATDst // as FieldNATPort
	FieldSrc
	FieldMark      // packet mark
	FieldCTMark    // connection mark
	FieldCTStatus  // bits of ct status (IPS_*, linux/netfilter/nf_conntrack_common.h)
	FieldUser      // uid of the sender, output only
	FieldUserGroup // gid of the sender, output only
	FieldMAC       // source link-layer address
	FieldDSCP      // six bits
	FieldTTL       // TTL or hop limit
	FieldLength    // of the packet, bytes
	FieldOrigDst   // destination before translation, of the connection's first packet
	FieldOrigPort  // destination port before translation
	fieldCount
)

// AddrType is the kind of an address as the routing table has it (RTN_*,
// linux/rtnetlink.h). The zero value is any that is not listed.
type AddrType uint8

// The kinds that rules ask for.
const (
	AddrOther AddrType = iota
	AddrLocal
	AddrBroadcast
	AddrMulticast
)

// fieldInfo is what is fixed of a field.
type fieldInfo struct {
	name  string
	width uint // bits; of addresses in IPv6
}

var fieldTable = [fieldCount]fieldInfo{
	FieldIn:         {"in", 12},
	FieldOut:        {"out", 12},
	FieldState:      {"state", 3},
	FieldProto:      {"protocol", 8},
	FieldFlags:      {"tcp flags", 8},
	FieldType:       {"icmp type", 8},
	FieldCode:       {"icmp code", 8},
	FieldDstPort:    {"dport", 16},
	FieldSrcPort:    {"sport", 16},
	FieldDst:        {"daddr", 128},
	FieldSrc:        {"saddr", 128},
	FieldFragment:   {"fragment", 1},
	FieldDstType:    {"daddr type", 2},
	FieldSrcType:    {"saddr type", 2},
	FieldPacketType: {"pkttype", 2},
	FieldMark:       {"mark", 32},
	FieldCTMark:     {"ct mark", 32},
	FieldCTStatus:   {"ct status", 16},
	FieldUser:       {"skuid", 32},
	FieldUserGroup:  {"skgid", 32},
	FieldMAC:        {"ether saddr", 48},
	FieldDSCP:       {"dscp", 6},
	FieldTTL:        {"ttl", 8},
	FieldLength:     {"length", 16},
	FieldNATPort:    {"translated dport", 16},
	FieldNATDst:     {"translated daddr", 128},
	FieldOrigDst:    {"original daddr", 128},
	FieldOrigPort:   {"original dport", 16},
}

// String returns the field's name, nft's where it has one.
func (f Field) String() string { return fieldTable[f].name }

// FieldsBut returns every field but the given ones.
func FieldsBut(but ...Field) []Field {
	var out []Field
	for f := range fieldCount {
		if !slices.Contains(but, f) {
			out = append(out, f)
		}
	}
	return out
}

// Width returns the field's bits in a family.
func (f Field) Width(is6 bool) uint {
	if w := fieldTable[f].width; w < 128 || is6 {
		return w
	}
	return 32
}

// firstLevel is the level of each field's highest bit in IPv6; in IPv4 addresses
// use the last 32 of their levels.
var firstLevel = func() (first [fieldCount + 1]uint32) {
	for f := Field(0); f < fieldCount; f++ {
		first[f+1] = first[f] + uint32(fieldTable[f].width)
	}
	return first
}()

// levelOf returns the level of a field's bit, 0 the lowest.
func levelOf(f Field, bit uint) uint32 { return firstLevel[f+1] - 1 - uint32(bit) }

// fieldAt returns the field and the bit of a level, and false if it is an
// unknown's.
func fieldAt(level uint32) (f Field, bit uint, ok bool) {
	for f = 0; f < fieldCount; f++ {
		if level < firstLevel[f+1] {
			return f, uint(firstLevel[f+1] - 1 - level), true
		}
	}
	return 0, 0, false
}
