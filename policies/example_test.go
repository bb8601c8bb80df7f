package policies_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// eachExample runs a test for every example policy.
func eachExample(t *testing.T, f func(t *testing.T, name string)) {
	files, err := fs.Glob(policies.Examples(), "*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".toml")
		t.Run(name, func(t *testing.T) { f(t, name) })
	}
}

func loadExample(t *testing.T, name string) *rules.Policy {
	t.Helper()
	p, problems := rules.Load(policies.Examples(), name+".toml", rules.LoadOptions{Profiles: policies.Profiles()})
	wantNothing(t, problems)
	return p
}

func resolveExample(t *testing.T, name string) *rules.Ruleset {
	t.Helper()
	rs, problems := rules.Resolve(loadExample(t, name), exampleHost(t, name))
	wantNothing(t, problems)
	return rs
}

// wantNothing accepts notes: an example may say "any" and nobody.
func wantNothing(t *testing.T, problems rules.Problems) {
	t.Helper()
	for _, s := range []rules.Severity{rules.Error, rules.Warning} {
		for _, p := range problems.Of(s) {
			t.Errorf("%v: %v", s, p)
		}
	}
	if problems.Err() != nil {
		t.FailNow()
	}
}

func exampleHost(t *testing.T, name string) *rules.Host {
	t.Helper()
	data, err := fs.ReadFile(policies.Examples(), name+".host.json")
	if err != nil {
		t.Fatal(err)
	}
	var h rules.Host
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		t.Fatal(err)
	}
	return &h
}

// An example that does not load teaches mistakes.
func TestExamplesLoad(t *testing.T) {
	eachExample(t, func(t *testing.T, name string) {
		rs := resolveExample(t, name)
		if len(rs.Keep) == 0 || len(rs.Tests) == 0 || len(rs.Services) == 0 {
			t.Errorf("keep %v, %d tests, %d services: an example has all of them", rs.Keep, len(rs.Tests), len(rs.Services))
		}
	})
}

// Without facts a policy can still be looked at: the host's addresses and the
// names of the DNS stay open. Only an interface's addresses need the facts.
func TestExamplesLoadWithoutFacts(t *testing.T) {
	eachExample(t, func(t *testing.T, name string) {
		_, problems := rules.Resolve(loadExample(t, name), nil)
		for _, p := range problems.Of(rules.Error) {
			if !strings.Contains(p.Hint, "--host") {
				t.Error(p)
			}
		}
	})
}

// Nothing in an example looks like a mistake, on its host or away from it.
func TestExamplesLint(t *testing.T) {
	eachExample(t, func(t *testing.T, name string) {
		wantNothing(t, rules.Lint(loadExample(t, name), resolveExample(t, name), exampleHost(t, name).Time))
	})
}

// An example's own promises hold for the packets at their edges.
func TestExamplesKeepTheirPromises(t *testing.T) {
	eachExample(t, func(t *testing.T, name string) {
		rs := resolveExample(t, name)
		for _, promise := range rs.Tests {
			trial := rs.Try(promise, rs.Host.Time)
			if trial.Packets == 0 {
				t.Errorf("%s speaks of no packet", promise.Name)
			}
			for _, w := range trial.Wrong {
				t.Errorf("%s: %v: %v by %s", promise.Name, w.Packet, w.Decision.Verdict, w.Decision.Reason)
				break
			}
		}
	})
}

// A line of testdata/packets/NAME.txt: the verdict, who made it, the packet.
type judged struct {
	line    int
	at      time.Time
	verdict string // accept, drop, reject; limited: accepted while a limit is unspent
	by      string // the rule's ID or the stage
	packet  packet.Packet
}

func readPackets(t *testing.T, path string, at time.Time) []judged {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var js []judged
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		words := strings.Fields(s.Text())
		switch {
		case len(words) == 0 || words[0][0] == '#':
		case words[0] == "at":
			at = parseTime(t, words[1])
		default:
			js = append(js, parseJudged(t, fmt.Sprintf("%s:%d", path, n), words, at))
			js[len(js)-1].line = n
		}
	}
	return js
}

