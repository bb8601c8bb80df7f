package iptables

import (
	"slices"
	"strconv"
	"strings"
)

// Save is what iptables-save, or iptables -S, printed.
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
	Line           int    // of the text, from 1
	Packets, Bytes uint64 // zero where the text has no counters
}

// Parse reads the text of iptables-save, with or without -c, or of iptables -S
// for the table filter. Rules of a chain that no line declared make the chain.
func Parse(text string) *Save {
	s := &Save{}
	s.Read("filter", text)
	return s
}

// Read adds the text of another table, as "iptables -t TABLE -S" prints it. Lines
// behind a "*TABLE" of the text belong to that one.
func (s *Save) Read(table, text string) {
	in, number := table, 0 // in "": no table
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '*':
			in = line[1:]
			s.table(in)
		case line == "COMMIT":
			in = ""
		case in == "" || !s.line(in, line, number):
			s.Unknown = append(s.Unknown, line)
		}
	}
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

func (s *Save) table(name string) *Table {
	t := s.Table(name)
	if t == nil {
		t = &Table{Name: name, byName: map[string]*Chain{}}
		s.Tables = append(s.Tables, t)
	}
	return t
}

// Chain returns the chain of that name, nil if there is none.
func (t *Table) Chain(name string) *Chain {
	if t == nil {
		return nil
	}
	return t.byName[name]
}

// line reads a declaration, ":INPUT ACCEPT [0:0]", or a command, "[0:0] -A INPUT
// …", and reports whether it is one that makes up a ruleset.
func (s *Save) line(table, line string, number int) bool {
	if line[0] == ':' {
		f := strings.Fields(line[1:])
		if len(f) < 2 {
			return false
		}
		s.table(table).chain(f[0]).Policy = f[1]
		return true
	}
	r := Rule{Line: number}
	if line[0] == '[' {
		counters, rest, ok := strings.Cut(line[1:], "] ")
		if !ok || !r.counters(counters) {
			return false
		}
		line = rest
	}
	command, rest, _ := strings.Cut(line, " ")
	if command == "-t" || command == "--table" {
		table, line, _ = strings.Cut(rest, " ")
		command, rest, _ = strings.Cut(line, " ")
	}
	name, text, _ := strings.Cut(rest, " ")
	if name == "" {
		return false
	}
	r.Text = text
	return s.command(table, command, name, r)
}

// command does what a line of iptables -S, or an argument of iptables, says.
func (s *Save) command(table, command, chain string, r Rule) bool {
	switch command {
	case "-A", "--append":
		c := s.table(table).chain(chain)
		c.Rules = append(c.Rules, r)
	case "-I", "--insert":
		return s.table(table).chain(chain).insert(r)
	case "-N", "--new-chain":
		s.table(table).chain(chain)
	case "-P", "--policy":
		policy := strings.Fields(r.Text) // behind it, -S -v has counters
		if len(policy) == 0 {
			return false
		}
		s.table(table).chain(chain).Policy = policy[0]
	default:
		return false
	}
	return true
}

// insert puts a rule before the one whose number its text begins with, the first
// if there is none.
func (c *Chain) insert(r Rule) bool {
	at := 1
	word, rest, _ := strings.Cut(r.Text, " ")
	if n, err := strconv.Atoi(word); err == nil {
		at, r.Text = n, rest
	}
	if at < 1 || at > len(c.Rules)+1 {
		return false
	}
	c.Rules = slices.Insert(c.Rules, at-1, r)
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
