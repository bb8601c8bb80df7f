package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/internal/sdbox"
)

// machine is a host with systemd, fwctl's units and a network, at the other end of
// whose cable stands the test. The policy boxOld is confirmed on it.
type machine struct {
	*testing.T
	*sdbox.Box
	cable *netlab.Cable
	seed  string
}

// network is the unit that brings the interface up, as a network manager's would.
const network = `[Unit]
DefaultDependencies=no
Wants=network-pre.target
After=network-pre.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec '` + netlab.Plug + `'
`

// newMachine prepares one. Files are those that it has besides.
func newMachine(t *testing.T, backend boxBackend, files map[string]string) *machine {
	t.Helper()
	m := &machine{T: t, cable: netlab.NewCable(t), seed: t.TempDir()}
	for name, text := range map[string]string{
		"etc/fwctl/policy.toml": boxOld + scattered(), "etc/fwctl/new.toml": boxNew, "etc/systemd/system/network-of-test.service": network,
	} {
		m.file(name, text, 0o644)
	}
	for name, text := range files {
		m.file(name, text, 0o644)
	}
	units, _ := filepath.Glob("../../systemd/fwctl*")
	for _, u := range units {
		m.copy(u, "usr/lib/systemd/system/"+filepath.Base(u), 0o644)
	}
	program, err := exec.LookPath("fwctl")
	if err != nil {
		t.Fatal(err)
	}
	m.copy(program, "usr/sbin/fwctl", 0o755)
	m.wants("multi-user.target", "/etc/systemd/system/network-of-test.service")
	m.confirm(backend)
	return m
}

// scattered is a service for more addresses than fit into rules of iptables.
func scattered() string {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "%q, ", fmt.Sprintf("198.18.%d.1", i))
	}
	return "[group.scattered]\naddresses = [" + b.String() + "]\n[service.scattered]\nports = [\"7000/tcp\"]\nfrom = [\"scattered\"]\n"
}

func (m *machine) file(name, text string, mode os.FileMode) {
	m.Helper()
	path := filepath.Join(m.seed, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) copy(from, to string, mode os.FileMode) {
	m.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		m.Fatal(err)
	}
	m.file(to, string(text), mode)
}

// wants makes a target start a unit.
func (m *machine) wants(target, unit string) {
	m.Helper()
	link := filepath.Join(m.seed, "etc/systemd/system", target+".wants", filepath.Base(unit))
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.Symlink(unit, link); err != nil {
		m.Fatal(err)
	}
}

// enable does what `systemctl enable` does.
func (m *machine) enable(units ...string) {
	m.Helper()
	if out, err := exec.Command("systemctl", append([]string{"--root=" + m.seed, "enable"}, units...)...).CombinedOutput(); err != nil {
		m.Fatalf("enable %v: %v\n%s", units, err, out)
	}
}

