package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/audit/drift"
)

var driftColor = map[drift.Kind]string{
	drift.Opened: red, drift.Tampered: red, drift.Closed: yellow, drift.Undecided: yellow,
	drift.Unknown: yellow, drift.Manager: cyan, drift.Answer: cyan,
}

// drifted prints a report for people: the findings, worst first, then what may
// matter, then the verdict and what it covers.
func (u *ui) drifted(a *drifted) {
	for _, f := range a.Findings {
		u.finding(f)
	}
	for _, p := range a.Published {
		u.print("note       published by translation, which the policy leaves alone: %s\n", p)
	}
	for _, e := range a.Temporary {
		u.print("until      %s\n", until(e))
	}
	for _, b := range a.Beside {
		if b.Refuses {
			u.print("note       may refuse more: %s\n", b.Name)
		}
	}
	color := map[drift.Verdict]string{drift.InSync: green, drift.Drift: red, drift.CannotTell: yellow}[a.Verdict]
	joint := map[drift.Verdict]string{drift.InSync: "with", drift.Drift: "from", drift.CannotTell: "if in sync with"}[a.Verdict]
	u.print("%s %s %s (%s, %s)%s\n", u.paint(u.stdout, color, a.Verdict.String()), joint, a.Policy, short(a.Digest), a.Backend, a.tally())
	u.print("compared   %s\n", a.Scope())
}

// tally counts the findings of each kind.
func (a *drifted) tally() string {
	n := a.Counts()
	var parts []string
	for _, k := range drift.Kinds() {
		if n[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k], k))
		}
	}
	return after(": ", strings.Join(parts, ", "))
}

// mostShown is how many groups of packets, or changes, one finding prints.
const mostShown = 4

// finding prints one finding: what it is, the packets, one of them, and what
// decides on it.
func (u *ui) finding(f drift.Finding) {
	kind := fmt.Sprintf("%-10s", f.Kind)
	lines := slices.Concat(f.Packets, f.Details)
	if len(f.Packets) == 0 {
		lines = append([]string{f.Summary}, lines...)
	}
	if more := len(lines) - mostShown; more > 0 && len(f.Packets) > 0 {
		lines = append(lines[:mostShown:mostShown], fmt.Sprintf("and %d more", more))
	}
	for i, l := range lines {
		if i > 0 {
			kind = strings.Repeat(" ", len(kind))
		}
		u.print("%s %s\n", u.paint(u.stdout, driftColor[f.Kind], kind), l)
	}
	if len(f.Examples) == 0 {
		return
	}
	line := func(name, text string) { u.print("  %-8s %s\n", name, text) }
	x := f.Examples[0]
	line("packet", x.Packet)
	for _, i := range x.If {
		line("if", i)
	}
	line("host", x.Host.Verdict+after(" by ", x.Host.String()))
	for _, rule := range f.Rules {
		if rule != x.Host {
			line("or", rule.String())
		}
	}
	line("policy", x.Policy.Verdict+after(" by ", x.Policy.String()))
	if len(f.Sections) > 1 {
		line("concerns", strings.Join(f.Sections, ", "))
	}
	if f.Would != "" {
		line("then", f.Would)
	}
}
