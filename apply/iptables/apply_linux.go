package iptables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	render "github.com/fwctl/fwctl/render/iptables"
)

// ErrUnproved says that iptables reported success but then shows something else
// than was sent.
var ErrUnproved = errors.New("the rules read back are not the rules sent")

// Plan says what Apply would change, one line each; nothing if there is nothing.
func (c *Conn) Plan(ctx context.Context, p *render.Program) ([]string, error) {
	t, err := c.plan(ctx, p)
	if err != nil {
		return nil, err
	}
	return t.changes(), nil
}

// transition is the whole way from what the kernel has to a program.
type transition struct {
	sets  *setEdit
	steps []step
}

// step is one family's part in one table.
type step struct {
	family
	was  *state
	edit *edit
}

func (t *transition) changes() []string {
	out := t.sets.changes()
	for _, s := range t.steps {
		out = append(out, s.edit.changes...)
	}
	for _, name := range t.sets.drop {
		out = append(out, "ipset destroy "+name)
	}
	return out
}

func (c *Conn) plan(ctx context.Context, p *render.Program) (*transition, error) {
	sets, err := c.planSets(ctx, p.Sets)
	if err != nil {
		return nil, err
	}
	t := &transition{sets: sets}
	for _, f := range c.families {
		all, err := c.states(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, was := range all {
			t.steps = append(t.steps, step{f, was, diff(f.command(), was, wanted(of(p, f), was.table), c.protocols)})
		}
	}
	// What closes more goes first: between the two, the host should
	// rather have too few openings.
	slices.SortStableFunc(t.steps, func(a, b step) int { return b.edit.closing - a.edit.closing })
	return t, nil
}

// of is the part of a program for a family.
func of(p *render.Program, f family) *render.Family {
	if f.is6 {
		return &p.V6
	}
	return &p.V4
}

// states are those of all tables.
func (c *Conn) states(ctx context.Context, f family) ([]*state, error) {
	s, err := c.dump(ctx, f)
	if err != nil {
		return nil, err
	}
	all := make([]*state, len(tables))
	for i, table := range tables {
		all[i] = found(s.Table(table), table)
	}
	return all, nil
}

// state is that of one table.
func (c *Conn) state(ctx context.Context, f family, table string) (*state, error) {
	all, err := c.states(ctx, f)
	if err != nil {
		return nil, err
	}
	return all[slices.Index(tables, table)], nil
}

// tries bounds how often a change is planned anew because another program
// changed the rules meanwhile.
const tries = 20

// Apply makes the kernel hold the program and returns what it changed, one line
// each; nothing if there was nothing to change. A failure in the second family
// puts the first back. Whatever the programs answer, the kernel is read again
// before Apply says what happened.
func (c *Conn) Apply(ctx context.Context, p *render.Program) ([]string, error) {
	var all []string
	for n := 1; ; n++ {
		t, err := c.plan(ctx, p)
		if err != nil {
			return all, err
		}
		changes, err := c.attempt(ctx, t, p)
		all = append(all, changes...)
		if err == nil || n == tries || ctx.Err() != nil {
			return all, err
		}
		if !errors.Is(err, ErrUnproved) && !c.moved(ctx, t, p) {
			return all, err
		}
	}
}

// moved reports whether there is another way to go now than there was.
func (c *Conn) moved(ctx context.Context, tried *transition, p *render.Program) bool {
	t, err := c.plan(ctx, p)
	return err == nil && !slices.Equal(t.changes(), tried.changes())
}

func (c *Conn) attempt(ctx context.Context, t *transition, p *render.Program) ([]string, error) {
	changes := t.changes()
	if len(changes) == 0 {
		return nil, nil
	}
	if err := c.makeSets(ctx, t.sets); err != nil {
		return c.undone(ctx, t, 0, err)
	}
	for i, s := range t.steps {
		if err := c.restore(ctx, s.family, s.edit); err != nil {
			return c.undone(ctx, t, i+1, err)
		}
	}
	if err := c.verify(ctx, p); err != nil {
		return changes, err
	}
	// The rules are what they should be; sets that could not be destroyed are
	// tried again by the next Apply.
	_, err := c.destroySets(ctx, t.sets.drop)
	return changes, err
}

// verify reads back what was written.
func (c *Conn) verify(ctx context.Context, p *render.Program) error {
	for _, f := range c.families {
		all, err := c.states(ctx, f)
		if err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		for _, is := range all {
			if rest := diff(f.command(), is, wanted(of(p, f), is.table), c.protocols); !rest.empty() {
				return fmt.Errorf("%w: %s", ErrUnproved, strings.Join(rest.changes, "; "))
			}
		}
	}
	return nil
}

// backTime bounds the way back after a failure.
const backTime = time.Minute

// undone takes back what the first n steps did, after one failed, and says how
// the kernel stands. The way back is not cancelled by what cancelled the way
// there.
func (c *Conn) undone(ctx context.Context, t *transition, n int, failed error) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backTime)
	defer cancel()
	errs := []error{failed}
	for _, s := range slices.Backward(t.steps[:n]) {
		is, err := c.state(ctx, s.family, s.was.table)
		if err == nil {
			err = c.restore(ctx, s.family, diff(s.command(), is, s.was, c.protocols))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("put %s back: %w", s.command(), err))
		}
	}
	errs = append(errs, c.unmakeSets(ctx, t.sets))
	if err := errors.Join(errs...); err.Error() != failed.Error() {
		return t.changes(), err
	}
	return nil, fmt.Errorf("%w; nothing was changed", failed)
}

