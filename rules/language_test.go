package rules_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	_ "time/tzdata" // the zones, wherever the test runs

	"github.com/google/go-cmp/cmp"
	"go4.org/netipx"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

const languageDir = "../testdata/language"

func languageHost(t *testing.T) *rules.Host {
	t.Helper()
	return readHost(t, languageDir+"/host.json")
}

func readHost(t *testing.T, path string) *rules.Host {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := &rules.Host{}
	if err := json.Unmarshal(data, h); err != nil {
		t.Fatal(err)
	}
	return h
}

// The policy that shows the whole language loads as it stands, with a host and
// without, and means what meaning.txt says.
func TestLanguage(t *testing.T) {
	p, problems := rules.Load(os.DirFS(languageDir), "policy.toml", rules.LoadOptions{Profiles: policies.Profiles()})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, h := range []*rules.Host{nil, languageHost(t)} {
		rs, problems := rules.Resolve(p, h)
		if rs == nil {
			t.Fatal(text(problems))
		}
		fmt.Fprintf(&b, "== host known: %v ==\n%s\n%s%s", h != nil, describe(rs), text(problems), text(rules.Lint(p, rs, now)))
		for _, test := range rs.Tests {
			if trial := rs.Try(test, now); trial.Packets == 0 || len(trial.Wrong) > 0 {
				t.Errorf("[test.%s]: %d packets, wrong: %v", test.Name, trial.Packets, trial.Wrong)
			}
		}
	}
	b.WriteString("== read ==\n")
	for _, s := range p.Sources {
		fmt.Fprintf(&b, "%s %s\n", s.Kind, s.Path)
	}
	golden(t, languageDir+"/meaning.txt", b.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", path, diff)
	}
}

// describe writes all that a ruleset means.
func describe(rs *rules.Ruleset) string {
	var b strings.Builder
	fmt.Fprintf(&b, "inbound %v, outbound %v, routed %d, published %d, icmp %d, log denied %v, containers %v\n",
		rs.Inbound, rs.Outbound, rs.Routed, rs.Published, rs.ICMP, rs.LogDenied, rs.ContainerInterfaces)
	fmt.Fprintf(&b, "keep %v, confirm %v, cut %v, anchors %v\n", rs.Keep, rs.Confirm, rs.Cut, rs.PFAnchors)
	for _, list := range [][]*rules.Rule{rs.Services, rs.Blocks, rs.OutboundBlocks, rs.Outbounds, rs.Routes} {
		for _, r := range list {
			b.WriteString(describeRule(r) + "\n")
		}
	}
	for _, g := range rs.Groups {
		b.WriteString(describeGroup(g) + "\n")
	}
	for _, n := range rs.Nevers {
		fmt.Fprintf(&b, "never %s %s: %s (%s)\n", n.Service, n.Name, describeTransports(n.Transports), n.Doc)
	}
	for _, a := range rs.Accepts {
		fmt.Fprintf(&b, "accept %s: %s %s (%s) until %v\n", a.Name, a.Finding, a.Match, a.Reason, a.Expires)
	}
	for _, t := range rs.Tests {
		fmt.Fprintf(&b, "test %s: %v from %s except %s to %s %s: %v\n", t.Name, t.Hook,
			describeAddresses(t.Match.From), describeAddresses(t.Except), describeAddresses(t.Match.To), describeTransports(t.Match.Transports), t.Expect)
	}
	return b.String()
}

func describeRule(r *rules.Rule) string {
	s := fmt.Sprintf("%s: from %s to %s in %v: %s", r.ID(), describeAddresses(r.From), describeAddresses(r.To), r.In, describeTransports(r.Transports))
	if r.Limit.Count > 0 {
		s += fmt.Sprintf(", %d per %v", r.Limit.Count, r.Limit.Per)
	}
	if !r.Expires.IsZero() {
		s += fmt.Sprintf(", until %v", r.Expires)
	}
	if r.Log {
		s += ", logged"
	}
	for _, x := range []string{r.Profile, r.Owner, r.Reason} {
		if x != "" {
			s += fmt.Sprintf(", %q", x)
		}
	}
	if r.Expect != (rules.Expect{}) {
		tls := "any"
		if r.Expect.TLS != nil {
			tls = fmt.Sprint(*r.Expect.TLS)
		}
		s += fmt.Sprintf(", expect user %q process %q unit %q listen %v tls %s", r.Expect.User, r.Expect.Process, r.Expect.Unit, r.Expect.Listen, tls)
	}
	return s
}

func describeGroup(g *rules.Group) string {
	s := "group " + g.Name + ":"
	for _, t := range g.Terms {
		s += fmt.Sprintf(" %v%s", t.In, describeSet(t.Set))
	}
	if g.Host {
		s += " host"
	}
	if len(g.Unresolved) > 0 {
		s += fmt.Sprintf(" unresolved %v", g.Unresolved)
	}
	if g.File != "" {
		s += " from " + g.File
	}
	return s
}

func describeAddresses(a rules.Addresses) string {
	var parts []string
	if a.Any {
		parts = append(parts, "any")
	}
	if a.Host {
		parts = append(parts, "host")
	}
	for _, g := range a.Groups {
		parts = append(parts, g.Name)
	}
	if a.Set != nil {
		parts = append(parts, describeSet(a.Set))
	}
	if a.None() {
		return "nobody"
	}
	return strings.Join(parts, " ")
}

// describeSet writes the ranges of a set, of a large one their number.
func describeSet(set *netipx.IPSet) string {
	if n := len(set.Ranges()); n > 20 {
		return fmt.Sprintf("{%d ranges}", n)
	}
	var parts []string
	for _, r := range set.Ranges() {
		if p, ok := r.Prefix(); ok {
			parts = append(parts, p.String())
		} else {
			parts = append(parts, r.String())
		}
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func describeTransports(ts []rules.Transport) string {
	var parts []string
	for _, t := range ts {
		s := t.Proto.String()
		if t.Any {
			s = "all protocols"
		}
		if len(t.Dst) > 0 {
			s += " " + t.Dst.String()
		}
		if len(t.Src) > 0 {
			s += " from port " + t.Src.String()
		}
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, "; ")
}
