package pf_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/pfctl"
	livepf "github.com/fwctl/fwctl/live/pf"
	"github.com/fwctl/fwctl/packet"
	read "github.com/fwctl/fwctl/read/pf"
)

// TestMain is also the stand-in for pfctl, where it is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "pfctl" {
		os.Exit(pfctl.Main())
	}
	os.Exit(m.Run())
}

// standIn is a host with pf that holds some main rules.
func standIn(t *testing.T, state *pfctl.State, rules string) *livepf.Conn {
	t.Helper()
	dir := t.TempDir()
	if problems := state.Load("", rules); problems != nil {
		t.Fatal(problems)
	}
	if err := state.Write(dir); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pfctl")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PFCTL_DIR", dir)
	c, err := livepf.Open(livepf.Options{Path: path, System: systems[state.Dialect], Release: releases[state.Dialect]})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The systems by their grammar.
var (
	systems  = map[string]string{"openbsd": "openbsd", "freebsd": "freebsd", "freebsd-old": "freebsd", "macos": "darwin"}
	releases = map[string]string{"freebsd": "15.0-RELEASE", "freebsd-old": "14.3-RELEASE"}
)

const mainRules = `set skip on lo
block return
pass out
anchor "f2b/*"
anchor "fwctl"
`

func host() *pfctl.State { return hostOf("openbsd") }

func hostOf(dialect string) *pfctl.State {
	return &pfctl.State{
		Dialect: dialect, Enabled: true,
		Rules: map[string]string{
			"f2b/ssh": "block drop quick from <bad> to any\n",
			"fwctl":   "pass in quick proto tcp from <office> to (self) port = 22 flags S/SA label \"service.ssh\"\nblock drop in quick all label \"default.inbound\"\n",
		},
		Tables: []pfctl.Table{
			{Anchor: "f2b/ssh", Name: "bad", Entries: []string{"198.51.100.7"}},
			{Anchor: "fwctl", Name: "office", Entries: []string{"198.51.100.0/24", "!198.51.100.9"}},
			{Name: "office", Entries: []string{"0.0.0.0/0"}}, // of somebody else: fwctl's own counts in its anchor
		},
	}
}

// arriving is a packet to the host.
func arriving(t *testing.T, in, src string, port int) *packet.Facts {
	t.Helper()
	p, err := packet.Parse(fmt.Sprintf("in %s tcp %s -> 192.0.2.10:%d", in, src, port))
	if err != nil {
		t.Fatal(err)
	}
	facts := p.Facts()
	facts.SetKinds(packet.HostAddrs{Known: true, Local: packet.NewRanges(packet.Single(packet.AddrValue(p.Dst)))})
	return facts
}

