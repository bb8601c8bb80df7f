package drift

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/fwctl/fwctl/audit/plugin"
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
		return plugin.Critical
	case r.Verdict == Drift:
		return plugin.Warning
	case r.Verdict == CannotTell:
		return plugin.Unknown
	}
	return plugin.OK
}

// Nagios writes the one line of a Nagios plugin, with performance data.
func (r *Report) Nagios(w io.Writer, s Subject) error {
	text := r.Verdict.String()
	if len(r.Findings) > 0 {
		text = fmt.Sprintf("%s: %s", r.tally(), r.Findings[0].Summary)
	}
	n := r.Counts()
	var counts []plugin.Count
	for _, k := range Kinds() {
		counts = append(counts, plugin.Count{Name: k.String(), Value: n[k], State: alarms[k]})
	}
	return plugin.Write(w, "DRIFT", r.NagiosState(), text, counts, s.Took)
}

// alarms are the states that findings of a kind make.
var alarms = map[Kind]int{Opened: plugin.Critical, Tampered: plugin.Critical, Closed: plugin.Warning, Manager: plugin.Warning, Answer: plugin.Warning}

// NagiosFailure writes the line of a plugin that could not find out.
func NagiosFailure(w io.Writer, cause error) error { return plugin.Failure(w, "DRIFT", cause) }

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

// metric is one family of samples.
type metric struct {
	name, help string
	samples    []sample
}

type sample struct {
	labels string
	value  float64
}

// Prometheus writes the report in the text format that node_exporter's textfile
// collector reads, without times of samples.
func (r *Report) Prometheus(w io.Writer, s Subject) error {
	n := r.Counts()
	findings := metric{name: "fwctl_drift_findings", help: "Ways in which this host differs from the policy, by kind."}
	for _, k := range Kinds() {
		findings.samples = append(findings.samples, sample{label("kind", k.String()), float64(n[k])})
	}
	ms := []metric{
		one("fwctl_build_info", "The program that checked.", label("version", s.Version)+","+label("backend", s.Backend), 1),
		one("fwctl_policy_info", "The policy that was checked.", label("sha256", s.Digest)+","+label("name", s.Policy), 1),
		one("fwctl_in_sync", "1 if it was proved that this host does what the policy says.", "", truth(r.Verdict == InSync)),
		one("fwctl_cannot_tell", "1 if no difference was found, but that there is none was not proved either.", "", truth(r.Verdict == CannotTell)),
		findings,
		one("fwctl_last_check_duration_seconds", "How long the last check took.", "", s.Took.Seconds()),
	}
	if !s.Applied.IsZero() {
		ms = append(ms, one("fwctl_last_apply_timestamp_seconds", "When the policy was confirmed.", "", float64(s.Applied.Unix())))
	}
	return writeMetrics(w, append(ms, checked(s.Checked, true)...))
}

// PrometheusFailure writes that a check could not find out.
func PrometheusFailure(w io.Writer, at time.Time) error { return writeMetrics(w, checked(at, false)) }

func checked(at time.Time, success bool) []metric {
	return []metric{
		one("fwctl_last_check_timestamp_seconds", "When the host was last checked.", "", float64(at.Unix())),
		one("fwctl_last_check_success", "1 if the last check came to an answer.", "", truth(success)),
	}
}

func one(name, help, labels string, value float64) metric {
	return metric{name, help, []sample{{labels, value}}}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// label writes a label with its value, escaped as the format asks for.
func label(name, value string) string {
	return name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

func writeMetrics(w io.Writer, ms []metric) error {
	var b strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", m.name, m.help, m.name)
		for _, s := range m.samples {
			labels := s.labels
			if labels != "" {
				labels = "{" + labels + "}"
			}
			fmt.Fprintf(&b, "%s%s %s\n", m.name, labels, strconv.FormatFloat(s.value, 'g', 12, 64))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
