package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// rounds is how often each command is timed; the commands take turns.
const rounds = 9

// duel is two ways to do the same work, timed by turns.
type duel struct{ ours, theirs []float64 }

func (d duel) ratio() float64 { return medianRatio(d.ours, d.theirs) }

func (d duel) String() string {
	return fmt.Sprintf("%s against %s", seconds(median(d.ours)), seconds(median(d.theirs)))
}

// seconds prints a time in the unit that suits it.
func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond).String()
}

// measureServices brings 10,000 services into an empty kernel and then into one
// that already has them.
func measureServices(l *lab) ([]row, error) {
	list := services(10000)
	byHand, err := l.byHand(list)
	if err != nil {
		return nil, err
	}
	policy, err := l.file("policy.toml", policyText(list))
	if err != nil {
		return nil, err
	}
	test, err := l.benchmarks()
	if err != nil {
		return nil, err
	}
	var transaction, whole, unchanged duel
	for range rounds {
		hand, err := l.timeByHand(byHand)
		if err != nil {
			return nil, err
		}
		sent, err := l.timeTransaction(test, policy)
		if err != nil {
			return nil, err
		}
		first, second, err := l.timeApply(policy)
		if err != nil {
			return nil, err
		}
		transaction.add(sent, hand)
		whole.add(first, hand)
		unchanged.add(second, hand)
	}
	const beside = " : nft -f of a set written by hand"
	return []row{
		{work: "10,000 services, the kernel transaction" + beside, ratio: transaction.ratio(), high: 1, detail: transaction.String()},
		{work: "10,000 services, fwctl apply" + beside, ratio: whole.ratio(), high: 5, detail: whole.String()},
		{work: "the same again, nothing changed" + beside, ratio: unchanged.ratio(), high: 0.5, detail: unchanged.String()},
	}, nil
}

func (d *duel) add(ours, theirs float64) {
	d.ours = append(d.ours, ours)
	d.theirs = append(d.theirs, theirs)
}

// timeByHand loads a hand-written ruleset into a new namespace.
func (l *lab) timeByHand(load []string) (float64, error) {
	ns, err := l.namespace()
	if err != nil {
		return 0, err
	}
	took, _, err := in(ns, "", load...)
	return took.Seconds(), err
}

// timeApply applies the policy twice in a new namespace.
func (l *lab) timeApply(policy string, args ...string) (first, second float64, err error) {
	ns, err := l.namespace()
	if err != nil {
		return 0, 0, err
	}
	cmd := l.apply(ns, append(args, policy)...)
	a, _, err := in(ns, "", cmd...)
	if err != nil {
		return 0, 0, err
	}
	b, _, err := in(ns, "", cmd...)
	return a.Seconds(), b.Seconds(), err
}

// benchmarks builds the Go benchmarks of the room that sends transactions: they
// time the transaction alone, which no command shows.
func (l *lab) benchmarks() (string, error) {
	path := filepath.Join(l.dir, "apply-nftables.test")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, sh("go", "test", "-c", "-o", path, "./apply/nftables")
}

func (l *lab) timeTransaction(test, policy string) (float64, error) {
	ns, err := l.namespace()
	if err != nil {
		return 0, err
	}
	_, out, err := in(ns, "", "env", "FWCTL_BENCH_POLICY="+policy, test, "-test.run=^$", "-test.bench=^BenchmarkTransaction$", "-test.benchtime=1x")
	if err != nil {
		return 0, err
	}
	ns1, err := metric(out, "ns/op")
	return ns1 / 1e9, err
}

// metric finds a figure in the output of a Go benchmark.
func metric(out, unit string) (float64, error) {
	m := regexp.MustCompile(`([0-9.e+]+) ` + regexp.QuoteMeta(unit) + `\b`).FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no %s in the benchmark's output:\n%s", unit, tail(out))
	}
	return strconv.ParseFloat(m[1], 64)
}
