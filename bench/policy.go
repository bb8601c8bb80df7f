package main

import (
	"bytes"
	"fmt"
	"net/netip"
)

// service is one opening: a UDP port for one source. All measurements use the
// same shape, so that their figures can be set side by side.
type service struct {
	Port uint16
	Src  netip.Addr
}

// stranger is a source that no service knows.
var stranger = netip.MustParseAddr("10.255.255.1")

const firstPort = 20000

// services returns the first n services.
func services(n int) []service {
	list := make([]service, n)
	for i := range list {
		list[i] = service{uint16(firstPort + i), netip.AddrFrom4([4]byte{10, 1, byte(i / 250), byte(i%250 + 1)})}
	}
	return list
}

// policyText is the policy that opens the services.
func policyText(list []service) []byte {
	var b bytes.Buffer
	b.WriteString("version = 1\n")
	for _, s := range list {
		fmt.Fprintf(&b, "[service.s%d]\nports = [\"%d/udp\"]\nfrom = [\"%s\"]\n", s.Port, s.Port, s.Src)
	}
	return b.Bytes()
}

// byHandNFT is what a person who knows nftables writes for the same: one set for
// all services, and the few rules that every host needs.
func byHandNFT(list []service) []byte {
	var b bytes.Buffer
	b.WriteString(`table inet byhand {
	set services {
		type inet_proto . inet_service . ipv4_addr
		elements = {
`)
	for _, s := range list {
		fmt.Fprintf(&b, "\t\t\tudp . %d . %s,\n", s.Port, s.Src)
	}
	b.WriteString(`		}
	}
	chain input {
		type filter hook input priority filter; policy drop;
		iif lo accept
		icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
		icmpv6 type { 1, 2, 3, 4, 130, 131, 132, 134, 135, 136, 143 } accept
		ip protocol igmp accept
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		ct state established,related accept
		ct state invalid drop
		icmp type echo-request accept
		icmpv6 type echo-request accept
		meta l4proto . th dport . ip saddr @services accept
	}
}
`)
	return b.Bytes()
}

// byHandIPTables is what a person writes for iptables-restore: a line a service.
func byHandIPTables(list []service) []byte {
	var b bytes.Buffer
	b.WriteString(`*filter
:BYHAND - [0:0]
-A BYHAND -i lo -j ACCEPT
-A BYHAND -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A BYHAND -m conntrack --ctstate INVALID -j DROP
-A BYHAND -p icmp -j ACCEPT
`)
	for _, s := range list {
		fmt.Fprintf(&b, "-A BYHAND -s %s/32 -p udp -m udp --dport %d -j ACCEPT\n", s.Src, s.Port)
	}
	b.WriteString("-A BYHAND -j DROP\n-A INPUT -j BYHAND\nCOMMIT\n")
	return b.Bytes()
}
