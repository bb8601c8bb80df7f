package iptables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
	render "github.com/fwctl/fwctl/render/iptables"
)

// setEdit is what has to happen to the sets.
type setEdit struct {
	make []*render.Set // not there
	mend []*render.Set // there, with another content
	drop []string      // no longer wanted
}

func (e *setEdit) changes() []string {
	var out []string
	for _, s := range e.make {
		out = append(out, fmt.Sprintf("ipset create %s (%d elements)", s.Name, len(s.Elements)))
	}
	for _, s := range e.mend {
		out = append(out, fmt.Sprintf("ipset swap %s (its content was not what its name says)", s.Name))
	}
	return out
}

// planSets compares the sets of the kernel with those of the program.
func (c *Conn) planSets(ctx context.Context, want []*render.Set) (*setEdit, error) {
	e := &setEdit{}
	if !c.IPSet {
		if len(want) > 0 {
			return nil, errors.New("the rules need sets, but ipset cannot be used")
		}
		return e, nil
	}
	names, err := c.ownSets(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range want {
		i := slices.Index(names, s.Name)
		if i < 0 {
			e.make = append(e.make, s)
			continue
		}
		names = slices.Delete(names, i, i+1)
		same, err := c.holdsSet(ctx, s)
		if err != nil {
			return nil, err
		}
		if !same {
			e.mend = append(e.mend, s)
		}
	}
	e.drop = names
	return e, nil
}

// ownSets are the names of the sets that are fwctl's.
func (c *Conn) ownSets(ctx context.Context) ([]string, error) {
	if !c.IPSet {
		return nil, nil
	}
	out, err := c.run(ctx, "", c.ipset, "list", "-n")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Fields(out), func(s string) bool { return !strings.HasPrefix(s, "fwctl-") }), nil
}

// countFrom is from how many elements on a set is only counted: its name says
// what it was made of, and reading a million takes seconds.
const countFrom = 1 << 16

// holdsSet reports whether the kernel's set of that name has the content that
// it should.
func (c *Conn) holdsSet(ctx context.Context, want *render.Set) (bool, error) {
	if len(want.Elements) >= countFrom {
		n, err := c.count(ctx, want.Name)
		if err != nil || n >= 0 {
			return n == len(want.Elements), err
		}
	}
	out, err := c.run(ctx, "", c.ipset, "save", want.Name)
	if err != nil {
		return false, err
	}
	head, rest, _ := strings.Cut(out, "\n")
	if !strings.HasPrefix(head+" ", "create "+want.Name+" "+want.Type()+" family "+want.Family()+" ") {
		return false, nil
	}
	have := make([]render.Element, 0, len(want.Elements))
	for line := range strings.Lines(rest) {
		e, ok := element(line, want.Name)
		if !ok || len(have) == len(want.Elements) {
			return false, nil
		}
		have = append(have, e)
	}
	slices.SortFunc(have, compareElements)
	sorted := slices.IsSortedFunc(want.Elements, compareElements)
	wanted := want.Elements
	if !sorted {
		wanted = slices.SortedFunc(slices.Values(want.Elements), compareElements)
	}
	return slices.Equal(have, wanted), nil
}

// count returns how many elements a set has, -1 if this ipset does not say.
func (c *Conn) count(ctx context.Context, name string) (int, error) {
	out, err := c.run(ctx, "", c.ipset, "list", "-t", name)
	if err != nil {
		return -1, err
	}
	_, text, _ := strings.Cut(out, "\nNumber of entries: ")
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return -1, nil //nolint:nilerr // an old ipset
	}
	return n, nil
}

// element reads a line of `ipset save`: `add NAME 192.0.2.0/24,tcp:22 comment
// "service.ssh"`.
func element(line, name string) (e render.Element, ok bool) {
	line, ok = strings.CutPrefix(strings.TrimSpace(line), "add "+name+" ")
	if !ok {
		return e, false
	}
	value, comment, _ := strings.Cut(line, ` comment "`)
	e.Comment = strings.TrimSuffix(comment, `"`)
	address, port, ports := strings.Cut(value, ",")
	if !strings.Contains(address, "/") {
		a, err := netip.ParseAddr(address)
		if err != nil {
			return e, false
		}
		e.Prefix = netip.PrefixFrom(a, a.BitLen())
	} else if e.Prefix, _ = netip.ParsePrefix(address); !e.Prefix.IsValid() {
		return e, false
	}
	if !ports {
		return e, true
	}
	proto, number, _ := strings.Cut(port, ":")
	n, err := strconv.ParseUint(number, 10, 16)
	e.Proto, ok = packet.ParseProto(proto)
	e.Port = uint16(n)
	return e, ok && err == nil
}

func compareElements(a, b render.Element) int {
	return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
}

// building is the name of a set that is being filled. A policy's names cannot
// have its "~".
const building = "fwctl-~new"

// makeSets fills new sets under another name first, so that a set that bears
// its own name is complete.
func (c *Conn) makeSets(ctx context.Context, e *setEdit) error {
	if slices.Contains(e.drop, building) {
		if _, err := c.run(ctx, "", c.ipset, "destroy", building); err != nil {
			return err
		}
		e.drop = slices.DeleteFunc(e.drop, func(s string) bool { return s == building })
	}
	for _, s := range e.make {
		if _, err := c.run(ctx, s.Text(building)+"rename "+building+" "+s.Name+"\n", c.ipset, "restore"); err != nil {
			return fmt.Errorf("make the set %s: %w", s.Name, err)
		}
	}
	for _, s := range e.mend {
		text := s.Text(building) + "swap " + building + " " + s.Name + "\ndestroy " + building + "\n"
		if _, err := c.run(ctx, text, c.ipset, "restore"); err != nil {
			return fmt.Errorf("put the set %s right: %w", s.Name, err)
		}
	}
	return nil
}

// How often, and how long apart, a set is tried to be destroyed: the kernel
// lets go of a rule of nf_tables, and with it of the set, a moment after the
// transaction that removed it.
const (
	destroyTries = 100
	destroyPause = 20 * time.Millisecond
)

// destroySets removes sets and says so.
func (c *Conn) destroySets(ctx context.Context, names []string) (changes []string, err error) {
	for _, name := range names {
		for range destroyTries {
			if _, err = c.run(ctx, "", c.ipset, "destroy", name); err == nil || ctx.Err() != nil || !inUse(err) {
				break
			}
			time.Sleep(destroyPause)
		}
		if err != nil {
			return changes, fmt.Errorf("destroy the set %s: %w", name, err)
		}
		changes = append(changes, "ipset destroy "+name)
	}
	return changes, nil
}

func inUse(err error) bool {
	var e *runError
	return errors.As(err, &e) && strings.Contains(e.stderr, "in use")
}
