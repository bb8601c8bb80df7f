package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// box is a host in a laboratory on which fwctl runs as its users run it, beside
// rules of others.
type box struct {
	*testing.T
	lab      *netlab.Lab
	do       func(func() error) error // runs in the host's network namespace
	dir      string
	backend  boxBackend
	old, new string // policies: the confirmed one, and one that opens and closes
	foreign  string
	state    string // what a boot would load
	// newBackend makes the new policy go by another backend than the old.
	newBackend []string
	path       string // a directory of programs that come before the host's
	pf         string // directory of the stand-in for pfctl; "" for the other backends
	resolver   string // a file that stands where /etc/resolv.conf does
	passwd     string // one that stands where /etc/passwd does
}

// boxBackend is a backend and rules of others that make fwctl choose it.
type boxBackend struct{ name, save, foreign, list string }

var boxBackends = []boxBackend{
	{
		"nftables", "iptables-nft-save",
		"nft 'table inet foreign { set s { type ipv4_addr; elements = { 203.0.113.7 }; }; chain c { type filter hook input priority -7; ip saddr @s drop; }; }'",
		"nft -s list table inet foreign",
	},
	{
		"iptables over nf_tables", "iptables-nft-save",
		"iptables-nft -A INPUT -s 203.0.113.7 -j DROP; ip6tables-nft -A INPUT -s 2001:db8:9::7 -j DROP",
		"iptables-nft-save; ip6tables-nft-save",
	},
	{
		"iptables legacy", "iptables-legacy-save",
		"iptables-legacy -A INPUT -s 203.0.113.7 -j DROP; ip6tables-legacy -A INPUT -s 2001:db8:9::7 -j DROP",
		"iptables-legacy-save; ip6tables-legacy-save",
	},
}

const (
	boxOld = `version = 1
[defaults]
published = "ignore"
[group.many]
addresses = ["198.51.100.0/25", "198.51.100.200", "192.0.2.128/27", "2001:db8:7::/48"]
[service.ssh]
ports = ["22/tcp"]
from = ["any"]
[service.db]
ports = ["5432/tcp", "6000-6010/udp"]
from = ["many"]
`
	boxNew = `version = 1
[defaults]
published = "ignore"
[group.many]
addresses = ["198.51.100.0/26", "192.0.2.128/26", "2001:db8:8::/48"]
[service.web]
ports = ["8000/tcp"]
from = ["any"]
[service.db]
ports = ["5432/tcp", "6001-6010/udp"]
from = ["many"]
limit = "100/minute"
[block.bad]
from = ["192.0.2.130"]
`
)

func newBox(t *testing.T, backend boxBackend) *box {
	t.Helper()
	facts := &rules.Host{Interfaces: []rules.Interface{
		{Name: "lo", Loopback: true, Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}},
		{Name: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("2001:db8:1::10/64")}},
	}}
	lab := netlab.New(t, facts)
	return furnish(&box{T: t, lab: lab, do: lab.Do, backend: backend})
}

// furnish gives a box its policies and the rules of others.
func furnish(b *box) *box {
	b.Helper()
	b.dir = b.TempDir()
	b.old, b.new = b.write("old.toml", boxOld), b.write("new.toml", boxNew)
	b.sh(b.backend.foreign)
	b.foreign = b.others()
	return b
}

