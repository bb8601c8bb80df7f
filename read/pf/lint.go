package pf

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Lint finds what pfctl accepts and what does not do what it seems to say.
func (c *Config) Lint() []Problem {
	l := &linter{Config: c, defined: map[string]bool{}}
	l.tables(c.Lines)
	l.lines(c.Lines)
	for _, line := range c.joined {
		l.say(line, "leave the backslash out", "the comment ends in a backslash, so the next line is a part of it")
	}
	slices.SortStableFunc(l.found, func(a, b Problem) int { return a.Line - b.Line })
	return l.found
}

type linter struct {
	*Config
	defined map[string]bool
	found   []Problem
}

func (l *linter) say(line int, hint, format string, args ...any) {
	l.found = append(l.found, Problem{line, fmt.Sprintf(format, args...), hint})
}

func (l *linter) tables(lines []Statement) {
	for _, s := range lines {
		switch s := s.(type) {
		case *Table:
			l.defined[s.Name] = true
		case *Anchor:
			l.tables(s.Body)
		case *Rule:
			for _, r := range s.Rates {
				l.defined[r.Overload] = true
			}
		}
	}
}

func (l *linter) lines(lines []Statement) {
	for _, s := range lines {
		switch s := s.(type) {
		case *Rule:
			l.match(s.Line, s.Match)
			l.rule(s)
		case *Translation:
			l.match(s.Line, s.Match)
		case *Anchor:
			l.match(s.Line, s.Match)
			if strings.HasPrefix(path.Base(s.Name), "_") {
				l.say(s.Line, "begin its name with a letter", "pfctl prints the anchor %q as one without a name", s.Name)
			}
			l.lines(s.Body)
		case *Table:
			l.table(s)
		case *Option:
			l.option(s)
		}
	}
}

func (l *linter) match(line int, m Match) {
	l.hosts(line, m.From.Hosts)
	l.hosts(line, m.To.Hosts)
	for _, i := range m.On {
		l.iface(line, i)
	}
	if nots := slices.IndexFunc(m.On, func(i Iface) bool { return i.Not }); nots >= 0 && len(m.On) > 1 {
		l.say(line, "write one rule for each interface that the rule is for", "a list with a negated interface matches every interface")
	}
	for _, p := range slices.Concat(m.From.Ports, m.To.Ports) {
		if p.Op == "" && p.Lo > p.Hi {
			l.say(line, "write the smaller port first", "the port range %d:%d goes backwards and matches nothing", p.Lo, p.Hi)
		}
	}
}

// hosts finds the list { !a, !b }, which holds for every address.
func (l *linter) hosts(line int, hs []Host) {
	for _, h := range hs {
		l.host(line, h)
	}
	if len(hs) < 2 || !slices.ContainsFunc(hs, func(h Host) bool { return h.Not }) {
		return
	}
	words := texts(hs, Host.String)
	l.say(line, "put the addresses into a table with ! entries", "each address of the list { %s } makes a rule of its own, so together they match everything", strings.Join(words, ", "))
}

func (l *linter) host(line int, h Host) {
	switch {
	case h.Kind == TableHost && !l.defined[h.Name]:
		l.say(line, "define it, or load it before", "table <%s> is not defined, so it is empty", h.Name)
	case h.Kind == NamedHost && h.Name == "self":
		l.say(line, "write (self), which the kernel keeps up to date", "self is one rule for each address that the host has when the rules are loaded")
	case h.Kind == NamedHost && strings.Contains(h.Name, "-") && strings.Count(h.Name, ".") > 3:
		l.say(line, "write blanks around the -", "%q is looked up as the name of a host", h.Name)
	case h.Kind == NamedHost && strings.Contains(h.Name, "."):
		l.say(line, "write the address", "the name %q is looked up when the rules are loaded; if that fails, nothing is loaded", h.Name)
	case h.Kind == NamedHost:
		l.say(line, "write ("+h.bare()+"), which the kernel keeps up to date, if it is an interface", "%q stands for the addresses that it has when the rules are loaded; if it has none, nothing is loaded", h.bare())
	case h.Kind == DynamicHost && h.Name == "self" && l.Dialect == MacOS:
		l.say(line, "use a table with { self }", "(self) is empty on macOS, so the rule matches nothing")
	}
}

// iface finds names that are accepted and match nothing.
func (l *linter) iface(line int, i Iface) {
	name := i.Name
	if name == "" || name == "any" {
		return
	}
	digit := name[len(name)-1] >= '0' && name[len(name)-1] <= '9'
	switch {
	case digit:
	case l.Dialect == MacOS:
		l.say(line, "name the interface, as in en0", "macOS has no interface groups: `on %s` matches only an interface of that very name", name)
	case name == "egress" && l.Dialect != OpenBSD:
		l.say(line, "name the interface with the default route", "%s does not keep the group egress, so `on egress` matches nothing", l.Dialect.system())
	case name != "egress" && name != "all" && name != "lo" && !slices.Contains(l.Dialect.drivers(), name):
		l.say(line, "name the interface, or make sure that it has that group", "%q is no group that the kernel keeps; `on %s` matches nothing unless somebody made it", name, name)
	}
}

func (l *linter) rule(r *Rule) {
	if r.Action == Matches && r.Quick {
		l.say(r.Line, "leave quick out", "a match rule that is quick ends the evaluation: what was decided before it stays, and no rule behind it is asked")
	}
	for _, rate := range r.Rates {
		if strings.HasPrefix(rate.Name, "max-src-conn") && !slices.Contains(r.Protos, packet.TCP) {
			l.say(r.Line, "limit TCP alone", "%s counts completed handshakes of TCP and does nothing for other protocols", rate.Name)
		}
	}
	if strings.Contains(r.Label, `"`) {
		l.say(r.Line, "leave the quote out", "pfctl prints the label %q unescaped, and cannot read that again", r.Label)
	}
}

func (l *linter) table(t *Table) {
	for _, e := range t.Entries {
		if strings.Contains(e.Name, ".") {
			l.say(t.Line, "write the address", "the name %q in table <%s> is looked up when the rules are loaded", e.Name, t.Name)
		}
	}
}

func (l *linter) option(o *Option) {
	if o.Words[0] == "skip" && l.Dialect == MacOS && slices.Contains(o.Words, "lo") {
		l.say(o.Line, "write lo0", "rules of macOS know the loopback interface as lo0 alone")
	}
}

// InAnchor finds what may not stand in the file of an anchor: options are dropped
// there on one system and change the whole host on another.
func (c *Config) InAnchor() []Problem {
	var out []Problem
	for _, s := range c.Lines {
		if o, ok := s.(*Option); ok {
			out = append(out, Problem{o.Line, "`set " + o.Words[0] + "` in the file of an anchor: FreeBSD drops it, OpenBSD sets it for the whole host or not at all", "put it into pf.conf"})
		}
	}
	return out
}
