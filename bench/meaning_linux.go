package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
)

const (
	routerRules = 5500
	manyRules   = 100_000
	manyAddrs   = 1_000_000
)

// measureMeaning times whole runs of fwctl compare: from files to the answer.
func measureMeaning(l *lab) ([]row, error) {
	router, err := l.compare("iptables:",
		gen.Router(routerRules, -1), gen.Router(routerRules, routerRules/2), differ)
	if err != nil {
		return nil, err
	}
	many := gen.ManyRules(manyRules, "ACCEPT", "DROP")
	rules, err := l.compare("iptables:", many, many, equal)
	if err != nil {
		return nil, err
	}
	sets, err := l.sets()
	if err != nil {
		return nil, err
	}
	return []row{
		{work: "two rulesets of 5,500 rules, one rule less: compared", ratio: router.seconds(), unit: "s", high: 1, detail: router.String()},
		{work: "a ruleset of 100,000 rules, compiled twice", ratio: rules.seconds(), unit: "s", high: 10, detail: rules.String()},
		{work: "the memory for that", ratio: rules.memory(), unit: "GiB", high: 2, detail: "the most that the process had in RAM"},
		{work: "two groups of 1,000,000 addresses, one address less: read, compared, named", ratio: sets.seconds(), unit: "s", high: 2, detail: sets.String()},
	}, nil
}

// The exit codes of fwctl compare.
const (
	equal  = 0
	differ = 1
)

// sets compares two policies that let a million addresses in, but for one.
func (l *lab) sets() (*run, error) {
	addrs := scattered(manyAddrs)
	sides := map[string][]string{"a": addrs, "b": addrs[:manyAddrs-1]}
	for name, list := range sides {
		if _, err := l.file(name+".txt", []byte(strings.Join(list, "\n")+"\n")); err != nil {
			return nil, err
		}
		policy := fmt.Sprintf("version = 1\n[group.many]\nfile = %q\n[service.web]\nports = [\"443/tcp\"]\nfrom = [\"many\"]\n", name+".txt")
		if _, err := l.file(name+".toml", []byte(policy)); err != nil {
			return nil, err
		}
	}
	r, err := l.compareFiles("policy:", "a.toml", "b.toml", differ)
	if err == nil && !strings.Contains(r.out, addrs[manyAddrs-1]) {
		return nil, fmt.Errorf("%s was not named:\n%s", addrs[manyAddrs-1], tail(r.out))
	}
	return r, err
}

// scattered are so many addresses that no two of them lie side by side.
func scattered(n int) []string {
	addrs := make([]string, n)
	for i := range addrs {
		v := uint32(0x0b000000 + 37*i) //nolint:gosec // far below 2^32
		addrs[i] = fmt.Sprintf("%d.%d.%d.%d", v>>24, v>>16&255, v>>8&255, v&255)
	}
	return addrs
}

// run is what several runs of a program took.
type run struct {
	walls []float64 // seconds
	rss   int64     // KiB, the most of all
	out   string
}

func (r *run) seconds() float64 { return median(r.walls) }
func (r *run) memory() float64  { return float64(r.rss) / (1 << 20) }

// String says what stands beside the median.
func (r *run) String() string {
	return fmt.Sprintf("median of %d runs, %d MiB in RAM at most", len(r.walls), r.rss>>10)
}

func (l *lab) compare(kind, a, b string, code int) (*run, error) {
	for name, text := range map[string]string{"a.save": a, "b.save": b} {
		if _, err := l.file(name, []byte(text)); err != nil {
			return nil, err
		}
	}
	return l.compareFiles(kind, "a.save", "b.save", code)
}

func (l *lab) compareFiles(kind, a, b string, code int) (*run, error) {
	r := &run{}
	for range rounds {
		cmd := exec.Command(l.fwctl, "compare", kind+a, kind+b)
		cmd.Dir = l.dir
		start := time.Now()
		out, err := cmd.CombinedOutput()
		r.walls = append(r.walls, time.Since(start).Seconds())
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
			return nil, fmt.Errorf("fwctl compare %s%s %s%s: %w\n%s", kind, a, kind, b, err, tail(string(out)))
		}
		if use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			r.rss = max(r.rss, use.Maxrss)
		}
		r.out = string(out)
	}
	return r, nil
}
