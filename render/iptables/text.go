package iptables

import (
	"strconv"
	"strings"
)

// Text prints the family for `*-restore --noflush`. It is meant for a table that
// has nothing of fwctl's yet: loaded twice, it would leave two jumps. The room
// apply sends only the difference to what is there.
func (f *Family) Text() string {
	var b strings.Builder
	if len(f.Mangle.Chains) > 0 {
		f.Mangle.write(&b, "mangle")
	}
	f.write(&b, "filter")
	return b.String()
}

func (t *Table) write(b *strings.Builder, name string) {
	b.WriteString("*" + name + "\n")
	for _, c := range t.Chains {
		b.WriteString(":" + c.Name + " - [0:0]\n")
	}
	for _, j := range t.Jumps {
		b.WriteString("-I " + j.From + " 1 " + j.Args() + "\n")
	}
	for _, c := range t.Chains {
		for i := range c.Rules {
			b.WriteString("-A " + c.Name + " " + c.Rules[i].Args() + "\n")
		}
	}
	b.WriteString("COMMIT\n")
}

// Args is the jump as iptables-save prints it, without the chain it is in.
func (j Jump) Args() string { return "-m comment --comment fwctl -j " + j.To }

// Args is the rule as iptables-save prints it, without the chain it is in.
func (r *Rule) Args() string {
	var b strings.Builder
	r.Match.print(&b)
	if r.Comment != "" {
		b.WriteString("-m comment --comment " + quote(r.Comment) + " ")
	}
	if r.Verdict.Goto {
		b.WriteString("-g " + r.Verdict.Target)
	} else {
		b.WriteString("-j " + r.Verdict.Target)
	}
	if r.Verdict.Args != "" {
		b.WriteString(" " + r.Verdict.Args)
	}
	return b.String()
}

func (m *Match) print(b *strings.Builder) {
	option(b, "-s ", m.Src)
	option(b, "-d ", m.Dst)
	option(b, "-i ", m.In)
	option(b, "-o ", m.Out)
	option(b, "-p ", m.Proto)
	for _, e := range m.Ext {
		option(b, "", e)
	}
}

func option(b *strings.Builder, flag, value string) {
	if value != "" {
		b.WriteString(flag + value + " ")
	}
}

// quote does as xtables_save_string: anything but letters, digits, - and _ needs
// quotes.
func quote(s string) string {
	plain := func(r rune) bool {
		return r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	s = strings.ReplaceAll(s, `\`, `\\`)
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
}

// SetText prints the sets for `ipset restore`; empty without sets.
func (p *Program) SetText() string {
	var b strings.Builder
	for _, s := range p.Sets {
		b.WriteString(s.Text(s.Name))
	}
	return b.String()
}

// Text prints the set under a name for `ipset restore`.
func (s *Set) Text(name string) string {
	var b strings.Builder
	b.Grow(len(s.Elements) * (len(name) + 24))
	b.WriteString("create " + name + " " + s.Type() + " family " + s.Family() +
		" hashsize " + strconv.Itoa(s.hashSize()) + " maxelem " + strconv.Itoa(max(len(s.Elements), 1)))
	if s.Ports {
		b.WriteString(" comment")
	}
	b.WriteByte('\n')
	for i := range s.Elements {
		b.WriteString("add " + name + " " + s.Elements[i].Text(s.Ports))
		if c := s.Elements[i].Comment; c != "" {
			b.WriteString(` comment "` + c + `"`)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Type is the set's type in the words of ipset(8).
func (s *Set) Type() string {
	if s.Ports {
		return "hash:net,port"
	}
	return "hash:net"
}

// Family is the set's family in the words of ipset(8).
func (s *Set) Family() string {
	if s.Is6 {
		return "inet6"
	}
	return "inet"
}

// hashSize is a number of buckets, a power of two, that holds all elements
// without the table having to grow while it is filled (a bucket of ipset takes
// up to 12, and grows when it is full).
func (s *Set) hashSize() int {
	size := 64
	for size*2 < len(s.Elements) {
		size *= 2
	}
	return size
}

// Text is the element as `ipset save` prints it, without its comment.
func (e *Element) Text(ports bool) string {
	s := e.Prefix.String()
	if e.Prefix.IsSingleIP() {
		s = e.Prefix.Addr().String()
	}
	if ports {
		s += "," + e.Proto.String() + ":" + strconv.Itoa(int(e.Port))
	}
	return s
}
