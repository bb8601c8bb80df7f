package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/audit/drift"
	"github.com/fwctl/fwctl/audit/form"
	"github.com/fwctl/fwctl/live"
)

func newDrift(g *global) *cobra.Command {
	d := driftFlags{}
	c := &cobra.Command{
		Use:   "drift [flags] [POLICY]",
		Short: "does this host do what the policy says? proved, or shown by a packet",
		Long: `drift reads all that decides on packets in the running kernel, every table of
every program, and holds it against the policy: the confirmed one, or POLICY. It
proves that both mean the same for every packet, or shows packets that fare
otherwise, each with the rule of the host and the line of the policy that decide
on it. It changes nothing and needs CAP_NET_ADMIN; to read rules of iptables-legacy
CAP_NET_RAW, too.

The findings, worst first:

  opened     the host accepts what the policy refuses
  tampered   fwctl's own rules are not those that fwctl would put there
  closed     the host refuses what the policy accepts
  undecided  the question was larger than --budget
  unknown    it depends on something that is not understood
  manager    other software manages rules here, and will change them some day
  answer     both refuse, but one answers (reject) and the other does not (drop)

Compared are the hooks at which the policy says something: input; output if it
refuses anything there; forward unless routed = "ignore". Of the packets those
that begin a flow, by the addresses that they come with, and those of flows that
stand; --state asks for others. "in sync" is said only of what was proved, and
only if nothing else can let packets pass: XDP programs, filters of tc, flowtables
and chains of the families netdev and bridge are named, and count as unknown.
--known names those of them, and managers, that are meant to be there.

The journal is told of each drift from the confirmed policy once, and when it is
over. fwctl-drift.timer asks every quarter of an hour, if it is enabled; a drift
makes fwctl-drift.service fail. For other flags, such as --known, use
"systemctl edit fwctl-drift.service".

Exit status: 0 in sync; 1 drift; 2 error; 3 cannot tell. With --format nagios: 0
in sync; 2 opened or tampered; 1 closed, manager or answer; 3 cannot tell, or
error.`,
		Example: `  fwctl drift
  fwctl drift --json site.toml | jq '.findings[] | {kind, packets, examples}'
  fwctl drift --format nagios
  fwctl drift --format prometheus -o /var/lib/node_exporter/fwctl.prom
  fwctl drift --known ufw --known 'XDP program on eth0'`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error { return g.drift(c.Context(), args, d) },
	}
	f := c.Flags()
	f.StringVar(&d.format, "format", "text", "answer as `FORM`: text, json, nagios, prometheus or sarif")
	f.StringVar(&d.state, "state", "flow", "compare packets of `STATE`: flow (new and established), new, established or any")
	f.StringArrayVar(&d.known, "known", nil, "`NAME` of a manager, or of what stands beside the rules, that is meant to be there; may be repeated")
	f.StringVarP(&d.output, "output", "o", "", "write the answer to `FILE`, at once: a reader sees the old one or the new")
	f.DurationVar(&d.timeout, "timeout", 0, "say that it cannot be told after this long; 10s with --format nagios")
	f.IntVar(&d.budget, "budget", drift.DefaultBudget, "give up beyond so many `NODES` of decision diagrams, about 50 bytes each")
	return c
}

type driftFlags struct {
	format, state, output string
	known                 []string
	timeout               time.Duration
	budget                int
}

// nagiosTime is how long a plugin may take: what calls it waits no longer.
const nagiosTime = 10 * time.Second

// drifted is the answer of drift.
type drifted struct {
	Changed   bool   `json:"changed"`
	Policy    string `json:"policy"`
	Digest    string `json:"digest"`
	Backend   string `json:"backend"`
	Confirmed bool   `json:"confirmed"` // it is the confirmed policy
	*drift.Report

	subject drift.Subject
}

func (g *global) drift(ctx context.Context, args []string, d driftFlags) error {
	if err := d.settle(g.ui); err != nil {
		return err
	}
	done := g.ui.working("comparing")
	a, err := g.drifted(ctx, args, d)
	done()
	if err != nil {
		return d.failed(g.ui, err)
	}
	if len(args) == 0 {
		a.tell(g.runDir)
	}
	if err := d.write(g, a); err != nil {
		return err
	}
	code := driftStatus[a.Verdict]
	if d.format == "nagios" {
		code = a.NagiosState()
	}
	if code != exitGood {
		return status(code)
	}
	return nil
}

var driftStatus = map[drift.Verdict]int{drift.InSync: exitGood, drift.Drift: exitDiffers, drift.CannotTell: exitUnknown}

