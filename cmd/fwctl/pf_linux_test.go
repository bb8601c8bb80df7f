package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/pfctl"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
	"github.com/fwctl/fwctl/rules"
)

// The rules of others on a host with pf: the main ones, and an anchor of fail2ban.
const pfMain = "set skip on lo\nblock return\nanchor \"f2b/*\"\npass out\nanchor \"fwctl\"\n"

var pfNew = strings.ReplaceAll(boxNew, `, "6001-6010/udp"`, "")

// bigWait is how long a watchdog may take on a busy machine.
const bigWait = 20 * time.Second

// newPFBox is a host on which fwctl works with the stand-in for pfctl.
func newPFBox(t *testing.T) *box {
	t.Helper()
	dir := t.TempDir()
	state := &pfctl.State{Enabled: true, Rules: map[string]string{"f2b/ssh": "block drop quick from <bad> to any\n"}}
	state.Tables = []pfctl.Table{{Anchor: "f2b/ssh", Name: "bad", Persist: true, Entries: []string{"203.0.113.7"}}}
	if problems := state.Load("", pfMain); problems != nil {
		t.Fatal(problems)
	}
	if err := state.Write(dir); err != nil {
		t.Fatal(err)
	}
	list := "PFCTL_CALL=0 PFCTL_DIR=" + dir + " pfctl -sr; PFCTL_CALL=0 PFCTL_DIR=" + dir + " pfctl -a f2b/ssh -sr"
	b := furnish(&box{T: t, do: inNamespace(t), backend: boxBackend{"pf", "true", "true", list}, pf: dir})
	b.new = b.write("new.toml", pfNew) // pf limits TCP alone
	b.sh("ip link set lo up")
	return b
}

