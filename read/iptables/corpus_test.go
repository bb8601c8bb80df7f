package iptables

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
)

var update = flag.Bool("update", false, "rewrite the table of what is not known in the corpus")

// someServices are the names of ports in the corpus.
var someServices = ParseServices("ssh 22/tcp\nsmtp 25/tcp mail\ntime 37/udp timserver\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp www\nhttps 443/tcp\n")

// listing is one ruleset of the corpus.
type listing struct {
	file string
	is6  bool
	save *Save
}

// corpus reads every iptables-save, iptables -S and iptables command line.
func corpus(t *testing.T) []listing {
	var out []listing
	add := func(file string, is6 bool, s *Save) { out = append(out, listing{file, is6, s}) }
	for _, f := range gen.CorpusFiles(t, "moby/iptabler/*.golden", "moby/docs-live/*.rules", "openstack-iptables-sefl/save/*.rules",
		"aerleon/demo/*.ipt.ref", "aerleon/speedway/*", "ferm/preserve/*.result") {
		add(f, strings.Contains(f, "__ip6tables"), Parse(read(t, f)))
	}
	for _, f := range gen.CorpusFiles(t, "openstack-iptables-sefl/dumps/iptables-*.txt") {
		s := &Save{}
		s.Read(strings.Split(filepath.Base(f), "-")[1], read(t, f))
		add(f, false, s)
	}
	for _, f := range gen.CorpusFiles(t, "aerleon/iptables/*") {
		add(f, strings.Contains(read(t, f), "v6-"), Parse(read(t, f)))
	}
	for _, f := range gen.CorpusFiles(t, "ferm/*/*.result") {
		if !strings.Contains(f, "/preserve/") {
			v4, v6 := commands(read(t, f))
			add(f, false, v4)
			add(f, true, v6)
		}
	}
	for _, f := range gen.CorpusFiles(t, "ufw/*/*/result") {
		for _, block := range strings.Split(read(t, f), "*filter\n")[1:] {
			block, _, _ = strings.Cut(block, "\nCOMMIT")
			add(f, strings.Contains(block, "ufw6-"), Parse("*filter\n"+block+"\nCOMMIT\n"))
		}
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// commands reads command lines, which are for one family each.
func commands(text string) (v4, v6 *Save) {
	v4, v6 = &Save{}, &Save{}
	for line := range strings.Lines(strings.ReplaceAll(text, "'", `"`)) {
		if rest, ok := strings.CutPrefix(line, "iptables "); ok {
			v4.Read("filter", rest)
		} else if rest, ok := strings.CutPrefix(line, "ip6tables "); ok {
			v6.Read("filter", rest)
		}
	}
	return v4, v6
}

// Everything in the corpus is read, at every hook, and what it means can be
// built. What is not known of it is counted by kind.
func TestCorpus(t *testing.T) {
	kinds, ruleCount, hooksBuilt, most := map[string]*[2]int{}, 0, 0, 0
	all := corpus(t)
	for _, l := range all {
		for _, line := range l.save.Unknown {
			if strings.HasPrefix(strings.TrimSpace(line), "-A") {
				t.Errorf("%s: not read: %s", l.file, line)
			}
		}
		files := map[string]bool{}
		for _, table := range l.save.Tables {
			for _, c := range table.Chains {
				ruleCount += len(c.Rules)
				for _, r := range c.Rules {
					countUnknown(l, table, r, kinds, files)
				}
			}
		}
		for hook := range hookChains {
			f := Filter(l.save, hook, l.is6, Options{})
			s := packet.NewSpace(l.is6, packet.HostAddrs{}, 2_000_000, f)
			if _, err := s.Build(f); err != nil {
				t.Errorf("%s, %v: %v", l.file, hook, err)
			}
			most = max(most, s.Nodes())
			hooksBuilt++
		}
	}
	t.Logf("%d rulesets, %d rules, %d filters built, at most %d nodes", len(all), ruleCount, hooksBuilt, most)
	golden(t, "../../docs/iptables-unknown.md", unknownTable(kinds, len(all), ruleCount))
}

// countUnknown notes what of a rule is not known: how many rules and how many
// rulesets have it.
func countUnknown(l listing, table *Table, rl Rule, kinds map[string]*[2]int, files map[string]bool) {
	hook := packet.Forward
	if strings.Contains(rl.Text, "-owner") || strings.Contains(rl.Text, "-m owner") {
		hook = packet.Output
	}
	r := &reader{opt: Options{Services: someServices}, hook: hook, is6: l.is6, seen: map[string]int{}, tests: map[string]packet.Cond{}, table: table,
		filter: &packet.Filter{Chains: map[string]*packet.Chain{}}}
	x := r.work(&Chain{Name: "X", Rules: []Rule{rl}}, 0)
	if x == nil {
		return
	}
	found := map[string]bool{}
	f := &packet.Filter{Base: []*packet.Chain{{Rules: append(x.steps, packet.Step{Cond: x.cond})}}}
	for key, unsupported := range f.Unknowns() {
		found[kindOf(key, unsupported)] = true
	}
	for k := range found {
		if kinds[k] == nil {
			kinds[k] = new([2]int)
		}
		kinds[k][0]++
		if !files[k] {
			files[k] = true
			kinds[k][1]++
		}
	}
}

// kindOf is the match or the target in an unknown's key.
func kindOf(key string, unsupported bool) string {
	words := strings.Fields(key)
	kind := words[0]
	switch {
	case strings.HasPrefix(key, "fewer than"):
		kind = "-m limit"
	case kind == "-m" || kind == "-j":
		kind += " " + strings.TrimSuffix(words[1], ",")
	case strings.Contains(key, " by -j "):
		_, target, _ := strings.Cut(key, " by -j ")
		return "-j " + strings.TrimSuffix(strings.Fields(target)[0], ",")
	}
	if unsupported {
		return kind + " (not understood)"
	}
	return kind
}

func unknownTable(kinds map[string]*[2]int, rulesets, count int) string {
	var b strings.Builder
	b.WriteString("# What is unknown in iptables rulesets\n\n")
	fmt.Fprintf(&b, "Of %d rules in %d rulesets of other projects, these have a condition or an effect that fwctl does\n", count, rulesets)
	b.WriteString("not derive from the packet. It becomes a named unknown of the answer and is never left out. What is\n")
	b.WriteString("not understood is no match or option of iptables as fwctl knows it, or is a name of a host or of a set.\n\n")
	b.WriteString("| what | rules | rulesets | |\n|---|---|---|---|\n")
	for _, k := range slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		if d := kinds[b][0] - kinds[a][0]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	}) {
		what, un := strings.CutSuffix(k, " (not understood)")
		note := ""
		if un {
			note = "not understood"
		}
		fmt.Fprintf(&b, "| `%s` | %d | %d | %s |\n", what, kinds[k][0], kinds[k][1], note)
	}
	return b.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s is stale; run the test with -update\n%s", file, got)
	}
}

