package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/audit/exposure"
	"github.com/fwctl/fwctl/audit/form"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

func newAudit(g *global) *cobra.Command {
	d := auditFlags{}
	c := &cobra.Command{
		Use:   "audit [flags] [POLICY]",
		Short: "what of this host can be reached, by whom, and is that what the policy says?",
		Long: `audit lists every port at which something waits, or that a container engine
publishes, with the process, its user, unit and container; and for each the exact
set of sources that the running host lets in from outside: all tables of every
program, both families, translation included. It holds that against the policy, the
confirmed one or POLICY, and says what is wrong, each with a code that stays, with a
packet that shows it, and with a cure: "fwctl explain FW101". Where a service expects
TLS the listener is asked, from this host. Without a confirmed policy it tells what it
sees. It changes nothing.

The sockets and the rules need CAP_NET_ADMIN; to name processes of other users
CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, too: what is not seen is said.

--format html is one page to read, print and send on: the findings, who reaches what as
a table and as a picture, what only this host reaches, what is accepted and what could
not be told. It has no script and loads nothing.

[accept.NAME] in the policy silences a finding, with a reason and an end.

Exit status: 0 nothing found that counts (notes and accepted findings do not); 1
findings; 2 error; 3 nothing found, but not all could be told. With --format nagios:
0, 1 warnings, 2 critical findings, 3 cannot tell or error.`,
		Example: `  fwctl audit
  fwctl audit --all site.toml
  fwctl audit --json | jq '.findings[] | {code, door, packet}'
  fwctl audit --format nagios
  fwctl audit --format prometheus -o /var/lib/node_exporter/fwctl-audit.prom
  fwctl audit --format html -o audit.html`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error { return g.audit(c.Context(), args, d) },
	}
	f := c.Flags()
	f.StringVar(&d.format, "format", "text", "answer as `FORM`: text, json, nagios, prometheus, sarif or html")
	f.StringVarP(&d.output, "output", "o", "", "write the answer to `FILE`, at once: a reader sees the old one or the new")
	f.BoolVar(&d.all, "all", false, "list the ports that only this host reaches, too")
	return c
}

type auditFlags struct {
	format, output string
	all            bool
}

// audited is the answer of audit.
type audited struct {
	Changed bool   `json:"changed"`
	Policy  string `json:"policy,omitempty"` // the path; empty: none was held against
	Digest  string `json:"digest,omitempty"`
	*exposure.Report
}

func (g *global) audit(ctx context.Context, args []string, f auditFlags) error {
	if err := oneOf("format", f.format, "text", "json", "nagios", "prometheus", "sarif", "html"); err != nil {
		return err
	}
	if g.ui.json && f.format == "text" {
		f.format = "json"
	}
	g.ui.json = f.format == "json"
	start := time.Now()
	a, err := g.audited(ctx, args)
	if err != nil {
		return f.failed(g.ui, err)
	}
	if err := f.write(g, a, start); err != nil {
		return err
	}
	code := auditStatus[a.Verdict]
	if f.format == "nagios" {
		code = a.NagiosState()
	}
	if code != exitGood {
		return status(code)
	}
	return nil
}

// failed answers monitoring in its own form that the host was not looked at.
func (f *auditFlags) failed(u *ui, cause error) error {
	switch f.format {
	case "nagios":
		_ = form.NagiosFailure(u.stdout, "AUDIT", cause)
		return status(form.Unknown)
	case "prometheus":
		var b bytes.Buffer
		_ = form.Prometheus(&b, form.Checked("fwctl_audit", time.Now(), false)) // into memory
		return errors.Join(cause, u.put(f.output, b.Bytes()))
	}
	return cause
}

// write answers in the form that was asked for.
func (f *auditFlags) write(g *global, a *audited, start time.Time) error {
	var b bytes.Buffer
	shown := g.ui.into(&b, f.output)
	version := programVersion().Version
	var err error
	switch f.format {
	case "nagios":
		err = a.Nagios(&b, time.Since(start))
	case "prometheus":
		err = a.Prometheus(&b, version, a.Policy, a.Digest, time.Now(), time.Since(start))
	case "sarif":
		dir, _ := os.Getwd() // paths are absolute where it is not known
		err = a.SARIF(&b, version, a.Policy, dir)
	case "html":
		host, _ := os.Hostname() // a page without a name is better than none
		err = a.HTML(&b, exposure.About{Host: host, Version: version, Policy: a.Policy, Digest: a.Digest, At: start})
	default:
		err = shown.answer(a, func() { shown.audited(a, f.all) })
	}
	return errors.Join(err, g.ui.put(f.output, b.Bytes()))
}

