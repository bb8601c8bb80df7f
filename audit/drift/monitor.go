package drift

import (
	"fmt"
	"io"

	"strings"
	"time"

	"github.com/fwctl/fwctl/audit/form"
)

// Subject is what a report is about, for formats that say so.
type Subject struct {
	Policy  string // path of the main file
	Digest  string
	Backend string
	Version string    // of fwctl
	Applied time.Time // when the policy was confirmed; zero if it was not
	Checked time.Time
	Took    time.Duration
}

// NagiosState is the report as a plugin's exit status.
func (r *Report) NagiosState() int {
	n := r.Counts()
	switch {
	case n[Opened]+n[Tampered] > 0:
		return form.Critical
	case r.Verdict == Drift:
		return form.Warning
	case r.Verdict == CannotTell:
		return form.Unknown
	}
	return form.OK
}

// Nagios writes the one line of a Nagios plugin, with performance data.
func (r *Report) Nagios(w io.Writer, s Subject) error {
	text := r.Verdict.String()
	if len(r.Findings) > 0 {
		text = fmt.Sprintf("%s: %s", r.tally(), r.Findings[0].Summary)
	}
	n := r.Counts()
	var counts []form.Count
	for _, k := range Kinds() {
		counts = append(counts, form.Count{Name: k.String(), Value: n[k], State: alarms[k]})
	}
	return form.Nagios(w, "DRIFT", r.NagiosState(), text, counts, s.Took)
}

// alarms are the states that findings of a kind make.
var alarms = map[Kind]int{Opened: form.Critical, Tampered: form.Critical, Closed: form.Warning, Manager: form.Warning, Answer: form.Warning}

// NagiosFailure writes the line of a plugin that could not find out.
func NagiosFailure(w io.Writer, cause error) error { return form.NagiosFailure(w, "DRIFT", cause) }

// tally writes "1 opened, 2 closed".
func (r *Report) tally() string {
	n := r.Counts()
	var parts []string
	for _, k := range Kinds() {
		if n[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k], k))
		}
	}
	return strings.Join(parts, ", ")
}

// Prometheus writes the report in the text format that node_exporter's textfile
// collector reads, without times of samples.
func (r *Report) Prometheus(w io.Writer, s Subject) error {
	n := r.Counts()
	findings := form.Metric{Name: "fwctl_drift_findings", Help: "Ways in which this host differs from the policy, by kind."}
	for _, k := range Kinds() {
		findings.Samples = append(findings.Samples, form.Sample{Labels: form.Label("kind", k.String()), Value: float64(n[k])})
	}
	ms := []form.Metric{
		form.One("fwctl_build_info", "The program that checked.", form.Label("version", s.Version)+","+form.Label("backend", s.Backend), 1),
		form.One("fwctl_policy_info", "The policy that was checked.", form.Label("sha256", s.Digest)+","+form.Label("name", s.Policy), 1),
		form.One("fwctl_in_sync", "1 if it was proved that this host does what the policy says.", "", form.Truth(r.Verdict == InSync)),
		form.One("fwctl_cannot_tell", "1 if no difference was found, but that there is none was not proved either.", "", form.Truth(r.Verdict == CannotTell)),
		findings,
		form.One("fwctl_last_check_duration_seconds", "How long the last check took.", "", s.Took.Seconds()),
	}
	if !s.Applied.IsZero() {
		ms = append(ms, form.One("fwctl_last_apply_timestamp_seconds", "When the policy was confirmed.", "", float64(s.Applied.Unix())))
	}
	return form.Prometheus(w, append(ms, form.Checked("fwctl", s.Checked, true)...))
}

// PrometheusFailure writes that a check could not find out.
func PrometheusFailure(w io.Writer, at time.Time) error {
	return form.Prometheus(w, form.Checked("fwctl", at, false))
}
