package rules

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// manyServices is a policy of n services, each with its own port and source.
func manyServices(n int) string {
	var b strings.Builder
	b.WriteString("version = 1\n")
	for i := range n {
		fmt.Fprintf(&b, "[service.s%d]\nports = [\"%d/tcp\"]\nfrom = [\"10.%d.%d.%d\"]\n", i, 1+i%60000, i>>16&255, i>>8&255, i&255)
	}
	return b.String()
}

func BenchmarkLoad10000Services(b *testing.B) {
	fsys := fstest.MapFS{"p.toml": {Data: []byte(manyServices(10000))}}
	for b.Loop() {
		p, problems := Load(fsys, "p.toml", LoadOptions{})
		if err := problems.Err(); err != nil {
			b.Fatal(err)
		}
		_ = p
	}
}

func BenchmarkResolve10000Services(b *testing.B) {
	p, _ := Load(fstest.MapFS{"p.toml": {Data: []byte(manyServices(10000))}}, "p.toml", LoadOptions{})
	for b.Loop() {
		if _, problems := Resolve(p, nil); problems.Err() != nil {
			b.Fatal(problems)
		}
	}
}

func BenchmarkLint10000Services(b *testing.B) {
	p, _ := Load(fstest.MapFS{"p.toml": {Data: []byte(manyServices(10000))}}, "p.toml", LoadOptions{})
	rs, _ := Resolve(p, nil)
	for b.Loop() {
		Lint(p, rs, time.Now())
	}
}

// millionAddresses is a file of a million addresses and prefixes, some adjacent
// or overlapping.
func millionAddresses() []byte {
	r := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	for range 1_000_000 {
		a := r.Uint32()
		switch r.IntN(4) {
		case 0:
			bits := 16 + r.IntN(16)
			a &= ^uint32(0) << (32 - bits)
			fmt.Fprintf(&b, "%s/%d\n", addr4(a), bits)
		default:
			fmt.Fprintf(&b, "%s\n", addr4(a))
		}
	}
	return []byte(b.String())
}

func BenchmarkMillionAddresses(b *testing.B) {
	fsys := fstest.MapFS{
		"p.toml":   {Data: []byte("version = 1\n[group.feed]\nfile = \"feed.txt\"\nmin_entries = 1000000\n[block.feed]\nfrom = [\"feed\"]\n")},
		"feed.txt": {Data: millionAddresses()},
	}
	b.ResetTimer()
	for b.Loop() {
		p, problems := Load(fsys, "p.toml", LoadOptions{})
		rs, more := Resolve(p, nil)
		if err := append(problems, more...).Err(); err != nil {
			b.Fatal(err)
		}
		_ = rs
	}
}