var auditStatus = map[exposure.Verdict]int{exposure.Good: exitGood, exposure.Findings: exitDiffers, exposure.CannotTell: exitUnknown}

// audited looks at the host.
func (g *global) audited(ctx context.Context, args []string) (*audited, error) {
	if err := live.Readable(); err != nil {
		return nil, err
	}
	a := &audited{}
	var policy *rules.Ruleset
	m, err := g.meant(ctx, args)
	switch {
	case err == nil:
		a.Policy, a.Digest, policy = m.Policy, m.Digest, m.Ruleset
	case !errors.Is(err, apply.ErrNotConfirmed):
		return nil, err
	}
	host, err := g.hostRules(ctx)
	if err != nil {
		return nil, err
	}
	listeners, notes, err := live.Listeners(ctx, live.ListenOptions{})
	if err != nil {
		return nil, err
	}
	containers, told := live.Containers(ctx)
	a.Report, err = exposure.Look(exposure.Question{
		Policy: policy, Host: host, Listeners: listeners, Published: live.Published(host, containers), Notes: append(notes, told...), Now: time.Now(),
		Speak: func(qs []live.SpeakQuestion) []live.SpeakAnswer { return live.SpeakAll(ctx, qs) },
	})
	return a, err
}

// audited prints the report.
func (u *ui) audited(a *audited, all bool) {
	w := tabwriter.NewWriter(u.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PORT\tREACHED BY\tWAITS\tSERVICE")
	hidden := 0
	for _, d := range a.Doors {
		if d.Local && !all {
			hidden++
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Name(), reachedBy(&d), strings.Join(waits(&d), "; "), strings.Join(d.Services, ", "))
	}
	_ = w.Flush() // as every answer is printed
	if hidden > 0 {
		u.print("%d more for this host alone (--all)\n", hidden)
	}
	for _, f := range a.Findings {
		u.auditFinding(f)
	}
	for _, n := range a.Notes {
		u.print("note  %s\n", n)
	}
	against := a.Policy
	if against == "" {
		against = "no policy is confirmed, and none was named"
	}
	u.print("%s: %s\n", a.Verdict, against)
}

func waits(d *exposure.Door) []string {
	var out []string
	for _, w := range d.Waits {
		out = append(out, w.String())
	}
	return append(out, d.Published...)
}

func reachedBy(d *exposure.Door) string {
	switch {
	case d.Local:
		return "this host alone"
	case len(d.From) == 0 && d.Untold:
		return "cannot tell"
	case len(d.From) == 0:
		return "nobody"
	case d.Untold:
		return strings.Join(d.From, "; ") + "; of others it cannot be told"
	case d.Others:
		return strings.Join(d.From, "; ") + "; others"
	}
	return strings.Join(d.From, "; ")
}

// auditFinding prints a finding.
func (u *ui) auditFinding(f exposure.Finding) {
	colour := map[exposure.Severity]string{exposure.Critical: red, exposure.Warning: yellow}[f.Severity]
	word := f.Severity.String()
	if f.Accepted != "" {
		colour, word = "", "accepted"
	}
	u.print("\n%s %s %s\n", u.paint(u.stdout, colour, fmt.Sprintf("%-8s", word)), f.Code, f.Summary)
	for _, e := range f.Evidence {
		u.print("           %s\n", e)
	}
	if f.Packet != "" {
		u.print("  packet   %s\n", f.Packet)
	}
	if f.At != "" {
		u.print("  policy   %s, %s\n", f.Section, f.At)
	}
	if f.Accepted != "" {
		u.print("  reason   %s\n", f.Accepted)
	}
	if f.Until != "" {
		u.print("  until    %s\n", f.Until)
	}
}
