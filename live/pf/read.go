package pf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
	read "github.com/fwctl/fwctl/read/pf"
)

// Own is the anchor that is fwctl's.
const Own = "fwctl"

// Held is what pf holds, read as one state of it.
type Held struct {
	Enabled bool // otherwise everything passes
	*read.Config
	Options read.Options
	Unread  []string // what could not be read, with the reason
}

// ErrUnstable says that the rules changed each time they were read.
var ErrUnstable = errors.New("the rules change faster than they can be read")

// tries is how often everything is read again because others write.
const tries = 10

// Read reads what pf holds. Links are the interfaces of the host with their addresses.
func (c *Conn) Read(ctx context.Context, links []packet.Link) (*Held, error) {
	for range tries {
		p, err := c.rules(ctx)
		if err != nil {
			return nil, err
		}
		h, err := c.held(ctx, p, links)
		if err != nil {
			return nil, err
		}
		after, err := c.rules(ctx)
		if err != nil {
			return nil, err
		}
		if after == p {
			return h, nil
		}
	}
	return nil, ErrUnstable
}

// printed is all rules as pfctl prints them.
type printed struct{ nat, rules string }

// Numeric are the options with which pfctl lists ports by number. OpenBSD does without
// one, and of -P it makes the contrary; macOS has none.
func (c *Conn) Numeric() []string {
	if c.Dialect == read.FreeBSD || c.Dialect == read.FreeBSDOld {
		return []string{"-P"}
	}
	return nil
}

func (c *Conn) rules(ctx context.Context) (p printed, err error) {
	show := append(c.Numeric(), "-a", "*", "-s")
	if c.Dialect != read.OpenBSD {
		if p.nat, err = c.Run(ctx, "", append(slices.Clone(show), "nat")...); err != nil {
			return p, err
		}
	}
	p.rules, err = c.Run(ctx, "", append(show, "rules")...)
	return p, err
}

func (c *Conn) held(ctx context.Context, p printed, links []packet.Link) (*Held, error) {
	h := &Held{Config: &read.Config{Dialect: c.Dialect}, Options: read.Options{Links: links}}
	for _, text := range []string{p.nat, p.rules} { // what translates first, as it is done
		part := c.Parse(text)
		h.Lines = append(h.Lines, part.Lines...)
		for _, p := range part.Problems {
			h.Unread = append(h.Unread, fmt.Sprintf("a rule of pf, %q", lineOf(text, p.Line))+": "+p.Text)
		}
	}
	info, err := c.Run(ctx, "", "-s", "info")
	if err != nil {
		return nil, err
	}
	h.Enabled = strings.Contains(info, "Status: Enabled")
	if h.Options.Skip, err = c.skipped(ctx); err != nil {
		return nil, err
	}
	if c.Dialect != read.MacOS {
		h.Options.Groups = groups(ctx)
	}
	if c.Dialect == read.FreeBSD || c.Dialect == read.FreeBSDOld {
		c.ofFreeBSD(ctx, h)
	}
	c.tables(ctx, h)
	return h, nil
}

// Anchors are the names of the anchors of others that the main rules ask, in order.
func (c *Conn) Anchors(ctx context.Context) ([]string, error) {
	text, err := c.Run(ctx, "", append(c.Numeric(), "-s", "rules")...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(c.Parse(text).Anchors(), func(name string) bool { return name == Own || name == "" }), nil
}

// ofFreeBSD reads what only FreeBSD has: a default that refuses
// (net.pf.default_to_drop, pf(4)), and since 14 rules for Ethernet frames.
func (c *Conn) ofFreeBSD(ctx context.Context, h *Held) {
	value := ""
	if path := find("sysctl"); path != "" {
		value, _ = run(ctx, path, "", "-n", "net.pf.default_to_drop") // without it the default is to pass
	}
	h.Options.Refuses = strings.TrimSpace(value) == "1"
	if c.Dialect == read.FreeBSDOld {
		return
	}
	switch text, err := c.Run(ctx, "", "-s", "ether"); {
	case err != nil:
		h.Unread = append(h.Unread, err.Error())
	case strings.TrimSpace(text) != "":
		h.Unread = append(h.Unread, fmt.Sprintf("rules of pf for Ethernet frames, %q and what follows", lineOf(text, 1)))
	}
}

// lineOf is a line of a text, from 1.
func lineOf(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return strings.TrimSpace(lines[n-1])
}

// skipped are the interfaces and groups that pf leaves alone.
func (c *Conn) skipped(ctx context.Context) ([]string, error) {
	text, err := c.Run(ctx, "", "-v", "-s", "Interfaces")
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(text) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), " (skip)"); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// automatic begins the names of tables that pfctl makes of the addresses of rules
// (PF_OPTIMIZER_TABLE_PFX in pfvar.h).
const automatic = "__automatic_"

