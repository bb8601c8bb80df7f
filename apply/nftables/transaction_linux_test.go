package nftables

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gnft "github.com/google/nftables"

	"github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// The benchmarks here change the rules of the network namespace that they run
// in, so they do nothing unless they are given a policy: `make bench` makes the
// namespace and the policies, and sets the figures beside others.

// BenchmarkTransaction is what sending a whole new table takes, from the known
// difference to the kernel's answer.
func BenchmarkTransaction(b *testing.B) {
	p := benchProgram(b, "FWCTL_BENCH_POLICY")
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		if _, err := Remove(b.Context()); err != nil {
			b.Fatal(err)
		}
		d, gen, err := plan(b.Context(), p, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := d.send(gen); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAddress is what the transaction takes that brings one more address
// into a group, beside a bare batch that sends the same elements and asks for
// nothing.
func BenchmarkAddress(b *testing.B) {
	before, after := benchProgram(b, "FWCTL_BENCH_POLICY"), benchProgram(b, "FWCTL_BENCH_NEXT")
	if _, err := Apply(b.Context(), before, nil); err != nil {
		b.Fatal(err)
	}
	d, _, err := plan(b.Context(), after, func() *nftables.Program { return before })
	if err != nil {
		b.Fatal(err)
	}
	if len(d.elements) != 1 || len(d.elements[0].del) > 0 {
		b.Fatalf("one address more is this change: %v", d.lines())
	}
	change := d.elements[0]
	var ours, bare []time.Duration
	for b.Loop() {
		ours = append(ours, timed(b, func() error { return sendNow(b, d) }))
		takeBack(b, change)
		bare = append(bare, timed(b, func() error {
			return batch(change, func(c *gnft.Conn, s *gnft.Set, es []gnft.SetElement) error { return c.SetAddElements(s, es) })
		}))
		takeBack(b, change)
	}
	b.ReportMetric(float64(medianTime(ours)), "ours-ns")
	b.ReportMetric(float64(medianTime(bare)), "bare-ns")
	b.ReportMetric(float64(medianTime(ours))/float64(medianTime(bare)), "ours/bare")
}

func sendNow(b *testing.B, d *difference) error {
	gen, err := Generation(b.Context())
	if err != nil {
		return err
	}
	_, err = d.send(gen)
	return err
}

func takeBack(b *testing.B, change setChange) {
	b.Helper()
	err := batch(change, func(c *gnft.Conn, s *gnft.Set, es []gnft.SetElement) error { return c.SetDeleteElements(s, es) })
	if err != nil {
		b.Fatal(err)
	}
}

// batch sends one message about the added elements of the change.
func batch(change setChange, put func(*gnft.Conn, *gnft.Set, []gnft.SetElement) error) error {
	c, err := gnft.New()
	if err != nil {
		return err
	}
	if err := put(c, setOf(table(), change.set), elements(change.add)); err != nil {
		return err
	}
	return c.Flush()
}

func timed(b *testing.B, f func() error) time.Duration {
	b.Helper()
	start := time.Now()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

func medianTime(ds []time.Duration) time.Duration {
	slices.SortFunc(ds, cmp.Compare)
	return ds[len(ds)/2]
}

// benchProgram renders the policy that the environment variable names.
func benchProgram(b *testing.B, env string) *nftables.Program {
	b.Helper()
	path := os.Getenv(env)
	if path == "" {
		b.Skipf("%s names no policy: run `make bench`", env)
	}
	policy, problems := rules.Load(os.DirFS(filepath.Dir(path)), filepath.Base(path), rules.LoadOptions{})
	if problems.Err() != nil {
		b.Fatal(problems)
	}
	rs, problems := rules.Resolve(policy, &rules.Host{OS: "linux", Time: time.Now()})
	if problems.Err() != nil {
		b.Fatal(problems)
	}
	p, _ := nftables.Render(rs)
	return p
}
