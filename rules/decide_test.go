package rules_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// A table of packets: a line is a packet, "=", its verdict and what decided; the
// comments are the sentences of the policy that it shows.
type packets string

func (table packets) check(t *testing.T, rs *rules.Ruleset, at time.Time) {
	t.Helper()
	for line := range strings.Lines(string(table)) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		text, want, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		p, err := packet.Parse(strings.TrimSpace(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := decision(rs.Decide(p, at)); got != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%s= %s, want%s", text, got, want)
		}
	}
}

// decision writes "accept service.ssh" or "drop default".
func decision(d rules.Decision) string {
	why := d.Reason
	if d.Rule != nil {
		why = d.Rule.ID()
	}
	if d.Limited {
		why += " limited"
	}
	return d.Verdict.String() + " " + why
}

// ruleset makes one of a policy; the host is that of testdata/language.
func ruleset(t *testing.T, policy string) *rules.Ruleset {
	t.Helper()
	fsys := fstest.MapFS{"policy.toml": {Data: []byte("version = 1\n" + policy)}}
	p, problems := rules.Load(fsys, "policy.toml", rules.LoadOptions{Profiles: policies.Profiles()})
	rs, more := rules.Resolve(p, languageHost(t))
	if rs == nil {
		t.Fatal(text(append(problems, more...)))
	}
	return rs
}

const everyStage = `
[defaults]
inbound = "reject"
[group.office]
addresses = ["198.51.100.0/24", "2001:db8:1::/48"]
[group.mgmt]
interfaces = ["eth1"]
addresses  = ["10.20.0.0/16"]
[service.ssh]
ports  = ["22/tcp"]
from   = ["office"]
shared = true
[service.ssh-world]
ports  = ["22/tcp"]
from   = ["any"]
limit  = "10/minute"
shared = true
[service.manager]
ports = ["5671/tcp", "9000-9010/tcp"]
to    = ["10.20.0.5"]
from  = ["mgmt"]
[service.dhcp]
ports        = ["67/udp"]
source_ports = ["68/udp"]
in           = ["virbr*"]
from         = ["any"]
[service.vrrp]
protocols = ["vrrp"]
to        = ["224.0.0.18"]
from      = ["private"]
[service.migration]
ports   = ["8443/tcp"]
from    = ["198.51.100.7"]
expires = 2027-01-31
[service.nobody]
ports = ["99/tcp"]
from  = []
[service.local]
ports = ["98/tcp"]
from  = ["loopback"]
[block.scanners]
from = ["198.51.100.128/25", "fe80::/10"]
[block.telnet]
from  = ["any"]
ports = ["22/tcp"]
to    = ["192.0.2.10"]
in    = ["ppp*"]
[block.temporary]
from    = ["198.51.100.9"]
expires = 2027-01-31T12:00:00+01:00
`

