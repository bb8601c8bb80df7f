package gen

import (
	"fmt"
	"slices"
	"strings"
)

// NFTTest is one file of nft's own tests: rules of which each stands for itself,
// and what they need.
type NFTTest struct {
	Table  string   // "inet test-inet"
	Chain  string   // its first one
	Hook   string   // "type filter hook input priority 0"
	Before []string // commands that make the sets and objects
	Rules  []string
}

// ReadNFTTest reads a file of nft's own tests (tests/py of its source, "*.t"), as
// far as nft is to accept it, for one of its families: inet, else the first for
// IP packets, else the first.
func ReadNFTTest(text string) *NFTTest {
	f, hooks, rank := &NFTTest{}, map[string]string{}, 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		w := strings.Split(line, ";")
		switch {
		case line == "" || line[0] == '#' || line[0] == '-':
		case line[0] == ':':
			hooks[w[0][1:]] = w[1]
		case line[0] == '*':
			if r := familyRank(w[0][1:]); r > rank {
				rank, f.Table = r, w[0][1:]+" "+w[1]
				f.Chain, _, _ = strings.Cut(w[2], ",")
				f.Hook = hooks[f.Chain]
			}
		case line[0] == '%' && strings.HasSuffix(line, ";ok"): // it may have such ends in it
			f.Before = append(f.Before, f.command(strings.TrimSuffix(line, ";ok")))
		case len(w) < 2 || w[1] != "ok":
		case strings.Contains("!?", line[:1]):
			f.Before = append(f.Before, f.command(w[0]))
		default:
			f.Rules = append(f.Rules, w[0])
		}
	}
	return f
}

func familyRank(family string) int {
	return 1 + slices.Index([]string{"ip", "inet"}, strings.TrimSuffix(family, "6")) + 1
}

// command makes a set, an element or an object.
func (f *NFTTest) command(line string) string {
	name, rest, _ := strings.Cut(line[1:], " ")
	switch line[0] {
	case '?':
		return fmt.Sprintf("add element %s %s { %s }", f.Table, name, rest)
	case '!':
		kind := "set"
		if strings.Contains(rest, " : ") {
			kind = "map"
		}
		rest = strings.NewReplacer(" timeout ", "; timeout ", " flags ", "; flags ").Replace(rest)
		return fmt.Sprintf("add %s %s %s { %s; }", kind, f.Table, name, rest)
	}
	kind, rest, _ := strings.Cut(strings.TrimPrefix(rest, "type "), " ")
	if kind == "ct" {
		of, more, _ := strings.Cut(rest, " ")
		kind, rest = "ct "+of, more
	}
	return strings.TrimSpace(fmt.Sprintf("add %s %s %s %s", kind, f.Table, name, rest))
}

// Commands returns commands that load rules of the file into a chain with a
// policy.
func (f *NFTTest) Commands(policy string, rules ...string) []string {
	out := []string{"add table " + f.Table, fmt.Sprintf("add chain %s %s { %s; policy %s; }", f.Table, f.Chain, f.Hook, policy)}
	out = append(out, f.Before...)
	for _, r := range rules {
		out = append(out, fmt.Sprintf("add rule %s %s %s", f.Table, f.Chain, r))
	}
	return out
}
