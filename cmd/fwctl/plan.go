package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/audit/plan"
	"github.com/fwctl/fwctl/live"
)

func newPlan(g *global) *cobra.Command {
	var budget int
	c := &cobra.Command{
		Use:   "plan [flags] [POLICY]",
		Short: "what would an apply change, for whom?",
		Long: `plan says what becomes reachable on this host, and what no longer, were the
policy applied now: proved from what the running kernel has, every table of every
program, with the policy in the place of fwctl's own rules. It changes nothing and
needs CAP_NET_ADMIN.

It names the live connections that the policy would not accept if they began
anew (an apply leaves them alone) and the listeners that the change is about.
What depends on a rate, a date or on something that is not understood is said
with its condition.

Exit status: 0 an apply would send nothing; 1 it would change something; 2 error;
3 cannot tell: a question was larger than --budget, or rules could not be read.`,
		Example: `  fwctl plan
  fwctl plan site.toml
  fwctl plan --json site.toml | jq '.exposure[] | select(.change == "opened")'`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error { return g.plan(c.Context(), first(args), budget) },
	}
	c.Flags().IntVar(&budget, "budget", plan.DefaultBudget, "give up beyond `N` nodes of diagrams, some 60 bytes each")
	return c
}

// planned is the answer of plan.
type planned struct {
	Changed bool     `json:"changed"`
	Policy  string   `json:"policy"`
	Digest  string   `json:"digest"`
	Backend string   `json:"backend"`
	Changes []string `json:"changes"` // what an apply would send
	*plan.Plan
}

func (g *global) plan(ctx context.Context, arg string, budget int) error {
	if arg == stdinName {
		return usage("plan does not read standard input", "apply does not either; give the policy's path")
	}
	o, err := g.options(arg)
	if err != nil {
		return err
	}
	done := g.ui.working("planning " + arg)
	defer done()
	o.DryRun, o.Reach, o.Force = true, live.ReachOf(0), apply.ForceAll // who is locked out is part of the plan
	out, err := apply.Apply(ctx, o)
	if out != nil {
		g.hostNotes(out)
	}
	if err != nil {
		return err
	}
	a := planned{Policy: out.Policy, Digest: out.Digest, Backend: out.Backend, Changes: out.Changes}
	if a.Plan, err = g.planFor(ctx, o, budget); err != nil {
		return err
	}
	done()
	if err := g.ui.answer(a, func() { g.planText(a) }); err != nil {
		return err
	}
	return planStatus(a)
}

func planStatus(a planned) error {
	switch {
	case len(a.Undecided) > 0 || len(a.Unread) > 0:
		return status(exitUnknown)
	case len(a.Changes) > 0:
		return status(exitDiffers)
	}
	return nil
}

// planFor gathers what the plan depends on.
func (g *global) planFor(ctx context.Context, o apply.Options, budget int) (*plan.Plan, error) {
	m, err := apply.Understand(ctx, o)
	if err != nil {
		return nil, err
	}
	q := plan.Question{Policy: m.Ruleset, Now: time.Now(), Budget: budget, Route: live.RouteTo}
	if q.Host, err = g.hostRules(ctx); err != nil {
		return nil, err
	}
	if q.Listeners, _, err = live.Listeners(ctx, live.ListenOptions{Owners: live.NoOwners}); err != nil {
		return nil, err
	}
	if q.Host.PF != nil {
		return planForPF(ctx, q)
	}
	if q.Connections, err = live.Connections(); err != nil {
		return nil, err
	}
	if q.Sockets, err = live.Established(); err != nil {
		return nil, err
	}
	return plan.Make(q)
}

// mostSessions is how many connections are listed for people.
const mostSessions = 20

func (g *global) planText(a planned) {
	u := g.ui
	for _, k := range []struct {
		kind  plan.Kind
		title string
		color string
	}{{plan.Opened, "newly reachable", yellow}, {plan.Closed, "no longer", cyan}} {
		for _, c := range a.Exposure {
			if c.Kind == k.kind {
				g.planChange(c, u.paint(u.stdout, k.color, k.title))
			}
		}
	}
	for _, e := range a.Temporary {
		u.print("until %s\n", until(e))
	}
	for i, s := range a.Sessions {
		if i == 0 {
			u.print("connections that would not be accepted anew; apply --cut ends them, else they live on\n")
		}
		if i == mostSessions {
			u.print("  and %d more\n", len(a.Sessions)-i)
			break
		}
		u.print("  %s, refused by %s%s\n", s.Packet, s.Rule, after(", ", s.At))
	}
	for i, t := range a.Listeners {
		if i == 0 {
			u.print("listeners that this is about\n")
		}
		u.print("  %s %s: %s\n", t.Listener, t.Kind, strings.Join(t.Packets, "; "))
	}
	for _, x := range a.Undecided {
		u.print("undecided, larger than the budget: %s\n", x)
	}
	for _, x := range a.Unread {
		u.print("not read: %s\n", x)
	}
	u.print("%s: %s\n", a.Policy, a.summary())
}

// planChange prints packets that fare otherwise, what decides and one example.
func (g *global) planChange(c plan.Change, title string) {
	u := g.ui
	by := map[plan.Kind]string{plan.Opened: "by ", plan.Closed: "refused by "}[c.Kind]
	family := ""
	if len(c.Families) == 1 {
		family = ", " + familyNames[c.Families[0]]
	}
	u.print("%s at %s%s, %s%s%s\n", title, c.Hook, family, by, c.Rule, after(", ", c.At))
	for _, p := range c.Packets {
		u.print("  %s\n", p)
	}
	if c.More {
		u.print("  and more\n")
	}
	for _, x := range c.If {
		u.print("  if %s\n", x)
	}
	u.print("  for example %s\n", c.Example)
}

func (a planned) summary() string {
	switch {
	case len(a.Changes) == 0:
		return "an apply would send nothing"
	case len(a.Exposure) == 0 && len(a.Undecided) == 0:
		return fmt.Sprintf("an apply would send %s, after which every packet fares as before", plural(len(a.Changes), "change"))
	}
	return fmt.Sprintf("an apply would send %s", plural(len(a.Changes), "change"))
}