func (b *box) write(name, text string) string {
	b.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// in runs a command in the host's namespace.
func (b *box) in(f func() error) error { return b.do(f) }

func (b *box) sh(line string) string {
	b.Helper()
	var out []byte
	err := b.in(func() (err error) { out, err = exec.Command("sh", "-ec", line).CombinedOutput(); return err })
	if err != nil {
		b.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// fwctl is a command of the program, with the box's directories.
func (b *box) fwctl(args ...string) *exec.Cmd {
	all := []string{"--state-dir", filepath.Join(b.dir, "state"), "--run-dir", filepath.Join(b.dir, "run")}
	switch b.backend.name {
	case "nftables", "switching":
	case "pf":
		all = append(all, "--backend", "pf")
	default:
		all = append(all, "--backend", "iptables")
	}
	line := append(append([]string{"fwctl"}, all...), args...)
	for file, instead := range map[string]string{"/etc/resolv.conf": b.resolver, "/etc/passwd": b.passwd} {
		if instead != "" {
			line = append([]string{"unshare", "--mount", "sh", "-ec", `mount --bind "$0" ` + file + `; exec "$@"`, instead}, line...)
		}
	}
	c := exec.Command(line[0], line[1:]...)
	c.Env = append(os.Environ(), "NO_COLOR=1", "COLUMNS=", "PFCTL_DIR="+b.pf, "PATH="+b.path+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	return c
}

// run runs fwctl and returns its exit status and what it said.
func (b *box) run(args ...string) (status int, said string) {
	b.Helper()
	var out []byte
	c := b.fwctl(args...)
	_ = b.in(func() (err error) { out, err = c.CombinedOutput(); return err })
	if c.ProcessState == nil {
		b.Fatalf("fwctl %v did not run", args)
	}
	return c.ProcessState.ExitCode(), string(out)
}

// want runs fwctl and wants an exit status.
func (b *box) want(status int, args ...string) string {
	b.Helper()
	got, said := b.run(args...)
	if got != status {
		b.Fatalf("fwctl %v exits with %d, want %d\n%s", args, got, status, said)
	}
	return said
}

// obeyOld makes the host obey the old policy, by the box's backend.
func (b *box) obeyOld() {
	b.Helper()
	args := []string{"apply", "--no-confirm", b.old}
	if b.backend.name == "nftables" {
		args = append(args, "--backend", "nftables")
	}
	b.want(0, args...)
	b.state = b.confirmed()
}

// confirmed identifies what a boot would load.
func (b *box) confirmed() string {
	text, _ := os.ReadFile(filepath.Join(b.dir, "state", "confirmed"))
	return string(text)
}

// others are the rules that are not fwctl's, without counters and dates.
func (b *box) others() string {
	b.Helper()
	var lines []string
	for line := range strings.Lines(b.sh(b.backend.list)) {
		if !strings.Contains(line, "FWCTL") && !strings.HasPrefix(line, "#") {
			line, _, _ = strings.Cut(line, " [")
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// decides reports which policy the kernel obeys, by packets: "old", "new" or
// what it does.
func (b *box) decides() string {
	b.Helper()
	if b.pf != "" {
		return b.pfDecides()
	}
	var ps []packet.Packet
	for _, ends := range [][2]string{{"203.0.113.9", "192.0.2.10"}, {"2001:db8:99::9", "2001:db8:1::10"}} {
		for _, port := range []uint16{22, 8000, 4444} {
			ps = append(ps, packet.Packet{
				Hook: packet.Input, In: "eth0", Proto: packet.TCP, Flags: packet.SYN, SrcPort: 50000 + port%97, DstPort: port,
				Src: netip.MustParseAddr(ends[0]), Dst: netip.MustParseAddr(ends[1]),
			})
		}
	}
	got, err := b.lab.Probe(ps)
	if err != nil {
		b.Fatal(err)
	}
	var words []string
	for _, v := range got {
		words = append(words, v.String())
	}
	return decided(words)
}

// decided names the policy by which packets to the ports 22, 8000 and 4444 fare so, over
// IPv4 and IPv6.
func decided(words []string) string {
	switch text := strings.Join(words, " "); text {
	case "accept drop drop accept drop drop":
		return "old"
	case "drop accept drop drop accept drop":
		return "new"
	default:
		return text
	}
}

// processes are those that work for the box.
func (b *box) processes() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if strings.Contains(string(line), b.dir) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

// quiet waits until nothing works for the box any more.
func (b *box) quiet(limit time.Duration) {
	b.Helper()
	for end := time.Now().Add(limit); len(b.processes()) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("still running: %v", b.processes())
		}
	}
}

// stands fails unless everything is as the old policy has it, or as what may be
// instead.
func (b *box) stands(what string, also ...string) {
	b.Helper()
	decides := b.decides()
	if decides != "old" && !slices.Contains(also, decides) {
		b.Errorf("%s: the kernel does what is %s\n%s", what, decides, b.trace())
	}
	if b.confirmed() != b.state && decides == "old" {
		b.Errorf("%s: the kernel obeys the old policy, a boot would load another", what)
	}
	if holds := b.sh(b.backend.save); b.pf == "" && strings.Contains(holds, "FWCTL") == (b.backend.name == "nftables") {
		b.Errorf("%s: by another backend than %s\n%s", what, b.backend.name, holds)
	}
	if got := b.others(); got != b.foreign {
		b.Errorf("%s: the rules of others changed from\n%s\nto\n%s", what, b.foreign, got)
	}
	if len(b.leftPending()) > 0 {
		b.Errorf("%s: the state says that a change is pending", what)
	}
}

// leftPending is the record of a change that nobody has settled, if there is one.
func (b *box) leftPending() []string {
	left, _ := filepath.Glob(filepath.Join(b.dir, "state", "pending"))
	return left
}

// tidy fails if the state has what nobody needs.
func (b *box) tidy(what string) {
	b.Helper()
	if left, _ := filepath.Glob(filepath.Join(b.dir, "state", ".*")); len(left) > 0 {
		b.Errorf("%s: left in the state: %v", what, left)
	}
}

// trace is what there is to look at when a test fails.
func (b *box) trace() string {
	_, status := b.run("status")
	_, history := b.run("history")
	return fmt.Sprintf("%s%s%s", status, history, b.sh(b.backend.list))
}

// kill ends processes that the box started. All their threads are gone when it
// returns, and with them their files: names and the first thread go before.
func kill(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range pids {
		for {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			_, state, _ := strings.Cut(string(stat), ") ")
			threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
			if err != nil || len(threads) <= 1 && strings.HasPrefix(state, "Z") {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// eachBackend runs a test in a box of each backend, pf as well by its stand-in.
func eachBackend(t *testing.T, f func(*box)) {
	eachKernel(t, f)
	t.Run("pf", func(t *testing.T) {
		t.Parallel()
		f(newPFBox(t))
	})
}

// eachKernel is eachBackend for tests that send packets: no kernel judges them by what
// the stand-in for pfctl holds.
func eachKernel(t *testing.T, f func(*box)) {
	for _, backend := range boxBackends {
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			f(newBox(t, backend))
		})
	}
}