// What iptables prints of a rule means what the rule means: every line of
// iptables' own tests of its matches and targets.
func TestPrintedFormsMeanTheSame(t *testing.T) {
	same, unsupported, refused := 0, map[string]int{}, 0
	for _, file := range gen.CorpusFiles(t, "iptables-tests/extensions/libxt_*.t", "iptables-tests/extensions/libipt_*.t", "iptables-tests/extensions/libip6t_*.t") {
		chain, table := "INPUT", "filter"
		for line := range strings.Lines(read(t, file)) {
			line = strings.TrimSpace(line)
			f := strings.Split(line, ";")
			switch {
			case strings.HasPrefix(line, ":"):
				chain, _, _ = strings.Cut(line[1:], ",")
			case strings.HasPrefix(line, "*"):
				table = line[1:]
			case len(f) < 3 || line[0] == '#':
			default:
				printed := f[1]
				if printed == "=" || f[2] == "FAIL" {
					printed = f[0]
				}
				c := sameMeaning(t, file, table, chain, f[0], printed, strings.Contains(file, "libip6t"))
				switch {
				case f[2] == "FAIL":
					refused++
				case c:
					unsupported[filepath.Base(file)]++
				default:
					same++
				}
			}
		}
	}
	t.Logf("%d lines understood, %d to be refused; not understood: %v", same, refused, unsupported)
}

func sameMeaning(t *testing.T, file, table, chain, a, b string, is6 bool) (unsupported bool) {
	t.Helper()
	for hook, name := range hookChains {
		if name != chain {
			continue
		}
		text := func(rule string) *packet.Filter {
			if !strings.Contains(rule, "-j") && !strings.Contains(rule, "-g ") {
				rule += " -j DROP"
			}
			s := &Save{}
			s.Read(table, "-A "+chain+" "+rule+"\n")
			return Filter(s, hook, is6, Options{Services: someServices})
		}
		x, y := text(a), text(b)
		s := packet.NewSpace(is6, packet.HostAddrs{}, 2_000_000, x, y)
		m, errX := s.Build(x)
		n, errY := s.Build(y)
		if errX != nil || errY != nil || m != n && !spelledOtherwise(x, y, a) {
			t.Errorf("%s: %v %v\n%s\n%s", file, errX, errY, a, b)
		}
		for _, u := range x.Unknowns() {
			unsupported = unsupported || u
		}
	}
	return unsupported
}

// spelledOtherwise excuses matches whose text becomes an unknown as it stands:
// their defaults are nobody's business.
func spelledOtherwise(a, b *packet.Filter, text string) bool {
	for _, m := range []string{"recent", "connlimit", "limit", "conntrack", "hashlimit", "tos", "time"} {
		if strings.Contains(text, "-m "+m+" ") {
			return false
		}
	}
	return len(a.Unknowns()) > 0 && !maps.Equal(a.Unknowns(), b.Unknowns())
}

// FuzzFilter: whatever the text, no panic, and the filter can be built or is too
// large.
func FuzzFilter(f *testing.F) {
	f.Add("*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp ! --dport 22:80 -s 10.0.0.0/8,192.0.2.1 -i eth+ -j ACCEPT\n-A INPUT -m set --match-set a src,dst -g X\n-A X -j X\nCOMMIT\n", "create a hash:net,port family inet\nadd a 10.0.0.0/8,tcp:80-90 nomatch\n")
	f.Add("-A INPUT -m conntrack ! --ctstate NEW,DNAT --ctorigdst 10.0.0.1/255.0.255.0 -j MARK --set-xmark 1/2\n-A INPUT -p icmp --icmp-type 3/0:4 -j DNAT\n-I INPUT 1 -m hashlimit --hashlimit-upto 5/min --hashlimit-burst 5 --hashlimit-mode srcip --hashlimit-name x -j FOO\n", "create b list:set\nadd b b\n")
	f.Add("-A X\n-A INPUT -mset --match-set a src,dst -gX\n-A X -jX", "create a hash:net,port \nadd a 10.0.0.0/8,tcp:80-0 nomatch") // a reversed range
	f.Fuzz(func(t *testing.T, text, sets string) {
		save, known := Parse(text), ParseSets(sets, nil)
		for hook := range hookChains {
			for _, is6 := range []bool{false, true} {
				fl := Filter(save, hook, is6, Options{Sets: known})
				s := packet.NewSpace(is6, packet.HostAddrs{}, 20_000, fl)
				_, _ = s.Build(fl)
				fl.Decide((packet.Packet{}).Facts())
			}
		}
	})
}