// The stages of a packet for this host, in their order.
func TestDecideInput(t *testing.T) {
	packets(`
	# 1. The loopback interface is accepted, whatever the packet.
	in lo tcp 127.0.0.1 -> 127.0.0.1:8000           = accept loopback
	in lo tcp 198.51.100.200 -> 192.0.2.10:22 invalid = accept loopback
	# Its addresses alone are not: they could come from outside.
	in eth0 tcp 127.0.0.1 -> 192.0.2.10:98          = reject default
	in eth0 tcp 127.0.0.1 -> 192.0.2.10:8000        = reject default

	# 2. The necessary baseline, before the state and before blocks.
	in eth0 icmp 198.51.100.200 -> 192.0.2.10 destination-unreachable/4 invalid = accept baseline
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 time-exceeded      = accept baseline
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 parameter-problem  = accept baseline
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 redirect           = drop default
	in eth0 icmpv6 fe80::1 -> ff02::1 nd-router-advert        = accept baseline
	in eth0 icmpv6 fe80::1 -> 2001:db8:ff::10 nd-neighbor-solicit = accept baseline
	in eth0 icmpv6 fe80::1 -> ff02::1 nd-router-solicit       = drop block.scanners
	in eth0 icmpv6 fe80::1 -> ff02::1 mld-listener-query      = accept baseline
	in eth0 icmpv6 :: -> ff02::16 mld2-listener-report        = accept baseline
	in eth0 icmpv6 2001:db8:1::1 -> ff02::1 mld-listener-query = drop default
	in eth0 icmpv6 2001:db8:1::1 -> 2001:db8:ff::10 packet-too-big = accept baseline
	in eth0 igmp 192.0.2.1 -> 224.0.0.1                       = accept baseline
	in eth0 udp 192.0.2.1:67 -> 255.255.255.255:68            = accept baseline
	in eth0 udp 192.0.2.1:66 -> 255.255.255.255:68            = drop default
	in eth0 udp [fe80::1]:547 -> [fe80::2]:546                = accept baseline
	in eth0 udp [2001:db8::1]:547 -> [fe80::2]:546            = reject default
	# ICMP over IPv6, and the other way round, is just another protocol.
	in eth0 1 2001:db8:2::1 -> 2001:db8:ff::10 3              = drop default
	in eth0 58 203.0.113.9 -> 192.0.2.10 135                  = drop default

	# 3. Established and related, also from a blocked source; 4. invalid.
	in eth0 tcp 198.51.100.200 -> 192.0.2.10:40000 established flags ack = accept established
	in eth0 udp 198.51.100.200:53 -> 192.0.2.10:40000 related = accept established
	in eth0 tcp 198.51.100.7 -> 192.0.2.10:22 invalid         = drop invalid

	# 5. A block wins over every service, and drops even under "reject".
	in eth0 tcp 198.51.100.200 -> 192.0.2.10:22               = drop block.scanners
	in eth0 icmp 198.51.100.200 -> 192.0.2.10 echo-request    = drop block.scanners
	in eth0 tcp 198.51.100.200 -> 192.0.2.10:22 untracked     = drop block.scanners
	# A block has conditions like a service.
	in ppp0 tcp 198.51.100.7 -> 192.0.2.10:22                 = drop block.telnet
	in ppp0 tcp 198.51.100.7 -> 10.20.0.5:22                  = accept service.ssh
	in eth0 tcp 198.51.100.9 -> 192.0.2.10:22                 = drop block.temporary

	# 6. Echo requests; other requests only with icmp = "all".
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 echo-request       = accept icmp
	in eth0 icmpv6 2001:db8:2::1 -> 2001:db8:ff::10 echo-request = accept icmp
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 echo-reply         = drop default
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 timestamp-request  = drop default

	# 7. Services: a limited one only where no other accepts.
	in eth0 tcp 198.51.100.7 -> 192.0.2.10:22                 = accept service.ssh
	in eth0 tcp [2001:db8:1::7]:1024 -> [2001:db8:ff::10]:22  = accept service.ssh
	in eth0 tcp 203.0.113.9 -> 192.0.2.10:22                  = accept service.ssh-world limited
	in eth0 udp 198.51.100.7 -> 192.0.2.10:22                 = reject default
	# to, and a group that must be seen on its interface.
	in eth1 tcp 10.20.1.1 -> 10.20.0.5:5671                   = accept service.manager
	in eth1 tcp 10.20.1.1 -> 10.20.0.5:9010                   = accept service.manager
	in eth1 tcp 10.20.1.1 -> 10.20.0.5:9011                   = reject default
	in eth1 tcp 10.20.1.1 -> 192.0.2.10:5671                  = reject default
	in eth0 tcp 10.20.1.1 -> 10.20.0.5:5671                   = reject default
	in eth1 tcp 10.21.0.0 -> 10.20.0.5:5671                   = reject default
	# in, and source ports.
	in virbr0 udp 0.0.0.0:68 -> 255.255.255.255:67            = accept service.dhcp
	in virbr0 udp 0.0.0.0:69 -> 255.255.255.255:67            = drop default
	in eth0 udp 0.0.0.0:68 -> 255.255.255.255:67              = drop default
	# A protocol without ports, to a multicast group.
	in eth0 vrrp 10.1.1.1 -> 224.0.0.18                       = accept service.vrrp
	in eth0 vrrp 203.0.113.9 -> 224.0.0.18                    = drop default
	in eth0 gre 10.1.1.1 -> 224.0.0.18                        = drop default
	# [] and loopback are nobody.
	in eth0 tcp 198.51.100.7 -> 192.0.2.10:99                 = reject default
	in eth0 tcp 198.51.100.7 -> 192.0.2.10:98                 = reject default

	# 8. The default: reject answers TCP and UDP, never broadcast or multicast.
	in eth0 tcp 203.0.113.9 -> 192.0.2.10:8000                = reject default
	in eth0 udp 203.0.113.9 -> 192.0.2.10:8000                = reject default
	in eth0 sctp 203.0.113.9 -> 192.0.2.10:8000               = drop default
	in eth0 gre 203.0.113.9 -> 192.0.2.10                     = drop default
	in eth0 udp 192.0.2.1 -> 192.0.2.255:137                  = drop default
	in eth0 udp 192.0.2.1 -> 255.255.255.255:137              = drop default
	in eth0 udp 192.0.2.1 -> 224.0.0.251:5353                 = drop default
	`).check(t, ruleset(t, everyStage), now)
}