// A table that pfctl made of a list is never taken for an empty one.
func TestAutomaticTables(t *testing.T) {
	for _, there := range []bool{true, false} {
		state := host()
		state.Rules["fwctl"] = "pass in quick proto tcp from <__automatic_3f_0> to any port = 22 flags S/SA\nblock drop in quick all\n"
		if there {
			state.Tables = append(state.Tables, pfctl.Table{Anchor: "fwctl", Name: "__automatic_3f_0", Entries: []string{"198.51.100.0/24"}})
		}
		h, err := standIn(t, state, mainRules).Read(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := packet.Arrival(h.Source(false)).Decide(arriving(t, "em0", "198.51.100.8", 22)).Outcome
		if there != (len(h.Unread) == 0) || there != (got == packet.OutcomeAccept) {
			t.Errorf("there: %v: %v, %q", there, got, h.Unread)
		}
	}
}

// What pf holds decides: the rules of anchors where they stand, tables of the anchor
// before those of the main rules, and nothing where pf is disabled.
func TestHeld(t *testing.T) {
	decide := func(h *livepf.Held, in, src string) packet.Outcome {
		return packet.Arrival(h.Source(false)).Decide(arriving(t, in, src, 22)).Outcome
	}
	for dialect := range systems {
		state := hostOf(dialect)
		if dialect == "macos" { // where (self) is empty
			state.Rules["fwctl"] = strings.Replace(state.Rules["fwctl"], "(self)", "any", 1)
		}
		h, err := standIn(t, state, strings.Replace(mainRules, "on lo", "on lo0", 1)).Read(context.Background(), nil)
		if err != nil || len(h.Unread) > 0 {
			t.Fatal(dialect, err, h)
		}
		for _, c := range []struct {
			in, src string
			want    packet.Outcome
		}{
			{"em0", "198.51.100.8", packet.OutcomeAccept},
			{"em0", "198.51.100.7", packet.OutcomeDrop},
			{"em0", "198.51.100.9", packet.OutcomeDrop},
			{"em0", "203.0.113.9", packet.OutcomeDrop},
			{"lo", "203.0.113.9", packet.OutcomeAccept},
		} {
			if got := decide(h, c.in, c.src); got != c.want {
				t.Errorf("%s, in %s from %s: %v, want %v", dialect, c.in, c.src, got, c.want)
			}
		}
	}
	off := host()
	off.Enabled = false
	h, err := standIn(t, off, mainRules).Read(context.Background(), nil)
	if err != nil || decide(h, "em0", "203.0.113.9") != packet.OutcomeAccept {
		t.Error(err, "a disabled pf refuses something")
	}
}

// Without fwctl's anchor the rules of others decide, and with another text in it that.
func TestOtherRules(t *testing.T) {
	h, err := standIn(t, host(), mainRules).Read(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := packet.Arrival(h.Others(false)).Decide(arriving(t, "em0", "203.0.113.9", 80)); d.Outcome != packet.OutcomeReject || d.By.Chain != "main ruleset" {
		t.Errorf("%+v", d)
	}
	next := read.Parse("table <office> { 203.0.113.0/24 }\npass in quick proto tcp from <office> to any port 80\n", read.OpenBSD)
	if d := packet.Arrival(h.With(next, false)).Decide(arriving(t, "em0", "203.0.113.9", 80)); d.Outcome != packet.OutcomeAccept || d.By.Chain != "anchor fwctl" {
		t.Errorf("%+v", d)
	}
}

// FreeBSD may refuse what no rule matches, and has rules for Ethernet frames: these are
// not read, and named.
func TestHeldOnFreeBSD(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "sysctl"), []byte("#!/bin/sh\necho 1\n"), 0o755); err != nil { //nolint:gosec // it has to run
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	state := hostOf("freebsd")
	state.Ether = []string{"ether block in on em0 all"}
	h, err := standIn(t, state, "pass in proto tcp to port 80\nanchor \"f2b/*\"\n").Read(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := packet.Arrival(h.Source(false)).Decide(arriving(t, "em0", "203.0.113.9", 22)); d.Outcome != packet.OutcomeDrop {
		t.Errorf("%+v", d)
	}
	if len(h.Unread) != 1 || !strings.Contains(h.Unread[0], "ether block in on em0 all") {
		t.Error(h.Unread)
	}
}

// What an anchor without a name asks for in tables cannot be read: pfctl gives it a name
// of its own, which it does not print.
func TestUnnamedAnchor(t *testing.T) {
	rules := "table <bad> persist\nanchor {\n  block in quick from <bad>\n}\nanchor \"fwctl\"\n"
	h, err := standIn(t, host(), rules).Read(context.Background(), nil)
	if err != nil || len(h.Unread) != 1 || !strings.Contains(h.Unread[0], "table <bad> in an anchor without a name") {
		t.Error(err, h.Unread)
	}
}

// The anchors of others are known by name.
func TestAnchors(t *testing.T) {
	names, err := standIn(t, host(), mainRules).Anchors(context.Background())
	if err != nil || !slices.Equal(names, []string{"f2b/*"}) {
		t.Error(names, err)
	}
}

// What changes while it is read is read again; what always changes is an error.
func TestReadsOneState(t *testing.T) {
	c := standIn(t, host(), mainRules)
	dir := os.Getenv("PFCTL_DIR")
	script := "case \"$*\" in '-s info') echo \"pass in proto tcp to port $PFCTL_CALL\" | " + filepath.Join(dir, "pfctl") + " -f - ;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "after"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(context.Background(), nil); err != livepf.ErrUnstable { //nolint:errorlint // this very value
		t.Error(err)
	}
}

// Without pfctl there is a clear word.
func TestMissing(t *testing.T) {
	if _, err := exec.LookPath("pfctl"); err == nil {
		t.Skip("there is a pfctl here")
	}
	if _, err := livepf.Open(livepf.Options{}); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Error(err)
	}
}

// The groups of interfaces, in the form in which ifconfig prints them.
func TestParseGroups(t *testing.T) {
	got := livepf.ParseGroups(`lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 32768
	index 4 priority 0 llprio 3
	groups: lo
	inet 127.0.0.1 netmask 0xff000000
em0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500
	groups: egress
	inet 192.0.2.10 netmask 0xffffff00 broadcast 192.0.2.255
wg0: flags=80c3<UP,BROADCAST,RUNNING,NOARP,MULTICAST> mtu 1420
	groups: wg egress
`)
	want := map[string][]string{"all": {"lo0", "em0", "wg0"}, "lo": {"lo0"}, "egress": {"em0", "wg0"}, "wg": {"wg0"}}
	if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Error(got)
	}
}
