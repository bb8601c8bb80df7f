package rules

import (
	"cmp"
	"slices"
	"time"
)

// Ending is a rule that holds for a time only.
type Ending struct {
	Rule  string    `json:"rule"`
	At    string    `json:"at"`    // its line
	Until time.Time `json:"until"` // the first instant at which it no longer holds
}

// Endings returns the rules that hold for a time only, those that end first before
// the others.
func (rs *Ruleset) Endings() []Ending {
	out := []Ending{}
	for _, r := range slices.Concat(rs.Services, rs.Blocks, rs.OutboundBlocks, rs.Outbounds, rs.Routes) {
		if !r.Expires.IsZero() {
			out = append(out, Ending{r.ID(), r.Pos.String(), r.Expires})
		}
	}
	slices.SortFunc(out, func(a, b Ending) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Rule, b.Rule)) })
	return out
}

// Temporary returns those of the Endings that still hold.
func (rs *Ruleset) Temporary(now time.Time) []Ending {
	return slices.DeleteFunc(rs.Endings(), func(e Ending) bool { return !now.Before(e.Until) })
}
