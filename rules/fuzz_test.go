package rules_test

import (
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// FuzzLoad: whatever the file holds, loading and all that comes after it ends
// without a panic; every problem has a place in a file that was read; and a
// ruleset comes out if, and only if, no error was found.
func FuzzLoad(f *testing.F) {
	for _, seed := range policySeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(checkLoad)
}

var fuzzHost = &rules.Host{
	Name: "h", OS: "linux", TimeZone: "Europe/Berlin", Time: now,
	Interfaces: []rules.Interface{{Name: "eth1", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("fe80::1/64")}}},
	Names:      map[string][]netip.Addr{"api.partner.example": {netip.MustParseAddr("203.0.113.77")}},
}

func checkLoad(t *testing.T, data []byte) {
	files := fstest.MapFS{
		"policy.toml":              {Data: data},
		"cdn.txt":                  {Data: []byte("192.0.2.0/24\n2001:db8::/32 # here\n")},
		"etc/fwctl/common.toml":    {Data: []byte("[group.common]\naddresses = [\"192.0.2.9\"]\n")},
		"conf.d/self.toml":         {Data: []byte("include = [\"../policy.toml\"]\n")},
		"site.toml":                {Data: data},
		"conf.d/addresses.txt":     {Data: data},
		"conf.d/sub/whatever.toml": {Data: []byte("[defaults]\ninbound = \"drop\"\n")},
	}
	p, problems := rules.Load(files, "policy.toml", rules.LoadOptions{Profiles: policies.Profiles()})
	checkPlaces(t, files, problems)
	for _, h := range []*rules.Host{nil, fuzzHost} {
		rs, more := rules.Resolve(p, h)
		checkPlaces(t, files, more)
		if broken := problems.Err() != nil || more.Err() != nil; broken != (rs == nil) {
			t.Fatalf("errors: %v, ruleset: %v\n%v", broken, rs != nil, append(problems, more...))
		}
		if rs != nil {
			checkPlaces(t, files, rules.Lint(p, rs, now))
			for _, test := range rs.Tests {
				rs.Try(test, now)
			}
		}
	}
}

func checkPlaces(t *testing.T, files fstest.MapFS, ps rules.Problems) {
	t.Helper()
	for _, p := range ps {
		if p.Summary == "" || p.Pos.File == "" || p.Pos.Line < 1 {
			t.Fatalf("a problem without its place: %#v", p)
		}
		if text := p.Text(); !strings.HasSuffix(text, "\n") {
			t.Fatalf("text without its end: %q", text)
		}
		f := files[p.Pos.File]
		if f == nil {
			if !strings.HasPrefix(p.Pos.File, "built-in profile ") {
				t.Fatalf("a place in no file: %v", p)
			}
			continue
		}
		lines := strings.Split(string(f.Data), "\n")
		if p.Pos.Line > len(lines) || p.Pos.Col > len(lines[p.Pos.Line-1])+1 {
			t.Fatalf("a place outside of the file: %v", p)
		}
	}
}

// policySeeds are the policies that others tests use.
func policySeeds(f *testing.F) [][]byte {
	f.Helper()
	var seeds [][]byte
	for _, dir := range []fs.FS{policies.Examples(), policies.Profiles(), os.DirFS(languageDir)} {
		names, err := fs.Glob(dir, "*.toml")
		if err != nil || len(names) == 0 {
			f.Fatalf("no seeds: %v", err)
		}
		for _, n := range names {
			data, err := fs.ReadFile(dir, n)
			if err != nil {
				f.Fatal(err)
			}
			seeds = append(seeds, data)
		}
	}
	for _, path := range caseFiles(f) {
		for _, p := range readArchive(f, path).parts {
			if strings.HasSuffix(p.name, ".toml") {
				seeds = append(seeds, []byte(p.text))
			}
		}
	}
	return append(seeds, []byte(everyStage))
}

// FuzzLines does the same with lines of right and wrong policies in any
// order: two bytes choose a line. It gets deeper than bytes at random.
func FuzzLines(f *testing.F) {
	var lines []string
	seen := map[string]bool{}
	for _, seed := range policySeeds(f) {
		for line := range strings.Lines(string(seed)) {
			if !seen[line] && !strings.HasPrefix(line, "#") {
				seen[line] = true
				lines = append(lines, line)
			}
		}
	}
	f.Add([]byte("a policy of few lines, taken from anywhere"))
	f.Fuzz(func(t *testing.T, choice []byte) {
		text := "version = 1\n"
		for i := 0; i+1 < len(choice) && i < 120; i += 2 {
			text += lines[(int(choice[i])<<8|int(choice[i+1]))%len(lines)]
		}
		checkLoad(t, []byte(text))
	})
}