// pfState is what the stand-in holds.
func (b *box) pfState() *pfctl.State {
	b.Helper()
	s, err := pfctl.Read(b.pf)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// pfCalls are the calls of pfctl so far, but for those that the test made itself.
func (b *box) pfCalls() []string {
	text, _ := os.ReadFile(filepath.Join(b.pf, "calls"))
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// loads counts the calls that have loaded rules.
func (b *box) loads() (n int) {
	for _, c := range b.pfCalls() {
		if strings.Contains(c, "-f -") && !strings.Contains(c, "-n") {
			n++
		}
	}
	return n
}

// hook puts a script before or after the calls of pfctl.
func (b *box) hook(name, script string) {
	b.Helper()
	path := filepath.Join(b.pf, name)
	if script == "" {
		_ = os.Remove(path)
		return
	}
	if err := os.WriteFile(path, []byte(script+"\n"), 0o600); err != nil {
		b.Fatal(err)
	}
}

// pfDecides is decides by what the stand-in holds: the main rules with the anchors that
// they ask.
func (b *box) pfDecides() string {
	b.Helper()
	s := b.pfState()
	main := pf.Parse(s.Rules[""], pf.OpenBSD)
	opt := pf.Options{
		Anchors: func(name string) (*pf.Config, bool) {
			text, ok := s.Rules[name]
			return pf.Parse(text, pf.OpenBSD), ok
		},
		Tables: func(anchor, name string) ([]pf.Entry, bool) {
			i := slices.IndexFunc(s.Tables, func(t pfctl.Table) bool { return t.Anchor == anchor && t.Name == name })
			if i < 0 {
				return nil, false
			}
			entries, _ := pf.ParseEntries(strings.Join(s.Tables[i].Entries, "\n"))
			return entries, true
		},
	}
	host := &rules.Host{Interfaces: []rules.Interface{{Name: "em0", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("2001:db8:1::10/64")}}}}
	var words []string
	for _, ends := range [][2]string{{"203.0.113.9", "192.0.2.10"}, {"2001:db8:99::9", "2001:db8:1::10"}} {
		is6 := strings.Contains(ends[0], ":")
		filter := pf.Filter(main, packet.Input, is6, opt)
		for _, port := range []uint16{22, 8000, 4444} {
			p := packet.Packet{
				Hook: packet.Input, In: "em0", Proto: packet.TCP, Flags: packet.SYN, SrcPort: 50000, DstPort: port,
				Src: netip.MustParseAddr(ends[0]), Dst: netip.MustParseAddr(ends[1]),
			}
			facts := p.Facts()
			facts.SetKinds(host.HostAddrs(is6))
			verdict := filter.Decide(facts).Outcome.String()
			if verdict == "reject" {
				verdict = "drop"
			}
			words = append(words, verdict)
		}
	}
	return decided(words)
}

// On a host with pf one load of the anchor makes it obey; an unchanged policy sends
// nothing, what others have stays, and off leaves nothing of fwctl's.
func TestPF(t *testing.T) {
	b := newPFBox(t)
	b.want(0, "apply", "--no-confirm", b.old)
	b.state = b.confirmed()
	b.stands("the first apply")
	if n := b.loads(); n != 1 {
		t.Errorf("%d loads:\n%s", n, strings.Join(b.pfCalls(), "\n"))
	}
	if said := b.want(0, "apply", "--no-confirm", b.old); !strings.Contains(said, "unchanged") || b.loads() != 1 {
		t.Errorf("an unchanged policy was sent: %s", said)
	}
	b.want(0, "status")
	if said := b.want(0, "apply", "--no-confirm", b.new); !strings.Contains(said, "proved") {
		t.Errorf("%s", said)
	}
	if got := b.decides(); got != "new" {
		t.Errorf("after the second apply: %s", got)
	}
	b.want(0, "rollback", "--no-confirm", "1")
	b.state = b.confirmed()
	b.stands("rollback 1")
	if text := b.want(0, "history"); strings.Count(text, "apply") != 2 || !strings.Contains(text, "rollback") {
		t.Errorf("%s", text)
	}
	if said := b.want(0, "off", "--yes", "--json"); !strings.Contains(said, `from anchor \"fwctl\"`) {
		t.Errorf("%s", said)
	}
	s := b.pfState()
	if s.Rules["fwctl"] != "" || slices.ContainsFunc(s.Tables, func(x pfctl.Table) bool { return x.Anchor == "fwctl" }) {
		t.Errorf("off leaves %+v", s)
	}
	if got := b.others(); got != b.foreign {
		t.Errorf("others have\n%s", got)
	}
	b.want(0, "boot") // it is off
	if b.pfState().Rules["fwctl"] != "" {
		t.Error("a boot loads what was switched off")
	}
}

// The sources that a limit has caught stay caught over an apply, and the table goes with
// the limit.
func TestPFKeepsOverload(t *testing.T) {
	b := newPFBox(t)
	if said := b.want(0, "apply", "--no-confirm", b.new); !strings.Contains(said, "-T expire 60") {
		t.Errorf("it does not say what cron has to do: %s", said)
	}
	caught := func(entries ...string) bool {
		return slices.ContainsFunc(b.pfState().Tables, func(x pfctl.Table) bool {
			return x.Anchor == "fwctl" && strings.Contains(x.Name, "over") && (entries == nil || slices.Equal(x.Entries, entries))
		})
	}
	s := b.pfState()
	for i := range s.Tables {
		if strings.Contains(s.Tables[i].Name, "over") {
			s.Tables[i].Entries = []string{"198.51.100.9"}
		}
	}
	if err := s.Write(b.pf); err != nil {
		t.Fatal(err)
	}
	if said := b.want(0, "apply", "--no-confirm", b.new); !strings.Contains(said, "unchanged") {
		t.Errorf("%s", said)
	}
	more := b.write("more.toml", pfNew+"[service.more]\nports = [\"9000/tcp\"]\nfrom = [\"any\"]\n")
	b.want(0, "apply", "--no-confirm", more)
	if !caught("198.51.100.9") {
		t.Errorf("the table of the limit: %+v", b.pfState().Tables)
	}
	b.want(0, "apply", "--no-confirm", b.old)
	if caught() {
		t.Errorf("the table outlives the limit: %+v", b.pfState().Tables)
	}
}

// What keeps pf from obeying is found before anything is sent, and said with a way out.
func TestPFRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*box, *pfctl.State)
		says   string
	}{
		{"disabled", func(_ *box, s *pfctl.State) { s.Enabled = false }, "pfctl -e"},
		{"no anchor", func(_ *box, s *pfctl.State) { s.Rules[""] = "block return all\npass out all flags S/SA\n" }, `add ` + "`anchor \"fwctl\"` to /etc/pf.conf"},
		{"another anchor", func(_ *box, s *pfctl.State) { s.Rules[""] = "anchor \"fwctl2\" all\n" }, `add ` + "`anchor \"fwctl\"`"},
		{"syntax", func(b *box, _ *pfctl.State) {
			b.hook("before", `case "$*" in *" -n "*) echo "stdin:7: syntax error" >&2; echo "pfctl: Syntax error in config file: pf rules not loaded" >&2; exit 1;; esac`)
		}, "stdin:7: syntax error"},
		{"no pf", func(b *box, _ *pfctl.State) { b.hook("before", `echo "pfctl: /dev/pf: Permission denied" >&2; exit 1`) }, "Permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newPFBox(t)
			s := b.pfState()
			c.change(b, s)
			if err := s.Write(b.pf); err != nil {
				t.Fatal(err)
			}
			for _, how := range []string{"--no-confirm", "--detach"} {
				if said := b.want(exitError, "apply", how, b.old); !strings.Contains(said, c.says) {
					t.Errorf("%s", said)
				}
			}
			if b.loads() > 0 || b.pfState().Rules["fwctl"] != "" {
				t.Error("something was loaded")
			}
		})
	}
}

