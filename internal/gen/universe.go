package gen

import (
	"net/netip"
	"time"

	"github.com/fwctl/fwctl/rules"
)

// Host returns the facts of the host that every generated policy fits. A name
// of an interface that policies mention and the host lacks is "eth7".
func Host() *rules.Host {
	return &rules.Host{
		Name: "lab", OS: "linux", TimeZone: "UTC",
		Time: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC),
		Interfaces: []rules.Interface{
			iface("lo", "127.0.0.1/8", "::1/128"),
			iface("eth0", "192.0.2.10/24", "192.0.2.11/24", "2001:db8::10/64", "fe80::10/64"),
			iface("eth1", "10.20.0.5/16", "fd00:20::5/64"),
			iface("wg0", "10.9.0.1/24", "fd00:9::1/64"),
			iface("wg1", "10.9.1.1/31"),
			iface("docker0", "172.17.0.1/16"),
		},
		Names: map[string][]netip.Addr{
			"api.partner.example": {netip.MustParseAddr("198.51.100.77"), netip.MustParseAddr("2001:db8:1::77")},
		},
	}
}

func iface(name string, addrs ...string) rules.Interface {
	i := rules.Interface{Name: name, Loopback: name == "lo"}
	for _, a := range addrs {
		i.Addrs = append(i.Addrs, netip.MustParsePrefix(a))
	}
	return i
}

// addressFile is what "addresses.txt" holds, the file of some groups.
const addressFile = `# one a line
198.51.100.64/27
198.51.100.96/27   # adjacent
198.51.100.70      # inside
203.0.113.9
203.0.113.11-203.0.113.13
2001:db8:1:f::/64
2001:db8:2::5
`

// What policies name. The sets overlap, touch and nest on purpose.
var (
	sources = []string{
		"198.51.100.0/24", "198.51.100.0/28", "198.51.100.7", "198.51.100.8/29", "198.51.100.200-198.51.100.220",
		"203.0.113.0/25", "203.0.113.128/25", "203.0.113.9", "203.0.113.100-203.0.113.200",
		"10.20.0.0/16", "10.20.1.0-10.20.1.255", "10.0.0.0/8", "10.9.0.0/24", "172.17.0.0/16", "172.17.0.2",
		"192.0.2.0/24", "192.0.2.10", "192.0.2.128/25", "0.0.0.0/1", "0.0.0.0/0", "169.254.169.254", "169.254.0.0/16",
		"2001:db8:1::/48", "2001:db8:1::7", "2001:db8:1::10-2001:db8:1::1f", "2001:db8:1:f::/64", "2001:db8:2::/64",
		"2001:db8::/32", "fe80::/10", "fe80::9", "fd00:20::/64", "fd00::/8", "2000::/3", "::/0", "2001:db8:2::5",
	}
	destinations = []string{
		"192.0.2.10", "192.0.2.11", "192.0.2.10/31", "192.0.2.0/24", "192.0.2.255", "10.20.0.5", "10.9.0.1", "172.17.0.1",
		"2001:db8::10", "2001:db8::/64", "fd00:20::5", "fe80::10", "@eth0", "@eth1", "@wg0", "host",
		"224.0.0.251", "224.0.0.18", "224.0.0.0/24", "ff02::fb", "ff02::12", "ff02::/16", "255.255.255.255", "private",
	}
	farDestinations = []string{
		"198.51.100.0/24", "198.51.100.7", "203.0.113.0/25", "203.0.113.9", "10.20.0.0/16", "10.20.1.5", "172.17.0.0/16", "172.17.0.2",
		"169.254.169.254", "2001:db8:1::/48", "2001:db8:1::7", "2001:db8:2::/64", "fd00:20::/64", "fd00:20::99", "0.0.0.0/0", "::/0",
		"224.0.0.251", "ff02::fb", "private", "any", "198.51.100.200-198.51.100.220", "203.0.113.255",
	}
	interfaces = []string{"eth0", "eth1", "wg0", "wg1", "docker0", "wg*", "eth*", "docker*", "eth7", "e*"}
	portTexts  = []string{
		"22", "53", "80", "443", "1", "65535", "1-65535", "1000-1010", "1005-2000", "1011", "8000-8010", "8011", "67", "68", "546", "547",
		"5353", "33000-65535", "1-1023", "2", "25",
	}
	portProtocols = []string{"tcp", "tcp", "tcp", "udp", "udp", "sctp", "dccp", "udplite"}
	portless      = []string{"vrrp", "gre", "esp", "igmp", "icmp", "ipv6-icmp", "any", "99", "ipip", "ospf", "255"}
	limits        = []string{"5000/second", "100000/minute", "20000/hour", "10000/day", "1000000/second"}
	expiries      = []string{"2020-06-30", "2037-12-31", "2031-01-01", "2020-01-01T00:00:00Z", "2030-06-01T12:00:00+02:00"}
)
