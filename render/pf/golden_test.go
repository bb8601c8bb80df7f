package pf

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

var update = flag.Bool("update", false, "rewrite the expected files")

// load reads a policy with the facts that stand beside it.
func load(t *testing.T, fsys fs.FS, name string) *rules.Ruleset {
	t.Helper()
	p, problems := rules.Load(fsys, name+".toml", rules.LoadOptions{Profiles: policies.Profiles()})
	var h rules.Host
	data, err := fs.ReadFile(fsys, name+".host.json")
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	rs, more := rules.Resolve(p, &h)
	if err := append(problems, more...).Err(); err != nil {
		t.Fatal(err)
	}
	return rs
}

// cases are the policies of the golden files, by name.
func cases(t *testing.T) map[string]*rules.Ruleset {
	t.Helper()
	all := map[string]*rules.Ruleset{}
	for _, fsys := range []fs.FS{policies.Examples(), os.DirFS("testdata")} {
		files, err := fs.Glob(fsys, "*.toml")
		if err != nil || len(files) == 0 {
			t.Fatal("no policies", err)
		}
		for _, f := range files {
			name := strings.TrimSuffix(f, ".toml")
			all[name] = load(t, fsys, name)
		}
	}
	return all
}

// Every example in every dialect and form, and what is said about it.
func TestGolden(t *testing.T) {
	for name, rs := range cases(t) {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			for _, d := range allDialects {
				for _, f := range allForms {
					prog, problems := Render(rs, Options{Dialect: d, Form: f})
					fmt.Fprintf(&said, "# %v, %v\n", d, f)
					for _, p := range problems {
						fmt.Fprintf(&said, "%v: %v\n", p.Severity, p)
					}
					golden(t, prog, filepath.Join("testdata", name, fmt.Sprintf("%v.%v.conf", d, f)))
				}
			}
			expect(t, filepath.Join("testdata", name, "problems.txt"), said.String())
		})
	}
}

// golden compares a program with a file; a policy that is refused has none.
func golden(t *testing.T, prog *Program, file string) {
	t.Helper()
	if prog == nil {
		if _, err := os.Stat(file); err == nil && *update {
			err = os.Remove(file)
			if err != nil {
				t.Fatal(err)
			}
		} else if err == nil {
			t.Errorf("%s exists, but the policy is refused", file)
		}
		return
	}
	text := prog.Text()
	if _, err := parse(text, prog.Dialect, prog.Form); err != nil {
		t.Errorf("%s: %v", file, err)
	}
	expect(t, file, text)
}

func expect(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it with -update", err)
	}
	if line, differ := firstDifference(string(want), text); differ {
		t.Errorf("%s differs; look at it after -update:\n%s", file, line)
	}
}

// firstDifference shows the first line in which two texts differ.
func firstDifference(want, got string) (string, bool) {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "(end)", "(end)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n want %s\n  got %s", i+1, a, b), true
		}
	}
	return "", false
}
