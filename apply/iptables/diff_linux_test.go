package iptables

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	read "github.com/fwctl/fwctl/read/iptables"
)

func chainOf(numbers []int) *chain {
	c := &chain{name: "FWCTL-X"}
	for _, n := range numbers {
		c.rules = append(c.rules, rule{Rule: read.Rule{Text: fmt.Sprintf("-s 192.0.2.%d/32 -j RETURN", n), Packets: uint64(n)}})
	}
	return c
}

func rewritten(was, is []int) *edit {
	e, r := &edit{}, newRewrite(chainOf(was), chainOf(is), nil)
	e.remove(r, nil)
	e.add(r, nil)
	return e
}

// play does to a chain what the lines of a restore say.
func play(t *testing.T, c *chain, lines []string) []string {
	t.Helper()
	var rules []string
	for _, r := range c.rules {
		rules = append(rules, r.Text)
	}
	for _, l := range lines {
		if l[0] == '[' {
			_, l, _ = strings.Cut(l, "] ")
		}
		verb, rest, _ := strings.Cut(strings.Replace(l, " "+c.name, "", 1), " ")
		at := 0
		if verb == "-I" || verb == "-D" {
			if _, err := fmt.Sscan(rest, &at); err != nil || at < 1 || at > len(rules)+1 {
				t.Fatalf("%s: %v", l, err)
			}
			_, rest, _ = strings.Cut(rest, " ")
		}
		switch verb {
		case "-F":
			rules = nil
		case "-A":
			rules = append(rules, rest)
		case "-I":
			rules = slices.Insert(rules, at-1, rest)
		case "-D":
			rules = slices.Delete(rules, at-1, at)
		default:
			t.Fatal(l)
		}
	}
	return rules
}

func TestEditLeadsThere(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	random := func() []int {
		s := make([]int, r.IntN(12))
		for i := range s {
			s[i] = r.IntN(15)
		}
		return s
	}
	for range 5000 {
		was, is := random(), random()
		e := rewritten(was, is)
		var want []string
		for _, x := range chainOf(is).rules {
			want = append(want, x.Text)
		}
		if got := play(t, chainOf(was), e.lines); !slices.Equal(got, want) {
			t.Fatalf("from %v to %v: %q leads to %q", was, is, e.lines, got)
		}
	}
}

func TestEditIsShort(t *testing.T) {
	for _, c := range []struct {
		was, is []int
		lines   []string
	}{
		{[]int{1, 2, 3}, []int{1, 2, 3}, nil},
		{[]int{1, 2, 3}, []int{1, 3}, []string{"-D FWCTL-X 2"}},
		{[]int{1, 3}, []int{1, 2, 3}, []string{"-I FWCTL-X 2 -s 192.0.2.2/32 -j RETURN"}},
		{[]int{1, 2}, []int{1, 2, 3}, []string{"-A FWCTL-X -s 192.0.2.3/32 -j RETURN"}},
		{[]int{1, 2}, []int{3, 4}, []string{"-F FWCTL-X", "-A FWCTL-X -s 192.0.2.3/32 -j RETURN", "-A FWCTL-X -s 192.0.2.4/32 -j RETURN"}},
		// What moved takes its counters along.
		{[]int{1, 2, 3, 4}, []int{2, 3, 4, 1}, []string{"-D FWCTL-X 1", "[1:0] -A FWCTL-X -s 192.0.2.1/32 -j RETURN"}},
	} {
		e := rewritten(c.was, c.is)
		if !slices.Equal(e.lines, c.lines) {
			t.Errorf("from %v to %v: %q, want %q", c.was, c.is, e.lines, c.lines)
		}
	}
}
