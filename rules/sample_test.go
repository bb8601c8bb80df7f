package rules_test

import (
	"testing"

	"github.com/fwctl/fwctl/packet"
)

// tests are statements about the policy below: those that hold, and those that a
// single address, port, interface or protocol at some edge makes false.
const tests = `
[defaults]
outbound = "drop"
[group.office]
addresses = ["198.51.100.0/24", "2001:db8:1::/48"]
except    = ["198.51.100.77"]
[group.mgmt]
interfaces = ["eth1"]
addresses  = ["10.20.0.0/16"]
[service.ssh]
ports = ["22/tcp"]
from  = ["office"]
[service.web]
ports = ["8000-8010/tcp"]
from  = ["203.0.113.0/25"]
[service.db]
ports = ["5432/tcp"]
from  = ["mgmt"]
[service.vrrp]
protocols = ["vrrp"]
to        = ["224.0.0.18"]
from      = ["private"]
[outbound.dns]
to    = ["10.20.0.53"]
ports = ["53/udp"]

[test.good-office]
packet = "tcp office -> host:22"
expect = "accept"
[test.good-world]
packet = "tcp any -> host:22"
except = ["office"]
expect = "drop"
[test.good-web]
packet = "tcp 203.0.113.0/25:1024-65535 -> host:8000-8010"
expect = "accept"
[test.good-ping]
packet = "icmpv6 any -> host echo-request"
expect = "accept"
[test.good-mgmt]
packet = "in eth1 tcp mgmt -> host:5432"
expect = "accept"
[test.good-dns]
packet = "output udp host -> 10.20.0.53:53"
expect = "accept"
[test.good-loopback]
packet = "in lo any loopback -> loopback"
expect = "accept"

[test.bad-except]
packet = "tcp 198.51.100.0/24 -> host:22"
expect = "accept"
[test.bad-world]
packet = "tcp any -> host:22"
except = ["198.51.100.0/25", "2001:db8:1::/48"]
expect = "drop"
[test.bad-family]
packet = "tcp any -> host:22"
except = ["198.51.100.0/24"]
expect = "drop"
[test.bad-port]
packet = "tcp 203.0.113.0/25 -> host:7999-8010"
expect = "accept"
[test.bad-address]
packet = "tcp 203.0.113.0-203.0.113.128 -> host:8005"
expect = "accept"
[test.bad-interface]
packet = "tcp 10.20.0.0/16 -> host:5432"
expect = "accept"
[test.bad-everything]
packet = "any 203.0.113.0/25 -> host"
expect = "drop"
[test.bad-target]
packet = "vrrp 10.0.0.0/8 -> any"
expect = "drop"
[test.bad-outbound]
packet = "output udp any -> any:53"
expect = "drop"
[test.bad-type]
packet = "icmp any -> host"
expect = "drop"
`

// A sample finds what is false at an edge, and blames nothing that is true.
func TestTry(t *testing.T) {
	rs := ruleset(t, tests)
	for _, test := range rs.Tests {
		trial := rs.Try(test, now)
		if wrong := len(trial.Wrong) > 0; trial.Packets == 0 || wrong != (test.Name[:3] == "bad") {
			t.Errorf("[test.%s]: %d packets, of which wrong: %v", test.Name, trial.Packets, trial.Wrong)
		}
	}
}

// A sample holds packets of the test alone, none twice, and not too many.
func TestSample(t *testing.T) {
	rs := ruleset(t, tests)
	for _, test := range rs.Tests {
		seen := map[packet.Packet]bool{}
		for _, p := range rs.Sample(test) {
			if seen[p] || p.Hook != test.Hook || !rs.Matches(&test.Match, p, now) || p.Src.Is6() != p.Dst.Is6() {
				t.Errorf("[test.%s]: %v", test.Name, p)
			}
			seen[p] = true
		}
		if len(seen) > 10000 {
			t.Errorf("[test.%s]: %d packets", test.Name, len(seen))
		}
	}
}
