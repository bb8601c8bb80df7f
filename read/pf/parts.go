package pf

import (
	"slices"
	"strings"
)

// mostParts is how many rules the lists of one that counts may stand for; of more it
// counts as one.
const mostParts = 1000

// counts reports whether the rule decides by how often it matched, or by dice. The kernel
// has such a rule for each combination of its lists, and each counts apart.
func (s *Rule) counts() bool {
	return len(s.Rates) > 0 || slices.ContainsFunc(s.Unknown, ofRule)
}

// apart puts the rules of the kernel in the place of those that count.
func (c *Config) apart(lines []Statement) []Statement {
	var out []Statement
	for _, s := range lines {
		switch s := s.(type) {
		case *Rule:
			again := c.Dialect == FreeBSD && s.Action == Matches && len(s.Translate) > 0 // of which the second one drops
			if (again || s.counts()) && s.product() <= mostParts {
				out = append(out, c.expandRule(s)...)
				continue
			}
		case *Anchor:
			a := *s
			a.Body = c.apart(s.Body)
			out = append(out, &a)
			continue
		}
		out = append(out, s)
	}
	return out
}

// product is how many rules the lists stand for.
func (s *Rule) product() int {
	n := 1
	for _, l := range []int{len(s.On), len(s.Protos), len(s.Types), len(s.From.Hosts), len(s.From.Ports), len(s.From.OS), len(s.To.Hosts), len(s.To.Ports)} {
		n = min(n*max(l, 1), mostParts+1)
	}
	for _, u := range s.Unknown {
		n = min(n*len(choices(u)), mostParts+1)
	}
	return n
}

// choices are the conditions of which a list of users or groups is one, or the condition
// itself.
func choices(u string) []string {
	name, rest, _ := strings.Cut(u, " ")
	items, isList := strings.CutPrefix(rest, "{ ")
	if !isList {
		return []string{u}
	}
	var out []string
	for _, item := range strings.Split(strings.TrimSuffix(items, " }"), ", ") {
		out = append(out, name+" "+item)
	}
	return out
}

// eachOwner puts every one of the users, or groups, in the place of their list.
func eachOwner(ms []Match, name string) []Match {
	var out []Match
	for _, m := range ms {
		i := slices.IndexFunc(m.Unknown, func(u string) bool { return firstWord(u) == name })
		if i < 0 {
			out = append(out, m)
			continue
		}
		for _, u := range choices(m.Unknown[i]) {
			next := m
			next.Unknown = slices.Clone(m.Unknown)
			next.Unknown[i] = u
			out = append(out, next)
		}
	}
	return out
}
