package policies

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/fwctl/fwctl/rules"
)

var update = flag.Bool("update", false, "rewrite the expected ports in testdata/profiles")

// choice is what one service says of a profile: with = { … }.
type choice struct {
	text string
	with map[string]any
}

func readChoice(t *testing.T, text string) choice {
	t.Helper()
	c := choice{text: strings.Trim(text, "()")}
	var doc struct{ With map[string]any }
	if _, err := toml.Decode("with = { "+c.text+" }", &doc); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	c.with = doc.With
	return c
}

// value is what the parameter is under the choice, as conditions write it;
// several for a list of roles.
func (c choice) value(p profile, name string) []string {
	v, given := c.with[name]
	if !given {
		v = p.Parameter[name].Default
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, x := range list {
		out = append(out, fmt.Sprint(x))
	}
	return out
}

// counts reports whether the row counts under the choice.
func (c choice) counts(p profile, r row) bool {
	for _, cond := range r.When {
		name, values, compares := strings.Cut(strings.TrimPrefix(cond, "!"), "=")
		want, negated := strings.Split(values, "|"), strings.HasPrefix(cond, "!")
		if !compares {
			want = []string{"true"}
		} else if strings.HasSuffix(name, "!") {
			name, negated = strings.TrimSuffix(name, "!"), true
		}
		met := slices.ContainsFunc(c.value(p, name), func(v string) bool { return slices.Contains(want, v) != negated })
		if !met {
			return false
		}
	}
	return true
}

// audiences are those that have a row under the choice, sorted.
func (c choice) audiences(p profile) []string {
	var out []string
	for _, r := range p.Port {
		if c.counts(p, r) {
			out = append(out, r.Audience)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ruleset is what a policy means that uses the profile with the choice, each
// audience being everybody.
func (c choice) ruleset(t *testing.T, name string, p profile) *rules.Ruleset {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "version = 1\n[service.it]\nprofile = %q\nwith = { %s }\nfrom = {", name, c.text)
	for i, a := range c.audiences(p) {
		fmt.Fprintf(&b, "%s %s = [\"any\"]", strings.Repeat(",", min(i, 1)), a)
	}
	b.WriteString(" }\n")
	return resolvePolicy(t, b.String(), nil)
}

// opened writes what the services open, a line for each audience and transport.
func opened(rs *rules.Ruleset) string {
	var lines []string
	for _, r := range rs.Services {
		for _, x := range r.Transports {
			lines = append(lines, fmt.Sprintf("%s: %s\n", r.Part, openedBy(r, x)))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func openedBy(r *rules.Rule, x rules.Transport) string {
	s := x.Proto.String()
	if len(x.Dst) > 0 {
		s = x.Dst.String() + "/" + s
	}
	if len(x.Src) > 0 {
		s += " from port " + x.Src.String()
	}
	if r.To.Set != nil {
		var to []string
		for _, p := range r.To.Set.Prefixes() {
			to = append(to, strings.TrimSuffix(strings.TrimSuffix(p.String(), "/32"), "/128"))
		}
		s += " to " + strings.Join(to, ", ")
	}
	return s
}

// The exact ports that each profile opens to each audience, for the choices that
// testdata/profiles/NAME.txtar has in its headings: what the policy writes between
// the braces of with = { … }.
func TestProfilesOpen(t *testing.T) {
	eachProfile(t, func(t *testing.T, name string, p profile) {
		path := goldenPath(name)
		golden := readArchive(t, path)
		for i, part := range golden.parts {
			got := opened(readChoice(t, part.name).ruleset(t, name, p))
			if *update {
				golden.parts[i].data = got
			} else if got != part.data {
				t.Errorf("%s opens\n%swant\n%s", part.name, got, part.data)
			}
		}
		if *update {
			if err := os.WriteFile(path, []byte(golden.String()), 0o644); err != nil {
				t.Error(err)
			}
		}
	})
}

func goldenPath(name string) string { return filepath.Join("testdata", "profiles", name+".txtar") }

// Each row is open under one of the choices, and closed under another unless it
// has no condition: else a condition could be wrong without being seen.
func TestEveryRowIsOpenedSomewhere(t *testing.T) {
	eachProfile(t, func(t *testing.T, name string, p profile) {
		golden := readArchive(t, goldenPath(name))
		for n, r := range p.Port {
			var open, closed bool
			for _, part := range golden.parts {
				counts := readChoice(t, part.name).counts(p, r)
				open, closed = open || counts, closed || !counts
			}
			if !open || !closed && len(r.When) > 0 {
				t.Errorf("row %s: seen open %v, seen closed %v", n, open, closed)
			}
		}
	})
}
