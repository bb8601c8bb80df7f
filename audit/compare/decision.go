package compare

import (
	"fmt"

	"github.com/fwctl/fwctl/packet"
)

// Decision is what becomes of a packet, and by which rule.
type Decision struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`         // the rule, or what else decided
	At      string `json:"at,omitempty"` // the line of a file
}

// String writes "accept by service.ssh, site.toml:12:1".
func (d Decision) String() string {
	s := d.Verdict + " by " + d.Rule
	if d.At != "" {
		s += ", " + d.At
	}
	return s
}

// decision puts what a filter did into words.
func decision(d packet.Decided) Decision {
	out := Decision{Verdict: d.Outcome.String(), Rule: placeText(d.By), At: d.By.At}
	switch {
	case d.Policy && d.By.Chain == "":
		out.Rule = "no rule: nothing filters here"
	case d.Policy:
		out.Rule = "the policy of chain " + d.By.Chain
	}
	return out
}

// placeText names a rule the way that its own language finds it.
func placeText(p packet.Place) string {
	if p.Source == "policy" {
		return p.Name
	}
	s := "chain " + p.Chain
	if p.Source == "pf" {
		s = p.Chain
	}
	if p.Table != "" {
		s = "table " + p.Table + ", " + s
	}
	switch {
	case p.Handle != 0:
		s += fmt.Sprintf(", handle %d", p.Handle)
	case p.Number != 0:
		s += fmt.Sprintf(", rule %d", p.Number)
	case p.Source == "pf" && p.Line != 0:
		s += fmt.Sprintf(", line %d", p.Line)
	}
	if p.Name != "" {
		s += fmt.Sprintf(", %q", p.Name)
	}
	if p.Text != "" {
		s += ": " + p.Text
	}
	return s
}
