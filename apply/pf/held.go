package pf

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	read "github.com/fwctl/fwctl/read/pf"
)

// holding is what the anchor holds, or what a program would make it hold.
type holding struct {
	rules  *read.Config // without tables
	tables map[string]*read.Table
}

// list are the options that list rules, ports by number.
func (c *Conn) list() []string { return append(c.pfctl.Numeric(), "-sr") }

// held reads the anchor.
func (c *Conn) held(ctx context.Context) (*holding, error) {
	text, err := c.own(ctx, "", c.list()...)
	if err != nil && !absent(err) {
		return nil, err
	}
	names, err := c.tables(ctx)
	if err != nil {
		return nil, err
	}
	h := &holding{rules: read.Parse(text, c.grammar), tables: map[string]*read.Table{}}
	for _, name := range names {
		t := &read.Table{Name: name, Listed: true}
		text, err := c.own(ctx, "", "-t", name, "-T", "show")
		if absent(err) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		t.Entries, _ = read.ParseEntries(text)
		h.tables[name] = t
	}
	return h, nil
}

// tables lists the anchor's tables.
func (c *Conn) tables(ctx context.Context) ([]string, error) {
	text, err := c.own(ctx, "", "-s", "Tables")
	if err != nil && !absent(err) {
		return nil, err
	}
	return strings.Fields(text), nil
}

// wanted is what a text would make the anchor hold.
func (c *Conn) wanted(text string) *holding {
	all := read.Parse(text, c.grammar)
	h := &holding{rules: &read.Config{Dialect: c.grammar, Problems: all.Problems}, tables: map[string]*read.Table{}}
	for _, l := range all.Lines {
		if t, ok := l.(*read.Table); ok {
			h.tables[t.Name] = t
			continue
		}
		h.rules.Lines = append(h.rules.Lines, l)
	}
	return h
}

// canonical are the rules, one a line, as pfctl prints them.
func (h *holding) canonical() []string {
	return strings.Split(strings.TrimSuffix(h.rules.Expand().Print(), "\n"), "\n")
}

// same reports whether a table that is held is as it is wanted. What a limit has
// filled is not of the policy.
func same(want, held *read.Table) bool {
	switch {
	case held == nil:
		return false
	case !want.Listed:
		return true
	}
	return slices.Equal(entries(want), entries(held))
}

// entries are those of a table, in one order; the word self are the host's addresses,
// as pfctl makes of it when it loads the table.
func entries(t *read.Table) []string {
	var out []string
	for _, e := range t.Entries {
		if e.Name == "self" {
			out = append(out, own()...)
			continue
		}
		out = append(out, e.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// own are the host's addresses.
func own() (out []string) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, ip.Unmap().String())
			}
		}
	}
	return out
}

// Meaning is what the anchor held when Apply had done its work: rules and tables, to be
// asked by read/pf. A table that is as it was sent is as the program writes it.
func (c *Conn) meaning(want, held *holding) *read.Config {
	out := &read.Config{Dialect: c.grammar}
	for _, name := range sortedNames(held.tables) {
		t := held.tables[name]
		if w := want.tables[name]; w != nil && same(w, t) {
			t = w
		}
		out.Lines = append(out.Lines, t)
	}
	out.Lines = append(out.Lines, held.rules.Lines...)
	out.Problems = held.rules.Problems
	return out
}

func sortedNames(m map[string]*read.Table) []string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	slices.SortFunc(out, cmp.Compare)
	return out
}