// A section holds through its day in the host's time zone, and no longer; a
// date-time is the instant itself.
func TestDecideExpiry(t *testing.T) {
	rs := ruleset(t, everyStage)
	berlin := time.FixedZone("", 3600)
	packets(`
	in eth0 tcp 198.51.100.7 -> 192.0.2.10:8443 = accept service.migration
	`).check(t, rs, time.Date(2027, 1, 31, 23, 59, 59, 0, berlin))
	packets(`
	in eth0 tcp 198.51.100.7 -> 192.0.2.10:8443 = reject default
	in eth0 tcp 198.51.100.9 -> 192.0.2.10:22   = accept service.ssh
	`).check(t, rs, time.Date(2027, 2, 1, 0, 0, 0, 0, berlin))
	packets(`
	in eth0 tcp 198.51.100.9 -> 192.0.2.10:22   = drop block.temporary
	`).check(t, rs, time.Date(2027, 1, 31, 11, 59, 59, 0, berlin))
	packets(`
	in eth0 tcp 198.51.100.9 -> 192.0.2.10:22   = accept service.ssh
	`).check(t, rs, time.Date(2027, 1, 31, 12, 0, 0, 0, berlin))
}

func TestDecideICMP(t *testing.T) {
	packets(`
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 echo-request            = accept icmp
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 timestamp-request       = accept icmp
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 timestamp-reply         = drop default
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 redirect                = drop default
	in eth0 icmpv6 2001:db8:2::1 -> 2001:db8:ff::10 nd-redirect    = drop default
	in eth0 icmpv6 2001:db8:2::1 -> 2001:db8:ff::10 139            = accept icmp
	`).check(t, ruleset(t, "[defaults]\nicmp = \"all\"\n"), now)
	packets(`
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 echo-request            = drop default
	in eth0 icmp 198.51.100.7 -> 192.0.2.10 echo-request           = accept service.ping
	in eth0 icmp 203.0.113.9 -> 192.0.2.10 destination-unreachable = accept baseline
	`).check(t, ruleset(t, "[defaults]\nicmp = \"minimal\"\n[service.ping]\nprotocols = [\"icmp\"]\nfrom = [\"198.51.100.7\"]\n"), now)
}

// A policy without defaults drops what comes, lets out what goes, and leaves
// alone what passes.
func TestDecideWithoutDefaults(t *testing.T) {
	packets(`
	in eth0 tcp 203.0.113.9 -> 192.0.2.10:8000                = drop default
	out eth0 tcp 192.0.2.10 -> 203.0.113.9:443                = accept default
	in eth0 out eth1 tcp 203.0.113.9 -> 10.20.0.9:443         = accept routed packets are left alone
	in eth0 out eth1 tcp 203.0.113.9 -> 10.20.0.9:443 invalid = accept routed packets are left alone
	`).check(t, ruleset(t, ""), now)
}

