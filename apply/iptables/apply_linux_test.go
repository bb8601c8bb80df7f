package iptables_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	apply "github.com/fwctl/fwctl/apply/iptables"
	"github.com/fwctl/fwctl/internal/gen"
	render "github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/rules"
)

// namespace moves the test's thread into a network namespace of its own, which
// ends with the thread.
func namespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		missing(t, "no network namespace: %v", err)
	}
}

func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// each runs a test in a fresh namespace for both variants.
func each(t *testing.T, test func(*testing.T, *lab)) {
	t.Helper()
	for _, v := range []apply.Variant{apply.NFT, apply.Legacy} {
		t.Run(string(v), func(t *testing.T) {
			namespace(t)
			test(t, open(t, apply.Options{Variant: v}))
		})
	}
}

// lab is iptables in one variant and a namespace of the test.
type lab struct {
	*testing.T
	*apply.Conn
	infix string // of its programs' names
}

func open(t *testing.T, opt apply.Options) *lab {
	t.Helper()
	c, err := apply.Open(context.Background(), opt)
	if err != nil {
		missing(t, "%v", err)
	}
	infix := "-nft"
	if c.Variant == apply.Legacy {
		infix = "-legacy"
	}
	return &lab{t, c, infix}
}

func (l *lab) policy(text string) *render.Program { return l.host(text, &rules.Host{}, nil) }

func (l *lab) host(text string, h *rules.Host, files map[string]string) *render.Program {
	l.Helper()
	fsys := fstest.MapFS{"policy.toml": {Data: []byte("version = 1\n" + text)}}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	p, ps := rules.Load(fsys, "policy.toml", rules.LoadOptions{})
	if err := ps.Err(); err != nil {
		l.Fatal(err)
	}
	h.Time, h.TimeZone = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "UTC"
	rs, ps := rules.Resolve(p, h)
	if err := ps.Err(); err != nil {
		l.Fatal(err)
	}
	prog, ps := render.Render(rs, render.Options{IPSet: l.IPSet})
	if err := ps.Err(); err != nil {
		l.Fatal(err)
	}
	return prog
}

func (l *lab) apply(p *render.Program) []string {
	l.Helper()
	changes, err := l.Apply(context.Background(), p)
	if err != nil {
		l.Fatal(err)
	}
	return changes
}

