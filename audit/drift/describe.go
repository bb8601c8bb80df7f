package drift

import (
	"fmt"
	"slices"
	"strings"

	livepf "github.com/fwctl/fwctl/live/pf"
	"github.com/fwctl/fwctl/packet"
)

// Of the packets of a finding, at most so many groups are listed, and so many
// sections of the policy that speak of them.
const (
	mostGroups   = 8
	mostSections = 6
)

// others stands for more of a list.
const others = "and others"

// counted are the fields by which packets are told apart when they are counted.
var counted = []packet.Field{packet.FieldProto, packet.FieldType, packet.FieldDstPort, packet.FieldSrcPort, packet.FieldDst, packet.FieldSrc}

// describe makes a finding of a set of packets.
func (c *comparison) describe(set packet.Node, w witnessed, f finding) (Finding, error) {
	out := Finding{Kind: f.kind, Hook: c.hook.String(), Examples: []Example{c.example(w, f.state)}}
	if f.kind == Unknown {
		out.Would = f.would.String()
	}
	ever, err := c.space.Ever(set)
	if err != nil {
		return out, err
	}
	if out.Count, err = c.space.Count(ever, counted...); err != nil {
		return out, err
	}
	if out.Packets, out.More, err = c.groups(ever); err != nil {
		return out, err
	}
	out.Sections, err = c.sections(set, w)
	return out, err
}

// groups puts a set into words. What every packet that was compared has, or all
// but those of the loopback interface, is not said again.
func (c *comparison) groups(set packet.Node) (texts []string, more bool, err error) {
	wide := set
	for _, f := range []packet.Field{packet.FieldIn, packet.FieldOut, packet.FieldDst} {
		if wide, err = c.widen(set, wide, f); err != nil {
			return nil, false, err
		}
	}
	gs, more, err := c.space.Groups(wide, mostGroups)
	if err != nil {
		return nil, false, err
	}
	all, err := c.destinations()
	if err != nil {
		return nil, false, err
	}
	outside, err := c.outside()
	for _, g := range gs {
		if slices.Equal(g.Dst, all) {
			g.Dst = nil
		}
		if slices.Equal(g.In, outside) {
			g.In = nil
		}
		texts = append(texts, g.String())
	}
	return texts, more, err
}

// destinations are those of all packets that were compared.
func (c *comparison) destinations() (packet.Ranges, error) {
	n, err := c.space.Only(c.over, packet.FieldDst)
	if err != nil {
		return nil, err
	}
	parts, _ := c.space.Split(n, packet.FieldDst, 1)
	if len(parts) == 0 {
		return nil, nil
	}
	return parts[0].Values, nil
}

// widen drops a field from what already stands for the set, if the packets that
// were compared make the set of it again.
func (c *comparison) widen(set, wide packet.Node, f packet.Field) (packet.Node, error) {
	wider, err := c.space.Only(wide, packet.FieldsBut(f)...)
	if err != nil {
		return 0, err
	}
	for _, also := range []packet.Cond{packet.All{}, packet.Not{Cond: packet.Iface{Pattern: "lo"}}, packet.Not{Cond: packet.Iface{Pattern: "lo", Out: true}}} {
		over, err := c.space.Set(also)
		if err != nil {
			return 0, err
		}
		if over, err = c.space.And(over, c.over); err != nil {
			return 0, err
		}
		back, err := c.space.And(over, wider)
		if err != nil || back == set {
			return wider, err
		}
	}
	return wide, nil
}

// outside are the names of all interfaces but the loopback one.
func (c *comparison) outside() ([]string, error) {
	n, err := c.space.Set(packet.Not{Cond: packet.Iface{Pattern: "lo"}})
	if err != nil {
		return nil, err
	}
	if n, err = c.space.And(n, c.over); err != nil {
		return nil, err
	}
	gs, _, err := c.space.Groups(n, 1)
	if err != nil || len(gs) == 0 {
		return nil, err
	}
	return gs[0].In, nil
}

