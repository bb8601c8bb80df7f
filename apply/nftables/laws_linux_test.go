package nftables_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	apply "github.com/fwctl/fwctl/apply/nftables"
	live "github.com/fwctl/fwctl/live/nftables"
	render "github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// A second apply of the same policy sends nothing.
func TestSecondApplySendsNothing(t *testing.T) {
	namespace(t)
	prog := program(t, full)
	mustApply(t, prog)
	before := generation(t)
	if sent := mustApply(t, prog); len(sent) != 0 {
		t.Errorf("second apply sends\n%s", strings.Join(sent, "\n"))
	}
	if after := generation(t); after != before {
		t.Errorf("the generation went from %d to %d", before, after)
	}
}

func generation(t *testing.T) uint32 {
	t.Helper()
	g, err := apply.Generation(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A small change of the policy is a small change of the kernel.
func TestOnlyTheDifferenceIsSent(t *testing.T) {
	for _, c := range []struct{ name, old, new, sent string }{
		{"an address in a group", `"198.51.100.0/24", `, `"198.51.100.0/24", "203.0.113.77", `,
			"add 1 elements to office.v4"},
		{"an address beside another", `"198.51.100.0/24", `, `"198.51.100.0/24", "198.51.101.0", `,
			"delete 1 elements of office.v4; add 1 elements to office.v4"},
		{"an address less in the middle", `"198.51.100.0/24", `, `"198.51.100.0-198.51.100.9", "198.51.100.11-198.51.100.255", `,
			"delete 1 elements of office.v4; add 2 elements to office.v4"},
		{"a port", `"80/tcp", `, `"80/tcp", "88/tcp", `,
			"add 1 elements to input.ports"},
		{"a port less", `"80/tcp", `, ``,
			"delete 1 elements of input.ports"},
		{"a plain service", "[block.scanners]", "[service.smtps]\nports = [\"465/tcp\"]\nfrom = [\"office\"]\n[block.scanners]",
			"add 1 elements to input.ports"},
		{"a service for one address", "[block.scanners]", "[service.nrpe]\nports = [\"5666/tcp\"]\nfrom = [\"203.0.113.99\"]\n[block.scanners]",
			"add 1 elements to input.from4"},
		{"a block", "[block.scanners]", "[block.more]\nfrom = [\"203.0.113.1\"]\n[block.scanners]",
			`add rule blocks: ip saddr 203.0.113.1 counter drop comment "block.more"`},
		{"the default", `inbound = "reject"`, `inbound = "drop"`,
			"delete rule input: handle N defaults.inbound; delete rule input: handle N defaults.inbound; delete rule input: handle N defaults.inbound; delete rule input: handle N defaults.inbound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			namespace(t)
			mustApply(t, program(t, full))
			changed := strings.Replace(full, c.old, c.new, 1)
			if changed == full {
				t.Fatal("the policy did not change")
			}
			sent := handles.ReplaceAllString(strings.Join(mustApply(t, program(t, changed)), "; "), "handle N")
			if sent != c.sent {
				t.Errorf("sent %q, want %q", sent, c.sent)
			}
		})
	}
}

var handles = regexp.MustCompile(`handle \d+`)

// listing is what nft shows of our table, without what counts or comes and goes, and
// with the program's names of sets.
func listing(t *testing.T) string {
	t.Helper()
	out := counters.ReplaceAllString(nft(t, "list", "table", "inet", "fwctl"), "counter")
	return sortElements(successors.ReplaceAllString(out, "$1"))
}

var (
	successors = regexp.MustCompile(`((?:@|set |map )[^\s/]+)/\d+\b`)
	counters   = regexp.MustCompile(`counter packets \d+ bytes \d+`)
	elements   = regexp.MustCompile(`(?s)elements = \{(.*?)\}`)
)

// sortElements puts objects, and the elements of sets, into one order: the
// kernel lists objects by age and elements of hash sets in none.
func sortElements(s string) string {
	head, rest, _ := strings.Cut(s, "\n")
	objects := strings.Split(strings.TrimSuffix(rest, "}\n"), "\n\n")
	for i := range objects {
		objects[i] = strings.Trim(objects[i], "\n")
	}
	slices.Sort(objects)
	s = head + "\n" + strings.Join(objects, "\n\n") + "\n}\n"
	return elements.ReplaceAllStringFunc(s, func(m string) string {
		parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(m, "elements = {"), "}"), ",")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		slices.Sort(parts)
		return "elements = { " + strings.Join(parts, ", ") + " }"
	})
}

