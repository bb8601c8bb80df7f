package drift_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/audit/drift"
	"github.com/fwctl/fwctl/internal/gen"
)

// Right after an apply the host is in sync, whichever policy and backend: proved
// for first packets and established flows.
func TestInSyncAfterApply(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			h := newHost(t, gen.Host(), b)
			r := rand.New(rand.NewPCG(gen.Seed(t), 5))
			for range gen.Dose(t, "FWCTL_POLICIES", 40) {
				policy := gen.Policy(r, gen.Options{})
				h.obey(policy)
				h.inSync(drift.Flows, policy)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// full is a policy that uses most of what there is.
const full = `version = 1
[defaults]
inbound = "reject"
outbound = "drop"
routed = "drop"
icmp = "all"
[safety]
keep = ["ssh"]
[group.office]
addresses = ["198.51.100.0/24", "2001:db8:1::/48", "192.0.2.200-192.0.2.220"]
[group.mgmt]
interfaces = ["eth1", "wg*"]
addresses = ["10.20.0.0/16"]
[service.ssh]
ports = ["22/tcp"]
from = ["office", "mgmt"]
[service.web]
ports = ["80/tcp", "443/tcp", "8000-8010/tcp"]
from = ["any"]
[service.db]
ports = ["5432/tcp"]
from = ["203.0.113.10", "203.0.113.128/25", "2001:db8:7::/64", "office"]
[service.dns]
ports = ["53/udp", "53/tcp"]
to = ["192.0.2.10"]
from = ["any"]
[block.scanners]
from = ["203.0.113.200", "198.51.100.66"]
[outbound.dns]
to = ["10.20.0.53"]
ports = ["53/udp"]
[outbound.web]
to = ["any"]
ports = ["443/tcp"]
[route.vpn]
from = ["mgmt"]
to = ["198.51.100.0/24"]
ports = ["443/tcp"]
`

// A packet leaves by the interface that leads to where it was sent on to: no
// other can have dropped it.
func TestTranslatedPacketsAreRouted(t *testing.T) {
	h := newHost(t, gen.Host(), backends[0])
	h.obey("version = 1\n[defaults]\ninbound = \"drop\"\n[safety]\nkeep = [\"web\"]\n[service.web]\nports = [\"8080/tcp\"]\nfrom = [\"any\"]\n")
	h.run(`ip route add 172.17.0.0/16 dev docker0
		nft 'table ip nat1 {
			chain pre { type nat hook prerouting priority dstnat; iifname "eth0" tcp dport 8080 dnat to 172.17.0.2:80; }
			chain through { type filter hook forward priority filter; policy drop; oifname "docker0" accept; }
		}'`)
	h.inSync(drift.Flows, "8080 is accepted, and sent on by docker0")
	h.run(`nft 'flush chain ip nat1 through; add rule ip nat1 through oifname "eth1" accept'`)
	if r := h.drift(drift.Flows); !slices.Equal(packets(r, drift.Closed), []string{"8080/tcp from any in eth0 out docker0"}) {
		t.Error(text(r))
	}
}

// Whatever somebody does to fwctl's own table is found, with the right weight,
// and the packets behave as it says.
func TestTampering(t *testing.T) {
	for _, c := range []struct {
		do     string
		opened string // the packets that get in, "" if none do
		closed string
		by     string // part of the rule that the host decides by
	}{
		{"nft flush chain inet fwctl input", "", "any protocol from any", "input: policy drop"},
		{"nft flush chain inet fwctl blocks", "from 198.51.100.66, 203.0.113.200", "", "input"},
		{"nft insert rule inet fwctl input accept", " protocols", "", ": accept"},
		{"nft insert rule inet fwctl input tcp dport 23 ip saddr 10.1.0.0/16 accept", "23/tcp from 10.1.0.0/16", "", "tcp dport 23"},
		{"nft add rule inet fwctl from.office counter accept", "5432/tcp from any but", "", "from.office"},
		{"nft add element inet fwctl office.v4 '{ 203.0.113.0/24 }'", "22/tcp from 203.0.113.0", "", "from.office"},
		{"nft delete element inet fwctl office.v4 '{ 198.51.100.0/24 }'", "", "22,5432/tcp from 198.51.100.", "defaults.inbound"},
		{"nft delete element inet fwctl input.ports '{ tcp . 80 }'", "", "80/tcp from any", "defaults.inbound"},
		{"nft add element inet fwctl input.ports '{ tcp . 23 : accept }'", "23/tcp from any", "", "input"},
		{"nft add chain inet fwctl mine; nft add rule inet fwctl mine accept; nft insert rule inet fwctl input jump mine", " protocols", "", "mine"},
		{"nft add set inet fwctl other '{ type ipv4_addr; elements = { 10.0.0.1 } }'; nft insert rule inet fwctl input ip saddr @other accept", "from 10.0.0.1", "", "@other"},
		{"nft add chain inet fwctl input '{ policy accept; }'", "", "", ""},
		{"nft flush table inet fwctl", "any protocol from any", "any protocol from any", "policy drop"},
		{"nft delete table inet fwctl", "any", "", "no chain at this hook"},
		{"nft add table inet fwctl '{ flags dormant; }'", "any", "", "no chain at this hook"},
		{"nft delete chain inet fwctl output", "any", "", "no chain at this hook"},
		{"nft add chain inet fwctl a '{ type filter hook input priority -300; }'; nft add rule inet fwctl a udp dport 53 drop", "", "53/udp from any", "udp dport 53 drop"},
	} {
		t.Run(c.do, func(t *testing.T) {
			h := newHost(t, gen.Host(), backends[0])
			h.obey(full)
			h.run(c.do)
			r := h.drift(drift.Flows)
			for _, is := range []struct {
				kind drift.Kind
				want string
			}{{drift.Opened, c.opened}, {drift.Closed, c.closed}} {
				got := packets(r, is.kind)
				if (is.want == "") != (len(got) == 0) || !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, is.want) }) && is.want != "" {
					t.Errorf("%s: %q, want %q\n%s", is.kind, got, is.want, text(r))
				}
			}
			if r.Counts()[drift.Tampered] != 1 || r.Verdict != drift.Drift {
				t.Errorf("%s, %v: tampering was not found", r.Verdict, kinds(r))
			}
			if c.by != "" && !strings.Contains(text(r), c.by) {
				t.Errorf("no finding names %q\n%s", c.by, text(r))
			}
			h.replay(r)
			if t.Failed() {
				t.Log(text(r))
			}
		})
	}
}