// Rules that are there and decide nothing are not said to stand.
func TestPFStatus(t *testing.T) {
	b := newPFBox(t)
	b.obeyOld()
	b.want(0, "status")
	for says, change := range map[string]func(*pfctl.State){
		"pf is disabled":              func(s *pfctl.State) { s.Enabled = false },
		"never ask the anchor fwctl":  func(s *pfctl.State) { s.Rules[""] = "pass all flags S/SA\n" },
		"differs from the confirmed":  func(s *pfctl.State) { s.Rules["fwctl"] = "pass all flags S/SA\n" },
		"the confirmed policy is not": func(s *pfctl.State) { delete(s.Rules, "fwctl"); s.Tables = nil },
	} {
		s, spoiled := b.pfState(), b.pfState()
		change(spoiled)
		if err := spoiled.Write(b.pf); err != nil {
			t.Fatal(err)
		}
		if said := b.want(exitDiffers, "status"); !strings.Contains(said, says) || strings.Contains(said, "as confirmed\n") {
			t.Errorf("nothing of %q in\n%s", says, said)
		}
		if err := s.Write(b.pf); err != nil {
			t.Fatal(err)
		}
	}
	b.want(0, "status")
}

// What may decide before the anchor is named.
func TestPFNames(t *testing.T) {
	b := newPFBox(t)
	s := b.pfState()
	if p := s.Load("", "set skip on { lo em0 }\npass in quick on lo1\npass in quick proto tcp to port 8022\nblock in quick from 192.0.2.66\nanchor \"f2b/*\"\nanchor \"fwctl\" in\npass\n"); p != nil {
		t.Fatal(p)
	}
	s.Skip = []string{"lo", "em0"}
	if err := s.Write(b.pf); err != nil {
		t.Fatal(err)
	}
	said := b.want(0, "apply", "--no-confirm", b.old)
	for _, want := range []string{"port = 8022", "192.0.2.66", `anchor "fwctl" in`, "pf skips em0", "lets packets pass", "refuses packets"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing of %q in:\n%s", want, said)
		}
	}
	if strings.Contains(said, "lo1") || strings.Contains(said, "skips lo") {
		t.Errorf("loopback is named:\n%s", said)
	}
}

