package drift_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fwctl/fwctl/audit/drift"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
)

// What explain says that the host does with a packet is what its kernel does,
// whoever wrote the rules.
func TestFollowAgreesWithTheKernel(t *testing.T) {
	for _, c := range []struct{ name, do string }{
		{"fwctl alone", "true"},
		{"others beside it", `
			nft 'table inet f2b-table { set bad { type ipv4_addr; flags interval; elements = { 198.51.100.0/28, 203.0.113.9 }; }; chain c { type filter hook input priority -1; ip saddr @bad tcp dport { 22, 80 } reject with tcp reset; udp dport 53 ip saddr 10.0.0.0/8 drop; }; }'
			iptables-nft -N limits; iptables-nft -A limits -s 10.20.0.0/16 -j RETURN; iptables-nft -A limits -p tcp -m multiport --dports 443,8000:8005 -j DROP; iptables-nft -A INPUT -i eth1 -j limits
			ip6tables-legacy -A INPUT -s 2001:db8:1::/64 ! -i eth0 -j DROP
			iptables-legacy -A FORWARD -o docker0 -j REJECT`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, gen.Host(), backends[0])
			h.obey(full)
			h.run(c.do)
			rules := h.rules()
			var ps []packet.Packet
			m := mutations{host: h}
			for _, p := range gen.Packets(h.rs, rand.New(rand.NewPCG(gen.Seed(t), 3)), gen.Dose(t, "FWCTL_PACKETS", 1500)) {
				if m.judged(p) {
					ps = append(ps, p)
				}
			}
			got, err := h.lab.Probe(ps)
			if err != nil {
				t.Fatal(err)
			}
			wrong := 0
			for i, p := range ps {
				f, err := drift.Follow(rules, p, drift.Routes{Back: h.back}, drift.DefaultBudget)
				if err != nil {
					t.Fatal(err)
				}
				either := slices.ContainsFunc(f.Else, func(a drift.Alternative) bool { return a.Verdict == got[i].String() })
				// To many at once nobody answers.
				silent := f.Verdict == "reject" && got[i] == packet.Drop && (h.facts.Broadcast(p.Dst) || p.Dst.IsMulticast())
				if f.Verdict != got[i].String() && !either && !silent && f.Verdict != m.again(p).String() {
					t.Errorf("%s: %s by %s; the kernel does %s", p, f.Verdict, f.By, got[i])
					if wrong++; wrong == 5 {
						return
					}
				}
				if f.CannotTell {
					t.Errorf("%s: cannot tell", p)
				}
			}
			t.Logf("%d packets", len(ps))
		})
	}
}

// Rules that ask for a route back to the source, or send packets to an address of
// the interface by which they came, leave nothing open.
func TestFollowAsksTheHost(t *testing.T) {
	for _, c := range []struct{ name, do string }{
		{"routes, nft", `nft 'table inet routes { chain c { type filter hook input priority -5;
			ip6 saddr != fe80::/10 fib saddr . iif oif missing drop
			fib saddr . iif oif eth1 udp dport 53 drop
			fib saddr . mark . iif oifname "eth*" tcp dport 443 drop; }; }'`},
		{"routes, iptables", `iptables-nft -t raw -A PREROUTING -m rpfilter --invert -j DROP
			iptables-legacy -t mangle -A PREROUTING -p udp --dport 53 -m rpfilter -j DROP
			ip6tables-legacy -t mangle -A PREROUTING -m rpfilter --validmark --invert -j DROP`},
		{"addresses, nft", `nft 'table inet away { chain c { type nat hook prerouting priority -100;
			tcp dport { 22, 443 } redirect to :8000
			udp dport 53 redirect; }; }'`},
		{"addresses, iptables", `for i in iptables-legacy ip6tables-legacy; do
			$i -t nat -A PREROUTING -p tcp -m multiport --dports 22,443 -j REDIRECT --to-ports 8000
			$i -t nat -A PREROUTING -p udp --dport 53 -j REDIRECT; done`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &other{host: newHost(t, gen.Host(), backends[0]), script: c.do}
			o.obey(full)
			o.run(c.do)
			if open := o.agrees(gen.Dose(t, "FWCTL_PACKETS", 1500)); open > 0 {
				t.Errorf("%d packets are left open", open)
			}
		})
	}
}