// The stages of a packet from this host.
func TestDecideOutput(t *testing.T) {
	packets(`
	# Loopback; the baseline; established, also to a blocked address.
	out lo tcp 127.0.0.1 -> 127.0.0.1:8000                    = accept loopback
	out eth0 icmpv6 fe80::2 -> ff02::2 nd-router-solicit      = accept baseline
	out eth0 icmpv6 fe80::2 -> ff02::1:ff00:1 nd-neighbor-solicit = accept baseline
	out eth0 icmp 192.0.2.10 -> 203.0.113.9 time-exceeded     = accept baseline
	out eth0 udp 0.0.0.0:68 -> 255.255.255.255:67             = accept baseline
	out eth0 udp [fe80::2]:546 -> [ff02::1:2]:547             = accept baseline
	out eth0 igmp 192.0.2.10 -> 224.0.0.22                    = accept baseline
	out eth0 tcp 192.0.2.10:80 -> 169.254.169.254:40000 established flags ack = accept established
	# Invalid packets are not a stage of their own here.
	out eth0 tcp 192.0.2.10 -> 10.20.0.53:53 invalid          = accept outbound.dns
	# Blocks, before echo requests.
	out eth0 tcp 192.0.2.10 -> 169.254.169.254:80             = drop block.metadata
	out eth0 icmp 192.0.2.10 -> 169.254.169.254 echo-request  = drop block.metadata
	out eth0 tcp 192.0.2.10 -> 203.0.113.9:25                 = drop block.smtp
	out eth0 icmp 192.0.2.10 -> 203.0.113.9 echo-request      = accept icmp
	# What is named, and the default.
	out eth0 udp 192.0.2.10 -> 10.20.0.53:53                  = accept outbound.dns
	out eth0 udp 192.0.2.10 -> 10.20.0.54:53                  = reject default
	out eth1 tcp 10.20.0.5 -> 10.20.7.7:443                   = accept outbound.inside
	out eth0 tcp 192.0.2.10 -> 10.20.7.7:443                  = reject default
	out eth0 udp 192.0.2.10 -> 192.0.2.255:137                = drop default
	# A block of inbound packets says nothing of outbound ones.
	out eth0 udp 192.0.2.10 -> 10.20.0.53:53                  = accept outbound.dns
	`).check(t, ruleset(t, `
[defaults]
outbound = "reject"
[group.inside]
interfaces = ["eth1"]
addresses  = ["10.20.0.0/16"]
[outbound.dns]
to    = ["10.20.0.53"]
ports = ["53/udp", "53/tcp"]
[outbound.inside]
to    = ["inside"]
ports = ["443/tcp"]
[block.metadata]
direction = "outbound"
to        = ["169.254.169.254"]
[block.smtp]
direction = "outbound"
ports     = ["25/tcp"]
[block.everyone]
from = ["any"]
`), now)
}

// The stages of a packet through this host.
func TestDecideForward(t *testing.T) {
	policy := `
[defaults]
routed = "drop"
[group.vpn]
interfaces = ["wg*"]
addresses  = ["10.99.0.0/16"]
[group.inside]
interfaces = ["eth1"]
addresses  = ["10.20.0.0/16"]
[route.vpn]
from  = ["vpn"]
to    = ["inside"]
ports = ["443/tcp"]
[block.bad]
from = ["10.99.0.66"]
`
	packets(`
	in wg0 out eth1 tcp 10.99.0.1 -> 10.20.0.9:443                = accept route.vpn
	in wg0 out eth0 tcp 10.99.0.1 -> 10.20.0.9:443                = drop default
	in eth0 out eth1 tcp 10.99.0.1 -> 10.20.0.9:443               = drop default
	in wg0 out eth1 tcp 10.99.0.1 -> 10.20.0.9:80                 = drop default
	in wg0 out eth1 tcp 10.99.0.66 -> 10.20.0.9:443               = drop block.bad
	in wg0 out eth1 tcp 10.99.0.66 -> 10.20.0.9:443 established   = accept established
	in eth1 out wg0 tcp 10.20.0.9:443 -> 10.99.0.1:5000 related   = accept established
	# No baseline, no echo: what passes is not for this host.
	in eth0 out eth1 icmp 203.0.113.9 -> 10.20.0.9 echo-request   = drop default
	in eth0 out eth1 icmp 203.0.113.9 -> 10.20.0.9 time-exceeded  = drop default
	`).check(t, ruleset(t, policy), now)
	packets(`
	in wg0 out eth1 tcp 10.99.0.1 -> 10.20.0.9:443                = accept default
	in wg0 out eth1 tcp 10.99.0.66 -> 10.20.0.9:443               = drop block.bad
	`).check(t, ruleset(t, "[defaults]\nrouted = \"accept\"\n[block.bad]\nfrom = [\"10.99.0.66\"]\n"), now)
}