// confirm puts into the state what an apply by the backend leaves there, and rules of
// others, by which a backend is chosen, into the kernel.
func (m *machine) confirm(backend boxBackend) {
	m.Helper()
	sh := func(where *netlab.Cable, line string) {
		c := exec.Command("sh", "-ec", line)
		c.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		var out []byte
		if err := where.Do(func() (err error) { out, err = c.CombinedOutput(); return err }); err != nil {
			m.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	sh(m.cable, backend.foreign)
	elsewhere := netlab.NewCable(m.T)
	sh(elsewhere, backend.foreign)
	state, policy := filepath.Join(m.seed, "var/lib/fwctl"), filepath.Join(m.seed, "etc/fwctl/policy.toml")
	sh(elsewhere, fmt.Sprintf("fwctl apply --quiet --no-confirm --state-dir %s --run-dir %s %s", state, m.TempDir(), policy))
}

// boot starts it.
func (m *machine) boot() {
	m.Helper()
	m.Box = sdbox.Start(m.T, m.seed, m.cable.Do)
	m.Logf("booted in %v", m.Booted.Round(time.Millisecond))
}

// closed and open are ports that the policies close and open.
const (
	neverOpen        = 4444
	openInOld        = 22
	openInNew uint16 = 8000
)

// during floods the ports while f runs, and for a moment after that.
func (m *machine) during(f func(), ports ...uint16) map[uint16]*netlab.Answers {
	stop := m.cable.Flood(ports...)
	f()
	time.Sleep(100 * time.Millisecond)
	return stop()
}

// obeys reports which policy the kernel obeys, by packets: "old", "new", or what
// ports answer.
func (m *machine) obeys() string {
	m.Helper()
	got := m.during(func() {}, openInOld, openInNew, neverOpen)
	var open []string
	for _, port := range []uint16{openInOld, openInNew, neverOpen} {
		a := got[port]
		for kind, n := range map[string]int{"ipv4": a.IPv4, "ipv6": a.IPv6} {
			if n > 0 {
				open = append(open, fmt.Sprintf("%s:%d", kind, port))
			}
		}
		if (a.IPv4 > 0) != (a.IPv6 > 0) {
			return strings.Join(open, " ")
		}
	}
	switch old, fresh, never := got[openInOld].IPv4 > 0, got[openInNew].IPv4 > 0, got[neverOpen].IPv4 > 0; {
	case old && !fresh && !never:
		return "old"
	case !old && fresh && !never:
		return "new"
	case old && fresh && never:
		return "open"
	}
	return strings.Join(open, " ")
}

// wantObeys fails unless the kernel obeys that policy.
func (m *machine) wantObeys(want, when string) {
	m.Helper()
	if got := m.obeys(); got != want {
		m.Errorf("%s: the kernel does what is %q, want %q", when, got, want)
	}
}

// instant is a property of a unit that is a monotonic time, in microseconds.
func (m *machine) instant(unit, property string) int {
	m.Helper()
	n, err := strconv.Atoi(m.Sh("systemctl show --value -p " + property + "Monotonic " + unit))
	if err != nil || n == 0 {
		m.Errorf("%s has no %s: %v", unit, property, err)
	}
	return n
}

// entries reads what the journal has of a message id, oldest first.
func (m *machine) entries(id string) (out []map[string]any) {
	m.Helper()
	d := json.NewDecoder(strings.NewReader(m.Sh("journalctl --sync; journalctl -o json MESSAGE_ID=" + id)))
	for {
		e := map[string]any{}
		if err := d.Decode(&e); err == io.EOF {
			return out
		} else if err != nil {
			m.Fatal(err)
		}
		out = append(out, e)
	}
}

// nothingFailed fails if systemd says that something has.
func (m *machine) nothingFailed() {
	m.Helper()
	if failed := m.Sh("systemctl --failed --no-legend --plain"); failed != "" {
		m.Errorf("failed: %s", failed)
	}
}

// The confirmed rules stand before there is an interface by which a packet could come.
func TestBootBeforeTheNetwork(t *testing.T) {
	for _, backend := range boxBackends {
		t.Run(backend.name, func(t *testing.T) {
			m := newMachine(t, backend, nil)
			m.enable("fwctl.service")
			got := m.during(m.boot, openInOld, neverOpen)
			if a := got[neverOpen]; a.IPv4+a.IPv6 > 0 || a.Sent < 1000 {
				t.Errorf("a closed port: %+v", a)
			}
			if a := got[openInOld]; a.IPv4 < 10 || a.IPv6 < 10 {
				t.Errorf("an open port: %+v", a)
			}
			m.nothingFailed()
			loaded, begun := m.instant("fwctl.service", "ActiveEnterTimestamp"), m.instant("fwctl.service", "InactiveExitTimestamp")
			pre, up := m.instant("network-pre.target", "ActiveEnterTimestamp"), m.instant("network-of-test.service", "InactiveExitTimestamp")
			if loaded > pre || pre > up {
				t.Errorf("fwctl active at %d, network-pre at %d, network begins at %d", loaded, pre, up)
			}
			t.Logf("fwctl took %d ms; %s", (loaded-begun)/1000, m.Sh("journalctl -b -u fwctl -o cat"))
			if sets := m.Sh("ipset list -n"); strings.Contains(sets, "fwctl-") != (backend.name != "nftables") {
				t.Errorf("sets of ipset: %q", sets)
			}
			if _, out := m.Try("fwctl status --json"); !strings.Contains(out, `"applied": true`) {
				t.Errorf("status: %s", out)
			}
		})
	}
	t.Run("without fwctl", func(t *testing.T) { // or the test sees nothing
		m := newMachine(t, boxBackends[0], nil)
		got := m.during(m.boot, neverOpen)
		if a := got[neverOpen]; a.IPv4 < 10 || a.IPv6 < 10 {
			t.Errorf("without rules: %+v", a)
		}
	})
}

// idle waits until systemd has nothing left to do.
func (m *machine) idle() {
	m.Helper()
	for end := time.Now().Add(10 * time.Second); m.Sh("systemctl list-jobs --no-legend") != ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			m.Fatal("systemd is still busy")
		}
	}
}