// What others put beside fwctl's table is judged with it.
func TestForeignTables(t *testing.T) {
	for _, c := range []struct {
		name, do, opened, closed, by string
		verdict                      drift.Verdict
	}{
		{
			name:   "a ban",
			do:     `nft 'table inet f2b-table { set addr-set-sshd { type ipv4_addr; elements = { 198.51.100.5 }; }; chain f2b-chain { type filter hook input priority filter - 1; tcp dport 22 ip saddr @addr-set-sshd reject; }; }'`,
			closed: "22/tcp from 198.51.100.5", by: "f2b-chain, handle", verdict: drift.Drift,
		},
		{name: "an accept", do: `nft 'table inet open { chain c { type filter hook input priority -10; accept; }; }'`, verdict: drift.InSync},
		{name: "an accept of iptables", do: `iptables-nft -A INPUT -p tcp --dport 23 -j ACCEPT`, verdict: drift.InSync},
		{
			name: "a drop of iptables", do: `iptables-nft -A INPUT -s 203.0.113.0/24 -p tcp -m multiport --dports 80,443 -j DROP`,
			closed: "80,443/tcp from 203.0.113.0", by: "iptables filter INPUT, rule 1", verdict: drift.Drift,
		},
		{
			name: "a drop of legacy iptables", do: `ip6tables-legacy -A INPUT -s 2001:db8:9::/48 -p tcp --dport 80 -j DROP`,
			closed: "80/tcp from 2001:db8:9::/48", by: "ip6tables-legacy filter INPUT, rule 1", verdict: drift.Drift,
		},
		{
			name: "a set of ipset", do: `ipset create bad hash:net; ipset add bad 203.0.113.64/26; iptables-legacy -I INPUT -m set --match-set bad src -j DROP`,
			closed: "from 203.0.113.64/26", by: "--match-set bad", verdict: drift.Drift,
		},
		{
			name: "a raw drop", do: `nft 'table ip raw4 { chain pre { type filter hook prerouting priority raw; iifname "eth0" udp dport 53 drop; }; }'`,
			closed: "53/udp", by: "raw4 pre", verdict: drift.Drift,
		},
		{
			name: "a rate", do: `nft 'table inet rate { chain c { type filter hook input priority -1; tcp dport 80 limit rate over 1000000/second drop; }; }'`,
			closed: "80/tcp from any", by: "limit rate", verdict: drift.Drift,
		},
		{
			name: "a published port", do: `nft 'table ip nat1 { chain pre { type nat hook prerouting priority dstnat; iifname "eth0" tcp dport 8080 dnat to 172.17.0.2:80; }; }'; nft flush chain inet fwctl forward; nft add rule inet fwctl forward accept`,
			opened: "8080/tcp", by: "accept", verdict: drift.Drift,
		},
		{
			name: "what is not understood", do: `nft 'table inet odd { chain c { type filter hook input priority -1; tcp dport 80 numgen random mod 2 0 drop; }; }'`,
			verdict: drift.Drift, closed: "80/tcp",
		},
		{name: "a chain of a network card", do: `nft 'table netdev n { chain c { type filter hook ingress device eth0 priority 0; tcp dport 1 drop; }; }'`, verdict: drift.CannotTell},
		// Router advertisements are neither questions nor replies: no kernel answers them.
		{name: "a rejection that nobody hears", do: `nft 'table inet x { chain c { type filter hook input priority -1; iifname "eth0" ct state new ip saddr 198.51.100.66 icmp type 9 reject; }; }'`, verdict: drift.InSync},
		{name: "a rejection", do: `nft 'table inet x { chain c { type filter hook input priority -1; iifname "eth0" ct state new ip saddr 198.51.100.66 icmp type 8 reject; }; }'`, verdict: drift.Drift},
		{name: "an empty chain of a network card", do: `nft 'table netdev n { chain c { type filter hook ingress device eth0 priority 0; }; }'`, verdict: drift.InSync},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, gen.Host(), backends[0])
			h.obey(full)
			h.run(c.do)
			r := h.drift(drift.Flows)
			if r.Verdict != c.verdict {
				t.Errorf("verdict %s, want %s", r.Verdict, c.verdict)
			}
			for _, is := range []struct {
				kind drift.Kind
				want string
			}{{drift.Opened, c.opened}, {drift.Closed, c.closed}} {
				got := packets(r, is.kind)
				if is.want != "" && !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, is.want) }) {
					t.Errorf("%s: %q, want %q", is.kind, got, is.want)
				}
			}
			if !strings.Contains(text(r), c.by) {
				t.Errorf("no finding names %q", c.by)
			}
			h.replay(r)
			if t.Failed() {
				t.Log(text(r))
			}
		})
	}
}
