package pf

import (
	"context"
	"errors"
	"fmt"
	"slices"

	read "github.com/fwctl/fwctl/read/pf"
	render "github.com/fwctl/fwctl/render/pf"
)

// Result is what an Apply did.
type Result struct {
	Changes []string     // one line each; nothing if there was nothing to change
	Held    *read.Config // what the anchor held when it was done; nil after an error
}

// Plan says what Apply would change, one line each; nothing if there is nothing.
func (c *Conn) Plan(ctx context.Context, p *render.Program) ([]string, error) {
	held, err := c.held(ctx)
	if err != nil {
		return nil, err
	}
	return changes(c.wanted(p.Text()), held), nil
}

// Apply makes the anchor hold the program, by one load, and reads it back. Nothing is
// sent where it holds it already. After a load that failed the anchor is read again, so
// that Changes are right whatever pfctl has said.
func (c *Conn) Apply(ctx context.Context, p *render.Program) (Result, error) {
	text := p.Text()
	want := c.wanted(text)
	if len(want.rules.Problems) > 0 {
		return Result{}, fmt.Errorf("internal error: line %d of the rules for pf is not understood: %s", want.rules.Problems[0].Line, want.rules.Problems[0].Text)
	}
	was, err := c.held(ctx)
	if err != nil {
		return Result{}, err
	}
	planned := changes(want, was)
	if len(planned) == 0 {
		return Result{Held: c.meaning(want, was)}, nil
	}
	if _, err := c.own(ctx, text, "-n", "-o", "none", "-f", "-"); err != nil {
		return Result{}, err
	}
	if err := c.room(ctx, want, was); err != nil {
		return Result{}, err
	}
	err = c.load(ctx, text, want)
	held, rerr := c.held(context.WithoutCancel(ctx))
	switch {
	case err != nil && rerr == nil && len(changes(was, held)) == 0:
		return Result{}, err // nothing has come of it
	case err != nil || rerr != nil:
		return Result{Changes: planned}, errors.Join(err, rerr)
	}
	return Result{Changes: planned, Held: c.meaning(want, held)}, nil
}

// load sends the text, and removes the tables that are no longer of it: pf keeps one
// that persists.
func (c *Conn) load(ctx context.Context, text string, want *holding) error {
	if _, err := c.own(ctx, text, "-o", "none", "-f", "-"); err != nil {
		return err
	}
	names, err := c.tables(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if want.tables[name] != nil {
			continue
		}
		if _, err := c.own(ctx, "", "-t", name, "-T", "kill"); err != nil && !absent(err) {
			return err
		}
	}
	return nil
}

// Present reports whether the anchor holds anything.
func (c *Conn) Present(ctx context.Context) (bool, error) {
	h, err := c.contents(ctx)
	return len(h) > 0, err
}

// contents names what the anchor holds: each table, and how many rules.
func (c *Conn) contents(ctx context.Context) ([]string, error) {
	text, err := c.own(ctx, "", c.list()...)
	if err != nil && !absent(err) {
		return nil, err
	}
	var out []string
	if n := len(read.Parse(text, c.grammar).Lines); n > 0 {
		out = append(out, fmt.Sprintf("remove %d rules from anchor %q", n, anchor))
	}
	names, err := c.tables(ctx)
	for _, name := range names {
		out = append(out, "remove table <"+name+">")
	}
	return out, err
}

// Remove empties the anchor and says what it took away.
func (c *Conn) Remove(ctx context.Context) ([]string, error) {
	had, err := c.contents(ctx)
	if err != nil || len(had) == 0 {
		return nil, err
	}
	for _, what := range []string{"rules", "Tables"} {
		if _, err := c.own(ctx, "", "-F", what); err != nil {
			return nil, err
		}
	}
	left, err := c.contents(ctx)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("anchor %q still holds something after pfctl has emptied it", anchor)
	}
	return had, err
}

// changes says what is to change for the anchor to hold what is wanted.
func changes(want, held *holding) []string {
	out := ruleChanges(want.canonical(), held.canonical())
	for _, name := range sortedNames(want.tables) {
		w, h := want.tables[name], held.tables[name]
		switch {
		case same(w, h):
		case h == nil:
			out = append(out, fmt.Sprintf("add table <%s>: %d addresses", name, len(w.Entries)))
		default:
			more, less := apart(entries(w), entries(h))
			out = append(out, fmt.Sprintf("table <%s>: %d addresses more, %d less", name, len(more), len(less)))
		}
	}
	for _, name := range sortedNames(held.tables) {
		if want.tables[name] == nil {
			out = append(out, "remove table <"+name+">")
		}
	}
	return out
}

// ruleChanges compares rules, whose order counts.
func ruleChanges(want, held []string) []string {
	if slices.Equal(want, held) {
		return nil
	}
	w, h := slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(held))
	more, less := apart(w, h)
	var out []string
	for _, l := range more {
		if l != "" {
			out = append(out, "+ "+l)
		}
	}
	for _, l := range less {
		if l != "" {
			out = append(out, "- "+l)
		}
	}
	if len(out) == 0 {
		out = append(out, "another order of the rules")
	}
	return out
}

// apart returns what only the first and what only the second of two sorted lists has.
func apart(a, b []string) (first, second []string) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		case a[0] < b[0]:
			first, a = append(first, a[0]), a[1:]
		default:
			second, b = append(second, b[0]), b[1:]
		}
	}
	return append(first, a...), append(second, b...)
}
