package drift

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/audit/form"
	"github.com/fwctl/fwctl/internal/forms"
	"github.com/fwctl/fwctl/internal/gen"
)

// odd are texts as names, comments and paths may be.
var odd = []string{
	"", "a|b | c=1", "it's \"quoted\"", "two\nlines\r\n", `back\slash`, "プロセス", "100 %", "a b#c?d", "50%25", "\u2028", "{label=\"x\"}",
	"<script>", "b\x1b[2J\x00\xff", "a\u202eb", strings.Repeat("long-", 60),
}

// drawnReport is a report of odd texts.
func drawnReport(r *rand.Rand) *Report {
	text := func() string { return odd[r.IntN(len(odd))] }
	out := &Report{}
	for range r.IntN(6) {
		f := Finding{Kind: Kinds()[r.IntN(len(Kinds()))], Summary: text() + " " + text(), Details: []string{text()}, Hook: "input"}
		if r.IntN(2) == 0 {
			f.Packets = []string{text(), text(), text()}[:1+r.IntN(3)]
			f.Examples = []Example{{
				Packet: text(), Host: Side{Verdict: "accept", Table: "ip " + text(), Chain: text(), Rule: text(), Handle: uint64(r.IntN(2))},
				Policy: Side{Verdict: "drop", Name: text(), At: []string{"", text(), fmt.Sprintf("/etc/%s/p.toml:%d:1", text(), 1+r.IntN(9))}[r.IntN(3)]},
			}}
		}
		out.Findings = append(out.Findings, f)
	}
	out.sort()
	out.judge()
	return out
}

// What other programs read is as they want it, whatever names there are.
func TestForms(t *testing.T) {
	schema := forms.NewSARIF(t)
	r := rand.New(rand.NewPCG(gen.Seed(t), 82))
	states := []string{form.OK: "OK", form.Warning: "WARNING", form.Critical: "CRITICAL", form.Unknown: "UNKNOWN"}
	for i := range gen.Dose(t, "FWCTL_FORMS", 200) {
		report := drawnReport(r)
		text := func() string { return odd[r.IntN(len(odd))] }
		s := Subject{Policy: text(), Digest: text(), Backend: "nftables", Version: text(), Checked: time.Unix(1.8e9, 0), Took: time.Second / 7}
		if r.IntN(2) == 0 {
			s.Applied = time.Unix(1.7e9, 0)
		}
		var nagios, failure, metrics, failed, log bytes.Buffer
		if err := errors.Join(
			report.Nagios(&nagios, s), NagiosFailure(&failure, errors.New("no: "+text()+strings.Repeat(" x", r.IntN(60)))),
			report.Prometheus(&metrics, s), PrometheusFailure(&failed, s.Checked), report.SARIF(&log, s, "/etc"),
		); err != nil {
			t.Fatal(err)
		}
		wrong := forms.Nagios(nagios.String(), states[report.NagiosState()])
		wrong = append(wrong, forms.Nagios(failure.String(), "UNKNOWN")...)
		wrong = append(wrong, forms.Prometheus(metrics.String())...)
		wrong = append(wrong, forms.Prometheus(failed.String())...)
		wrong = append(wrong, schema.Wrong(log.Bytes())...)
		if len(wrong) > 0 {
			t.Fatalf("report %d: %s", i, strings.Join(wrong, "\n"))
		}
	}
}
