package exposure

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/fwctl/fwctl/audit/form"
)

// NagiosState is the report as a plugin's exit status.
func (r *Report) NagiosState() int {
	n := r.counts()
	switch {
	case n[Critical] > 0:
		return form.Critical
	case n[Warning] > 0:
		return form.Warning
	case r.Verdict == CannotTell:
		return form.Unknown
	}
	return form.OK
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
	if !r.held {
		text = fmt.Sprintf("%d ports are reached, and there is no policy to hold them against", open)
	}
	if r.Verdict == CannotTell {
		text = "cannot tell: " + r.Notes[0]
	}
	if n[Critical]+n[Warning] > 0 {
		text = fmt.Sprintf("%d critical, %d warnings: %s %s", n[Critical], n[Warning], r.Findings[0].Code, r.Findings[0].Summary)
	}
	return form.Nagios(w, "AUDIT", r.NagiosState(), text, []form.Count{
		{Name: "critical", Value: n[Critical], State: form.Critical}, {Name: "warnings", Value: n[Warning], State: form.Warning},
		{Name: "reached", Value: open}, {Name: "doors", Value: len(r.Doors)},
	}, took)
}

// Prometheus writes the report in the text format that node_exporter's textfile
// collector reads, without times of samples.
func (r *Report) Prometheus(w io.Writer, version, policy, digest string, at time.Time, took time.Duration) error {
	n, open, unnamed := r.counts(), 0, 0
	for i := range r.Doors {
		d := &r.Doors[i]
		open += b2i(len(d.From) > 0)
		unnamed += b2i(len(d.From) > 0 && len(d.Services) == 0)
	}
	findings := form.Metric{Name: "fwctl_audit_findings", Help: "Findings of the audit that the policy does not accept, by severity."}
	for s := Critical; s <= Note; s++ {
		findings.Samples = append(findings.Samples, form.Sample{Labels: form.Label("severity", s.String()), Value: float64(n[s])})
	}
	ms := []form.Metric{
		form.One("fwctl_audit_build_info", "The program that checked.", form.Label("version", version), 1),
		form.One("fwctl_audit_policy_info", "The policy that was checked.", form.Label("sha256", digest)+","+form.Label("name", policy), 1),
		findings,
		form.One("fwctl_reached_ports", "Ports of this host that somebody outside reaches.", "", float64(open)),
		form.One("fwctl_unexpected_listeners", "Ports that somebody outside reaches and no service of the policy names.", "", float64(unnamed)),
		form.One("fwctl_audit_cannot_tell", "1 if nothing was found, but not all could be told.", "", form.Truth(r.Verdict == CannotTell)),
		form.One("fwctl_audit_last_check_duration_seconds", "How long the last check took.", "", took.Seconds()),
	}
	if ends := r.certificates(); len(ends.Samples) > 0 {
		ms = append(ms, ends)
	}
	return form.Prometheus(w, append(ms, form.Checked("fwctl_audit", at, true)...))
}

// certificates are the ends of those that were shown, by port; of several at one port the
// first end.
func (r *Report) certificates() form.Metric {
	m := form.Metric{Name: "fwctl_certificate_expiry_timestamp_seconds", Help: "When the certificate expires that is shown at a port for which TLS is expected."}
	for i := range r.Doors {
		d := &r.Doors[i]
		if d.Expires.IsZero() {
			continue
		}
		label, end := form.Label("port", d.Name()), float64(d.Expires.Unix())
		if n := len(m.Samples); n > 0 && m.Samples[n-1].Labels == label { // doors stand by port
			m.Samples[n-1].Value = min(m.Samples[n-1].Value, end)
			continue
		}
		m.Samples = append(m.Samples, form.Sample{Labels: label, Value: end})
	}
	return m
}

var levels = map[Severity]string{Critical: "error", Warning: "warning", Note: "note"}

// SARIF writes the findings that the policy does not accept, with the places of the
// policy that they concern. Paths are relative to dir where they lie below it.
func (r *Report) SARIF(w io.Writer, version, policy, dir string) error {
	var kinds []form.Kind
	for _, c := range Codes {
		kinds = append(kinds, form.Kind{ID: c.Code, Meaning: c.Meaning})
	}
	var results []form.Result
	for _, f := range r.Findings {
		if f.Accepted != "" {
			continue
		}
		message := f.Summary
		if f.Packet != "" {
			message += " (for example " + f.Packet + ")"
		}
		results = append(results, form.Result{Kind: f.Code, Level: levels[f.Severity], Message: message, At: f.At, Logical: cmp.Or(f.Door, f.About), Same: f.Code + f.Door + f.Section + f.About})
	}
	return form.SARIF(w, version, policy, dir, kinds, results)
}