// nftables.service removes every table whenever it is started, stopped, restarted or
// reloaded. fwctl's comes back, but with a stop.
func TestBesideNftablesService(t *testing.T) {
	m := newMachine(t, boxBackends[0], map[string]string{"etc/broken": "flush ruleset\nnonsense\n"})
	m.enable("fwctl.service")
	m.wants("sysinit.target", "/lib/systemd/system/nftables.service")
	m.boot()
	m.wantObeys("old", "both were started at boot")
	for _, verb := range []string{"restart", "reload"} {
		got := m.during(func() { m.Sh("systemctl " + verb + " nftables"); m.idle() }, neverOpen)
		a := got[neverOpen]
		t.Logf("%s: a closed port was open for %v: %d of %d attempts were answered", verb, a.Last.Sub(a.First).Round(time.Millisecond), a.IPv4+a.IPv6, a.Sent)
		m.wantObeys("old", verb+" of nftables")
	}
	m.Sh("systemctl stop nftables")
	m.wantObeys("open", "stop of nftables")
	if _, is := m.Try("systemctl is-active fwctl"); strings.TrimSpace(is) != "inactive" {
		t.Errorf("after a stop of nftables fwctl is %s", is)
	}
	m.Sh("systemctl start nftables")
	m.idle()
	m.wantObeys("old", "start of nftables")
	m.Sh("systemctl stop fwctl")
	m.wantObeys("old", "stop of fwctl")
	m.Sh("systemctl start fwctl")
	m.wantObeys("old", "start of fwctl")
	m.nothingFailed()
	m.Sh("cp /etc/broken /etc/nftables.conf; ! systemctl restart nftables 2>&1")
	m.idle()
	m.wantObeys("old", "a restart of nftables that failed")
}

// restoring is netfilter-persistent.service, as Debian has it.
const restoring = `[Unit]
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=systemd-modules-load.service local-fs.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'iptables-%[1]s-restore < /etc/saved; ip6tables-%[1]s-restore < /etc/saved'
`

// netfilter-persistent removes the rules of the tables that it restores. fwctl's come
// last.
func TestBesideNetfilterPersistent(t *testing.T) {
	for variant, backend := range map[string]boxBackend{"nft": boxBackends[1], "legacy": boxBackends[2]} {
		t.Run(backend.name, func(t *testing.T) {
			m := newMachine(t, backend, map[string]string{
				"etc/systemd/system/netfilter-persistent.service": fmt.Sprintf(restoring, variant),
				"etc/saved": "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m mark --mark 7 -j DROP\nCOMMIT\n",
			})
			m.enable("fwctl.service")
			m.wants("multi-user.target", "/etc/systemd/system/netfilter-persistent.service")
			got := m.during(m.boot, neverOpen)
			if a := got[neverOpen]; a.IPv4+a.IPv6 > 0 {
				t.Errorf("a closed port while it boots: %+v", a)
			}
			m.wantObeys("old", "both were started at boot")
			m.Sh("systemctl restart netfilter-persistent")
			m.idle()
			m.wantObeys("old", "a restart")
			if rules := m.Sh("iptables-" + variant + "-save"); !strings.Contains(rules, "0x7") {
				t.Errorf("what it restored is gone:\n%s", rules)
			}
			m.nothingFailed()
		})
	}
}

