package main

import (
	"bytes"
	"fmt"
	"net/netip"
)

const groupSize = 1_000_000

// measureGroup adds one address to a group of a million.
func measureGroup(l *lab) ([]row, error) {
	before, err := l.groupPolicy("before", groupSize, false)
	if err != nil {
		return nil, err
	}
	after, err := l.groupPolicy("after", groupSize, true)
	if err != nil {
		return nil, err
	}
	test, err := l.benchmarks()
	if err != nil {
		return nil, err
	}
	ns, err := l.namespace()
	if err != nil {
		return nil, err
	}
	_, out, err := in(ns, "", "env", "FWCTL_BENCH_POLICY="+before, "FWCTL_BENCH_NEXT="+after,
		test, "-test.run=^$", "-test.bench=^BenchmarkAddress$", fmt.Sprintf("-test.benchtime=%dx", 2*rounds))
	if err != nil {
		return nil, err
	}
	return groupRows(out)
}

func groupRows(out string) ([]row, error) {
	var figures [3]float64
	for i, unit := range []string{"ours/bare", "ours-ns", "bare-ns"} {
		var err error
		if figures[i], err = metric(out, unit); err != nil {
			return nil, err
		}
	}
	return []row{{
		work:   "one address more in a group of 1,000,000, the transaction : a bare netlink batch",
		ratio:  figures[0],
		high:   2,
		detail: fmt.Sprintf("%s against %s", seconds(figures[1]/1e9), seconds(figures[2]/1e9)),
	}}, nil
}

// groupPolicy writes a policy with a group in a file of n addresses that do not
// touch, and perhaps one more.
func (l *lab) groupPolicy(name string, n int, more bool) (string, error) {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintln(&b, spread(i*16))
	}
	if more {
		fmt.Fprintln(&b, spread(n/2*16+8))
	}
	if _, err := l.file(name+".txt", b.Bytes()); err != nil {
		return "", err
	}
	return l.file(name+".toml", fmt.Appendf(nil, `version = 1
[group.list]
file = "%s.txt"
[service.web]
ports = ["443/tcp"]
from = ["list"]
`, name))
}

// spread is the n-th address of 10.0.0.0/8.
func spread(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}
