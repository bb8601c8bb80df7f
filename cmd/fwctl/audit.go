package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/audit/drift"
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

--all-namespaces looks into every other network namespace of the machine, too, as those
of containers: what waits there, and who gets in of those whose packets come so far, by
the namespace's own rules. Which packets come so far is not followed, and nothing there
is held against the policy. It needs CAP_SYS_ADMIN, and CAP_SYS_PTRACE to find all.

--format html is one page to read, print and send on: the findings, who reaches what as
a table and as a picture, what only this host reaches, the drift from the policy, what
is accepted, what was applied when, and what could not be told. It has no script and
loads nothing.

The table has the worst first. Its lines are as long as the terminal is wide, or as
COLUMNS says; in files and pipes as long as they are.

[accept.NAME] in the policy silences a finding, with a reason and an end: it is told and
does not count. Its match is the port ("111/tcp"), the section ("service.web"), or what
the finding is about ("ufw"; in JSON, "about").

Exit status: 0 nothing found that counts (notes and accepted findings do not); 1
findings; 2 error; 3 nothing found, but not all could be told. With --format nagios:
0, 1 warnings, 2 critical findings, 3 cannot tell or error.`,
		Example: `  fwctl audit
  fwctl audit --all site.toml
  fwctl audit --all-namespaces
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
	f.DurationVar(&d.timeout, "timeout", 0, "say that it cannot be told after this long; 10s with --format nagios")
	f.BoolVar(&d.namespaces, "all-namespaces", false, "look into every other network namespace, too, as those of containers")
	return c
}

type auditFlags struct {
	format, output string
	all            bool // doors that only this host reaches, too
	namespaces     bool
	timeout        time.Duration
}

// audited is the answer of audit.
type audited struct {
	Changed bool   `json:"changed"`
	Policy  string `json:"policy,omitempty"` // the path; empty: none was held against
	Digest  string `json:"digest,omitempty"`
	*exposure.Report

	host  *live.HostRules
	meant *apply.Meant // nil: there is no policy
}

func (g *global) audit(ctx context.Context, args []string, f auditFlags) error {
	if err := oneOf("format", f.format, "text", "json", "nagios", "prometheus", "sarif", "html"); err != nil {
		return err
	}
	if g.ui.json && f.format == "text" {
		f.format = "json"
	}
	g.ui.json = f.format == "json"
	if f.format == "nagios" && f.timeout == 0 {
		f.timeout = nagiosTime
	}
	start := time.Now()
	done := g.ui.working("looking")
	a, err := atMostFor(ctx, f.timeout, "not looked at", func(ctx context.Context) (*audited, error) { return g.audited(ctx, args, f) })
	done()
	if err != nil {
		return f.failed(g.ui, err)
	}
	if err := f.write(ctx, g, a, start); err != nil {
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
func (f *auditFlags) write(ctx context.Context, g *global, a *audited, start time.Time) error {
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
		about := exposure.About{Version: version, Policy: a.Policy, Digest: a.Digest, At: start}
		about.Host, _ = os.Hostname() // a page without a name is better than none
		about.Drift, about.NoDrift = a.drift(ctx)
		about.Past, about.NoPast = g.events()
		err = a.HTML(&b, about)
	default:
		err = shown.answer(a, func() { shown.audited(a, f.all) })
	}
	return errors.Join(err, g.ui.put(f.output, b.Bytes()))
}

// drift holds the rules that were read against the policy; why not, where it cannot.
func (a *audited) drift(ctx context.Context) (r *drift.Report, why string) {
	if a.meant == nil {
		return nil, ""
	}
	r, err := drift.Find(drift.Question{
		Policy: a.meant.Ruleset, Host: a.host, Changes: func() ([]string, error) { return a.meant.Changes(ctx) }, Route: live.RouteTo,
	})
	if err != nil {
		return nil, err.Error()
	}
	r.Texts(ruleTexts(ctx))
	return r, ""
}

// events is the history, the newest first; why not, where it cannot be read.
func (g *global) events() (past []exposure.Event, why string) {
	entries, err := apply.NewStore(g.stateDir).Past()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err.Error()
	}
	for _, e := range slices.Backward(entries) {
		past = append(past, exposure.Event{
			At: e.Time, Did: e.Action, Policy: e.Policy, Digest: e.Digest, Backend: e.Backend, User: e.User, Confirmed: e.Confirmed, Changes: e.Changes,
		})
	}
	return past, ""
}

var auditStatus = map[exposure.Verdict]int{exposure.Good: exitGood, exposure.Findings: exitDiffers, exposure.CannotTell: exitUnknown}

// audited looks at the host.
func (g *global) audited(ctx context.Context, args []string, f auditFlags) (*audited, error) {
	if err := live.Readable(); err != nil {
		return nil, err
	}
	a := &audited{}
	var policy *rules.Ruleset
	m, err := g.meant(ctx, args)
	switch {
	case err == nil:
		a.Policy, a.Digest, a.meant, policy = m.Policy, m.Digest, m, m.Ruleset
	case !errors.Is(err, apply.ErrNotConfirmed):
		return nil, err
	}
	host, err := g.hostRules(ctx)
	if err != nil {
		return nil, err
	}
	a.host = host
	q := exposure.Question{
		Policy: policy, Host: host, Now: time.Now(),
		Speak: func(qs []live.SpeakQuestion) []live.SpeakAnswer { return live.SpeakAll(ctx, qs) },
	}
	if err := listened(ctx, &q, f.namespaces); err != nil {
		return nil, err
	}
	a.Report, err = exposure.Look(q)
	return a, err
}

// listened adds what waits and what is published, in this network namespace or in all.
func listened(ctx context.Context, q *exposure.Question, all bool) error {
	listeners, notes, err := live.Listeners(ctx, live.ListenOptions{AllNamespaces: all})
	if err != nil {
		return err
	}
	containers, told := live.Containers(ctx)
	q.Listeners, q.Published, q.Notes = listeners, translated(q.Host, containers), append(notes, told...)
	if !all {
		return nil
	}
	others, told, err := live.Elsewhere(ctx)
	for _, n := range others {
		e := exposure.Elsewhere{Namespace: n}
		if n.Rules != nil {
			e.Published = translated(n.Rules, containers)
		}
		q.Elsewhere = append(q.Elsewhere, e)
	}
	for _, note := range told {
		if !slices.Contains(q.Notes, note) {
			q.Notes = append(q.Notes, note)
		}
	}
	return err
}

// translated are the ports that rules send elsewhere, or to others of the host.
func translated(h *live.HostRules, containers []live.Running) []live.PublishedPort {
	return append(live.Published(h, containers), live.Redirected(h)...)
}
