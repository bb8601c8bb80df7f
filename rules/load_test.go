package rules_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

func fileSystem(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return out
}

// Settings of the including file win; what it leaves open comes from below, from
// any depth, and equal settings agree.
func TestIncludeMerges(t *testing.T) {
	fsys := fileSystem(map[string]string{
		"etc/fwctl/policy.toml":    "version = 1\ninclude = [\"conf.d/*.toml\", \"/etc/site/common.toml\", \"none/*.toml\"]\n[defaults]\ninbound = \"reject\"\n[safety]\nkeep = []\n",
		"etc/fwctl/conf.d/a.toml":  "[defaults]\ninbound = \"drop\"\nicmp = \"all\"\n[safety]\nconfirm = \"2m\"\n[service.a]\nports = [\"1/tcp\"]\nfrom = [\"site\"]\n",
		"etc/fwctl/conf.d/b.toml":  "include = [\"../../site/common.toml\"]\n[defaults]\ninbound = \"accept\"\nicmp = \"all\"\n[safety]\nconfirm = \"120s\"\nkeep = [\"a\"]\n",
		"etc/fwctl/conf.d/.c.toml": "this is not read\n",
		"etc/site/common.toml":     "[defaults]\nlog = \"denied\"\nrouted = \"drop\"\n[group.site]\naddresses = [\"10.0.0.0/8\"]\n[pf]\nanchors = [\"b\", \"a/*\"]\n",
	})
	p, problems := rules.Load(fsys, "etc/fwctl/policy.toml", rules.LoadOptions{})
	rs, more := rules.Resolve(p, nil)
	if rs == nil {
		t.Fatal(text(append(problems, more...)))
	}
	if rs.Inbound != packet.Reject || rs.ICMP != rules.ICMPAll || !rs.LogDenied || rs.Routed != rules.RoutedDrop || rs.Confirm != 2*time.Minute {
		t.Errorf("merged to\n%s", describe(rs))
	}
	if len(rs.Keep) != 0 || !slices.Equal(rs.PFAnchors, []string{"a/*", "b"}) || len(rs.Services) != 1 {
		t.Errorf("merged to\n%s", describe(rs))
	}
	var read []string
	for _, s := range p.Sources {
		read = append(read, s.Path)
	}
	want := []string{"etc/fwctl/policy.toml", "etc/fwctl/conf.d/a.toml", "etc/fwctl/conf.d/b.toml", "etc/site/common.toml"}
	if !slices.Equal(read, want) {
		t.Errorf("read %v, want %v", read, want)
	}
	var patterns []string
	for _, i := range p.Includes {
		patterns = append(patterns, i.V)
	}
	if want := []string{"etc/fwctl/conf.d/*.toml", "etc/site/common.toml", "etc/fwctl/none/*.toml", "etc/site/common.toml"}; !sameSet(patterns, want) {
		t.Errorf("include patterns %v, want %v", patterns, want)
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// Every file but the built-in profiles is put to the test of trust; a file that
// fails it is not read, and the policy cannot be used.
func TestTrust(t *testing.T) {
	files := map[string]string{
		"policy.toml": "version = 1\ninclude = [\"a.toml\"]\n[group.g]\nfile = \"g.txt\"\n[service.s]\nprofile = \"./site.toml\"\nfrom = [\"g\"]\n[service.t]\nprofile = \"ssh\"\nfrom = [\"g\"]\n",
		"a.toml":      "",
		"g.txt":       "192.0.2.1\n",
		"site.toml":   "product = \"x\"\nversions = \"1\"\nsource = \"us\"\n[audience.a]\n[port.p]\nports = [\"1/tcp\"]\naudience = \"a\"\n",
	}
	for refused := range files {
		var asked []string
		p, problems := rules.Load(fileSystem(files), "policy.toml", rules.LoadOptions{
			Profiles: policies.Profiles(),
			Display:  func(path string) string { return "/" + path },
			Trust: func(path string, info fs.FileInfo) error {
				asked = append(asked, path)
				if path == refused && info.Mode().IsRegular() {
					return errors.New("others may write it")
				}
				return nil
			},
		})
		rs, _ := rules.Resolve(p, nil)
		said := text(problems.Of(rules.Error))
		if rs != nil || !strings.Contains(said, "cannot read /"+refused+": others may write it") || strings.Count(said, ": error: ") != 1 {
			t.Errorf("%s refused: %s", refused, said)
		}
		if refused != "policy.toml" && !sameSet(asked, []string{"policy.toml", "a.toml", "g.txt", "site.toml"}) {
			t.Errorf("asked for %v", asked)
		}
	}
}

// locked is a file system in which one directory cannot be listed.
type locked struct {
	fstest.MapFS
	dir string
}

func (l locked) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == l.dir {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return l.MapFS.ReadDir(name)
}

// A directory that cannot be listed is not an empty one.
func TestIncludeFromLockedDirectory(t *testing.T) {
	fsys := locked{fileSystem(map[string]string{"etc/policy.toml": "version = 1\ninclude = [\"conf.d/*.toml\"]\n", "etc/conf.d/a.toml": ""}), "etc/conf.d"}
	_, problems := rules.Load(fsys, "etc/policy.toml", rules.LoadOptions{})
	if got := problems.Error(); got != "etc/policy.toml:2:12: cannot read etc/conf.d: permission denied" {
		t.Error(got)
	}
}

func TestLoadMissing(t *testing.T) {
	p, problems := rules.Load(fstest.MapFS{}, "etc/policy.toml", rules.LoadOptions{Display: func(s string) string { return "/" + s }})
	if got := text(problems); got != "/etc/policy.toml: error: there is no file /etc/policy.toml\n" {
		t.Errorf("%q", got)
	}
	if rs, more := rules.Resolve(p, nil); rs != nil || len(more) > 0 {
		t.Errorf("%v %v", rs, more)
	}
}

// Roles merge their rows; the audiences are those that have any.
func TestProfileRoles(t *testing.T) {
	rs := ruleset(t, `
[service.manager]
profile = "cloudify-manager"
with    = { version = "5.1", role = ["manager", "database"], cluster = true }
from    = { users = ["any"], agents = ["10.0.0.0/8"], managers = [], database = ["10.1.0.0/16"] }
`)
	var ids []string
	for _, r := range rs.Services {
		ids = append(ids, r.ID())
	}
	if len(ids) < 4 || !slices.IsSorted(ids) {
		t.Errorf("rules %v", ids)
	}
}

const twoTargets = `
product  = "Site"
versions = "1"
source   = "us"
[parameter.port]
default = 5000
[audience.peers]
[port.multicast]
ports    = ["{port}/udp"]
to       = ["224.0.0.99"]
audience = "peers"
[port.unicast]
ports        = ["{port}/udp"]
source_ports = ["{port}/udp"]
audience     = "peers"
[port.more]
ports    = ["6000/tcp"]
audience = "peers"
`

// Rows of one audience with different destinations are rules of their own;
// parameters are filled in everywhere.
func TestProfileParts(t *testing.T) {
	fsys := fileSystem(map[string]string{
		"etc/policy.toml":        "version = 1\n[service.s]\nprofile = \"profiles/site.toml\"\nwith = { port = 0x1389 }\nports = [\"7000/tcp\"]\nfrom = [\"10.0.0.0/8\"]\n",
		"etc/profiles/site.toml": twoTargets,
	})
	p, problems := rules.Load(fsys, "etc/policy.toml", rules.LoadOptions{})
	rs, more := rules.Resolve(p, nil)
	if rs == nil {
		t.Fatal(text(append(problems, more...)))
	}
	var got []string
	for _, r := range rs.Services {
		got = append(got, r.ID()+" to "+describeAddresses(r.To)+": "+describeTransports(r.Transports))
	}
	want := []string{
		"service.s to any: tcp 7000",
		"service.s.peers to any: tcp 6000; udp 5001 from port 5001",
		"service.s.peers-multicast to {224.0.0.99/32}: udp 5001",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// Each profile that comes with fwctl is right.
func TestBuiltinProfiles(t *testing.T) {
	names, err := fs.Glob(policies.Profiles(), "*.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no profiles", err)
	}
	for _, n := range names {
		p, problems := rules.LoadProfile(policies.Profiles(), strings.TrimSuffix(n, ".toml"))
		if p == nil || len(problems) > 0 {
			t.Error(text(problems))
		}
	}
}

// A device never ends, and a pipe may never begin: addresses come from files.
func TestFilesAreRegular(t *testing.T) {
	files := fileSystem(map[string]string{"p.toml": "version = 1\ninclude = [\"a.toml\"]\n[group.g]\nfile = \"zero\"\n", "a.toml": "", "zero": ""})
	files["a.toml"].Mode |= fs.ModeNamedPipe
	files["zero"].Mode |= fs.ModeDevice | fs.ModeCharDevice
	_, problems := rules.Load(files, "p.toml", rules.LoadOptions{})
	if got := text(problems); strings.Count(got, "it is not a regular file") != 2 {
		t.Error(got)
	}
	files = fileSystem(map[string]string{"p.toml": "version = 1\n"})
	files["p.toml"].Mode |= fs.ModeNamedPipe
	if _, problems := rules.Load(files, "p.toml", rules.LoadOptions{}); problems != nil {
		t.Error("the policy itself may come by a pipe:", text(problems))
	}
}

// A long line is shown around its place, control characters do not reach the
// terminal, and tabs keep the caret where it belongs.
func TestProblemText(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		problem rules.Problem
		want    string
	}{
		{rules.Problem{Summary: "s"}, "error: s\n"},
		{rules.Problem{Pos: rules.Pos{File: "f"}, Severity: rules.Warning, Summary: "s", Hint: "h"}, "f: warning: s\n      = h\n"},
		{rules.Problem{Pos: rules.Pos{File: "f", Line: 3, Col: 4}, Summary: "s", Excerpt: "\ta\té\x1b[1m"}, "f:3:4: error: s\n    3 | \ta\té·[1m\n      | \t \t^\n"},
		{rules.Problem{Pos: rules.Pos{File: "f", Line: 123456, Col: 1}, Summary: "s", Excerpt: long}, "f:123456:1: error: s\n123456 | " + long[:100] + "...\n       | ^\n"},
		{rules.Problem{Pos: rules.Pos{File: "f", Line: 1, Col: 301}, Summary: "s", Excerpt: long}, "f:1:301: error: s\n    1 | ..." + long[:50] + "\n      | " + strings.Repeat(" ", 53) + "^\n"},
	} {
		if got := c.problem.Text(); got != c.want {
			t.Errorf("got\n%q\nwant\n%q", got, c.want)
		}
	}
}

// The examples are as they should be: lint warns of nothing in them.
func TestExamplesHaveNoWarnings(t *testing.T) {
	names, err := fs.Glob(policies.Examples(), "*.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no examples", err)
	}
	for _, name := range names {
		p, problems := rules.Load(policies.Examples(), name, rules.LoadOptions{Profiles: policies.Profiles()})
		rs, more := rules.Resolve(p, readHost(t, "../policies/examples/"+strings.TrimSuffix(name, ".toml")+".host.json"))
		problems = append(problems, more...)
		if rs != nil {
			problems = append(problems, rules.Lint(p, rs, now)...)
		}
		for _, x := range problems {
			if x.Severity != rules.Note {
				t.Error(x.Text())
			}
		}
	}
}
