package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/adopt"
	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/audit/plan"
	"github.com/fwctl/fwctl/live"
	livepf "github.com/fwctl/fwctl/live/pf"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
	"github.com/fwctl/fwctl/rules"
)

// pfText is a pf.conf, or what pfctl -sr printed, and what it leaves to the host.
type pfText struct {
	file string
	*pf.Config
	opt    pf.Options
	loaded map[string]*pf.Config // anchors, by `load anchor`
}

// readPF reads a text of pf. With no dialect it is taken in the one that refuses the
// least of it, OpenBSD's first.
func (g *global) readPF(file, dialect, host string) (*pfText, error) {
	text, err := g.readRuleset(file)
	if err != nil {
		return nil, err
	}
	h, err := readHost(host)
	if err != nil {
		return nil, err
	}
	open := besides(file)
	t := &pfText{file: file, opt: pf.Options{Links: linksOf(h), Files: open}}
	if dialect != "" {
		d, ok := pf.ParseDialect(dialect)
		if !ok {
			return nil, oneOf("dialect", dialect, strings.Fields(pfDialects)...)
		}
		t.Config = pf.ParseFile(string(text), d, open)
	} else {
		t.Config = pf.Guess(string(text), open)
		g.ui.say("%s is read as pfctl of %s reads it; --dialect chooses another", file, t.Dialect)
	}
	t.load(open)
	if len(t.Lines) == len(t.unreadLines()) && len(t.Lines) > 0 {
		return nil, usage(t.where(t.Problems[0]), "it is read as pfctl of "+t.Dialect.String()+" reads it; --dialect chooses another")
	}
	return t, nil
}

// load reads the files that the text loads into anchors.
func (t *pfText) load(open func(string) ([]byte, error)) {
	t.loaded = map[string]*pf.Config{}
	for _, l := range t.Lines {
		if l, ok := l.(*pf.Load); ok {
			if text, err := open(l.File); err == nil {
				t.loaded[l.Anchor] = pf.ParseFile(string(text), t.Dialect, open)
			}
		}
	}
	t.opt.Anchors = func(name string) (*pf.Config, bool) { c, ok := t.loaded[name]; return c, ok }
}

// linksOf are the interfaces of a host's facts; nil if they are not known.
func linksOf(h *rules.Host) []packet.Link {
	if h == nil {
		return nil
	}
	links := make([]packet.Link, len(h.Interfaces))
	for i, n := range h.Interfaces {
		links[i] = packet.Link{Name: n.Name, Addrs: n.Addrs}
	}
	return links
}

// besides opens the files that a text names, of relative names those beside it.
func besides(file string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
		return os.ReadFile(name)
	}
}

func (t *pfText) where(p pf.Problem) string { return fmt.Sprintf("%s:%d: %s", t.file, p.Line, p.Text) }

// unreadLines are the statements that could not be read.
func (t *pfText) unreadLines() []*pf.Unread {
	var out []*pf.Unread
	for _, l := range t.Lines {
		if u, ok := l.(*pf.Unread); ok {
			out = append(out, u)
		}
	}
	return out
}

// included names the files that the text reads in its place and that are not read here,
// and what is wrong with those that it loads into anchors.
func (t *pfText) included() []pf.Problem {
	var out []pf.Problem
	for _, l := range t.Lines {
		if l, ok := l.(*pf.Load); ok && t.loaded[l.Anchor] != nil {
			for _, p := range t.loaded[l.Anchor].Problems {
				out = append(out, pf.Problem{Line: l.Line, Text: fmt.Sprintf("%s:%d: %s", l.File, p.Line, p.Text)})
			}
		}
	}
	for _, i := range t.Includes() {
		out = append(out, pf.Problem{Line: i.Line, Text: fmt.Sprintf("include %q: the file is not read", i.File)})
	}
	return out
}

// beside are the anchors whose rules the text does not have.
func (t *pfText) beside() []string {
	var out []string
	for _, a := range t.Anchors() {
		if t.loaded[a] == nil {
			out = append(out, "anchor "+a)
		}
	}
	return out
}

// lint warns of what pfctl takes and what does not do what it seems to.
func (g *global) pfLint(t *pfText) {
	for _, p := range t.Lint() {
		g.ui.warn("%s", t.where(p))
		g.ui.hint(p.Hint)
	}
}

// pfSide is a text of pf. It has no states but those it made itself, so packets that
// begin no flow and belong to none are left out, unless they are asked for.
func (g *global) pfSide(s *compare.Side, q *compare.Question, file string, f compareFlags) error {
	t, err := g.readPF(file, f.dialect, f.host)
	if err != nil {
		return err
	}
	t.opt.Silent = f.rejectIsDrop
	g.pfLint(t)
	s.Filter = func(hook packet.Hook, is6 bool) *packet.Filter { return pf.Filter(t.Config, hook, is6, t.opt) }
	s.Beside = t.beside()
	for _, p := range slices.Concat(t.Problems, t.included()) {
		s.Unread = append(s.Unread, t.where(p))
	}
	overPF(q)
	return nil
}

// overPF narrows a comparison to packets that pf can be asked about.
func overPF(q *compare.Question) {
	q.Over = pf.Comparable
	if q.Kinds == nil {
		q.Kinds = []compare.Kind{compare.First, compare.InFlow}
	}
}

// hostRules reads what decides on packets on this host: what the kernel has, or pf
// where that is the backend that was asked for.
func (g *global) hostRules(ctx context.Context) (*live.HostRules, error) {
	if g.backend == apply.PF {
		return live.PFRules(ctx)
	}
	return live.Rules(ctx)
}

// pfRuleset is a text of pf to import.
func (g *global) pfRuleset(file string, f importFlags) (*adopt.Ruleset, error) {
	t, err := g.readPF(file, f.dialect, f.host)
	if err != nil {
		return nil, err
	}
	t.opt.Silent = true // whether a refusal is answered is not compared
	rs := &adopt.Ruleset{
		Name: "pf:" + file, Beside: t.beside(),
		Over: func(is6 bool) packet.Cond { return pf.Comparable(packet.Input, is6) },
		V4:   pf.Filter(t.Config, packet.Input, false, t.opt), V6: pf.Filter(t.Config, packet.Input, true, t.opt),
	}
	for _, p := range slices.Concat(t.Problems, t.included()) {
		rs.Left = append(rs.Left, adopt.Left{Line: p.Line, Rule: t.line(p.Line), Reason: p.Text})
	}
	for _, p := range t.Lint() {
		rs.Notes = append(rs.Notes, t.where(p))
	}
	return rs, nil
}

// line is the statement on a line, as far as it was read.
func (t *pfText) line(n int) string {
	for _, u := range t.unreadLines() {
		if u.Line == n {
			return u.Text
		}
	}
	return fmt.Sprintf("line %d", n)
}

// planForPF is the plan where pf decides: the policy's rules stand in a list with those
// of others, and pf knows the connections.
func planForPF(ctx context.Context, q plan.Question) (*plan.Plan, error) {
	text, err := apply.ForPF(ctx, q.Policy)
	if err != nil {
		return nil, err
	}
	held := q.Host.PF
	q.After = func(is6 bool) []packet.Source { return []packet.Source{held.With(text, is6)} }
	c, err := livepf.Open(livepf.Options{})
	if err != nil {
		return nil, err
	}
	flows, err := c.States(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range flows {
		q.Connections = append(q.Connections, live.OfPF(f))
		if f.Proto == packet.TCP {
			local, remote := f.Ends()
			q.Sockets = append(q.Sockets, live.TCPConnection{Local: local, Remote: remote})
		}
	}
	return plan.Make(q)
}