// tables reads those that rules name. One that does not exist is empty, but for those
// that pfctl made itself.
func (c *Conn) tables(ctx context.Context, h *Held) {
	contents := map[home][]read.Entry{}
	h.EachTable(func(anchor, name string) {
		found := false
		for _, a := range slices.Compact([]string{anchor, ""}) {
			found = c.tableOf(ctx, h, contents, home{a, name}) || found
		}
		if !found && strings.HasPrefix(name, automatic) {
			h.Unread = append(h.Unread, fmt.Sprintf("table <%s>, which pfctl made of a list, is not there", name))
		}
	})
	h.Options.Tables = func(anchor, name string) ([]read.Entry, bool) {
		entries, ok := contents[home{anchor, name}]
		return entries, ok
	}
}

// home is a table: its name, and the anchor that it belongs to.
type home struct{ anchor, name string }

// tableOf reads a table, once; false if it is not there.
func (c *Conn) tableOf(ctx context.Context, h *Held, contents map[home][]read.Entry, of home) bool {
	if _, known := contents[of]; known {
		return true
	}
	if strings.Contains("/"+of.anchor, "/_") { // pfctl prints no name that it made up
		h.Unread = append(h.Unread, fmt.Sprintf("table <%s> in an anchor without a name", of.name))
		return true
	}
	entries, err := c.table(ctx, of.anchor, of.name)
	switch {
	case err == nil:
		contents[of] = entries
	case !Absent(err):
		h.Unread = append(h.Unread, err.Error())
	default:
		return false
	}
	return true
}

func (c *Conn) table(ctx context.Context, anchor, name string) ([]read.Entry, error) {
	args := []string{"-t", name, "-T", "show"}
	if anchor != "" {
		args = append([]string{"-a", anchor}, args...)
	}
	text, err := c.Run(ctx, "", args...)
	if err != nil {
		return nil, err
	}
	entries, ok := read.ParseEntries(text)
	if !ok {
		return nil, fmt.Errorf("pfctl %s: not understood", strings.Join(args, " "))
	}
	return entries, nil
}

// groups are the interface groups and their members, as ifconfig(8) prints them; nil
// where it cannot be asked.
func groups(ctx context.Context) map[string][]string {
	path := find("ifconfig")
	if path == "" {
		return nil
	}
	text, err := run(ctx, path, "", "-a")
	if err != nil {
		return nil
	}
	return ParseGroups(text)
}

// ParseGroups reads the groups that ifconfig prints of each interface.
func ParseGroups(text string) map[string][]string {
	out := map[string][]string{}
	name := ""
	for line := range strings.Lines(text) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ = strings.Cut(line, ":")
			out["all"] = append(out["all"], name)
			continue
		}
		list, ok := strings.CutPrefix(strings.TrimSpace(line), "groups:")
		for _, g := range strings.Fields(list) {
			if ok && g != "all" {
				out[g] = append(out[g], name)
			}
		}
	}
	return out
}

// Source returns what the rules do with packets of a family, by the place where they
// stand on the way.
func (h *Held) Source(is6 bool) packet.Source { return h.source(h.Config, is6) }

// Others is Source without what is fwctl's.
func (h *Held) Others(is6 bool) packet.Source { return h.source(h.Without(Own), is6) }

// With is Source as it would be if fwctl's anchor held other rules: a text with its
// tables.
func (h *Held) With(own *read.Config, is6 bool) packet.Source {
	c := *h.Config
	c.Lines = slices.Clone(c.Lines)
	for i, s := range c.Lines {
		if a, ok := s.(*read.Anchor); ok && a.Name == Own {
			filled := *a
			filled.Inline, filled.Body = true, own.Lines
			c.Lines[i] = &filled
		}
	}
	with := *h
	with.Options.Tables = func(anchor, name string) ([]read.Entry, bool) {
		if anchor == Own {
			return nil, false
		}
		return h.Options.Tables(anchor, name)
	}
	return with.source(&c, is6)
}

func (h *Held) source(c *read.Config, is6 bool) packet.Source {
	if !h.Enabled {
		return func(packet.Hook) *packet.Filter { return nil }
	}
	return read.Source(c, is6, h.Options)
}
