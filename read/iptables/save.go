package iptables

import (
	"strconv"
	"strings"
)

// Save is what one run of iptables-save printed.
type Save struct {
	Tables  []*Table
	Unknown []string // lines that are no part of the format, comments left out
}

// Table is one table: "filter".
type Table struct {
	Name   string
	Chains []*Chain // in the order of the text
	byName map[string]*Chain
}

// Chain is one chain and its rules.
type Chain struct {
	Name   string
	Policy string // ACCEPT or DROP of a built-in chain, "-" of others
	Rules  []Rule
}

// Rule is one rule as printed.
type Rule struct {
	Text           string // behind "-A CHAIN "
	Packets, Bytes uint64 // zero where the text has no counters
}

// Parse reads the text of iptables-save, with or without -c. Rules of a chain
// that no line declared make the chain.
func Parse(text string) *Save {
	s := &Save{}
	var t *Table
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '*':
			t = &Table{Name: line[1:], byName: map[string]*Chain{}}
			s.Tables = append(s.Tables, t)
		case line == "COMMIT":
			t = nil
		case t == nil || !t.line(line):
			s.Unknown = append(s.Unknown, line)
		}
	}
	return s
}

// Table returns the table of that name, nil if the text has none.
func (s *Save) Table(name string) *Table {
	for _, t := range s.Tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Chain returns the chain of that name, nil if there is none.
func (t *Table) Chain(name string) *Chain {
	if t == nil {
		return nil
	}
	return t.byName[name]
}

// line reads a declaration, ":INPUT ACCEPT [0:0]", or a rule, "[0:0] -A INPUT …".
func (t *Table) line(line string) bool {
	if line[0] == ':' {
		f := strings.Fields(line[1:])
		if len(f) < 2 {
			return false
		}
		t.chain(f[0]).Policy = f[1]
		return true
	}
	var r Rule
	if line[0] == '[' {
		counters, rest, ok := strings.Cut(line[1:], "] ")
		if !ok || !r.counters(counters) {
			return false
		}
		line = rest
	}
	rest, ok := strings.CutPrefix(line, "-A ")
	if !ok {
		return false
	}
	name, text, _ := strings.Cut(rest, " ")
	if name == "" {
		return false
	}
	r.Text = text
	c := t.chain(name)
	c.Rules = append(c.Rules, r)
	return true
}

func (t *Table) chain(name string) *Chain {
	c := t.byName[name]
	if c == nil {
		c = &Chain{Name: name, Policy: "-"}
		t.byName[name] = c
		t.Chains = append(t.Chains, c)
	}
	return c
}

func (r *Rule) counters(s string) bool {
	p, b, ok := strings.Cut(s, ":")
	packets, err1 := strconv.ParseUint(p, 10, 64)
	bytes, err2 := strconv.ParseUint(b, 10, 64)
	r.Packets, r.Bytes = packets, bytes
	return ok && err1 == nil && err2 == nil
}
