package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	read "github.com/fwctl/fwctl/read/nftables"
	"github.com/fwctl/fwctl/render/nftables"
)

// A packet that is among the rules when a transaction takes effect goes on among the
// old ones, but each set that it is then looked up in has its new elements
// (nft_do_chain and nft_set_elem_active of Linux). Where that could make a difference,
// a set is not given other elements: a new set with another name takes its place, and
// the old one stays whole until no packet can be among the old rules.

// names are the names under which the kernel has sets, by those of the program. A set
// that is not in it has the program's.
type names map[string]string

func (n names) of(set string) string {
	if name, ok := n[set]; ok {
		return name
	}
	return set
}

// another is the name of a set's n-th successor. The program's sets have no "/".
func another(set string, n int) string { return fmt.Sprintf("%s/%d", set, n) }

// programName is what the program calls a set that the kernel has under the name.
func programName(live string) string {
	name, _, _ := strings.Cut(live, "/")
	return name
}

// namesIn finds the sets of a table (nil: none) that are in use: of several for one set
// of the program one that a rule names, rather the one with the program's own name.
func namesIn(t *read.Table) names {
	n := names{}
	if t == nil {
		return n
	}
	used := map[string]bool{}
	for _, r := range t.Rules {
		for _, e := range r.Exprs {
			used[e.SetName()] = true
		}
	}
	rank := func(live string) int { return 2*b2i(used[live]) + b2i(live == programName(live)) }
	for _, s := range t.Sets {
		name := programName(s.Name)
		if best, ok := n[name]; !ok || rank(s.Name) > rank(best) {
			n[name] = s.Name
		}
	}
	maps.DeleteFunc(n, func(name, live string) bool { return live == name })
	return n
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// renew gives the set a name that the table does not have.
func (n names) renew(t *read.Table, set string) {
	for i := 2; ; i++ {
		name := another(set, i)
		if !slices.ContainsFunc(t.Sets, func(s read.Set) bool { return s.Name == name }) {
			n[set] = name
			return
		}
	}
}

// program returns the program with the kernel's names.
func (n names) program(p *nftables.Program) *nftables.Program {
	if len(n) == 0 {
		return p
	}
	out := &nftables.Program{Sets: slices.Clone(p.Sets), Chains: slices.Clone(p.Chains)}
	for i, s := range out.Sets {
		if name := n.of(s.Name); name != s.Name {
			renamed := *s
			renamed.Name = name
			out.Sets[i] = &renamed
		}
	}
	for i, c := range out.Chains {
		renamed := *c
		renamed.Rules = slices.Clone(c.Rules)
		for j := range renamed.Rules {
			n.rule(&renamed.Rules[j])
		}
		out.Chains[i] = &renamed
	}
	return out
}

func (n names) rule(r *nftables.Rule) {
	for i, s := range r.Stmts {
		named := n.stmt(s)
		if named == nil {
			continue
		}
		r.Stmts = slices.Clone(r.Stmts)
		r.Stmts[i] = named
	}
}

// stmt returns the statement with the kernel's name of its set, nil if it names none
// or that is the program's.
func (n names) stmt(s nftables.Stmt) nftables.Stmt {
	set := setIn(s)
	if n.of(set) == set {
		return nil
	}
	switch s := s.(type) {
	case nftables.Lookup:
		s.Set = n.of(set)
		return s
	case nftables.Vmap:
		s.Map = n.of(set)
		return s
	case nftables.Throttle:
		s.Set = n.of(set)
		return s
	}
	return nil
}

// setIn is the set that a statement names, "" for none.
func setIn(s nftables.Stmt) string {
	switch s := s.(type) {
	case nftables.Lookup:
		return s.Set
	case nftables.Vmap:
		return s.Map
	case nftables.Throttle:
		return s.Set
	}
	return ""
}