// run runs a program of the lab's variant: "iptables", "ip6tables-save".
func (l *lab) run(input, name string, args ...string) string {
	l.Helper()
	family, verb, _ := strings.Cut(name, "-")
	if strings.HasSuffix(family, "tables") {
		name = family + l.infix
		if verb != "" {
			name += "-" + verb
		}
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// save is what iptables-save prints, without comments and counters.
func (l *lab) save(command string) string {
	l.Helper()
	var lines []string
	for _, line := range strings.Split(l.run("", command+"-save"), "\n") {
		if !strings.HasPrefix(line, "#") {
			line, _, _ = strings.Cut(line, " [")
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// foreign is what iptables-save prints of others.
func (l *lab) foreign(command string) string {
	l.Helper()
	lines := strings.Split(l.save(command), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return strings.Contains(s, "FWCTL-") }), "\n")
}

const everything = `
[defaults]
inbound = "reject"
outbound = "drop"
routed = "drop"
icmp = "all"
log = "denied"
[group.office]
addresses = ["198.51.100.0/24", "2001:db8:1::/48", "192.0.2.200-192.0.2.220"]
[group.mgmt]
interfaces = ["eth1", "wg*"]
addresses = ["10.20.0.0/16", "fd00::/8"]
[service.ssh]
ports = ["22/tcp"]
from = ["office"]
shared = true
[service.ssh-world]
ports = ["22/tcp"]
from = ["any"]
limit = "7/minute"
shared = true
log = true
[service.ssh-slow]
ports = ["22/tcp"]
from = ["any"]
limit = "300/hour"
shared = true
[service.many]
ports = ["1-2/tcp","4/tcp","6/tcp","8/tcp","10/tcp","12/tcp","14/tcp","16/tcp","18/tcp","20/tcp","30/tcp","32/tcp","34/tcp","36/tcp","38/tcp","5060/udp"]
from = ["any"]
[service.migration]
ports = ["9000-9010/tcp"]
source_ports = ["1024-65535/tcp"]
from = ["198.51.100.7", "203.0.113.0/25"]
expires = 2031-03-31
log = true
[service.a-very-long-name-for-a-service-indeed]
ports = ["8000/tcp"]
from = ["office", "mgmt"]
[service.vrrp]
protocols = ["vrrp", "ospf", "gre"]
to = ["224.0.0.18"]
from = ["mgmt"]
[service.stream]
ports = ["36412/sctp", "80/dccp", "81/udplite"]
from = ["mgmt"]
in = ["eth1"]
[service.host]
ports = ["7000/tcp"]
to = ["host"]
from = ["any"]
[service.twin]
protocols = ["any"]
from = ["192.0.2.254"]
[block.scanners]
from = ["203.0.113.128/25", "fe80::/10", "192.0.2.99", "192.0.2.97"]
ports = ["22/tcp", "80/tcp"]
[block.spoofed]
from = ["host"]
[block.metadata]
direction = "outbound"
to = ["169.254.169.254"]
[outbound.dns]
to = ["10.20.0.53"]
ports = ["53/udp", "53/tcp"]
[route.vpn]
from = ["mgmt"]
to = ["10.30.0.0/16", "10.50.0.0/16", "10.70.0.0/16"]
ports = ["443/tcp"]
`

func TestSecondApplySendsNothing(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		p := l.policy(everything)
		if changes := l.apply(p); len(changes) == 0 {
			t.Fatal("nothing changed")
		}
		if changes := l.apply(p); len(changes) != 0 {
			t.Errorf("the second apply changed\n%s", strings.Join(changes, "\n"))
		}
		if plan, err := l.Plan(context.Background(), p); err != nil || len(plan) != 0 {
			t.Errorf("plan after apply: %v, %v", plan, err)
		}
	})
}

// The text of the rendering, loaded by hand, is what apply wants.
func TestRenderedTextIsWhatApplyWants(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		p := l.policy(everything)
		if p.SetText() != "" {
			l.run(p.SetText(), "ipset", "restore")
		}
		l.run(p.V4.Text(), "iptables-restore", "--noflush")
		l.run(p.V6.Text(), "ip6tables-restore", "--noflush")
		if plan, err := l.Plan(context.Background(), p); err != nil || len(plan) != 0 {
			t.Errorf("plan: %v, %v", strings.Join(plan, "\n"), err)
		}
	})
}

const small = `
[group.office]
addresses = ["198.51.100.1", "198.51.100.3", "198.51.100.5"]
[service.ssh]
ports = ["22/tcp"]
from = ["office"]
[service.web]
ports = ["80/tcp"]
from = ["any"]
`

func TestOnlyTheDifferenceIsSent(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		l.apply(l.policy(small))
		for _, c := range []struct{ what, policy string }{
			{"an address", strings.Replace(small, `"198.51.100.5"`, `"198.51.100.5", "198.51.100.7"`, 1)},
			{"a service", small + "[service.dns]\nports = [\"53/udp\"]\nfrom = [\"192.0.2.53\"]\n"},
			{"a port", strings.Replace(small, `"80/tcp"`, `"80/tcp", "443/tcp"`, 1)},
		} {
			changes := l.apply(l.policy(c.policy))
			// In each family a rule comes; for the port one goes, too.
			if len(changes) > 4 || len(changes) == 0 {
				t.Errorf("%s changes\n%s", c.what, strings.Join(changes, "\n"))
			}
			l.apply(l.policy(small))
		}
	})
}