func (c *comparison) example(w witnessed, state string) Example {
	p := w.Packet
	p.Hook = c.hook
	if c.hook == packet.Input {
		p.Out = "" // by which it would leave if it were not for the host
	}
	out := Example{Packet: p.String(), Family: family(c.is6), State: state, Of: p, Host: hostSide(w), Policy: policySide(w.policy)}
	out.If = append(w.with, conditions(w.Unknowns)...)
	return out
}

// hostSide names the rule that is to blame, and what becomes of the packet.
func hostSide(w witnessed) Side {
	s := SideOf(w.host)
	s.Verdict = w.outcome.String()
	return s
}

func policySide(d packet.Decided) Side {
	s := SideOf(d)
	s.Source, s.Chain = "policy", ""
	return s
}

// SideOf says what decided, in words.
func SideOf(d packet.Decided) Side {
	s := Side{Verdict: d.Outcome.String(), Source: d.By.Source, Table: d.By.Table, Chain: d.By.Chain,
		Handle: d.By.Handle, Number: d.By.Number, Rule: d.By.Text, Name: d.By.Name, At: d.By.At}
	switch {
	case d.Policy && d.By == (packet.Place{}):
		s.Rule = "no chain at this hook"
	case d.Policy:
		s.Rule = "policy " + d.Outcome.String()
	}
	return s
}

// String names the rule: "inet fwctl input, handle 12: tcp dport 22 accept".
func (s Side) String() string {
	where := strings.TrimSpace(s.Table + " " + s.Chain)
	if strings.HasPrefix(s.Source, "ip") && s.Table != "" {
		where = s.Source + " " + where
	}
	if s.Table == "" { // the end of a base chain, whose name has it all
		where = s.Chain
	}
	parts := []string{}
	if where != "" {
		parts = append(parts, where)
	}
	switch {
	case s.Handle != 0:
		parts = append(parts, fmt.Sprintf("handle %d", s.Handle))
	case s.Number != 0:
		parts = append(parts, fmt.Sprintf("rule %d", s.Number))
	}
	text := strings.Join(parts, ", ")
	for _, more := range []struct{ separator, text string }{{": ", s.Rule}, {", ", s.nameUnlessSaid()}, {", ", s.At}} {
		if more.text != "" {
			if text != "" {
				text += more.separator
			}
			text += more.text
		}
	}
	return text
}

// nameUnlessSaid is the comment, if the text of the rule does not have it.
func (s Side) nameUnlessSaid() string {
	if strings.Contains(s.Rule, s.Name) {
		return ""
	}
	return s.Name
}

// sections lists which parts of the policy decide on the packets of a set.
func (c *comparison) sections(set packet.Node, w witnessed) ([]string, error) {
	var names []string
	set, err := c.space.And(set, c.clock)
	if err != nil {
		return nil, err
	}
	for {
		if name := w.policy.By.Name; !slices.Contains(names, name) {
			names = append(names, name)
		}
		mine, err := c.decidedBy(c.policy, w.policy, set)
		if err != nil {
			return nil, err
		}
		if set, err = c.space.Minus(set, mine); err != nil || set == packet.False {
			return names, err
		}
		if len(names) == mostSections {
			return append(names, others), nil
		}
		found, err := c.space.Witness(set)
		if err != nil {
			return nil, err
		}
		f := *found.Facts
		w.policy = c.policy.Decide(&f)
	}
}

// ownTable is the one table of nf_tables that is fwctl's.
const ownTable = "inet fwctl"

// ownAnchor is the one anchor of pf that is.
const ownAnchor = "anchor " + livepf.Own

// isOwn reports whether a base chain's decision is that of fwctl's own rules.
func isOwn(d packet.Decided) bool {
	return d.By.Table == ownTable || strings.HasPrefix(d.By.Chain, ownTable+" ") || d.By.Source == "pf" && d.By.Chain == ownAnchor
}
