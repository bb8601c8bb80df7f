package exposure

import "github.com/fwctl/fwctl/audit/drift"

// comparedPage is a drift as the page shows it.
type comparedPage struct {
	Mark, Words string
	Scope       string // what was compared
	Findings    []comparedFinding
}

type comparedFinding struct {
	Severity Severity
	Kind     drift.Kind
	Summary  string
	Packets  []string
	More     bool
	Details  []string
	Example  *drift.Example // nil: it is not about packets
	Then     string         // what it is, if that is so on which it depends
}

// mostPackets are the groups of packets that a finding shows.
const mostPackets = 8

// compared is the page's part on the drift.
func compared(r *drift.Report) *comparedPage {
	p := &comparedPage{Scope: r.Scope()}
	switch r.Verdict {
	case drift.InSync:
		p.Mark, p.Words = "✓", "In sync: it is proved that the host does what the policy says."
	case drift.Drift:
		p.Mark, p.Words = "✗", "Drift: the host does not do what the policy says."
	default:
		p.Mark, p.Words = "?", "Cannot tell: no difference was found, and none was ruled out either."
	}
	for _, f := range r.Findings {
		c := comparedFinding{
			Severity: gravity[f.Kind], Kind: f.Kind, Summary: f.Summary, Details: f.Details, Then: f.Would,
			Packets: f.Packets[:min(len(f.Packets), mostPackets)], More: f.More || len(f.Packets) > mostPackets,
		}
		if len(f.Packets) <= 2 && !f.More {
			c.Packets = nil // which the summary has
		}
		if len(f.Examples) > 0 {
			c.Example = &f.Examples[0]
		}
		p.Findings = append(p.Findings, c)
	}
	return p
}

// gravity of what drift finds, as monitoring takes it.
var gravity = map[drift.Kind]Severity{
	drift.Opened: Critical, drift.Tampered: Critical, drift.Closed: Warning, drift.Undecided: Warning,
	drift.Unknown: Warning, drift.Manager: Warning, drift.Answer: Note,
}