// Whatever stood before, after an apply the kernel has what a fresh one makes,
// but for base chains that were needed before: they stay, empty.
func TestAnyPolicyAfterAnyOther(t *testing.T) {
	namespace(t)
	rng := rand.New(rand.NewPCG(1, 2))
	sections := strings.Split(full, "\n[")
	policy := func() string {
		kept := []string{sections[0]}
		for _, s := range sections[1:] {
			optional := strings.HasPrefix(s, "service.") || strings.HasPrefix(s, "block.") || strings.HasPrefix(s, "route.") || strings.HasPrefix(s, "outbound.")
			if !optional || strings.HasPrefix(s, "service.ssh]") || rng.IntN(3) > 0 {
				kept = append(kept, s)
			}
		}
		s := strings.Join(kept, "\n[")
		s = strings.Replace(s, `inbound = "reject"`, `inbound = "`+[]string{"drop", "reject", "accept"}[rng.IntN(3)]+`"`, 1)
		if rng.IntN(2) == 0 {
			s = strings.Replace(s, "192.0.2.200-192.0.2.220", fmt.Sprintf("192.0.2.%d-192.0.2.220", rng.IntN(200)), 1)
		}
		return s
	}
	for range 40 {
		p := program(t, policy())
		mustApply(t, p)
		got := listing(t)
		if sent := mustApply(t, p); len(sent) > 0 {
			t.Fatalf("second apply sends\n%s", strings.Join(sent, "\n"))
		}
		again := t.TempDir() + "/again.nft"
		if err := os.WriteFile(again, []byte(p.Text()), 0o600); err != nil {
			t.Fatal(err)
		}
		fresh := func() string {
			// In a namespace of its own, so that this one keeps its history.
			out, err := exec.Command("unshare", "-n", "sh", "-c", "nft -f "+again+" && nft list table inet fwctl").CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return sortElements(counters.ReplaceAllString(string(out), "counter"))
		}()
		if got != fresh {
			t.Fatalf("after a change:\n%s\nafresh:\n%s", got, fresh)
		}
	}
}

