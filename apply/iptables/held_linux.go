package iptables

import (
	"context"
	"fmt"
	"strings"

	"github.com/fwctl/fwctl/packet"
	read "github.com/fwctl/fwctl/read/iptables"
)

// Held reads fwctl's chains and sets and returns what they do at a hook with
// packets of a family; nil where the family is left out. Of the rules of others
// it knows nothing, nor what is in a set of 65,536 elements or more.
func (c *Conn) Held(ctx context.Context) (func(hook packet.Hook, is6 bool) *packet.Filter, error) {
	sets, err := c.heldSets(ctx)
	if err != nil {
		return nil, err
	}
	saves := map[bool]*read.Save{}
	for _, f := range c.families {
		s, err := c.dump(ctx, f)
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		for _, table := range tables {
			own(&text, s.Table(table), table)
		}
		saves[f.is6] = read.Parse(text.String())
	}
	return func(hook packet.Hook, is6 bool) *packet.Filter {
		if saves[is6] == nil {
			return nil
		}
		return read.Filter(saves[is6], hook, is6, read.Options{Sets: sets, Protocols: c.protocols})
	}, nil
}

// own writes the table without the rules of others; t may be nil.
func own(b *strings.Builder, t *read.Table, table string) {
	if t == nil {
		return
	}
	b.WriteString("*" + table + "\n")
	for _, c := range t.Chains {
		switch {
		case isOwn(c.Name):
			fmt.Fprintf(b, ":%s -\n", c.Name)
		case c.Policy != "-":
			fmt.Fprintf(b, ":%s ACCEPT\n", c.Name)
		}
	}
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			if isOwn(c.Name) || c.Policy != "-" && !isForeign(r) {
				fmt.Fprintf(b, "-A %s %s\n", c.Name, r.Text)
			}
		}
	}
}

// heldSets reads the sets that are fwctl's and not too large.
func (c *Conn) heldSets(ctx context.Context) (read.Sets, error) {
	names, err := c.ownSets(ctx)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, name := range names {
		n, err := c.count(ctx, name)
		if err != nil {
			return nil, err
		}
		if n >= countFrom {
			continue
		}
		out, err := c.run(ctx, "", c.ipset, "save", name)
		if err != nil {
			return nil, err
		}
		text.WriteString(out)
	}
	return read.ParseSets(text.String(), c.protocols), nil
}
