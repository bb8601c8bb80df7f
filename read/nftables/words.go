package nftables

import "github.com/fwctl/fwctl/packet"

// metaWords are nft's names of the keys of meta, with the kind of their values.
var metaWords = map[uint64]struct {
	name string
	kind valueKind
}{
	keyLen: {"meta length", hostNumberKind}, keyProtocol: {"meta protocol", etherTypeKind}, keyPriority: {"meta priority", trafficKind},
	keyMark: {"meta mark", markKind}, keyIIF: {"iif", indexKind}, keyOIF: {"oif", indexKind}, keyIIFName: {"iifname", nameKind},
	keyOIFName: {"oifname", nameKind}, keyIIFType: {"meta iiftype", linkTypeKind}, keyOIFType: {"meta oiftype", linkTypeKind},
	keyUID: {"meta skuid", hostNumberKind}, keyGID: {"meta skgid", hostNumberKind}, keyNFTrace: {"meta nftrace", numberKind},
	keyClassID: {"meta rtclassid", hostNumberKind}, keySecmark: {"meta secmark", hostNumberKind}, keyNFProto: {"meta nfproto", nfprotoKind},
	keyL4Proto: {"meta l4proto", protoKind}, keyBriIIF: {"meta ibrname", nameKind}, keyBriOIF: {"meta obrname", nameKind},
	keyPktType: {"meta pkttype", pktTypeKind}, keyCPU: {"meta cpu", hostNumberKind}, keyIIFGroup: {"iifgroup", groupKind},
	keyOIFGroup: {"oifgroup", groupKind}, keyCgroup: {"meta cgroup", hostNumberKind}, keyRandom: {"meta random", hostNumberKind},
	keySecpath: {"meta ipsec", existsKind}, keyIIFKind: {"meta iifkind", nameKind}, keyOIFKind: {"meta oifkind", nameKind},
	keyTime: {"meta time", timeKind}, keyDay: {"meta day", dayKind}, keyHour: {"meta hour", hourKind},
	keySDIF: {"meta sdif", indexKind}, keySDIFName: {"meta sdifname", nameKind},
}

// ctWords are nft's names of the keys of ct.
var ctWords = map[uint64]struct {
	name string
	kind valueKind
}{
	keyState: {"state", stateKind}, keyDirection: {"direction", directionKind}, keyStatus: {"status", statusKind}, keyCTMark: {"mark", markKind},
	keySecmarkCT: {"secmark", hostNumberKind}, keyExpiration: {"expiration", spanKind}, keyHelper: {"helper", stringKind}, keyL3Protocol: {"l3proto", nfprotoKind},
	keyCTSrc: {"saddr", hexKind}, keyCTDst: {"daddr", hexKind}, keyCTProtocol: {"protocol", protoKind}, keyProtoSrc: {"proto-src", numberKind},
	keyProtoDst: {"proto-dst", numberKind}, keyLabels: {"label", hexKind}, keyPkts: {"packets", hostNumberKind}, keyBytes: {"bytes", hostNumberKind},
	keyAvgPkt: {"avgpkt", hostNumberKind}, keyZone: {"zone", hostNumberKind}, keyEventMask: {"event", hexKind},
	keySrcIP: {"ip saddr", ipv4Kind}, keyDstIP: {"ip daddr", ipv4Kind}, keySrcIP6: {"ip6 saddr", ipv6Kind}, keyDstIP6: {"ip6 daddr", ipv6Kind}, keyCTID: {"id", hexKind},
}

// headerWord is a field of a header in nft's words.
type headerWord struct {
	name     string
	at, size int // bits
	kind     valueKind
}

var (
	linkWords = []headerWord{{"ether daddr", 0, 48, etherKind}, {"ether saddr", 48, 48, etherKind}, {"ether type", 96, 16, etherTypeKind}}
	ip4Words  = []headerWord{
		{"ip version", 0, 4, numberKind}, {"ip hdrlength", 4, 4, numberKind}, {"ip dscp", 8, 6, dscpKind}, {"ip ecn", 14, 2, numberKind}, {"ip length", 16, 16, numberKind},
		{"ip id", 32, 16, numberKind}, {"ip frag-off", 48, 16, numberKind}, {"ip ttl", 64, 8, numberKind}, {"ip protocol", 72, 8, protoKind},
		{"ip checksum", 80, 16, numberKind}, {"ip saddr", 96, 32, ipv4Kind}, {"ip daddr", 128, 32, ipv4Kind},
	}
	ip6Words = []headerWord{
		{"ip6 version", 0, 4, numberKind}, {"ip6 dscp", 4, 6, dscpKind}, {"ip6 ecn", 10, 2, numberKind}, {"ip6 flowlabel", 12, 20, numberKind}, {"ip6 length", 32, 16, numberKind},
		{"ip6 nexthdr", 48, 8, protoKind}, {"ip6 hoplimit", 56, 8, numberKind}, {"ip6 saddr", 64, 128, ipv6Kind}, {"ip6 daddr", 192, 128, ipv6Kind},
	}
	portWords = []headerWord{{"sport", 0, 16, numberKind}, {"dport", 16, 16, numberKind}}
)

