package exposure

import (
	"fmt"
	"io"
	"time"

	"github.com/fwctl/fwctl/audit/plugin"
)

// NagiosState is the report as a plugin's exit status.
func (r *Report) NagiosState() int {
	n := r.counts()
	switch {
	case n[Critical] > 0:
		return plugin.Critical
	case n[Warning] > 0:
		return plugin.Warning
	case r.Verdict == CannotTell:
		return plugin.Unknown
	}
	return plugin.OK
}

// counts are the findings that count, by severity.
func (r *Report) counts() (n [Note + 1]int) {
	for i := range r.Findings {
		if r.Findings[i].Accepted == "" {
			n[r.Findings[i].Severity]++
		}
	}
	return n
}

// Nagios writes the one line of a Nagios plugin, with performance data.
func (r *Report) Nagios(w io.Writer, took time.Duration) error {
	n, open := r.counts(), 0
	for i := range r.Doors {
		open += b2i(len(r.Doors[i].From) > 0)
	}
	text := fmt.Sprintf("%d ports are reached, all as the policy says", open)
	if r.Verdict == CannotTell {
		text = "cannot tell: " + r.Notes[0]
	}
	if n[Critical]+n[Warning] > 0 {
		text = fmt.Sprintf("%d critical, %d warnings: %s %s", n[Critical], n[Warning], r.Findings[0].Code, r.Findings[0].Summary)
	}
	return plugin.Write(w, "AUDIT", r.NagiosState(), text, []plugin.Count{
		{Name: "critical", Value: n[Critical], State: plugin.Critical}, {Name: "warnings", Value: n[Warning], State: plugin.Warning},
		{Name: "reached", Value: open}, {Name: "doors", Value: len(r.Doors)},
	}, took)
}