// What else happens while a host boots cannot keep the unit from being started: mounts
// come and go, and /tmp is emptied.
func TestBootWhileOthersAreBusy(t *testing.T) {
	m := newMachine(t, boxBackends[0], map[string]string{
		"etc/systemd/system/busy.service": "[Service]\n" +
			"ExecStart=/bin/sh -c 'mkdir /run/busy; while :; do mount -t tmpfs busy /run/busy; rm -rf /tmp/*; umount /run/busy; done'\n",
		"etc/systemd/system/fwctl.service.d/often.conf": "[Unit]\nStartLimitIntervalSec=0\n",
	})
	m.boot()
	m.Sh("systemctl start busy")
	for i := range 40 {
		if status, said := m.Try("systemctl restart fwctl"); status != 0 {
			t.Fatalf("start %d: %s\n%s", i, said, m.Sh("journalctl -u fwctl"))
		}
	}
}

// A disk that cannot be written does not keep the rules from being loaded.
func TestBootFromAReadOnlyDisk(t *testing.T) {
	m := newMachine(t, boxBackends[0], nil)
	m.boot()
	m.Sh("chmod 0755 /var/lib/fwctl; mount --bind -o ro /var/lib/fwctl /var/lib/fwctl; systemctl start fwctl")
	m.wantObeys("old", "from a state that cannot be written")
	m.nothingFailed()
}

// nextRun waits until a unit has run once more, and returns how that ended.
func (m *machine) nextRun(unit string) string {
	m.Helper()
	look := func() (ended, result string) { // ended is "" while it runs
		var active string
		for line := range strings.Lines(m.Sh("systemctl show -p ActiveState -p Result -p ExecMainExitTimestampMonotonic " + unit)) {
			switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
			case "ActiveState":
				active = value
			case "Result":
				result = value
			default:
				ended = value
			}
		}
		if active == "activating" {
			return "", ""
		}
		return ended, result
	}
	first := ""
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		ended, result := look()
		if first == "" {
			first = ended
		} else if ended != "" && ended != first {
			return result
		}
		if time.Now().After(end) {
			m.Fatalf("%s does not run", unit)
		}
	}
}

// deadline reads when a change is taken back.
func deadline(m *machine, said string) time.Time {
	m.Helper()
	var out apply.Outcome
	if err := json.Unmarshal([]byte(said), &out); err != nil || out.Pending == nil {
		m.Fatalf("apply said: %v\n%s", err, said)
	}
	return out.Pending.Until
}

// login runs a line of the shell in a scope, as logins are, and leaves it running.
func (m *machine) login(line string) {
	m.Helper()
	c := m.Command("systemd-run", "--quiet", "--scope", "--unit=login", "sh", "-c", line+"; sleep 60")
	if err := c.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = c.Wait() })
}

// await waits until a line of the shell succeeds.
func (m *machine) await(line string) string {
	m.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, said := m.Try(line)
		if status == 0 {
			return said
		}
		if time.Now().After(end) {
			m.Fatalf("%s: status %d\n%s", line, status, said)
		}
	}
}