// The words for everyone, nobody and the host itself.
func TestDecideBuiltinGroups(t *testing.T) {
	packets(`
	in eth0 tcp 10.0.0.1 -> 192.0.2.10:1              = accept service.private
	in eth0 tcp 172.31.255.255 -> 192.0.2.10:1        = accept service.private
	in eth0 tcp 172.32.0.0 -> 192.0.2.10:1            = drop default
	in eth0 tcp 169.254.0.1 -> 192.0.2.10:1           = accept service.private
	in eth0 tcp 169.254.169.254 -> 192.0.2.10:1       = drop default
	in eth0 tcp fd00::1 -> [2001:db8:ff::10]:1        = accept service.private
	in eth0 tcp fe80::1 -> [2001:db8:ff::10]:1        = accept service.private
	in eth0 tcp 203.0.113.9 -> 192.0.2.10:2           = accept service.own
	in eth0 tcp 203.0.113.9 -> 192.0.2.99:2           = drop default
	in eth0 tcp 203.0.113.9 -> 10.20.0.5:2            = accept service.own
	in eth0 udp 192.0.2.1 -> 192.0.2.255:3            = accept service.all
	in eth0 udp 192.0.2.1 -> 224.0.0.251:3            = accept service.all
	in eth0 tcp 203.0.113.9 -> 10.20.0.5:4            = accept service.of-eth1
	in eth0 tcp 203.0.113.9 -> 192.0.2.10:4           = drop default
	# A group of one family never matches the other.
	in eth0 tcp 2001:db8::1 -> [2001:db8:ff::10]:5    = drop default
	in eth0 tcp 0.0.0.1 -> 192.0.2.10:5               = accept service.four
	`).check(t, ruleset(t, `
[service.private]
ports = ["1/tcp"]
from  = ["private"]
[service.own]
ports = ["2/tcp"]
from  = ["any"]
to    = ["host"]
[service.all]
ports = ["3/udp"]
from  = ["any"]
[service.of-eth1]
ports = ["4/tcp"]
from  = ["any"]
to    = ["@eth1"]
[service.four]
ports = ["5/tcp"]
from  = ["0.0.0.0/0"]
`), now)
}

// Every address of both families is everyone, however it is written.
func TestEveryoneIsAny(t *testing.T) {
	rs := ruleset(t, `
[group.half]
addresses = ["0.0.0.0/1", "::/0"]
[group.other-half]
addresses = ["128.0.0.0/1"]
[group.bound]
interfaces = ["eth1"]
addresses  = ["any"]
[service.a]
ports = ["1/tcp"]
from  = ["half", "other-half"]
[service.b]
ports = ["2/tcp"]
from  = ["0.0.0.0/0", "::/0"]
[service.c]
ports = ["3/tcp"]
from  = ["bound"]
`)
	for i, want := range []bool{true, true, false} {
		if r := rs.Services[i]; r.From.Any != want {
			t.Errorf("%s: any is %v, want %v", r.ID(), r.From.Any, want)
		}
	}
	if len(rs.Groups) != 1 || rs.Groups[0].Name != "bound" {
		t.Errorf("groups that a rule names: %v, want bound alone", rs.Groups)
	}
}
