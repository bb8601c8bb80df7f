package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/audit/exposure"
	"github.com/fwctl/fwctl/audit/plugin"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

func newAudit(g *global) *cobra.Command {
	var all bool
	var format string
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

[accept.NAME] in the policy silences a finding, with a reason and an end.

Exit status: 0 nothing found that counts (notes and accepted findings do not); 1
findings; 2 error; 3 nothing found, but not all could be told. With --format nagios:
0, 1 warnings, 2 critical findings, 3 cannot tell or error.`,
		Example: `  fwctl audit
  fwctl audit --all site.toml
  fwctl audit --json | jq '.findings[] | {code, door, packet}'
  fwctl audit --format nagios`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error { return g.audit(c.Context(), args, format, all) },
	}
	c.Flags().StringVar(&format, "format", "text", "answer as `FORM`: text, json or nagios")
	c.Flags().BoolVar(&all, "all", false, "list the ports that only this host reaches, too")
	return c
}

// audited is the answer of audit.
type audited struct {
	Changed bool   `json:"changed"`
	Policy  string `json:"policy,omitempty"` // the path; empty: none was held against
	Digest  string `json:"digest,omitempty"`
	*exposure.Report
}

func (g *global) audit(ctx context.Context, args []string, format string, all bool) error {
	if err := oneOf("format", format, "text", "json", "nagios"); err != nil {
		return err
	}
	if g.ui.json && format == "text" {
		format = "json"
	}
	g.ui.json = format == "json"
	start := time.Now()
	a, err := g.audited(ctx, args)
	if format == "nagios" {
		return g.auditNagios(a, err, time.Since(start))
	}
	if err != nil {
		return err
	}
	if err := g.ui.answer(a, func() { g.ui.audited(a, all) }); err != nil {
		return err
	}
	if code := auditStatus[a.Verdict]; code != exitGood {
		return status(code)
	}
	return nil
}

var auditStatus = map[exposure.Verdict]int{exposure.Good: exitGood, exposure.Findings: exitDiffers, exposure.CannotTell: exitUnknown}

func (g *global) auditNagios(a *audited, cause error, took time.Duration) error {
	if cause != nil {
		_ = plugin.Failure(g.ui.stdout, "AUDIT", cause)
		return status(plugin.Unknown)
	}
	if err := a.Nagios(g.ui.stdout, took); err != nil {
		return err
	}
	if code := a.NagiosState(); code != exitGood {
		return status(code)
	}
	return nil
}

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
	host, err := live.Rules(ctx)
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
	case len(d.From) == 0:
		return "nobody"
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
}
