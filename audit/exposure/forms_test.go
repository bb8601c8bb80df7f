package exposure

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/audit/form"
	"github.com/fwctl/fwctl/internal/forms"
	"github.com/fwctl/fwctl/internal/gen"
)

// odd are texts as names, reasons and paths may be.
var odd = append([]string{
	"", "a|b | c=1", "it's \"quoted\"", "two\nlines\r\n", `back\slash`, "プロセス", "100 %", "a b#c?d", "50%25", "caf\u00e9", "\u2028", "{label=\"x\"}",
}, hostile...)

// drawnReport is a report of odd texts.
func drawnReport(r *rand.Rand) *Report {
	text := func() string { return odd[r.IntN(len(odd))] }
	out := &Report{Notes: []string{}, Findings: []Finding{}, held: r.IntN(2) == 0}
	for i := range r.IntN(4) {
		d := doorOf(uint16(1+i), text(), from(false, ""))
		d.Services = []string{"service." + text()}
		if r.IntN(2) == 0 {
			d.Expires = now
			out.Doors = append(out.Doors, d) // by another address
		}
		out.Doors = append(out.Doors, d)
	}
	for range r.IntN(6) {
		f := out.add(Codes[r.IntN(len(Codes))].Code, nil, text()+" "+text(), text())
		f.Packet, f.Section = text(), text()
		if f.At = []string{"", text(), text() + ":3:7", "/etc/" + text() + "/p.toml:12:1"}[r.IntN(4)]; r.IntN(3) == 0 {
			f.Accepted = "because " + text()
		}
		if len(out.Doors) > 0 && r.IntN(2) == 0 {
			f.Door = out.Doors[0].Name()
		}
	}
	for range r.IntN(3) {
		out.Notes = append(out.Notes, text())
	}
	out.finish()
	return out
}

// What other programs read is as they want it, whatever names there are.
func TestForms(t *testing.T) {
	schema := forms.NewSARIF(t)
	r := rand.New(rand.NewPCG(gen.Seed(t), 81))
	states := []string{form.OK: "OK", form.Warning: "WARNING", form.Critical: "CRITICAL", form.Unknown: "UNKNOWN"}
	written := func(write func(b *bytes.Buffer) error) string {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for i := range gen.Dose(t, "FWCTL_FORMS", 200) {
		report, policy, digest := drawnReport(r), odd[r.IntN(len(odd))], odd[r.IntN(len(odd))]
		wrong := forms.Nagios(written(func(b *bytes.Buffer) error { return report.Nagios(b, time.Second/3) }), states[report.NagiosState()])
		wrong = append(wrong, forms.Prometheus(written(func(b *bytes.Buffer) error { return report.Prometheus(b, "0.1", policy, digest, now, time.Second) }))...)
		wrong = append(wrong, schema.Wrong([]byte(written(func(b *bytes.Buffer) error { return report.SARIF(b, "0.1", policy, "/etc") })))...)
		cause := errors.New("no: " + odd[r.IntN(len(odd))] + strings.Repeat(" x", r.IntN(60)))
		wrong = append(wrong, forms.Nagios(written(func(b *bytes.Buffer) error { return form.NagiosFailure(b, "AUDIT", cause) }), "UNKNOWN")...)
		if len(wrong) > 0 {
			t.Fatalf("report %d: %s", i, strings.Join(wrong, "\n"))
		}
	}
}

// A run that fails says so in metrics, too.
func TestFormsOfFailure(t *testing.T) {
	var b bytes.Buffer
	if err := form.Prometheus(&b, form.Checked("fwctl_audit", now, false)); err != nil {
		t.Fatal(err)
	}
	if wrong := forms.Prometheus(b.String()); len(wrong) > 0 || !strings.Contains(b.String(), "_last_check_success 0\n") {
		t.Errorf("%q\n%s", wrong, b.String())
	}
}