// settle checks the flags. --json is a format, too.
func (d *driftFlags) settle(u *ui) error {
	if err := oneOf("format", d.format, "text", "json", "nagios", "prometheus", "sarif"); err != nil {
		return err
	}
	if u.json && d.format == "text" {
		d.format = "json"
	}
	u.json = d.format == "json"
	if d.format == "nagios" && d.timeout == 0 {
		d.timeout = nagiosTime
	}
	return oneOf("state", d.state, drift.StateNames()...)
}

// failed answers monitoring in its own form that the host was not checked.
func (d *driftFlags) failed(u *ui, cause error) error {
	switch d.format {
	case "nagios":
		_ = drift.NagiosFailure(u.stdout, cause)
		return status(form.Unknown)
	case "prometheus":
		var b bytes.Buffer
		_ = drift.PrometheusFailure(&b, time.Now()) // into memory
		return errors.Join(cause, u.put(d.output, b.Bytes()))
	}
	return cause
}

// write answers in the form that was asked for.
func (d *driftFlags) write(g *global, a *drifted) error {
	var b bytes.Buffer
	shown := g.ui.into(&b, d.output)
	var err error
	switch d.format {
	case "nagios":
		err = a.Nagios(&b, a.subject)
	case "prometheus":
		err = a.Prometheus(&b, a.subject)
	case "sarif":
		dir, _ := os.Getwd() // paths are absolute where it is not known
		err = a.SARIF(&b, a.subject, dir)
	default:
		err = shown.answer(a, func() { shown.drifted(a) })
	}
	return errors.Join(err, g.ui.put(d.output, b.Bytes()))
}

// drifted compares, for as long as it may.
func (g *global) drifted(ctx context.Context, args []string, d driftFlags) (*drifted, error) {
	return atMostFor(ctx, d.timeout, "not compared", func(ctx context.Context) (*drifted, error) { return g.compareHost(ctx, args, d) })
}

// atMostFor gives work so much time, and no more waits for it; zero: all that it takes.
func atMostFor[T any](ctx context.Context, limit time.Duration, not string, work func(context.Context) (T, error)) (answer T, err error) {
	if limit == 0 {
		return work(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan func() (T, error), 1)
	go func() {
		a, err := work(ctx)
		done <- func() (T, error) { return a, err }
	}()
	select {
	case result := <-done:
		return result()
	case <-ctx.Done():
		return answer, fmt.Errorf("%s within %v", not, limit)
	}
}

func (g *global) compareHost(ctx context.Context, args []string, d driftFlags) (*drifted, error) {
	start := time.Now()
	if err := live.Readable(); err != nil {
		return nil, err
	}
	host, m, err := g.hostAndPolicy(ctx, args)
	if err != nil {
		return nil, err
	}
	states, _ := drift.ParseStates(d.state) // settled before
	r, err := drift.Find(drift.Question{
		Policy: m.Ruleset, Host: host, Changes: func() ([]string, error) { return m.Changes(ctx) },
		States: states, Route: live.RouteTo, Known: d.known, Budget: d.budget,
	})
	if err != nil {
		return nil, err
	}
	r.Texts(ruleTexts(ctx))
	return &drifted{
		Policy: m.Policy, Digest: m.Digest, Backend: m.Backend, Confirmed: !m.Confirmed.IsZero(), Report: r,
		subject: drift.Subject{
			Policy: m.Policy, Digest: m.Digest, Backend: m.Backend, Version: programVersion().Version,
			Applied: m.Confirmed, Checked: time.Now(), Took: time.Since(start),
		},
	}, nil
}

// hostAndPolicy reads both at the same time.
func (g *global) hostAndPolicy(ctx context.Context, args []string) (*live.HostRules, *apply.Meant, error) {
	var m *apply.Meant
	var unknown error
	read := make(chan struct{})
	go func() {
		defer close(read)
		m, unknown = g.meant(ctx, args)
	}()
	host, err := g.hostRules(ctx)
	<-read
	if errors.Is(unknown, apply.ErrNotConfirmed) {
		unknown = usage(unknown.Error(), "`fwctl drift POLICY` compares with a policy that was not applied")
	}
	if unknown != nil {
		return nil, nil, unknown
	}
	return host, m, err
}

// ruleTexts asks nft for the rules of a chain, for each chain once.
func ruleTexts(ctx context.Context) func(table, chain string) map[uint64]string {
	known := map[[2]string]map[uint64]string{}
	return func(table, chain string) map[uint64]string {
		key := [2]string{table, chain}
		if _, ok := known[key]; !ok {
			known[key] = live.RuleTexts(ctx, table, chain)
		}
		return known[key]
	}
}

// meant is the policy to compare with: the one that was named, else the confirmed
// one.
func (g *global) meant(ctx context.Context, args []string) (*apply.Meant, error) {
	o, err := g.options(first(args))
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		return apply.Understand(ctx, o)
	}
	return apply.Confirmed(ctx, o)
}