// The watchdog of a change is a unit of its own. It outlives the login in which the
// change was made, takes it back in time, and is gone then.
func TestWatchdogUnit(t *testing.T) {
	const watchdogs = "systemctl list-units --all --no-legend --plain 'fwctl-watchdog-*'"
	for _, backend := range boxBackends {
		t.Run(backend.name, func(t *testing.T) {
			m := newMachine(t, backend, nil)
			m.enable("fwctl.service")
			m.boot()
			m.login("fwctl apply --detach --confirm 3s --json /etc/fwctl/new.toml > /tmp/part && mv /tmp/part /tmp/said")
			until := deadline(m, m.await("cat /tmp/said"))
			m.Sh("systemctl kill --kill-whom=all -s KILL login.scope")
			m.await("! systemctl is-active --quiet login.scope")
			if n := strings.Count(m.Sh(watchdogs), "running"); n != 1 {
				t.Errorf("%d watchdogs run", n)
			}
			m.wantObeys("new", "before the deadline")
			got := m.during(func() { time.Sleep(time.Until(until.Add(time.Second))) }, openInOld, openInNew)
			back := got[openInOld].First.Sub(until)
			late := max(500*time.Millisecond, m.Booted) // a boot takes less, but where others keep the machine busy
			if back < 0 || back > late || got[openInNew].Last.After(until.Add(late)) {
				t.Errorf("taken back %v after the deadline; the new port answered until %v after it", back, got[openInNew].Last.Sub(until))
			}
			m.wantObeys("old", "after the deadline")
			t.Logf("taken back %v after the deadline", back.Round(time.Millisecond))
			if left := m.Sh(watchdogs); left != "" {
				t.Errorf("left: %s", left)
			}
			m.Sh("fwctl apply --detach --confirm 10m /etc/fwctl/new.toml")
			m.wantObeys("new", "the second time")
			m.Sh("systemctl reload fwctl")
			m.wantObeys("old", "fwctl.service was reloaded")
			m.await("test -z \"$(" + watchdogs + ")\"")
			m.Sh("fwctl apply --detach --confirm 10m /etc/fwctl/new.toml; systemctl daemon-reload; systemctl stop 'fwctl-watchdog-*'")
			m.wantObeys("old", "the watchdog was stopped")
			m.nothingFailed()
		})
	}
}

// quickTimer makes the timer ask every second.
const quickTimer = `[Timer]
OnCalendar=
OnCalendar=*:*:*
AccuracySec=1ms
RandomizedDelaySec=0
`

// tamper opens a port by hand; mend takes that back, and the rules of others as well.
var tamper = map[string]struct{ open, mend string }{
	"nftables": {
		"nft insert rule inet fwctl input tcp dport 4444 accept",
		"nft delete table inet foreign; systemctl reload fwctl",
	},
	"iptables over nf_tables": {
		"iptables-nft -I INPUT -p tcp --dport 4444 -j ACCEPT",
		"iptables-nft -D INPUT -p tcp --dport 4444 -j ACCEPT; iptables-nft -D INPUT -s 203.0.113.7 -j DROP; ip6tables-nft -D INPUT -s 2001:db8:9::7 -j DROP",
	},
	"iptables legacy": {
		"iptables-legacy -I INPUT -p tcp --dport 4444 -j ACCEPT",
		"iptables-legacy -D INPUT -p tcp --dport 4444 -j ACCEPT; iptables-legacy -D INPUT -s 203.0.113.7 -j DROP; ip6tables-legacy -D INPUT -s 2001:db8:9::7 -j DROP",
	},
}

