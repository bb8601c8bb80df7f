package iptables

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/packet"
)

// router writes a forward chain as a router of many networks has it: for each
// interface a chain of who may use which address, and one of services. One
// neighbour can be left out.
func router(n, without int) string {
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
		switch r.IntN(10) {
		case 0, 1, 2, 3, 4, 5:
			rule = fmt.Sprintf("mac%d -s %s -m mac --mac-source 02:00:%02x:%02x:%02x:%02x -j RETURN", c, host, r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256))
		case 6, 7:
			rule = fmt.Sprintf("to%d -d %s -p tcp -m multiport --dports %d,%d,8000:8010 -m conntrack --ctstate NEW -j ACCEPT", c, host, 20+r.IntN(5), 80+r.IntN(400))
		case 8:
			rule = fmt.Sprintf("to%d -d %s -p udp -m udp --dport %d -j REJECT", c, host, r.IntN(1024))
		default:
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

// flat writes so many rules by source and port.
func flat(n int, targets ...string) string {
	r := rand.New(rand.NewPCG(2, uint64(n)))
	var b strings.Builder
	b.WriteString("*filter\n:INPUT DROP [0:0]\n")
	for range n {
		fmt.Fprintf(&b, "-A INPUT -s %d.%d.%d.0/24 -p tcp -m tcp --dport %d -j %s\n", 1+r.IntN(220), r.IntN(256), r.IntN(256), r.IntN(65536), targets[r.IntN(len(targets))])
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

func build(b *testing.B, s *packet.Space, f *packet.Filter) packet.Node {
	n, err := s.Build(f)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// Two rulesets of 5,500 rules that differ in one: read, compiled and compared.
func BenchmarkDifferenceOfRouters(b *testing.B) {
	x, y := router(5500, -1), router(5500, 2700)
	for b.Loop() {
		one := Filter(Parse(x), packet.Forward, false, Options{})
		two := Filter(Parse(y), packet.Forward, false, Options{})
		s := packet.NewSpace(false, packet.HostAddrs{}, packet.DefaultBudget, one, two)
		m, n := build(b, s, one), build(b, s, two)
		over, err := s.Set(s.Frame(packet.Forward))
		if err != nil {
			b.Fatal(err)
		}
		if d, err := s.Compare(m, n, over); err != nil || d.Kind != packet.Different {
			b.Fatal(d.Kind, err)
		}
		b.ReportMetric(float64(s.Nodes()), "nodes")
		memory(b)
	}
}

func BenchmarkReadRouter(b *testing.B) {
	text := router(5500, -1)
	for b.Loop() {
		Filter(Parse(text), packet.Forward, false, Options{})
	}
}

// A hundred thousand rules that accept, and as many with mixed verdicts.
func BenchmarkHundredThousand(b *testing.B) {
	for name, targets := range map[string][]string{"accept": {"ACCEPT"}, "mixed": {"ACCEPT", "DROP"}} {
		b.Run(name, func(b *testing.B) {
			text := flat(100_000, targets...)
			for b.Loop() {
				f := Filter(Parse(text), packet.Input, false, Options{})
				s := packet.NewSpace(false, packet.HostAddrs{}, packet.DefaultBudget, f)
				build(b, s, f)
				b.ReportMetric(float64(s.Nodes()), "nodes")
				memory(b)
			}
		})
	}
}

// memory reports what the process has taken from the system at most.
func memory(b *testing.B) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/1e6, "MB")
}
