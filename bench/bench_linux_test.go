package main

import (
	"math"
	"net"
	"net/netip"
	"testing"
)

func TestMedianRatio(t *testing.T) {
	// The second round was slow for both: it does not count.
	if r := medianRatio([]float64{2, 20, 2.2}, []float64{1, 10, 1}); r != 2 {
		t.Errorf("ratio %v, want 2", r)
	}
	if m := median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("median %v, want 2.5", m)
	}
	if m := median(nil); m != 0 {
		t.Errorf("median of nothing %v", m)
	}
}

func TestRowHolds(t *testing.T) {
	for _, c := range []struct {
		r    row
		want bool
	}{
		{row{ratio: 9}, true},
		{row{ratio: 1, high: 1}, true},
		{row{ratio: 1.01, high: 1}, false},
		{row{ratio: 0.94, low: 0.95}, false},
		{row{ratio: math.NaN(), high: 1}, false},
	} {
		if c.r.holds() != c.want {
			t.Errorf("%v: holds %v", c.r, !c.want)
		}
	}
}

func TestMetric(t *testing.T) {
	const out = "BenchmarkAddress-2   18   1 ns/op   2.5 ours/bare   3.1e+06 ours-ns   7 bare-ns\n"
	for unit, want := range map[string]float64{"ours/bare": 2.5, "ours-ns": 3.1e6, "bare-ns": 7} {
		if got, err := metric(out, unit); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", unit, got, err, want)
		}
	}
	if _, err := metric("PASS\n", "ns/op"); err == nil {
		t.Error("a benchmark that did not run has no figure")
	}
}

// The kernel throws a datagram with a wrong header away before any rule sees it:
// then nothing would be measured.
func TestFrame(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	f := frame(mac, mac, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.200.0.1"), 1000, 20000)
	if sum(f[14:34]) != 0xffff {
		t.Errorf("checksum of the header: %#x", sum(f[14:34]))
	}
	if got := int(f[16])<<8 | int(f[17]); got != len(f)-14 {
		t.Errorf("length %d of %d", got, len(f)-14)
	}
}

// On a busy machine the CPU's time counts; where the kernel books the receiver's
// work elsewhere, the clock does.
func TestRates(t *testing.T) {
	busy := [][]timing{{{Wall: 9e9, CPU: 1e9}, {Wall: 15e8, CPU: 1e9}}}
	if r := rates(busy, 100); r[0][0] != 100 || r[0][1] != 100 {
		t.Errorf("busy machine: %v, want 100 and 100", r)
	}
	apart := [][]timing{{{Wall: 4e9, CPU: 1e9}, {Wall: 5e9, CPU: 1e9}}}
	if r := rates(apart, 100); r[0][0] != 25 || r[0][1] != 20 {
		t.Errorf("work booked elsewhere: %v, want 25 and 20", r)
	}
}

// Of the flows one half is let in, for few services as for many.
func TestMix(t *testing.T) {
	for _, n := range []int{10, 10000} {
		known := map[service]bool{}
		for _, s := range services(n) {
			known[s] = true
		}
		if len(known) != n {
			t.Fatalf("%d services are %d", n, len(known))
		}
		in := 0
		for _, f := range mix(services(n), flowsPerTarget) {
			if known[service{f.Port, f.Src}] {
				in++
			}
		}
		if in != flowsPerTarget/2 {
			t.Errorf("%d services: %d of %d flows get in", n, in, flowsPerTarget)
		}
	}
}
