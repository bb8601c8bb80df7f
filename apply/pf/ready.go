package pf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	read "github.com/fwctl/fwctl/read/pf"
	render "github.com/fwctl/fwctl/render/pf"
)

// ErrDisabled says that pf is there and decides nothing.
var ErrDisabled = errors.New("pf is disabled, so its rules decide nothing: `pfctl -e` enables it")

// AnchorError says that the main rules never ask the anchor.
type AnchorError struct{ File string }

// Error says which line is missing, and where.
func (e *AnchorError) Error() string {
	return fmt.Sprintf("the rules of pf never ask the anchor %s: add `anchor \"%s\"` to %s, best as its last line, and load it by `pfctl -f %[3]s`", anchor, anchor, e.File)
}

// ReassemblyError says that fragments are judged one by one, of which all but the first
// have no ports.
type ReassemblyError struct{ File, Line string }

// Error says which line is missing.
func (e *ReassemblyError) Error() string {
	return fmt.Sprintf("pf does not put fragments together before it judges them: add `%s` to %s, before its rules, and load it by `pfctl -f %[2]s`", e.Line, e.File)
}

// Ready says whether pf asks the anchor, in an error if not, and what of the main
// rules may decide before it.
func (c *Conn) Ready(ctx context.Context) (notes []string, err error) {
	status, err := c.run(ctx, "", "-s", "info")
	if err != nil {
		return nil, err
	}
	if !strings.Contains(status, "Status: Enabled") {
		return nil, ErrDisabled
	}
	rules, err := c.Main(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(rules.Lines, isOwn)
	if i < 0 {
		return nil, &AnchorError{c.mainFile}
	}
	if err := c.reassembles(rules); err != nil {
		return nil, err
	}
	notes = append(c.before(rules.Lines[:i]), conditions(rules.Lines[i].(*read.Anchor))...)
	skipped, err := c.skipped(ctx)
	return append(notes, skipped...), err
}

// Main reads the main rules, with those of anchors where they are asked.
func (c *Conn) Main(ctx context.Context) (*read.Config, error) {
	text, err := c.run(ctx, "", append([]string{"-a", "*"}, c.list()...)...)
	if err != nil { // an older pfctl does not look into anchors
		if text, err = c.run(ctx, "", c.list()...); err != nil {
			return nil, err
		}
	}
	return read.Parse(text, c.grammar), nil
}

// isOwn reports whether a line of the main rules asks the anchor.
func isOwn(s read.Statement) bool {
	a, ok := s.(*read.Anchor)
	return ok && a.Keyword == "anchor" && a.Name == anchor
}

// mostNotes is how many rules before the anchor are shown.
const mostNotes = 5

// before names the rules in front of the anchor that end the evaluation. What stands
// behind it changes nothing: all that fwctl decides is quick.
func (c *Conn) before(lines []read.Statement) []string {
	var out []string
	n := 0
	c.quick(lines, func(r *read.Rule) {
		if n++; n > mostNotes {
			return
		}
		text := strings.TrimSpace((&read.Config{Dialect: c.grammar, Lines: []read.Statement{r}}).Print())
		does := "lets packets pass that the policy may refuse"
		if r.Action == read.Block {
			does = "refuses packets that the policy may accept"
		}
		out = append(out, fmt.Sprintf("`%s` stands before the anchor %s and is quick: it %s", text, anchor, does))
	})
	if n > mostNotes {
		out = append(out, fmt.Sprintf("and %d more quick rules stand before the anchor %s", n-mostNotes, anchor))
	}
	return out
}

// quick calls a function with each rule that ends the evaluation, those for loopback
// alone left out.
func (c *Conn) quick(lines []read.Statement, f func(*read.Rule)) {
	for _, l := range lines {
		switch l := l.(type) {
		case *read.Anchor:
			c.quick(l.Body, f)
		case *read.Rule:
			if l.Quick && l.Action != read.Matches && !loopbackAlone(l.On) {
				f(l)
			}
		}
	}
}

func loopbackAlone(on []read.Iface) bool {
	return len(on) > 0 && !slices.ContainsFunc(on, func(i read.Iface) bool { return i.Not || !loopback(i.Name) })
}

func loopback(name string) bool {
	rest, ok := strings.CutPrefix(name, "lo")
	return ok && strings.Trim(rest, "0123456789") == ""
}

// conditions says which packets alone the anchor is asked about.
func conditions(a *read.Anchor) []string {
	bare := read.Anchor{Line: a.Line, Keyword: a.Keyword, Name: a.Name}
	line := func(a read.Anchor) string {
		a.Inline, a.Body = false, nil
		return strings.TrimSpace((&read.Config{Lines: []read.Statement{&a}}).Print())
	}
	if line(*a) == line(bare) {
		return nil
	}
	return []string{fmt.Sprintf("the rules of pf ask the anchor by `%s`: about other packets fwctl decides nothing", line(*a))}
}

// reassembles returns an error unless fragments are put together. OpenBSD always does;
// elsewhere a scrub rule is listed, and `set reassemble` is looked for in the file,
// since pfctl does not list options.
func (c *Conn) reassembles(rules *read.Config) error {
	if c.Dialect == render.OpenBSD || slices.ContainsFunc(rules.Lines, scrubs) {
		return nil
	}
	if text, err := os.ReadFile(c.mainFile); err == nil {
		if lines := read.Parse(string(text), c.grammar).Lines; slices.ContainsFunc(lines, scrubs) {
			return nil
		}
	}
	line := "scrub in all"
	if c.Dialect == render.FreeBSD {
		line = "set reassemble yes"
	}
	return &ReassemblyError{c.mainFile, line}
}

func scrubs(s read.Statement) bool {
	switch s := s.(type) {
	case *read.Scrub:
		return !s.No && s.Dir != read.Out && len(s.On) == 0
	case *read.Option:
		return len(s.Words) > 1 && s.Words[0] == "reassemble" && s.Words[1] == "yes"
	}
	return false
}

// skipped names the interfaces that pf leaves alone, loopback left out.
func (c *Conn) skipped(ctx context.Context) ([]string, error) {
	text, err := c.run(ctx, "", "-v", "-s", "Interfaces")
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(text) {
		if name, ok := strings.CutSuffix(strings.TrimRight(line, " \n"), " (skip)"); ok && !loopback(name) {
			out = append(out, fmt.Sprintf("pf skips %s (set skip): fwctl decides nothing about packets there", name))
		}
	}
	return out, nil
}
