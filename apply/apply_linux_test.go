package apply_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// inNamespace runs the test in a network namespace of its own, which the kernel
// removes with the thread.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the runtime then ends the thread, and the namespace with it
	ns, err := netns.New()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace: %v", err)
		}
		t.Skipf("needs root and network namespaces: %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	run(t, "ip link set lo up")
}

func run(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// host is a host's policy file and directories, for one test.
type host struct {
	t      *testing.T
	policy string
	apply.Options
}

const sshOnly = `version = 1
[defaults]
published = "ignore"
[service.ssh]
ports = ["22/tcp"]
from = ["198.51.100.0/24"]
`

func newHost(t *testing.T, policy string) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{t: t, policy: filepath.Join(dir, "policy.toml")}
	h.Options = apply.Options{
		Files:    os.DirFS("/"),
		Policy:   strings.TrimPrefix(h.policy, "/"),
		Load:     rules.LoadOptions{Profiles: policies.Profiles()},
		StateDir: filepath.Join(dir, "state"),
		RunDir:   filepath.Join(dir, "run"),
		Backend:  apply.Auto,
	}
	h.write(policy)
	return h
}

func (h *host) write(policy string) {
	h.t.Helper()
	if err := os.WriteFile(h.policy, []byte(policy), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) apply() *apply.Outcome {
	h.t.Helper()
	out, err := apply.Apply(h.t.Context(), h.Options)
	if err != nil {
		h.t.Fatal(err)
	}
	if out.Changed && (out.Proof == nil || !out.Proof.Proved) {
		h.t.Errorf("changed and not proved: %+v", out.Proof)
	}
	return out
}

func (h *host) status() *apply.Status {
	h.t.Helper()
	s, err := apply.Look(h.t.Context(), h.Options)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *host) boot() *apply.Booted {
	h.t.Helper()
	b, err := apply.Boot(h.t.Context(), h.Options)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// table is the own table as nft lists it, without counters.
func table(t *testing.T) string { return run(t, "nft -s list table inet fwctl") }

func TestApplyTwiceSendsNothing(t *testing.T) {
	inNamespace(t)
	h := newHost(t, sshOnly)
	first := h.apply()
	if !first.Changed || len(first.Changes) == 0 || first.Backend != apply.NFTables {
		t.Fatalf("first apply: %+v", first)
	}
	if second := h.apply(); second.Changed || len(second.Changes) > 0 {
		t.Errorf("second apply: %+v", second)
	}
	// Without the record of the first it has to look, and finds the same.
	if err := os.Remove(filepath.Join(h.RunDir, "applied.json")); err != nil {
		t.Errorf("no record was left: %v", err)
	}
	if third := h.apply(); third.Changed || len(third.Changes) > 0 {
		t.Errorf("third apply: %+v", third)
	}
	if s := h.status(); !s.Good() {
		t.Errorf("status %+v", s)
	}
}

// The short way of an unchanged apply must not overlook a change, whoever made it.
func TestUnchangedIsNotAssumed(t *testing.T) {
	changes := map[string]func(*host){
		"the kernel's rules": func(h *host) { run(h.t, "nft flush chain inet fwctl input") },
		"the table is gone":  func(h *host) { run(h.t, "nft delete table inet fwctl") },
		"the policy":         func(h *host) { h.write(strings.Replace(sshOnly, "22/tcp", "23/tcp", 1)) },
		"an included file":   func(h *host) { h.include("ssh2.toml", "[service.ssh2]\nports = [\"2222/tcp\"]\nfrom = [\"any\"]\n") },
		"the addresses":      func(h *host) { run(h.t, "ip address add 192.0.2.10/24 dev lo") },
		"the state": func(h *host) {
			if err := os.RemoveAll(h.StateDir); err != nil {
				h.t.Fatal(err)
			}
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			h := newHost(t, "include = [\"conf.d/*.toml\"]\n"+sshOnly+"[service.own]\nports = [\"9/tcp\"]\nfrom = [\"any\"]\nto = [\"host\"]\n")
			h.apply()
			change(h)
			h.apply()
			if s := h.status(); !s.Good() {
				t.Errorf("after the second apply: %+v", s)
			}
		})
	}
}

// include writes a file that the policy includes.
func (h *host) include(name, text string) {
	h.t.Helper()
	dir := filepath.Join(filepath.Dir(h.policy), "conf.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func TestApplyLeavesOthersAlone(t *testing.T) {
	inNamespace(t)
	run(t, `nft 'table inet f2b-table { set addr-set-sshd { type ipv4_addr; elements = { 203.0.113.9 }; };
		chain f2b-chain { type filter hook input priority -1; tcp dport 22 ip saddr @addr-set-sshd reject; }; }'
		iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN`)
	before := run(t, "nft list ruleset")
	h := newHost(t, sshOnly)
	h.Backend = apply.NFTables
	h.apply()
	h.apply()
	if _, err := apply.Off(t.Context(), h.Options); err != nil {
		t.Fatal(err)
	}
	if after := run(t, "nft list ruleset"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// A policy that cannot be used changes nothing, neither kernel nor state.
func TestRefusedPolicyChangesNothing(t *testing.T) {
	inNamespace(t)
	h := newHost(t, sshOnly)
	h.apply()
	before := table(t)
	h.write(sshOnly + "[service.web]\nports = [\"80/tcp\"]\nfrom = [\"nobody-knows\"]\n")
	var refused *apply.RefusedError
	if _, err := apply.Apply(t.Context(), h.Options); !errors.As(err, &refused) || refused.Problems.Err() == nil {
		t.Fatalf("got %v, want a RefusedError", err)
	}
	if table(t) != before {
		t.Error("the kernel changed")
	}
	h.write(sshOnly)
	if s := h.status(); !s.Good() {
		t.Errorf("status %+v", s)
	}
}

func TestBootNeedsNeitherPolicyNorInterfaces(t *testing.T) {
	h := newHost(t, sshOnly+"[service.own]\nports = [\"9/tcp\"]\nfrom = [\"any\"]\nto = [\"@eth7\"]\n")
	var before string
	t.Run("first run of the kernel", func(t *testing.T) {
		inNamespace(t)
		run(t, "ip link add eth7 type veth peer name eth8; ip address add 192.0.2.77/24 dev eth7")
		h.t = t
		h.apply()
		before = table(t)
	})
	if before == "" {
		t.Skip("needs root and network namespaces")
	}
	if err := os.Remove(h.policy); err != nil {
		t.Fatal(err)
	}
	t.Run("after a reboot", func(t *testing.T) {
		inNamespace(t)
		h.t = t
		if b := h.boot(); !b.Changed || b.Loaded != "confirmed" {
			t.Errorf("boot: %+v", b)
		}
		if after := table(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		if b := h.boot(); b.Changed {
			t.Errorf("second boot: %+v", b)
		}
		// Nothing is read to know that, but a change by others is seen.
		run(t, "nft flush chain inet fwctl input")
		if b := h.boot(); !b.Changed || table(t) != before {
			t.Errorf("boot after a change by others: %+v", b)
		}
	})
}

// What cannot be read is passed over, down to a set that still lets the kept
// services in.
func TestBootFallsBack(t *testing.T) {
	inNamespace(t)
	h := newHost(t, sshOnly)
	h.apply()
	first := table(t)
	h.write(sshOnly + "[service.web]\nports = [\"80/tcp\"]\nfrom = [\"any\"]\n")
	h.apply()
	spoil := func(name string) {
		t.Helper()
		path := filepath.Join(h.StateDir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 0x40
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "nft delete table inet fwctl")
	}

	spoil("confirmed")
	if b := h.boot(); b.Loaded != "previous" || len(b.Warnings) == 0 {
		t.Errorf("confirmed damaged: %+v", b)
	}
	if got := table(t); got != first {
		t.Errorf("previous policy:\n%s\nwant:\n%s", got, first)
	}

	spoil("previous")
	if b := h.boot(); b.Loaded != "keep" || len(b.Warnings) == 0 {
		t.Errorf("both damaged: %+v", b)
	}
	if got := table(t); !strings.Contains(got, "service.ssh") || strings.Contains(got, "service.web") {
		t.Errorf("kept set:\n%s", got)
	}

	spoil("keep")
	if b := h.boot(); b.Loaded != "keep" || len(b.Warnings) == 0 {
		t.Errorf("all damaged: %+v", b)
	}
	if got := table(t); strings.Contains(got, "service.ssh") || !strings.Contains(got, "drop") {
		t.Errorf("last resort:\n%s", got)
	}
}

func TestBootWithoutState(t *testing.T) {
	inNamespace(t)
	h := newHost(t, sshOnly)
	if _, err := apply.Boot(t.Context(), h.Options); !errors.Is(err, apply.ErrNothingConfirmed) {
		t.Errorf("got %v", err)
	}
	if out := run(t, "nft list tables"); out != "" {
		t.Errorf("tables: %s", out)
	}
}

// Off stays off over a boot, until the next apply.
func TestOffStaysOff(t *testing.T) {
	inNamespace(t)
	h := newHost(t, sshOnly)
	h.apply()
	out, err := apply.Off(t.Context(), h.Options)
	if err != nil || !out.Changed {
		t.Fatalf("off: %+v, %v", out, err)
	}
	if b := h.boot(); b.Off == nil || b.Changed {
		t.Errorf("boot: %+v", b)
	}
	if s := h.status(); s.Off == nil || s.Good() {
		t.Errorf("status: %+v", s)
	}
	if again, err := apply.Off(t.Context(), h.Options); err != nil || again.Changed {
		t.Errorf("off again: %+v, %v", again, err)
	}
	h.apply()
	if s := h.status(); !s.Good() {
		t.Errorf("status after apply: %+v", s)
	}
	es, err := apply.NewStore(h.StateDir).History()
	var actions []string
	for _, e := range es {
		actions = append(actions, e.Action)
	}
	if want := []string{"apply", "off", "apply"}; err != nil || !slices.Equal(actions, want) {
		t.Errorf("history %q, %v; want %q", actions, err, want)
	}
}

// Translated ports have to be spoken of.
func TestPublishedPortsMustBeSpokenOf(t *testing.T) {
	tests := map[string]struct {
		published string
		refused   bool
	}{
		"not said": {"", true},
		"enforce":  {`published = "enforce"`, false},
		"ignore":   {`published = "ignore"`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			run(t, "nft 'table ip nat { chain PREROUTING { type nat hook prerouting priority -100; tcp dport 8080 dnat to 172.17.0.2:80; }; }'")
			h := newHost(t, strings.Replace(sshOnly, `published = "ignore"`, tt.published, 1))
			h.Backend = apply.NFTables
			_, err := apply.Apply(t.Context(), h.Options)
			var published *apply.PublishedError
			if refused := errors.As(err, &published); refused != tt.refused || !refused && err != nil {
				t.Fatalf("got %v", err)
			}
			if tt.refused && (published.Translations[0].Ports != "8080" || len(published.Closing) != 1) {
				t.Errorf("listed %v, of them closing %v", published.Translations, published.Closing)
			}
		})
	}
}

// A state that cannot be written shows before the kernel is touched.
func TestFullDiskChangesNothing(t *testing.T) {
	inNamespace(t)
	h := newHost(t, sshOnly)
	h.apply()
	before := table(t)
	run(t, "mount -t tmpfs -o size=16k none "+h.StateDir)
	t.Cleanup(func() { run(t, "umount "+h.StateDir) })
	run(t, "head -c 100000 /dev/zero > "+h.StateDir+"/fill || true")
	h.write(strings.Replace(sshOnly, "22/tcp", "2222/tcp", 1))
	if _, err := apply.Apply(t.Context(), h.Options); err == nil {
		t.Fatal("applied on a full disk")
	}
	if table(t) != before {
		t.Error("the kernel changed")
	}
	if left, _ := filepath.Glob(filepath.Join(h.StateDir, ".*-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// When the state cannot be put in force after the kernel has changed, the kernel
// goes back to what it held.
func TestFailedCommitIsTakenBack(t *testing.T) {
	block := func(h *host) { // a directory stands where the state would go
		if err := os.MkdirAll(filepath.Join(h.StateDir, "confirmed", "x"), 0o750); err != nil {
			h.t.Fatal(err)
		}
	}
	var back *apply.RolledBackError
	t.Run("first apply", func(t *testing.T) {
		inNamespace(t)
		h := newHost(t, sshOnly)
		block(h)
		if _, err := apply.Apply(t.Context(), h.Options); !errors.As(err, &back) {
			t.Fatalf("got %v, want a RolledBackError", err)
		}
		if out := run(t, "nft list tables"); out != "" {
			t.Errorf("tables: %s", out)
		}
	})
	t.Run("later apply", func(t *testing.T) {
		inNamespace(t)
		h := newHost(t, sshOnly)
		h.apply()
		before := table(t)
		if err := os.Rename(filepath.Join(h.StateDir, "confirmed"), filepath.Join(h.StateDir, "previous")); err != nil {
			t.Fatal(err)
		}
		block(h)
		h.write(strings.Replace(sshOnly, "22/tcp", "2222/tcp", 1))
		if _, err := apply.Apply(t.Context(), h.Options); !errors.As(err, &back) {
			t.Fatalf("got %v, want a RolledBackError", err)
		}
		if after := table(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// What cannot be proved in time is applied all the same, and said to be so.
func TestProofHasATime(t *testing.T) {
	inNamespace(t)
	var policy strings.Builder
	policy.WriteString(sshOnly)
	for i := range 300 {
		fmt.Fprintf(&policy, "[service.s%d]\nports = [\"%d/udp\"]\nfrom = [\"10.%d.%d.1\"]\n", i, 1000+i, i%200, i%250)
	}
	h := newHost(t, policy.String())
	h.ProofTime = time.Nanosecond
	out, err := apply.Apply(t.Context(), h.Options)
	if err != nil || !out.Changed || out.Proof.Proved || !strings.Contains(out.Proof.Why, "longer than allowed") {
		t.Fatalf("%v, %+v", err, out)
	}
	if s := h.status(); !s.Good() {
		t.Errorf("%+v", s)
	}
}

// A change of the backend leaves one of them standing, and others' rules alone.
func TestBackendSwitch(t *testing.T) {
	inNamespace(t)
	run(t, "iptables-nft -A INPUT -p tcp --dport 9 -j ACCEPT; iptables-nft -I INPUT -p udp -j DROP")
	h := newHost(t, sshOnly)
	for _, backend := range []string{apply.IPTables, apply.NFTables, apply.IPTables} {
		h.Backend = backend
		if out := h.apply(); out.Backend != backend {
			t.Fatalf("asked for %s: %+v", backend, out.Choice)
		}
		h.Backend = apply.Auto
		if out := h.apply(); out.Changed || out.Backend != backend {
			t.Errorf("second apply with %s: %+v", backend, out)
		}
		if s := h.status(); !s.Good() || !slices.Equal(s.Present, []string{backend}) {
			t.Errorf("status with %s: %+v", backend, s)
		}
		if text := run(t, "iptables-nft-save"); !strings.Contains(text, "-A INPUT -p tcp -m tcp --dport 9 -j ACCEPT") {
			t.Errorf("the host's own rule is gone:\n%s", text)
		}
	}
}
