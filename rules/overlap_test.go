package rules_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/rules"
)

// written is a service of a generated policy.
type written struct{ name, text string }

func overlapsOf(t testing.TB, h *rules.Host, services ...written) rules.Problems {
	t.Helper()
	var b strings.Builder
	b.WriteString("version = 1\n[group.one]\naddresses = [\"10.0.0.1-10.0.0.9\", \"2001:db8::/64\"]\n[group.own]\naddresses = [\"host\", \"10.0.0.200\"]\n")
	for _, s := range services {
		b.WriteString("[service." + s.name + "]\nfrom = []\n" + s.text)
	}
	p, problems := rules.Load(fileSystem(map[string]string{"p.toml": b.String()}), "p.toml", rules.LoadOptions{})
	if problems != nil {
		t.Fatal(text(problems))
	}
	_, problems = rules.Resolve(p, h)
	return problems
}

func randomService(r *rand.Rand, name string) written {
	of := func(list ...string) string { return list[r.IntN(len(list))] }
	ports := of(`"80/tcp"`, `"80/tcp", "443/udp"`, `"79-81/tcp"`, `"1-500/tcp"`, `"82/tcp"`, `"90-99/tcp", "80/udp"`)
	s := "ports = [" + ports + "]\n"
	to := of(fmt.Sprintf(`"10.0.0.%d"`, r.IntN(250)), fmt.Sprintf(`"10.0.1.%d", "2001:db8:1::%x"`, r.IntN(250), r.IntN(250)),
		fmt.Sprintf(`"10.0.%d.0/24"`, 2+r.IntN(250)), fmt.Sprintf(`"10.1.%d.0-10.1.%d.9"`, r.IntN(90), 90+r.IntN(90)))
	in := of(fmt.Sprintf(`"eth%d"`, r.IntN(90)), fmt.Sprintf(`"eth%d", "wg%d"`, r.IntN(90), r.IntN(90)))
	switch r.IntN(12) {
	case 0:
		to = of(`"one"`, `"own"`, `"host"`, `"host"`, `"any"`)
	case 1:
		in = of(`"eth1*"`, `"wg*", "eth2"`)
	case 2:
		return written{name, s + "to = [" + to + "]\n"}
	}
	s += "to = [" + to + "]\nin = [" + in + "]\n"
	return written{name, s}
}

// Of many services, none that overlaps another one goes unnoticed, and none is
// blamed for nothing: the verdict is that of each pair alone.
func TestOverlapsOfACrowd(t *testing.T) {
	hosts := []*rules.Host{nil, {Name: "a host without addresses"}}
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 0))
		var all []written
		for i := range 75 {
			all = append(all, randomService(r, fmt.Sprintf("s%d", i)))
		}
		told, pairs := map[string]bool{}, map[[2]string]bool{}
		for _, p := range overlapsOf(t, hosts[seed%2], all...) {
			words := strings.Split(p.Summary, `"`)
			told[words[1]], told[words[3]] = true, true
			pairs[[2]string{words[1], words[3]}], pairs[[2]string{words[3], words[1]}] = true, true
		}
		for i, a := range all {
			for _, b := range all[:i] {
				meet := overlapsOf(t, hosts[seed%2], a, b) != nil
				if meet && !told[a.name] && !told[b.name] || !meet && pairs[[2]string{a.name, b.name}] {
					t.Errorf("seed %d: overlap of %s and %s: %v\n%s%s", seed, a.name, b.name, meet, a.text, b.text)
				}
			}
		}
	}
}

// A policy of many services on one port takes no time that grows with their
// square, whatever tells them apart.
func TestManyServicesOnOnePort(t *testing.T) {
	const n = 10_000
	for name, line := range map[string]string{
		"addresses":  "to = [\"10.%[1]d.%[2]d.1\"]\n",
		"prefixes":   "to = [\"10.%[1]d.%[2]d.0/24\"]\n",
		"interfaces": "in = [\"v%[1]d.%[2]d\"]\n",
		"sharing":    "shared = true\n#%d %d\n",
		"overlaps":   "#%d %d\n",
	} {
		all := make([]written, n)
		for i := range all {
			all[i] = written{fmt.Sprintf("s%d", i), "ports = [\"80/tcp\", \"1000-2000/tcp\"]\n" + fmt.Sprintf(line, i/250, i%250)}
		}
		start := time.Now()
		problems := overlapsOf(t, nil, all...)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		t.Logf("%s: %d problems, %v", name, len(problems), time.Since(start))
		if want := map[bool]int{true: 101}[name == "overlaps"]; len(problems) != want {
			t.Errorf("%s: %d problems, want %d", name, len(problems), want)
		}
	}
}
