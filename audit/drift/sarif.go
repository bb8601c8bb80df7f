package drift

import (
	"fmt"
	"io"
	"strings"

	"github.com/fwctl/fwctl/audit/form"
)

// meanings are what the kinds of findings mean, in a sentence.
var meanings = map[Kind]string{
	Opened:    "The host accepts what the policy refuses.",
	Tampered:  "fwctl's own rules are not those that fwctl would put there.",
	Closed:    "The host refuses what the policy accepts.",
	Undecided: "The comparison was larger than its budget; nothing follows.",
	Unknown:   "Whether the host differs depends on something that is not understood.",
	Manager:   "Other software manages rules on the host.",
	Answer:    "Host and policy both refuse, but one of them answers and the other does not.",
}

var sarifLevels = map[Kind]string{
	Opened: "error", Tampered: "error", Closed: "warning", Undecided: "warning", Unknown: "warning", Manager: "warning", Answer: "note",
}

// SARIF writes the report with the places of the policy that it concerns. Paths
// are relative to dir where they lie below it.
func (r *Report) SARIF(w io.Writer, s Subject, dir string) error {
	var kinds []form.Kind
	for _, k := range Kinds() {
		kinds = append(kinds, form.Kind{ID: "fwctl." + k.String(), Meaning: meanings[k]})
	}
	var results []form.Result
	for _, f := range r.Findings {
		results = append(results, f.sarif())
	}
	return form.SARIF(w, s.Version, s.Policy, dir, kinds, results)
}

func (f *Finding) sarif() form.Result {
	out := form.Result{Kind: "fwctl." + f.Kind.String(), Level: sarifLevels[f.Kind], Message: f.Summary}
	var rule string
	if len(f.Examples) > 0 {
		x := f.Examples[0]
		out.Message = fmt.Sprintf("%s (%s by %s; for example %s)", f.Summary, x.Host.Verdict, x.Host, x.Packet)
		out.At, out.Logical, rule = x.Policy.At, x.Host.String(), x.Host.String()+x.Policy.Name
	}
	out.Same = f.Kind.String() + f.Hook + rule + strings.Join(f.Packets, ";")
	return out
}
