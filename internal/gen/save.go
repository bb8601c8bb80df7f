package gen

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Router writes a forward chain for iptables-restore, as a router of many networks
// has it: for each interface a chain of who may use which address, and one of
// services. One neighbour can be left out. At 5,500 rules its diagram is as large
// as that of a real router of that size, 0.7 million nodes.
func Router(n, without int) string {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var b strings.Builder
	const chains = 47
	b.WriteString("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n")
	for i := range chains {
		fmt.Fprintf(&b, ":mac%d - [0:0]\n-A FORWARD -i vlan%d -j mac%[1]d\n", i, i)
	}
	for i := range chains {
		fmt.Fprintf(&b, ":to%d - [0:0]\n-A FORWARD -o vlan%d -j to%[1]d\n", i, i)
	}
	for i := range n {
		c := r.IntN(chains)
		host := fmt.Sprintf("10.%d.%d.%d/32", c, r.IntN(4), r.IntN(256))
		rule := ""
		switch r.IntN(80) {
		default:
			card := r.IntN(1931) * 34759
			rule = fmt.Sprintf("mac%d -s %s -m mac --mac-source 02:00:%02x:%02x:%02x:%02x -j RETURN", c, host, card>>24&255, card>>16&255, card>>8&255, card&255)
		case 0, 1:
			rule = fmt.Sprintf("to%d -d %s -p tcp -m multiport --dports %d,%d,8000:8010 -m conntrack --ctstate NEW -j ACCEPT", c, host, 20+r.IntN(5), 80+r.IntN(400))
		case 2:
			rule = fmt.Sprintf("to%d -d %s -p udp -m udp --dport %d -j REJECT", c, host, r.IntN(1024))
		case 3:
			rule = fmt.Sprintf("to%d -s 10.%d.0.0/16 -d %s -j ACCEPT", c, r.IntN(chains), host)
		}
		if i != without {
			b.WriteString("-A " + rule + "\n")
		}
	}
	for i := range chains {
		fmt.Fprintf(&b, "-A mac%d -j DROP\n", i)
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// ManyRules writes so many rules by source and port for iptables-restore, with the
// targets at random.
func ManyRules(n int, targets ...string) string {
	r := rand.New(rand.NewPCG(2, uint64(n)))
	var b strings.Builder
	b.WriteString("*filter\n:INPUT DROP [0:0]\n")
	for range n {
		fmt.Fprintf(&b, "-A INPUT -s %d.%d.%d.0/24 -p tcp -m tcp --dport %d -j %s\n", 1+r.IntN(220), r.IntN(256), r.IntN(256), r.IntN(65536), targets[r.IntN(len(targets))])
	}
	b.WriteString("COMMIT\n")
	return b.String()
}
