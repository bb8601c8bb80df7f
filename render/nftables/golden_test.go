package nftables_test

import (
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

var update = flag.Bool("update", false, "rewrite the expected files")

// ruleset loads and resolves a policy, for the host of the file if there is one.
func ruleset(t *testing.T, fsys fs.FS, policy, host string) *rules.Ruleset {
	t.Helper()
	h := &rules.Host{OS: "linux", Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), TimeZone: "UTC"}
	if data, err := fs.ReadFile(fsys, host); err == nil {
		if err := json.Unmarshal(data, h); err != nil {
			t.Fatal(err)
		}
	}
	p, ps := rules.Load(fsys, policy, rules.LoadOptions{Profiles: policies.Profiles()})
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	rs, ps := rules.Resolve(p, h)
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	return rs
}

// compare holds the text against the file, or writes it there.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is rendered now:\n%s", file, got)
	}
}

// What becomes of each example policy.
func TestExamples(t *testing.T) {
	names, err := fs.Glob(policies.Examples(), "*.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no examples", err)
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, ".toml")
		t.Run(name, func(t *testing.T) {
			p, ps := nftables.Render(ruleset(t, policies.Examples(), name+".toml", name+".host.json"))
			if ps.Err() != nil {
				t.Fatal(ps)
			}
			compare(t, filepath.Join("testdata", "example-"+name+".nft"), p.Text())
		})
	}
}

// What becomes of small policies, each of which begins with what it shows.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			p, ps := nftables.Render(ruleset(t, os.DirFS("testdata"), filepath.Base(name), ""))
			if ps.Err() != nil {
				t.Fatal(ps)
			}
			compare(t, strings.TrimSuffix(name, ".toml")+".nft", p.Text())
		})
	}
}

// A name that is not resolved is a note and nobody.
func TestUnresolvedNameIsNoted(t *testing.T) {
	const policy = "version = 1\n[group.partner]\nnames = [\"api.partner.example\"]\n[service.web]\nports = [\"443/tcp\"]\nfrom = [\"partner\"]\n"
	p, ps := rules.Load(fstest.MapFS{"p.toml": {Data: []byte(policy)}}, "p.toml", rules.LoadOptions{})
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	rs, _ := rules.Resolve(p, nil)
	prog, ps := nftables.Render(rs)
	if len(ps.Of(rules.Note)) != 1 || !strings.Contains(ps.Error(), "api.partner.example") {
		t.Errorf("problems: %v", ps)
	}
	if text := prog.Text(); !strings.Contains(text, "chain from.partner {\n\t}") {
		t.Errorf("the group is not nobody:\n%s", text)
	}
}