// A pfctl that fails at any of its calls, before its work or behind it, or that dies,
// leaves the old rules or, where it is said, the new.
func TestPFFails(t *testing.T) {
	b := newPFBox(t)
	b.obeyOld()
	b.want(0, "apply", "--no-confirm", b.new)
	_ = os.Remove(filepath.Join(b.pf, "calls"))
	b.want(0, "apply", "--no-confirm", b.old)
	whole := len(b.pfCalls())
	b.state = b.confirmed()
	hows := []string{`echo "pfctl: DIOCXCOMMIT: Device busy" >&2; exit 1`, `kill -9 $PPID`}
	n := gen.Dose(t, "FWCTL_KILLS", 12)
	r := rand.New(rand.NewPCG(gen.Seed(t), 34))
	seen := map[int]int{}
	for i := range n {
		at, when, how := 1+r.IntN(whole), []string{"before", "after"}[i%2], hows[i/2%2]
		if n >= 4*whole { // every one of them
			at = 1 + i/4%whole
		}
		_ = os.Remove(filepath.Join(b.pf, "calls"))
		b.hook(when, fmt.Sprintf(`[ "$PFCTL_CALL" = %d ] || exit 0; %s`, at, how))
		what := fmt.Sprintf("call %d of %d: %s, %s", at, whole, when, how)
		status, said := b.run("apply", "--no-confirm", b.new)
		seen[status]++
		b.hook(when, "")
		switch status {
		case 0:
			if got := b.decides(); got != "new" {
				t.Errorf("%s: status 0, pf does what is %s\n%s", what, got, said)
			}
			b.want(0, "apply", "--no-confirm", b.old)
			b.state = b.confirmed()
		case exitError, exitBack:
			b.quiet(bigWait)
			b.stands(what)
		default:
			t.Errorf("%s: status %d\n%s", what, status, said)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("by exit status: %v", seen)
}

// Somebody who changes the anchor while fwctl works is found out: what is read back is
// not what the policy means, and the old rules come back.
func TestPFEditedMeanwhile(t *testing.T) {
	b := newPFBox(t)
	b.obeyOld()
	b.hook("after", `case "$*" in "-a fwctl -o none -f -") [ -e "$PFCTL_DIR/done" ] || { touch "$PFCTL_DIR/done"; echo pass | pfctl -a fwctl -f -; };; esac`)
	said := b.want(exitBack, "apply", "--no-confirm", b.new)
	if !strings.Contains(said, "not what the policy means") {
		t.Errorf("%s", said)
	}
	b.stands("edited meanwhile")
}

// A change that waits is taken back in time, by a watchdog that nobody's death and no
// terminal takes along; and a pfctl that hangs only makes it late.
func TestPFDeadline(t *testing.T) {
	b := newPFBox(t)
	b.obeyOld()
	b.want(0, "apply", "--detach", "--confirm", "1s", b.new)
	if got := b.decides(); got != "new" {
		t.Errorf("while it waits pf does what is %s", got)
	}
	sockets, _ := filepath.Glob(filepath.Join(b.dir, "run", "watchdog", "*"))
	if len(sockets) != 1 {
		t.Errorf("the watchdog listens at %v", sockets)
	}
	b.quiet(bigWait)
	b.stands("the deadline")
	b.hook("before", `case "$*" in *"-o none -f -") sleep 2;; esac`)
	b.want(0, "apply", "--detach", "--confirm", "1s", b.new)
	b.quiet(bigWait)
	b.hook("before", "")
	b.stands("a slow pfctl")
	b.tidy("a slow pfctl")
}

// First on an empty anchor, and back to it.
func TestPFBackToNothing(t *testing.T) {
	b := newPFBox(t)
	b.want(0, "apply", "--detach", "--confirm", "1s", b.new)
	b.quiet(bigWait)
	if s := b.pfState(); s.Rules["fwctl"] != "" || len(s.Tables) != 1 {
		t.Errorf("it is not as before: %+v", s)
	}
	if b.confirmed() != "" {
		t.Error("something is confirmed")
	}
}

// At a boot the anchor is empty: what was confirmed is loaded, what was not is not.
func TestPFBoot(t *testing.T) {
	b := newPFBox(t)
	b.obeyOld()
	for _, pending := range []bool{false, true} {
		if pending {
			b.want(0, "apply", "--detach", "--confirm", "1h", b.new)
			kill(b.processes())
		}
		s := b.pfState()
		s.Rules["fwctl"], s.Tables = "", nil
		if err := s.Write(b.pf); err != nil {
			t.Fatal(err)
		}
		_ = os.RemoveAll(filepath.Join(b.dir, "run"))
		b.want(0, "boot")
		b.stands(fmt.Sprintf("a boot, pending %v", pending))
	}
	s := b.pfState()
	s.Enabled = false
	s.Rules["fwctl"] = ""
	if err := s.Write(b.pf); err != nil {
		t.Fatal(err)
	}
	if said := b.want(0, "boot"); !strings.Contains(said, "pf is disabled") {
		t.Errorf("%s", said)
	}
	b.stands("a boot without pf")
}

// A confirmation comes by a connection that pf has a state of, and had none of before the
// change.
func TestPFConfirm(t *testing.T) {
	b := newPFBox(t)
	b.obeyOld()
	server := b.listen("8000")
	p := b.plug()
	before := p.logIn(server)
	b.track(before)
	b.want(0, "apply", "--detach", "--confirm", "1m", b.new)
	if status, said := before.run("confirm"); status != exitError || !strings.Contains(said, "is older than the change") {
		t.Errorf("by a connection of before: %d, %s", status, said)
	}
	after := p.logIn(server)
	if status, said := after.run("confirm"); status != exitError || !strings.Contains(said, "pf has no state of") {
		t.Errorf("by one without a state: %d, %s", status, said)
	}
	b.track(after)
	if status, said := after.run("confirm"); status != 0 {
		t.Errorf("by a new one: %d, %s", status, said)
	}
	b.quiet(bigWait)
	if got := b.decides(); got != "new" {
		t.Errorf("confirmed: pf does what is %s", got)
	}
}

// track makes pf have a state of a connection.
func (b *box) track(l *login) {
	b.Helper()
	conn, err := net.FileConn(l.socket)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	s := b.pfState()
	s.States = append(s.States, pfctl.Flow{
		ID: fmt.Sprintf("%016x", len(s.States)+1), Text: fmt.Sprintf("all tcp %s <- %s       ESTABLISHED:ESTABLISHED", conn.LocalAddr(), conn.RemoteAddr()),
	})
	if err := s.Write(b.pf); err != nil {
		b.Fatal(err)
	}
}

// --cut ends the states of connections that the policy would not let begin, once it is
// confirmed, and no other.
func TestPFCut(t *testing.T) {
	b := newPFBox(t)
	b.sh("ip link add em0 type veth peer name em1; ip address add 192.0.2.10/24 dev em0")
	b.want(0, "apply", "--no-confirm", b.old)
	s := b.pfState()
	s.States = []pfctl.Flow{
		{ID: "0000000000000001", Text: "all tcp 192.0.2.10:22 <- 203.0.113.9:51234       ESTABLISHED:ESTABLISHED"},
		{ID: "0000000000000002", Text: "all tcp 192.0.2.10:8000 <- 203.0.113.9:51235       ESTABLISHED:ESTABLISHED"},
		{ID: "0000000000000003", Text: "all tcp 192.0.2.10:40000 -> 198.51.100.7:443       ESTABLISHED:ESTABLISHED"},
		{ID: "0000000000000004", Text: "all udp 192.0.2.10:6001 <- 198.51.100.7:4000       MULTIPLE:MULTIPLE"},
		{ID: "0000000000000005", Text: "all icmp 192.0.2.10:8 <- 203.0.113.9:8       0:0"},
	}
	if err := s.Write(b.pf); err != nil {
		t.Fatal(err)
	}
	if said := b.want(0, "apply", "--no-confirm", "--cut", b.new); !strings.Contains(said, "ended 2 connections") {
		t.Errorf("%s", said)
	}
	var left []string
	for _, f := range b.pfState().States {
		left = append(left, f.ID[15:])
	}
	if got := strings.Join(left, " "); got != "2 3 5" {
		t.Errorf("left are %s", got)
	}
}

// pf has no clock: what is over goes when names and feeds are read again, and at a boot.
func TestPFExpires(t *testing.T) {
	b := newPFBox(t)
	until := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
	policy := b.write("temporary.toml", "version = 1\n[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n[service.guest]\nports = [\"9000/tcp\"]\nfrom = [\"any\"]\nexpires = "+until+"\n")
	open := func() bool { return strings.Contains(b.pfState().Rules["fwctl"], "port = 9000") }
	b.want(0, "apply", "--no-confirm", policy)
	if said := b.want(0, "refresh"); !open() || !strings.Contains(said, "unchanged") {
		t.Errorf("before its time: %s", said)
	}
	time.Sleep(2500 * time.Millisecond)
	if said := b.want(1, "status"); !strings.Contains(said, "expired") || !strings.Contains(said, "differs") {
		t.Errorf("%s", said)
	}
	if said := b.want(0, "refresh"); open() || !strings.Contains(said, "refreshed") {
		t.Errorf("after its time: %s", said)
	}
	loads := b.loads()
	if said := b.want(0, "refresh"); b.loads() != loads || !strings.Contains(said, "unchanged") {
		t.Errorf("again: %s", said)
	}
	b.want(0, "boot")
	if open() {
		t.Error("a boot opens what is over")
	}
}

// Of two at once each is refused for the lock's sake or leaves pf and the state agreeing.
func TestPFAtOnce(t *testing.T) {
	b := newPFBox(t)
	var all []*exec.Cmd
	for i := range 6 {
		c := b.fwctl("apply", "--no-confirm", []string{b.old, b.new}[i%2])
		if err := b.in(c.Start); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	applied := 0
	for _, c := range all {
		_ = c.Wait()
		switch c.ProcessState.ExitCode() {
		case 0:
			applied++
		case exitError:
		default:
			t.Errorf("status %d", c.ProcessState.ExitCode())
		}
	}
	if applied == 0 {
		t.Error("none was applied")
	}
	if said := b.want(0, "status", "--json"); !strings.Contains(said, `"applied": true`) {
		t.Errorf("pf and the state differ:\n%s", said)
	}
}

// A policy that locks out whoever applies it, or sources of a kept service, by itself or
// together with the main rules, is refused before anything is loaded.
func TestPFGuards(t *testing.T) {
	b := newPFBox(t)
	server := b.listen("8000")
	me := b.plug().logIn(server)
	b.track(me)
	keep := "[safety]\nkeep = [\"ssh\"]\n"
	wide := b.write("wide.toml", "version = 1\n"+keep+"[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n[service.web]\nports = [\"8000/tcp\"]\nfrom = [\"any\"]\n")
	if status, said := me.run("apply", "--no-confirm", wide); status != 0 {
		t.Fatalf("%d, %s", status, said)
	}
	for name, c := range map[string]struct{ policy, main, says string }{
		"its port":     {"version = 1\n[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n", pfMain, "lock out your own connection"},
		"a block":      {"version = 1\n[service.web]\nports = [\"8000/tcp\", \"22/tcp\"]\nfrom = [\"any\"]\n[block.all]\nfrom = [\"10.0.0.0/8\"]\n", pfMain, "lock out your own connection"},
		"a kept one":   {"version = 1\n" + keep + "[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"192.0.2.0/24\"]\n[service.web]\nports = [\"8000/tcp\"]\nfrom = [\"any\"]\n", pfMain, "a source of service.ssh"},
		"others' rule": {"version = 1\n[service.web]\nports = [\"8000/tcp\", \"22/tcp\"]\nfrom = [\"any\"]\n", "block drop in quick proto tcp to port 8000\n" + pfMain, "lock out your own connection"},
	} {
		s := b.pfState()
		if p := s.Load("", c.main); p != nil {
			t.Fatal(p)
		}
		if err := s.Write(b.pf); err != nil {
			t.Fatal(err)
		}
		loads := b.loads()
		policy := b.write("guarded.toml", c.policy)
		if status, said := me.run("apply", "--no-confirm", policy); status != exitError || !strings.Contains(said, c.says) || b.loads() != loads {
			t.Errorf("%s: %d, %s", name, status, said)
		}
	}
}

// On a terminal apply waits; Ctrl-C takes the change back at once, and so does apply
// itself where its watchdog is killed.
func TestPFWaits(t *testing.T) {
	b := newPFBox(t)
	b.obeyOld()
	for name, end := range map[string]func(*exec.Cmd, *screen){
		"Ctrl-C": func(_ *exec.Cmd, s *screen) { _, _ = s.master.WriteString("\x03") },
		"watchdog killed": func(c *exec.Cmd, _ *screen) {
			kill(slices.DeleteFunc(b.processes(), func(pid int) bool { return pid == c.Process.Pid }))
		},
	} {
		c, s := b.waiting("--confirm", "1m")
		end(c, s)
		_ = c.Wait()
		if got := c.ProcessState.ExitCode(); got != exitBack {
			t.Errorf("%s: status %d\n%s", name, got, s)
		}
		s.shows(t, "the rules from before were put back")
		b.quiet(bigWait)
		b.stands(name)
		b.tidy(name)
	}
}