func parseTime(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func parseJudged(t *testing.T, place string, words []string, at time.Time) judged {
	t.Helper()
	if len(words) < 3 {
		t.Fatalf("%s: verdict, who, packet", place)
	}
	p, err := packet.Parse(strings.Join(words[2:], " "))
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	return judged{at: at, verdict: words[0], by: words[1], packet: p}
}

// stages are the words for what decided where it was no rule.
var stages = map[string]string{
	rules.ReasonIgnored: "ignored", rules.ReasonLoopback: "loopback", rules.ReasonBaseline: "baseline",
	rules.ReasonEstablished: "established", rules.ReasonInvalid: "invalid", rules.ReasonEcho: "icmp",
	rules.ReasonDefault: "default", rules.ReasonContainer: "container", rules.ReasonRouted: "direct",
}

func say(d rules.Decision) (verdict, by string) {
	verdict, by = d.Verdict.String(), stages[d.Reason]
	if d.Limited {
		verdict = "limited"
	}
	if d.Rule != nil {
		by = d.Rule.ID()
	}
	return verdict, by
}

// Packets that must pass and packets that must not, each group under the
// sentence of the policy that it is about.
func TestExamplesDecide(t *testing.T) {
	eachExample(t, func(t *testing.T, name string) {
		rs := resolveExample(t, name)
		path := filepath.Join("testdata", "packets", name+".txt")
		for _, j := range readPackets(t, path, exampleHost(t, name).Time) {
			if verdict, by := say(rs.Decide(j.packet, j.at)); verdict != j.verdict || by != j.by {
				t.Errorf("%s:%d: %v: %s by %s, want %s by %s", path, j.line, j.packet, verdict, by, j.verdict, j.by)
			}
		}
	})
}

// Every rule of an example decides at least one of its packets, else nobody
// would notice if it did nothing. Exempt are services for this host alone and
// audiences that are nobody.
func TestExamplesPacketsReachEveryRule(t *testing.T) {
	eachExample(t, func(t *testing.T, name string) {
		rs := resolveExample(t, name)
		hit := map[string]bool{}
		for _, j := range readPackets(t, filepath.Join("testdata", "packets", name+".txt"), exampleHost(t, name).Time) {
			hit[j.by] = true
		}
		for _, list := range [][]*rules.Rule{rs.Blocks, rs.OutboundBlocks, rs.Services, rs.Outbounds, rs.Routes} {
			for _, r := range list {
				if !hit[r.ID()] && !r.From.None() && r.ID() != "service.database.clients" && r.ID() != "service.node-exporter.monitoring" {
					t.Errorf("no packet for %s", r.ID())
				}
			}
		}
	})
}

// Documents may name only addresses that are nobody's (RFC 5737, RFC 3849), and
// those that are the same everywhere.
func TestExamplesUseDocumentationAddresses(t *testing.T) {
	addressLike := regexp.MustCompile(`[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|\[?[0-9a-f]*:[0-9a-f:]*:[0-9a-f]*`)
	err := fs.WalkDir(policies.Examples(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(policies.Examples(), path)
		for _, s := range addressLike.FindAllString(string(data), -1) {
			if a, err := netip.ParseAddr(strings.Trim(s, "[")); err == nil && !isDocumentation(a) {
				t.Errorf("%s: %v is somebody's", path, a)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func isDocumentation(a netip.Addr) bool {
	for _, p := range []string{
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32",
		"0.0.0.0/32", "255.255.255.255/32", "127.0.0.0/8", "::1/128", "169.254.169.254/32",
		"224.0.0.0/4", "ff00::/8", "fe80::/10",
	} {
		if netip.MustParsePrefix(p).Contains(a) {
			return true
		}
	}
	return false
}
