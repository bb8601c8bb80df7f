package rules_test

import (
	"encoding/json"
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

var update = flag.Bool("update", false, "rewrite what the cases expect")

// now is the day on which lint looks at the cases.
var now = time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)

// badCase is one wrong policy: CASE/policy.toml and what else it needs, perhaps
// CASE/host.json, and in CASE/want what fwctl says about it.
type badCase struct {
	name  string
	files fstest.MapFS
	host  *rules.Host
	want  *part
}

// casesOf splits an archive into its cases, in order.
func casesOf(t *testing.T, a *archive) []*badCase {
	t.Helper()
	var list []*badCase
	byName := map[string]*badCase{}
	for _, p := range a.parts {
		name, path, ok := strings.Cut(p.name, "/")
		if !ok {
			t.Fatalf("%s: want CASE/FILE", p.name)
		}
		c := byName[name]
		if c == nil {
			c = &badCase{name: name, files: fstest.MapFS{}}
			byName[name] = c
			list = append(list, c)
		}
		c.add(t, path, p)
	}
	return list
}

func (c *badCase) add(t *testing.T, path string, p *part) {
	t.Helper()
	switch path {
	case "want":
		c.want = p
	case "host.json":
		if err := json.Unmarshal([]byte(p.text), &c.host); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
	default:
		c.files[path] = &fstest.MapFile{Data: []byte(p.text), Mode: 0o644}
	}
}

// problems returns all that fwctl says about the case.
func (c *badCase) problems() rules.Problems {
	p, problems := rules.Load(c.files, "policy.toml", rules.LoadOptions{Profiles: policies.Profiles()})
	rs, more := rules.Resolve(p, c.host)
	problems = append(problems, more...)
	if rs != nil {
		problems = append(problems, rules.Lint(p, rs, now)...)
	}
	problems.Sort()
	return problems
}

func text(ps rules.Problems) string {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.Text())
	}
	return b.String()
}

// Every wrong policy is told exactly what is wrong with it, where, and what to
// write instead; a policy that is only doubtful gets warnings and notes.
func TestBadPolicies(t *testing.T) {
	for _, path := range caseFiles(t) {
		a := readArchive(t, path)
		for _, c := range casesOf(t, a) {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar")+"/"+c.name, c.run)
		}
		if *update {
			a.write(t, path)
		}
	}
}

func caseFiles(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("../testdata/bad/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	return paths
}

func (c *badCase) run(t *testing.T) {
	got := text(c.problems())
	switch {
	case c.want == nil:
		t.Fatal("no want")
	case *update:
		c.want.text = got
	case got == "":
		t.Error("nothing is said about it")
	}
	if diff := cmp.Diff(c.want.text, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// At least eighty policies are refused, so that the table covers the language.
func TestBadPoliciesAreMany(t *testing.T) {
	refused := 0
	for _, path := range caseFiles(t) {
		for _, c := range casesOf(t, readArchive(t, path)) {
			if c.problems().Err() != nil {
				refused++
			}
		}
	}
	if refused < 80 {
		t.Errorf("%d policies are refused, want at least 80", refused)
	}
}