func TestCountersAndLimitsSurvive(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		const limited = "[service.game]\nports = [\"27015/udp\"]\nfrom = [\"any\"]\nlimit = \"3/hour\"\n"
		l.apply(l.policy(small + limited))
		// Packets from the host to itself, once the rule for loopback is gone.
		l.run("", "ip", "link", "set", "lo", "up")
		l.run("", "iptables", "-D", "FWCTL-INPUT", "1")
		send := func(n int) {
			for range n {
				l.run("", "bash", "-c", "echo x >/dev/udp/127.0.0.1/27015; exit 0")
			}
		}
		send(5)
		table, err := filepath.Glob("/proc/thread-self/net/ipt_hashlimit/fwctl-game-*")
		if err != nil || len(table) != 1 {
			t.Fatalf("tables of limits: %v, %v", table, err)
		}
		const game = "-A FWCTL-INPUT/new -p udp -m udp --dport 27015"
		before := l.run("", "iptables-save", "-c")
		if c := counterOf(before, game); !strings.HasPrefix(c, "[3:") {
			t.Fatalf("five packets under a limit of three: %s accepted\n%s", c, before)
		}
		changes := l.apply(l.policy(small + limited + "[service.dns]\nports = [\"53/udp\"]\nfrom = [\"192.0.2.53\"]\n"))
		after := l.run("", "iptables-save", "-c")
		if !slices.ContainsFunc(changes, func(s string) bool { return strings.Contains(s, "service.dns") }) {
			t.Errorf("changes: %v", changes)
		}
		for _, c := range []string{game, "-A FWCTL-INPUT/new -m comment --comment \"defaults", "-A FWCTL-INPUT -m conntrack"} {
			if b, a := counterOf(before, c), counterOf(after, c); a != b {
				t.Errorf("%s counted %s, then %s", c, b, a)
			}
		}
		// The limit is still spent: packets from the same source are refused.
		l.run("", "iptables", "-D", "FWCTL-INPUT", "1")
		send(2)
		if was, is := counterOf(after, game), counterOf(l.run("", "iptables-save", "-c"), game); is != was {
			t.Errorf("the limit forgot its sources: accepted %s, then %s", was, is)
		}
	})
}

// counterOf is the counter of the first rule that begins so.
func counterOf(save, rule string) string {
	for _, line := range strings.Split(save, "\n") {
		if i := strings.Index(line, rule); i >= 0 {
			return line[:i]
		}
	}
	return "no such rule"
}