// A drift makes its unit fail, and the journal is told of each once, and of the end.
func TestDriftTimer(t *testing.T) {
	for _, backend := range boxBackends {
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, backend, map[string]string{
				"etc/systemd/system/fwctl-drift.timer.d/quick.conf":   quickTimer,
				"etc/systemd/system/fwctl-drift.service.d/quick.conf": "[Unit]\nStartLimitIntervalSec=0\n",
			})
			m.enable("fwctl.service", "fwctl-drift.timer")
			m.boot()
			runs := func(result string) { // waits for the third run from now
				t.Helper()
				for range 2 { // the first may have begun before
					m.nextRun("fwctl-drift.service")
				}
				if got := m.nextRun("fwctl-drift.service"); got != result {
					t.Errorf("drift: %s, want %s", got, result)
				}
			}
			tell := func(found, cleared int) {
				t.Helper()
				if f, c := m.entries(driftFoundID), m.entries(driftClearedID); len(f) != found || len(c) != cleared {
					t.Errorf("%d found, %d cleared; want %d, %d: %v %v", len(f), len(c), found, cleared, f, c)
				}
			}
			m.await("journalctl -b -u fwctl-drift -o cat | grep -q '^compared'")
			runs("exit-code") // the rules of others refuse what the policy accepts
			tell(1, 0)
			m.Sh(tamper[backend.name].open)
			runs("exit-code")
			m.await("systemctl --failed --no-legend --plain | grep -q fwctl-drift.service")
			tell(2, 0)
			if found := m.entries(driftFoundID); len(found) == 2 {
				e := found[1]
				t.Log(e["MESSAGE"])
				if e["FWCTL_VERDICT"] != "drift" || !strings.Contains(fmt.Sprint(e["FWCTL_PACKET"]), ":4444") || e["FWCTL_FINDINGS"] == "1" || e["PRIORITY"] != "4" {
					t.Errorf("%v", e)
				}
			}
			m.Sh(tamper[backend.name].mend)
			runs("success")
			tell(2, 1)
			m.nothingFailed()
			m.wantObeys("old", "in the end")
			if left := m.Sh("ls -A /run/fwctl"); strings.Contains(left, "drift") {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// The journal has what became of the rules, in fields.
func TestEventsInTheJournal(t *testing.T) {
	m := newMachine(t, boxBackends[0], map[string]string{"etc/fwctl/bad.toml": "version = 1\n[service.x]\nports = [\"22/tcp\"]\nfrom = [\"nobody\"]\n"})
	m.enable("fwctl.service")
	m.boot()
	m.Sh("fwctl apply --no-confirm --json")
	token := m.Sh("fwctl apply --detach /etc/fwctl/new.toml 2>/dev/null")
	m.Sh("fwctl rollback")
	if status, said := m.Try("fwctl apply --no-confirm /etc/fwctl/bad.toml"); status != exitError {
		t.Errorf("a bad policy: status %d\n%s", status, said)
	}
	for id, want := range map[string][]map[string]string{
		apply.AppliedID: {
			{"FWCTL_POLICY": "/etc/fwctl/policy.toml", "PRIORITY": "5"},
			{"FWCTL_POLICY": "/etc/fwctl/new.toml", "FWCTL_TOKEN": token, "FWCTL_UNTIL": "20"},
		},
		apply.ConfirmedID:  {{"FWCTL_POLICY": "/etc/fwctl/policy.toml", "FWCTL_BACKEND": "nftables"}},
		apply.RolledBackID: {{"FWCTL_POLICY": "/etc/fwctl/new.toml", "FWCTL_TOKEN": token, "FWCTL_USER": "root", "PRIORITY": "4"}},
		apply.RefusedID:    {{"FWCTL_POLICY": "/etc/fwctl/bad.toml", "FWCTL_ACTION": "apply", "PRIORITY": "4"}},
	} {
		got := m.entries(id)
		if len(got) != len(want) {
			t.Errorf("%s: %d entries, want %d: %v", id, len(got), len(want), got)
			continue
		}
		for i, fields := range want {
			for name, text := range fields {
				if has := fmt.Sprint(got[i][name]); !strings.HasPrefix(has, text) || text == "" {
					t.Errorf("%s: %s is %q, want %q", got[i]["MESSAGE"], name, has, text)
				}
			}
			if got[i]["SYSLOG_IDENTIFIER"] != "fwctl" {
				t.Errorf("%v", got[i])
			}
		}
	}
}

// systemd has nothing to say against the units, and little that they could do beyond
// their work.
func TestUnits(t *testing.T) {
	m := newMachine(t, boxBackends[0], nil)
	m.enable("fwctl.service", "fwctl-drift.timer")
	m.boot()
	if said := m.Sh("systemd-analyze verify --man=no fwctl.service fwctl-drift.service fwctl-drift.timer"); said != "" {
		t.Errorf("systemd-analyze verify: %s", said)
	}
	for unit, most := range map[string]int{"fwctl.service": 35, "fwctl-drift.service": 20} {
		status, said := m.Try(fmt.Sprintf("systemd-analyze security --no-pager --threshold=%d %s", most, unit))
		if status != 0 {
			t.Errorf("%s is exposed to more than %d: %s", unit, most, said)
		}
		_, verdict, _ := strings.Cut(said, "Overall ")
		t.Log(strings.TrimSpace(verdict))
	}
}
