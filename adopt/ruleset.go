package adopt

import (
	"github.com/fwctl/fwctl/packet"
)

// Ruleset is what is to be imported: what its rules do at the input hook.
type Ruleset struct {
	Name string // what a person calls it: "iptables:rules.v4"
	// The filters of the families that it speaks of; nil: it says nothing of that one.
	V4, V6 *packet.Filter
	Left   []Left   // what the reader of the format could not read: nothing is proved without it
	Beside []string // what acts on packets beside the rules
	Notes  []string // what a reader of the policy has to know of the format
	// Part says that the rules are a part of what their program loads: what that
	// accepts on its own, loopback and the like, is not in them.
	Part bool
	// Over returns the packets of a family that can be held against a policy; nil:
	// all that begin a flow.
	Over func(is6 bool) packet.Cond
}

// over is Over where it is nil, too.
func (rs *Ruleset) over(is6 bool) packet.Cond {
	if rs.Over == nil {
		return packet.All{}
	}
	return rs.Over(is6)
}

// filter returns the filter of a family.
func (rs *Ruleset) filter(is6 bool) *packet.Filter {
	if is6 {
		return rs.V6
	}
	return rs.V4
}

// Left is a rule that was not translated, or not as a whole.
type Left struct {
	Line    int    `json:"line,omitempty"` // of the text, from 1; 0 if it is not known
	Rule    string `json:"rule"`
	Reason  string `json:"reason"`
	Packets string `json:"packets,omitempty"` // which packets the policy decides otherwise
	Packet  string `json:"packet,omitempty"`  // one of them
	place   packet.Place
	also    []packet.Place // others that the same line stands for
}

// left makes one for a rule of a filter.
func left(p packet.Place, reason string) Left {
	return Left{Line: p.Line, Rule: ruleText(p), Reason: reason, place: p}
}

// ruleText names a rule as its file has it.
func ruleText(p packet.Place) string {
	if p.Text != "" {
		return printable(p.Text)
	}
	return "the policy of chain " + p.Chain
}