// foreignRules are those of Docker, fail2ban and ufw in their usual shape.
const foreignRules = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:f2b-sshd - [0:0]
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
-A INPUT -j ufw-before-input
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
-A f2b-sshd -s 203.0.113.66/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-user-input -p tcp -m tcp --dport 22 -m comment --comment "dapp_OpenSSH" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
`

func TestForeignRulesStay(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		l.run(foreignRules, "iptables-restore")
		l.run("*filter\n:INPUT ACCEPT [0:0]\n:ufw6-input - [0:0]\n-A INPUT -j ufw6-input\nCOMMIT\n", "ip6tables-restore")
		before4, before6 := l.save("iptables"), l.save("ip6tables")
		same := func(what string) {
			if l.foreign("iptables") != before4 || l.foreign("ip6tables") != before6 {
				t.Errorf("after %s:\n%s\nwas\n%s", what, l.foreign("iptables"), before4)
			}
		}
		l.apply(l.policy(everything))
		same("apply")
		l.apply(l.policy(small))
		same("another apply")
		if changes, err := l.Remove(context.Background()); err != nil || len(changes) == 0 {
			t.Fatalf("remove: %v, %v", changes, err)
		}
		same("remove")
		if l.save("iptables") != before4 || l.save("ip6tables") != before6 {
			t.Errorf("something is left:\n%s", l.save("iptables"))
		}
		if there, err := l.Present(context.Background()); err != nil || there {
			t.Errorf("present after remove: %v, %v", there, err)
		}
	})
}

func TestJumpStandsFirstAndOnce(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		p := l.policy(small)
		l.apply(p)
		want := l.save("iptables")
		l.run("", "iptables", "-I", "INPUT", "1", "-i", "tailscale0", "-j", "ACCEPT")
		l.run("", "iptables", "-A", "INPUT", "-j", "FWCTL-INPUT")
		l.run("", "iptables", "-A", "FORWARD", "-j", "FWCTL-INPUT")
		l.apply(p)
		l.run("", "iptables", "-D", "INPUT", "-i", "tailscale0", "-j", "ACCEPT")
		if got := l.save("iptables"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestTamperingIsPutRight(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		p := l.policy(everything)
		l.apply(p)
		want := l.save("iptables")
		l.run("", "iptables", "-D", "FWCTL-INPUT", "2")
		l.run("", "iptables", "-I", "FWCTL-INPUT/new", "1", "-j", "RETURN")
		l.run("", "iptables", "-N", "FWCTL-left-over")
		l.run("", "iptables", "-A", "FWCTL-left-over", "-g", "FWCTL-INPUT/new")
		l.run("", "iptables", "-F", "FWCTL-INPUT/deny")
		if changes := l.apply(p); len(changes) == 0 {
			t.Error("nothing changed")
		}
		if got := l.save("iptables"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func big(n int) map[string]string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "10.%d.%d.%d\n2001:db8:%x:%x::/64\n", i>>15&255, i>>7&255, i<<1&255, i>>15, i<<1&0xffff)
	}
	return map[string]string{"feed.txt": b.String()}
}

func TestGroupsBecomeSets(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		if !l.IPSet {
			missing(t, "no ipset")
		}
		const policy = "[group.feed]\nfile = \"feed.txt\"\n[service.web]\nports = [\"80/tcp\", \"443/tcp\"]\nfrom = [\"feed\"]\n"
		first := l.host(policy, &rules.Host{}, big(100))
		if changes := l.apply(first); len(first.Sets) != 2 || len(changes) == 0 {
			t.Fatalf("%d sets, %v", len(first.Sets), changes)
		}
		if changes := l.apply(first); len(changes) != 0 {
			t.Errorf("the second apply changed %v", changes)
		}
		// Somebody empties a set: its name no longer says what it holds.
		l.run("", "ipset", "flush", first.Sets[0].Name)
		l.run("", "ipset", "create", "fwctl-~new", "hash:ip")
		if changes := l.apply(first); len(changes) != 2 {
			t.Errorf("a flushed set and one that was left half made: %v", changes)
		}
		second := l.host(policy, &rules.Host{}, big(101))
		l.apply(second)
		if names := strings.Fields(l.run("", "ipset", "list", "-n")); len(names) != 2 || slices.Contains(names, first.Sets[0].Name) {
			t.Errorf("sets after the change: %v", names)
		}
		if _, err := l.Remove(context.Background()); err != nil {
			t.Fatal(err)
		}
		if names := l.run("", "ipset", "list", "-n"); names != "" {
			t.Errorf("sets after remove: %s", names)
		}
	})
}

// odd is a feed of n single addresses, none beside another.
func odd(n int) map[string]string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "10.%d.%d.%d\n", i>>15&255, i>>7&255, i<<1&255)
	}
	return map[string]string{"feed.txt": b.String()}
}

const feedPolicy = "[group.feed]\nfile = \"feed.txt\"\n[service.web]\nports = [\"80/tcp\"]\nfrom = [\"feed\"]\n"

func TestMillionAddresses(t *testing.T) {
	namespace(t)
	l := open(t, apply.Options{})
	if !l.IPSet {
		missing(t, "no ipset")
	}
	p := l.host(feedPolicy, &rules.Host{}, odd(1_000_000))
	start := time.Now()
	l.apply(p)
	first := time.Since(start)
	start = time.Now()
	if changes := l.apply(p); len(changes) > 0 {
		t.Errorf("the second apply changes %v", changes)
	}
	t.Logf("%d elements; first apply %v, second %v", len(p.Sets[0].Elements), first, time.Since(start))
}

// A large set is counted, not read.
func TestLargeSetLacksAMember(t *testing.T) {
	namespace(t)
	l := open(t, apply.Options{})
	if !l.IPSet {
		missing(t, "no ipset")
	}
	p := l.host(feedPolicy, &rules.Host{}, odd(70_000))
	l.apply(p)
	l.run("", "ipset", "del", p.Sets[0].Name, "10.0.0.0")
	if changes := l.apply(p); len(changes) != 1 {
		t.Errorf("a member is missing: %v", changes)
	}
}

func TestWithoutIPSet(t *testing.T) {
	for _, v := range []apply.Variant{apply.NFT, apply.Legacy} {
		t.Run(string(v), func(t *testing.T) {
			namespace(t)
			l := open(t, apply.Options{Variant: v, NoIPSet: true})
			p := l.host("[group.feed]\nfile = \"feed.txt\"\n[service.web]\nports = [\"80/tcp\", \"443/tcp\"]\nfrom = [\"feed\"]\n", &rules.Host{}, big(300))
			if len(p.Sets) != 0 {
				t.Fatalf("%d sets", len(p.Sets))
			}
			l.apply(p)
			if changes := l.apply(p); len(changes) != 0 {
				t.Errorf("the second apply changed %d things", len(changes))
			}
		})
	}
}

// The second family fails: the first is put back.
func TestFailureChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		l.apply(l.policy(small))
		want4, want6 := l.save("iptables"), l.save("ip6tables")
		p := l.policy(everything)
		for _, f := range []*render.Family{&p.V4, &p.V6} {
			c := f.Chains[len(f.Chains)-1]
			good := c.Rules
			c.Rules = append(slices.Clone(good), render.Rule{Verdict: render.Verdict{Target: "FWCTL-missing"}})
			_, err := l.Apply(context.Background(), p)
			if err == nil || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("error %v", err)
			}
			if got4, got6 := l.save("iptables"), l.save("ip6tables"); got4 != want4 || got6 != want6 {
				t.Errorf("after a failure:\n%s\n%s\nwas\n%s\n%s", got4, got6, want4, want6)
			}
			c.Rules = good
		}
		l.apply(p)
	})
}

func TestCancelled(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := l.Apply(ctx, l.policy(small)); err == nil {
			t.Error("no error")
		}
		if there, err := l.Present(context.Background()); err != nil || there {
			t.Errorf("present: %v, %v", there, err)
		}
	})
}

func TestVariantInUse(t *testing.T) {
	namespace(t)
	l := open(t, apply.Options{})
	if l.Why != "it is what iptables runs" {
		t.Errorf("on an empty host: %s, because %s", l.Variant, l.Why)
	}
	open(t, apply.Options{Variant: apply.Legacy}).run("", "iptables", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP")
	if l = open(t, apply.Options{}); l.Variant != apply.Legacy || l.Why != "it holds the host's rules" {
		t.Errorf("legacy rules: %s, because %s", l.Variant, l.Why)
	}
	l.apply(l.policy(small))
	open(t, apply.Options{Variant: apply.NFT}).run("", "iptables", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP")
	if l = open(t, apply.Options{}); l.Variant != apply.Legacy || l.Why != "it holds fwctl's chains" || len(l.Notes) != 1 {
		t.Errorf("rules in both: %s, because %s, %v", l.Variant, l.Why, l.Notes)
	}
}

// Whatever stood before, an apply ends in what the policy says, and the next one
// has nothing to do.
func TestAnyPolicyAfterAnyOther(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		for seed := range uint64(25) {
			rs, problems := gen.Load(gen.Policy(rand.New(rand.NewPCG(seed, 3)), gen.Options{}), gen.Host())
			if rs == nil {
				t.Fatal(problems)
			}
			p, problems := render.Render(rs, render.Options{IPSet: l.IPSet && seed%3 > 0})
			if problems.Err() != nil {
				continue
			}
			l.apply(p)
			if changes := l.apply(p); len(changes) > 0 {
				t.Fatalf("policy %d: the second apply changes\n%s", seed, strings.Join(changes, "\n"))
			}
		}
	})
}

// The kernel takes every limit that the rendering says it can keep, and
// iptables-save spells it in a way that is recognised.
func TestLimitsOfAllSizes(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		var b strings.Builder
		for i, limit := range []string{
			"1/second", "7/second", "999/second", "10000/second", "1/minute", "7/minute", "300/minute", "70000/minute", "600000/minute",
			"1/hour", "7/hour", "300/hour", "7777/hour", "1000000/hour", "1/day", "7/day", "300/day", "86400/day", "99999/day", "1000000/day",
		} {
			fmt.Fprintf(&b, "[service.s%d]\nports = [\"%d/tcp\"]\nfrom = [\"any\"]\nlimit = %q\n", i, i+1, limit)
		}
		p := l.policy(b.String())
		l.apply(p)
		if changes := l.apply(p); len(changes) > 0 {
			t.Errorf("the second apply changes\n%s", strings.Join(changes, "\n"))
		}
	})
}

// Others insert and delete rules while fwctl works: both get their way.
func TestOthersWriteMeanwhile(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		done := make(chan error, 1)
		script := fmt.Sprintf("for i in $(seq 40); do iptables%s -w 5 -I INPUT 1 -s 192.0.2.1 -j DROP && iptables%s -w 5 -A INPUT -s 192.0.2.$i -j DROP && iptables%s -w 5 -D INPUT -s 192.0.2.1 -j DROP || exit 1; done", l.infix, l.infix, l.infix)
		others := exec.Command("sh", "-c", script)
		if err := others.Start(); err != nil { // in this thread's namespace
			t.Fatal(err)
		}
		go func() { done <- others.Wait() }()
		for running := true; running; {
			l.apply(l.policy(everything))
			l.apply(l.policy(small))
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("the others failed: %v", err)
				}
				running = false
			default:
			}
		}
		l.apply(l.policy(small))
		if n := strings.Count(l.foreign("iptables"), "-A INPUT -s 192.0.2."); n != 40 {
			t.Errorf("of the 40 rules of others %d are there", n)
		}
	})
}

// An address family that is switched off still gets its rules: it may be
// switched on again.
func TestIPv6Disabled(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		l.run("", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
		l.apply(l.policy(small))
		if !strings.Contains(l.save("ip6tables"), "-j FWCTL-INPUT") {
			t.Error("no rules for IPv6")
		}
	})
}

// A prefix reaches another namespace.
func TestPrefix(t *testing.T) {
	namespace(t)
	inner := exec.Command("unshare", "--net", "sleep", "60")
	if err := inner.Start(); err != nil {
		missing(t, "%v", err)
	}
	defer func() { _ = inner.Process.Kill(); _ = inner.Wait() }()
	time.Sleep(200 * time.Millisecond)
	l := open(t, apply.Options{Variant: apply.Legacy, Prefix: []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", inner.Process.Pid)}})
	l.apply(l.policy(small))
	if there, err := l.Present(context.Background()); err != nil || !there {
		t.Errorf("present in the other namespace: %v, %v", there, err)
	}
	if there, err := open(t, apply.Options{Variant: apply.Legacy}).Present(context.Background()); err != nil || there {
		t.Errorf("present in this one: %v, %v", there, err)
	}
}

func TestTenThousandServices(t *testing.T) {
	var b strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&b, "[service.s%d]\nports = [\"%d/tcp\"]\nfrom = [\"10.%d.%d.0/24\"]\n", i, 1000+i, i>>8, i&255)
	}
	for _, noSet := range []bool{false, true} {
		for _, v := range []apply.Variant{apply.NFT, apply.Legacy} {
			t.Run(fmt.Sprintf("%s,noipset=%v", v, noSet), func(t *testing.T) {
				namespace(t)
				l := open(t, apply.Options{Variant: v, NoIPSet: noSet})
				p := l.policy(b.String())
				start := time.Now()
				l.apply(p)
				first := time.Since(start)
				start = time.Now()
				if changes := l.apply(p); len(changes) != 0 {
					t.Errorf("the second apply changed %d things", len(changes))
				}
				t.Logf("%d sets, %d rules; first apply %v, second %v", len(p.Sets), len(p.V4.Chains[2].Rules), first, time.Since(start))
			})
		}
	}
}
