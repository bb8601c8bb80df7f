package iptables

import (
	"runtime"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
)

func build(b *testing.B, s *packet.Space, f *packet.Filter) packet.Node {
	n, err := s.Build(f)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// Two rulesets of 5,500 rules that differ in one: read, compiled and compared.
func BenchmarkDifferenceOfRouters(b *testing.B) {
	x, y := gen.Router(5500, -1), gen.Router(5500, 2700)
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
	text := gen.Router(5500, -1)
	for b.Loop() {
		Filter(Parse(text), packet.Forward, false, Options{})
	}
}

// A hundred thousand rules that accept, and as many with mixed verdicts.
func BenchmarkHundredThousand(b *testing.B) {
	for name, targets := range map[string][]string{"accept": {"ACCEPT"}, "mixed": {"ACCEPT", "DROP"}} {
		b.Run(name, func(b *testing.B) {
			text := gen.ManyRules(100_000, targets...)
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