// transportWords are the fields behind the network header, by protocol.
var transportWords = map[packet.Proto]struct {
	name  string
	words []headerWord
}{
	packet.TCP: {"tcp", append(portWords[:2:2], []headerWord{
		{"sequence", 32, 32, numberKind}, {"ackseq", 64, 32, numberKind}, {"doff", 96, 4, numberKind}, {"flags", 104, 8, tcpFlagsKind},
		{"window", 112, 16, numberKind}, {"checksum", 128, 16, numberKind}, {"urgptr", 144, 16, numberKind},
	}...)},
	packet.UDP:     {"udp", append(portWords[:2:2], []headerWord{{"length", 32, 16, numberKind}, {"checksum", 48, 16, numberKind}}...)},
	packet.UDPLite: {"udplite", append(portWords[:2:2], []headerWord{{"csumcov", 32, 16, numberKind}, {"checksum", 48, 16, numberKind}}...)},
	packet.SCTP:    {"sctp", append(portWords[:2:2], []headerWord{{"vtag", 32, 32, numberKind}, {"checksum", 64, 32, numberKind}}...)},
	packet.DCCP:    {"dccp", append(portWords[:2:2], headerWord{"type", 67, 4, numberKind})},
	packet.ICMP: {"icmp", []headerWord{
		{"type", 0, 8, icmpKind}, {"code", 8, 8, icmpCodeKind}, {"checksum", 16, 16, numberKind}, {"id", 32, 16, numberKind}, {"sequence", 48, 16, numberKind},
		{"gateway", 32, 32, numberKind}, {"mtu", 48, 16, numberKind},
	}},
	packet.ICMPv6: {"icmpv6", []headerWord{
		{"type", 0, 8, icmp6Kind}, {"code", 8, 8, icmp6CodeKind}, {"checksum", 16, 16, numberKind}, {"id", 32, 16, numberKind}, {"sequence", 48, 16, numberKind},
		{"mtu", 32, 32, numberKind},
	}},
	50:          {"esp", []headerWord{{"spi", 0, 32, numberKind}, {"sequence", 32, 32, numberKind}}},
	51:          {"ah", []headerWord{{"nexthdr", 0, 8, protoKind}, {"hdrlength", 8, 8, numberKind}, {"reserved", 16, 16, numberKind}, {"spi", 32, 32, numberKind}, {"sequence", 64, 32, numberKind}}},
	packet.IGMP: {"igmp", []headerWord{{"type", 0, 8, numberKind}, {"mrt", 8, 8, numberKind}, {"checksum", 16, 16, numberKind}, {"group", 32, 32, ipv4Kind}}},
	108:         {"comp", []headerWord{{"nexthdr", 0, 8, protoKind}, {"flags", 8, 8, numberKind}, {"cpi", 16, 16, numberKind}}},
}

// Names of values, by number.
var (
	stateWords  = []string{0: "invalid", 1: "established", 2: "related", 3: "new", 6: "untracked"}
	statusWords = []string{0: "expected", 1: "seen-reply", 2: "assured", 3: "confirmed", 4: "snat", 5: "dnat", 9: "dying"}
	flagWords   = []string{"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"}
	dscpWords   = map[uint64]string{
		0: "cs0", 8: "cs1", 16: "cs2", 24: "cs3", 32: "cs4", 40: "cs5", 48: "cs6", 56: "cs7", 1: "lephb", 10: "af11", 12: "af12", 14: "af13",
		18: "af21", 20: "af22", 22: "af23", 26: "af31", 28: "af32", 30: "af33", 34: "af41", 36: "af42", 38: "af43", 44: "va", 46: "ef",
	}
	addrTypeWords = map[uint64]string{0: "unspec", 1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
	pktTypeWords  = map[uint64]string{0: "host", 1: "broadcast", 2: "multicast", 3: "other"}
	nfprotoWords  = map[uint64]string{FamilyIPv4: "ipv4", FamilyIPv6: "ipv6"}
	etherWords    = map[uint64]string{0x0800: "ip", 0x86dd: "ip6", 0x0806: "arp", 0x8100: "vlan", 0x88a8: "8021ad"}
	linkTypeWords = map[uint64]string{1: "ether", 512: "ppp", 768: "ipip", 769: "ipip6", 772: "loopback", 776: "sit", 778: "ipgre"}
	dayWords      = map[uint64]string{0: "Sunday", 1: "Monday", 2: "Tuesday", 3: "Wednesday", 4: "Thursday", 5: "Friday", 6: "Saturday"}
	icmpCodes     = map[uint64]string{
		0: "net-unreachable", 1: "host-unreachable", 2: "prot-unreachable", 3: "port-unreachable", 4: "frag-needed", 9: "net-prohibited", 10: "host-prohibited", 13: "admin-prohibited",
	}
	icmp6Codes = map[uint64]string{0: "no-route", 1: "admin-prohibited", 3: "addr-unreachable", 4: "port-unreachable", 5: "policy-fail", 6: "reject-route"}
	icmpxCodes = map[uint64]string{0: "no-route", 1: "port-unreachable", 2: "host-unreachable", 3: "admin-prohibited"}
)
