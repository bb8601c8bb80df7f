package iptables_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/rules"
)

var update = flag.Bool("update", false, "rewrite the expected files")

// Each directory of testdata that has a policy.toml is a case: the policy, which
// begins with what the case shows, the files that it reads, and what becomes of
// it.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*/policy.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range names {
		dir := filepath.Dir(name)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			host := &rules.Host{Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), TimeZone: "UTC"}
			opt := iptables.Options{IPSet: !strings.HasPrefix(filepath.Base(dir), "without-ipset")}
			compare(t, dir, render(t, os.DirFS(dir), "policy.toml", host, opt))
		})
	}
}

// The examples of the manual, for an administrator who wonders what comes of
// them.
func TestExamples(t *testing.T) {
	names, err := fs.Glob(policies.Examples(), "*.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no examples", err)
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, ".toml")
		t.Run(name, func(t *testing.T) {
			data, err := fs.ReadFile(policies.Examples(), name+".host.json")
			if err != nil {
				t.Fatal(err)
			}
			h := &rules.Host{}
			if err := json.Unmarshal(data, h); err != nil {
				t.Fatal(err)
			}
			got := render(t, policies.Examples(), name+".toml", h, iptables.Options{IPSet: true})
			compare(t, filepath.Join("testdata", "example-"+name), got)
		})
	}
}

// render returns what becomes of a policy: the problems, the sets, and the text
// for each family.
func render(t *testing.T, fsys fs.FS, name string, h *rules.Host, opt iptables.Options) map[string]string {
	t.Helper()
	p, problems := rules.Load(fsys, name, rules.LoadOptions{Profiles: policies.Profiles()})
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	rs, problems := rules.Resolve(p, h)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	prog, problems := iptables.Render(rs, opt)
	var said string
	for _, p := range problems {
		said += p.Severity.String() + ": " + p.Error() + "\n"
	}
	return map[string]string{"problems": said, "ipset": prog.SetText(), "iptables": prog.V4.Text(), "ip6tables": prog.V6.Text()}
}

// compare holds the texts against the files of the directory, of which empty
// ones are left out.
func compare(t *testing.T, dir string, got map[string]string) {
	t.Helper()
	for name, text := range got {
		path := filepath.Join(dir, name)
		if *update {
			write(t, path, text)
		}
		want, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if text != string(want) {
			t.Errorf("%s:\n%s\nwant\n%s", path, text, want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	switch {
	case err != nil:
	case text == "":
		err = os.Remove(path)
	default:
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}
