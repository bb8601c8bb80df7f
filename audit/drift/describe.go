package drift

import (
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Of the packets of a finding, at most so many groups are listed, and so many
// sections of the policy that speak of them.
const (
	mostGroups   = 8
	mostSections = 6
)

// counted are the fields by which packets are told apart when they are counted.
var counted = []packet.Field{packet.FieldProto, packet.FieldType, packet.FieldDstPort, packet.FieldSrcPort, packet.FieldDst, packet.FieldSrc}

// describe makes a finding of a set of packets.
func (c *comparison) describe(set packet.Node, w witnessed, f finding) (Finding, error) {
	out := Finding{Kind: f.kind, Hook: c.hook.String(), Family: family(c.is6), State: f.state}
	if f.kind == Unknown {
		out.Would = f.would.String()
	}
	groups, more, err := c.space.Groups(set, mostGroups)
	if err != nil {
		return out, err
	}
	for _, g := range groups {
		out.Packets = append(out.Packets, g.String())
	}
	out.More = more
	out.Summary = strings.Join(out.Packets[:min(len(out.Packets), 2)], "; ")
	if more || len(out.Packets) > 2 {
		out.Summary += "; and more"
	}
	ever, err := c.space.Ever(set)
	if err != nil {
		return out, err
	}
	if out.Count, err = c.space.Count(ever, counted...); err != nil {
		return out, err
	}
	out.Witness = c.shown(w)
	out.Host = hostSide(w)
	out.Policy = policySide(w.policy)
	out.Sections, err = c.sections(set, w)
	return out, err
}

func (c *comparison) shown(w witnessed) *Witness {
	p := w.Packet
	p.Hook = c.hook
	out := &Witness{Packet: p.String(), Of: p}
	for _, u := range w.Unknowns {
		text := u.Key
		if !u.Holds {
			text = "not " + text
		}
		if u.Unsupported {
			text += " (not understood)"
		}
		out.If = append(out.If, text)
	}
	return out
}

// hostSide names the rule that is to blame, and what becomes of the packet.
func hostSide(w witnessed) *Side {
	s := sideOf(w.host)
	s.Verdict = w.outcome.String()
	switch {
	case w.host.Policy && w.host.By == (packet.Place{}):
		s.Rule = "no chain at this hook"
	case w.host.Policy:
		s.Rule = "policy " + w.host.Outcome.String()
	}
	return s
}

func policySide(d packet.Decided) *Side {
	s := sideOf(d)
	s.Source, s.Chain = "policy", ""
	return s
}

func sideOf(d packet.Decided) *Side {
	return &Side{Verdict: d.Outcome.String(), Source: d.By.Source, Table: d.By.Table, Chain: d.By.Chain,
		Handle: d.By.Handle, Rule: d.By.Text, Name: d.By.Name, At: d.By.At}
}

// sections lists which parts of the policy decide on the packets of a set.
func (c *comparison) sections(set packet.Node, w witnessed) ([]string, error) {
	var names []string
	for {
		names = append(names, w.policy.By.Name)
		mine, err := c.decidedBy(c.policy, c.p, w.policy, set)
		if err != nil {
			return nil, err
		}
		if set, err = c.space.Minus(set, mine); err != nil || set == packet.False {
			return names, err
		}
		if len(names) == mostSections {
			return append(names, "…"), nil
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

// isOwn reports whether a base chain's decision is that of fwctl's own rules.
func isOwn(d packet.Decided) bool {
	return d.By.Table == ownTable || strings.HasPrefix(d.By.Chain, ownTable+" ")
}
