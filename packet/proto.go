package packet

import "strconv"

// Proto is an IP protocol number, as IANA assigns them ("Assigned Internet
// Protocol Numbers"); for IPv6 the number of the upper-layer header.
type Proto uint8

// The protocols that fwctl treats apart.
const (
	ICMP    Proto = 1
	IGMP    Proto = 2
	TCP     Proto = 6
	UDP     Proto = 17
	DCCP    Proto = 33
	ICMPv6  Proto = 58
	SCTP    Proto = 132
	UDPLite Proto = 136
)

// protoNames has the names that policies may use: IANA's keywords in lower
// case, as /etc/protocols has them.
var protoNames = map[string]Proto{
	"icmp": ICMP, "igmp": IGMP, "ipip": 4, "tcp": TCP, "egp": 8, "igp": 9, "udp": UDP, "dccp": DCCP,
	"ipv6": 41, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": ICMPv6, "eigrp": 88, "ospf": 89,
	"pim": 103, "ipcomp": 108, "vrrp": 112, "l2tp": 115, "isis": 124, "sctp": SCTP, "udplite": UDPLite,
	"mpls-in-ip": 137, "hip": 139, "etherip": 97, "carp": 112, "skip": 57, "st": 5, "ggp": 3, "rdp": 27,
}

// aliases are names that read a number but never print it.
var aliases = map[string]bool{"carp": true}

var protoByNumber = func() map[Proto]string {
	m := make(map[Proto]string, len(protoNames))
	for name, n := range protoNames {
		if !aliases[name] {
			m[n] = name
		}
	}
	return m
}()

// ParseProto reads a protocol's IANA name in lower case ("vrrp") or its number
// from 0 to 255 in decimal.
func ParseProto(s string) (Proto, bool) {
	if p, ok := protoNames[s]; ok {
		return p, true
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return Proto(n), err == nil
}

// ProtoNames returns every name that ParseProto knows, in no order.
func ProtoNames() []string {
	names := make([]string, 0, len(protoNames))
	for n := range protoNames {
		names = append(names, n)
	}
	return names
}

// String returns the IANA name, or the number where there is none.
func (p Proto) String() string {
	if s, ok := protoByNumber[p]; ok {
		return s
	}
	return strconv.Itoa(int(p))
}

// HasPorts reports whether the protocol's header begins with a source and a
// destination port.
func (p Proto) HasPorts() bool {
	switch p {
	case TCP, UDP, DCCP, SCTP, UDPLite:
		return true
	}
	return false
}

// IsICMP reports whether the header begins with a type and a code.
func (p Proto) IsICMP() bool { return p == ICMP || p == ICMPv6 }
