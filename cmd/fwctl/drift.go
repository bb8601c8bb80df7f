package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/audit/drift"
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
on it. It changes nothing and needs CAP_NET_ADMIN.

The findings, worst first:
  opened     the host accepts what the policy refuses
  tampered   fwctl's own rules are not those that fwctl would put there
  closed     the host refuses what the policy accepts
  undecided  the question was larger than --budget
  unknown    it depends on something that is not understood or that no packet decides
  manager    other software manages rules here, and will change them some day
  answer     both refuse, but one of them answers (reject) and the other does not (drop)

Compared are the hooks at which the policy says something: input; output if it
refuses anything there; forward unless routed = "ignore". Of the packets those
that begin a flow, and those of established flows; --state asks for others.
"in sync" is said only of what was proved, and only if nothing else acts on
packets: XDP programs, chains of the families netdev and bridge, flowtables and
filters of tc are named, and count as unknown. --known names those of them, and
managers, that are meant to be there.

Exit status: 0 in sync; 1 drift; 2 error; 3 cannot tell. With --format nagios: 0 in
sync; 2 opened or tampered; 1 closed, answer or manager; 3 cannot tell, or error.`,
		Example: `  fwctl drift
  fwctl drift --json site.toml | jq '.findings[] | {kind, packets, host}'
  fwctl drift --format nagios
  fwctl drift --format prometheus > /var/lib/node_exporter/fwctl.prom.new
  fwctl drift --known ufw --known 'XDP program on eth0'`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error { return g.drift(c, args, d) },
	}
	f := c.Flags()
	f.StringVar(&d.format, "format", "text", "answer as `FORM`: text, json, nagios, prometheus or sarif")
	f.StringVar(&d.state, "state", "flow", "compare packets of `STATE`: flow (new and established), new, established or any")
	f.StringArrayVar(&d.known, "known", nil, "`NAME` of a manager, or of what stands beside the rules, that is meant to be there; may be repeated")
	f.IntVar(&d.budget, "budget", drift.DefaultBudget, "give up beyond so many `NODES` of decision diagrams, about 50 bytes each")
	return c
}

type driftFlags struct {
	format, state string
	known         []string
	budget        int
}

// drifted is the answer of drift.
type drifted struct {
	Changed   bool   `json:"changed"`
	Policy    string `json:"policy"`
	Digest    string `json:"digest"`
	Backend   string `json:"backend"`
	Confirmed bool   `json:"confirmed"` // it is the confirmed policy
	*drift.Report
}

func (g *global) drift(c *cobra.Command, args []string, d driftFlags) error {
	if err := oneOf("format", d.format, "text", "json", "nagios", "prometheus", "sarif"); err != nil {
		return err
	}
	if err := oneOf("state", d.state, drift.StateNames()...); err != nil {
		return err
	}
	done := g.ui.working("comparing")
	a, err := g.drifted(c, args, d)
	done()
	if err != nil {
		return err
	}
	if err := g.ui.answer(a, func() { g.driftText(a) }); err != nil {
		return err
	}
	if code := driftCode[a.Verdict]; code != exitGood {
		return status(code)
	}
	return nil
}

var driftCode = map[drift.Verdict]int{drift.InSync: exitGood, drift.Drift: exitDiffers, drift.CannotTell: exitUnknown}

func (g *global) drifted(c *cobra.Command, args []string, d driftFlags) (*drifted, error) {
	m, err := g.meant(c, args)
	if err != nil {
		return nil, err
	}
	changes, err := m.Changes(c.Context())
	if err != nil {
		return nil, err
	}
	host, err := live.Rules(c.Context())
	if err != nil {
		return nil, err
	}
	states, _ := drift.ParseStates(d.state)
	r, err := drift.Find(drift.Question{Policy: m.Ruleset, Host: host, Changes: changes, States: states, Known: d.known, Budget: d.budget})
	if err != nil {
		return nil, err
	}
	r.Texts(ruleTexts(c.Context()))
	return &drifted{Policy: m.Policy, Digest: m.Digest, Backend: m.Backend, Confirmed: m.Confirmed, Report: r}, nil
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

// meant is the policy to compare with.
func (g *global) meant(c *cobra.Command, args []string) (*apply.Meant, error) {
	o, err := g.options(first(args))
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		return apply.Understand(c.Context(), o)
	}
	m, err := apply.Confirmed(o)
	if errors.Is(err, apply.ErrNotConfirmed) {
		return nil, usage(err.Error(), "`fwctl drift POLICY` compares with a policy that was never applied")
	}
	return m, err
}

// driftText prints a report for people.
func (g *global) driftText(a *drifted) {
	for _, f := range a.Findings {
		g.driftFinding(f)
	}
	g.ui.print("%s: %s\n", a.Policy, a.summary())
}

func (g *global) driftFinding(f drift.Finding) {
	u := g.ui
	line := func(name, format string, args ...any) { u.print("  %-8s %s\n", name, fmt.Sprintf(format, args...)) }
	u.print("%s  %s\n", f.Kind, f.Summary)
	for _, d := range f.Details {
		u.print("  %s\n", d)
	}
	if len(f.Examples) == 0 {
		return
	}
	x := f.Examples[0]
	line("packet", "%s", x.Packet)
	for _, i := range x.If {
		line("if", "%s", i)
	}
	line("host", "%s", sideText(x.Host))
	line("policy", "%s", sideText(x.Policy))
	if len(f.Sections) > 1 {
		line("concerns", "%s", strings.Join(f.Sections, ", "))
	}
}

// sideText says what one side does, and why.
func sideText(s drift.Side) string {
	parts := []string{s.Verdict + " by"}
	for _, p := range []string{s.Table, s.Chain, s.Name} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if s.Handle != 0 {
		parts = append(parts, fmt.Sprintf("handle %d", s.Handle))
	}
	if s.Rule != "" {
		parts = append(parts, s.Rule)
	}
	if s.At != "" {
		parts = append(parts, s.At)
	}
	return strings.Join(parts, " ")
}

// summary is the verdict in a few words.
func (a *drifted) summary() string {
	n := a.Counts()
	var parts []string
	for _, k := range drift.Kinds() {
		if n[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k], k))
		}
	}
	s := a.Verdict.String()
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, ", ")
	}
	return s
}