// unmakeSets destroys the new sets that a failed Apply made.
func (c *Conn) unmakeSets(ctx context.Context, e *setEdit) error {
	have, err := c.ownSets(ctx)
	if err != nil {
		return err
	}
	made := []string{building}
	for _, s := range e.make {
		made = append(made, s.Name)
	}
	_, err = c.destroySets(ctx, slices.DeleteFunc(made, func(s string) bool { return !slices.Contains(have, s) }))
	return err
}

// restore sends an edit.
func (c *Conn) restore(ctx context.Context, f family, e *edit) error {
	if e.empty() {
		return nil
	}
	args := []string{"--noflush", "--wait", lockWait}
	if e.counters {
		args = append(args, "--counters")
	}
	_, err := c.run(ctx, e.text(), f.restore, args...)
	return err
}

// Present reports whether the kernel holds anything of fwctl's, in either
// variant.
func (c *Conn) Present(ctx context.Context) (bool, error) {
	for _, f := range c.everywhere() {
		all, err := c.states(ctx, f)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(all, func(s *state) bool { return len(s.chains) > 0 || len(s.jumps) > 0 }) {
			return true, nil
		}
	}
	sets, err := c.ownSets(ctx)
	return len(sets) > 0, err
}

func (c *Conn) everywhere() []family { return slices.Concat(c.families, c.others) }

// Remove takes away all chains, jumps and sets of fwctl's, in both variants, and
// returns what it took, one line each.
func (c *Conn) Remove(ctx context.Context) ([]string, error) {
	var changes []string
	for _, f := range c.everywhere() {
		all, err := c.states(ctx, f)
		if err != nil {
			return changes, err
		}
		for _, was := range all {
			if len(was.misuse) > 0 {
				return changes, fmt.Errorf("rules of others lead into fwctl's chains, remove them first: %s %s", f.command(), strings.Join(was.misuse, "; "))
			}
		}
		for _, was := range all {
			e := diff(f.command(), was, &state{table: was.table}, c.protocols)
			if err := c.restore(ctx, f, e); err != nil {
				return changes, err
			}
			changes = append(changes, e.changes...)
		}
	}
	sets, err := c.ownSets(ctx)
	if err != nil {
		return changes, err
	}
	gone, err := c.destroySets(ctx, sets)
	return append(changes, gone...), err
}