// Counters, and the memory of limits, survive a change elsewhere.
func TestCountersAndLimitsSurvive(t *testing.T) {
	namespace(t)
	mustApply(t, program(t, full))
	nft(t, "add", "element", "inet", "fwctl", "service.ssh-world.limit.10-minute.v4", "{ 203.0.113.1 limit rate 10/minute burst 10 packets }")
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "ip", "addr", "add", "198.51.100.1/32", "dev", "lo")
	count := func() string {
		return regexp.MustCompile(`counter packets (\d+) bytes \d+ drop comment "defaults.outbound"`).FindStringSubmatch(nft(t, "list", "chain", "inet", "fwctl", "output"))[1]
	}
	run(t, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
	run(t, "ip", "link", "set", "v0", "up")
	run(t, "ip", "link", "set", "v1", "up")
	run(t, "ip", "route", "add", "192.0.2.0/24", "dev", "v0")
	for range 3 {
		_ = exec.Command("sh", "-c", "echo x > /dev/udp/192.0.2.9/9").Run()
		_ = exec.Command("bash", "-c", "echo x > /dev/udp/192.0.2.9/9").Run()
	}
	before := count()
	if before == "0" {
		t.Fatal("no packet was counted")
	}
	mustApply(t, program(t, strings.Replace(full, `"80/tcp", `, `"80/tcp", "81/tcp", `, 1)))
	if after := count(); after != before {
		t.Errorf("the counter went from %s to %s", before, after)
	}
	if set := nft(t, "list", "set", "inet", "fwctl", "service.ssh-world.limit.10-minute.v4"); !strings.Contains(set, "203.0.113.1") {
		t.Errorf("the limit forgot its source:\n%s", set)
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

const foreign = `
table inet f2b-table {
	set addr-set-sshd { type ipv4_addr; elements = { 203.0.113.5 } }
	chain f2b-chain { type filter hook input priority filter - 1; policy accept; tcp dport 22 ip saddr @addr-set-sshd reject; }
}
table ip docker-bridges {
	map forward-in { type ifname : verdict; elements = { "docker0" : accept } }
	chain filter-FORWARD { type filter hook forward priority filter; policy accept; iifname vmap @forward-in; counter; }
}
table ip filter {
	chain ufw-user-input { tcp dport 22 accept; }
	chain DOCKER-USER { return; }
	chain INPUT { type filter hook input priority filter; policy accept; counter jump ufw-user-input; }
}
`

// Nothing of anybody else's is touched, whatever is done.
func TestForeignTablesStay(t *testing.T) {
	namespace(t)
	file := filepath.Join(t.TempDir(), "foreign.nft")
	if err := os.WriteFile(file, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	nft(t, "-f", file)
	tables := func() string {
		return nft(t, "-a", "list", "table", "inet", "f2b-table") + nft(t, "-a", "list", "table", "ip", "docker-bridges") + nft(t, "-a", "list", "table", "ip", "filter")
	}
	before := tables()
	mustApply(t, program(t, full))
	mustApply(t, program(t, strings.Replace(full, `"80/tcp", `, ``, 1)))
	if _, err := apply.Remove(context.Background()); err != nil {
		t.Fatal(err)
	}
	if after := tables(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// Whatever somebody did to the table, an apply puts it right.
func TestTamperingIsPutRight(t *testing.T) {
	for _, cmd := range []string{
		"flush chain inet fwctl input",
		"flush chain inet fwctl blocks",
		"insert rule inet fwctl input accept",
		"add rule inet fwctl from.office counter accept",
		"add element inet fwctl office.v4 { 203.0.113.0/24 }",
		"delete element inet fwctl office.v4 { 198.51.100.0/24 }",
		"delete element inet fwctl input.ports { tcp . 22 }",
		"add element inet fwctl input.ports { tcp . 23 : accept }",
		"add chain inet fwctl mine; add rule inet fwctl mine accept; insert rule inet fwctl input jump mine",
		"add set inet fwctl other { type ipv4_addr; elements = { 10.0.0.1 } }; insert rule inet fwctl input ip saddr @other accept",
		"add chain inet fwctl input { policy accept; }",
		"flush table inet fwctl",
		"delete table inet fwctl",
		"add table inet fwctl { flags dormant; }",
		"delete chain inet fwctl forward",
		"delete table inet fwctl; add table inet fwctl; add chain inet fwctl input { type filter hook input priority 10; policy accept; }",
		"delete table inet fwctl; add table inet fwctl; add set inet fwctl office.v4 { type ipv6_addr; }; add chain inet fwctl input { type filter hook input priority 0; policy drop; }; add rule inet fwctl input ip6 saddr @office.v4 accept",
		"delete table inet fwctl; add table inet fwctl; add chain inet fwctl from.office { type filter hook output priority 0; }",
	} {
		t.Run(cmd, func(t *testing.T) {
			namespace(t)
			prog := program(t, full)
			mustApply(t, prog)
			want := listing(t)
			nft(t, cmd)
			if sent := mustApply(t, prog); len(sent) == 0 {
				t.Error("nothing was sent")
			}
			if got := listing(t); got != want {
				t.Errorf("before:\n%s\nafter:\n%s", want, got)
			}
			if sent := mustApply(t, prog); len(sent) > 0 {
				t.Errorf("then it sends\n%s", strings.Join(sent, "\n"))
			}
		})
	}
}

// While others commit all the time, an apply ends: done, or with a clear error
// and nothing changed.
func TestOthersCommitMeanwhile(t *testing.T) {
	namespace(t)
	other := exec.Command("sh", "-c", `nft add table ip other; while :; do nft 'add chain ip other c; flush chain ip other c; add rule ip other c accept'; done`)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	done := 0
	for i := range 20 {
		prog := program(t, strings.Replace(full, `"80/tcp", `, fmt.Sprintf(`"80/tcp", "%d/tcp", `, 10000+i), 1))
		_, err := apply.Apply(context.Background(), prog, nil)
		switch {
		case err == nil:
			done++
		case !errors.Is(err, live.ErrUnstable):
			t.Fatal(err)
		}
	}
	t.Logf("%d of 20 applies went through", done)
	if done == 0 {
		t.Error("no apply went through")
	}
}

// A group of a million addresses loads, and one address more is one element.
func TestMillionAddresses(t *testing.T) {
	namespace(t)
	feed := func(extra string) []byte {
		b := []byte(extra)
		a := netip.MustParseAddr("10.0.0.0")
		for range 1_000_000 {
			b = append(append(b, a.String()...), '\n')
			a = a.Next().Next().Next()
		}
		return b
	}
	prog := func(extra string) *render.Program {
		return resolved(t, must(rules.Load(fstest.MapFS{
			"policy.toml": {Data: []byte("version = 1\n[group.cdn]\nfile = \"cdn.txt\"\n[service.web]\nports = [\"443/tcp\"]\nfrom = [\"cdn\"]\n")},
			"cdn.txt":     {Data: feed(extra)},
		}, "policy.toml", rules.LoadOptions{}))(t))
	}
	first, second := prog(""), prog("192.0.2.1\n")
	start := time.Now()
	if r, err := apply.Apply(context.Background(), first, nil); err != nil || len(r.Unread) != 1 {
		t.Fatalf("%v %v", r, err)
	}
	t.Logf("loaded in %v", time.Since(start))
	r, err := apply.Apply(context.Background(), second, func() *render.Program { return first })
	if err != nil || !slices.Equal(r.Changes, []string{"add 1 elements to cdn.v4"}) {
		t.Fatalf("%v %v", r, err)
	}
	t.Logf("one more after %v", time.Since(start))
	if n := elementCount(t, "cdn.v4"); n != 1_000_001 {
		t.Errorf("the set holds %d ranges", n)
	}
	if r, err := apply.Apply(context.Background(), second, func() *render.Program { return second }); err != nil || len(r.Changes) > 0 {
		t.Errorf("second apply: %v %v", r, err)
	}
}

// elementCount is the kernel's count: to ask nft for one element makes it read a
// million.
func elementCount(t *testing.T, set string) uint32 {
	t.Helper()
	c, err := live.Dial(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table, _, err := c.Table(context.Background(), 1, "fwctl", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range table.Sets {
		if s.Name == set {
			return s.Count
		}
	}
	t.Fatalf("no set %s", set)
	return 0
}
