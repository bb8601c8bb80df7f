package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/fwctl/fwctl/audit/exposure"
	"github.com/fwctl/fwctl/internal/forms"
)

// place is a network namespace with a name, as /run/netns has them.
type place struct {
	*testing.T
	name string
}

func newPlace(t *testing.T, name string) *place {
	t.Helper()
	if err := unshare(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace: %v", err)
		}
		t.Skipf("needs root and network namespaces: %v", err)
	}
	p := &place{t, fmt.Sprintf("fwctl-%d-%s", os.Getpid(), name)}
	if out, err := exec.Command("ip", "netns", "add", p.name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", p.name).Run() })
	p.sh("ip link set lo up")
	return p
}

func (p *place) sh(line string) {
	p.Helper()
	if out, err := exec.Command("nsenter", "--net=/run/netns/"+p.name, "sh", "-ec", line).CombinedOutput(); err != nil {
		p.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// do runs the function on a thread that is there and ends with it.
func (p *place) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		ns, err := netns.GetFromName(p.name)
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		done <- errors.Join(netns.Set(ns), f())
	}()
	return <-done
}

// listen makes the test wait there.
func (p *place) listen(network, addr string) {
	p.Helper()
	err := p.do(func() error {
		l, err := net.Listen(network, addr)
		if err == nil {
			p.Cleanup(func() { l.Close() })
		}
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
}

// gets reports whether a connection from one address of the place comes through.
func (p *place) gets(from, to string) bool {
	p.Helper()
	err := p.do(func() error {
		d := net.Dialer{Timeout: 500 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", to)
		if err == nil {
			c.Close()
		}
		return err
	})
	return err == nil
}

// audit runs fwctl audit there, and returns what it says.
func (p *place) audit(args ...string) (status int, said string) {
	p.Helper()
	return p.auditWith("", args...)
}

// auditWith is audit for one who has but some capabilities, as setpriv(1) writes them; "":
// all.
func (p *place) auditWith(capabilities string, args ...string) (status int, said string) {
	p.Helper()
	dir := p.TempDir()
	line := append([]string{"fwctl", "--state-dir", dir, "--run-dir", dir, "audit"}, args...)
	if capabilities != "" {
		line = append([]string{"setpriv", "--bounding-set=" + capabilities, "--inh-caps=-all"}, line...)
	}
	c := exec.Command("nsenter", append([]string{"--net=/run/netns/" + p.name}, line...)...)
	c.Env = append(os.Environ(), "NO_COLOR=1", "COLUMNS=", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := c.Output()
	if c.ProcessState == nil {
		p.Fatal(err)
	}
	return c.ProcessState.ExitCode(), string(out)
}

// Of each other network namespace the audit tells what waits there, and who gets in of
// those whose packets come so far, as its own rules decide: packets say the same.
func TestAuditOfAllNamespaces(t *testing.T) {
	host, box, peer := newPlace(t, "host"), newPlace(t, "box"), newPlace(t, "peer")
	box.sh("ip link add box0 type veth peer name peer0 netns " + peer.name + `
ip addr add 192.0.2.1/24 dev box0; ip link set box0 up
ip route add default dev box0
nft 'table inet box { chain in { type filter hook input priority 0; policy drop; ct state established accept; ip saddr 198.51.100.0/24 tcp dport 8000 accept; }; }
table ip boxnat { chain pre { type nat hook prerouting priority -100; tcp dport 9000 dnat to 10.9.9.9:80; }; }'`)
	peer.sh(`ip addr add 198.51.100.7/24 dev peer0; ip addr add 203.0.113.9/24 dev peer0; ip link set peer0 up; ip route add 192.0.2.0/24 dev peer0`)
	host.listen("tcp4", "127.0.0.1:7000")
	box.listen("tcp4", "0.0.0.0:8000")
	box.listen("tcp4", "127.0.0.1:8001")
	box.listen("tcp6", "[::]:8002")
	for from, want := range map[string]bool{"198.51.100.7": true, "203.0.113.9": false} {
		if got := peer.gets(from, "192.0.2.1:8000"); got != want {
			t.Fatalf("from %s: the kernel says %v, want %v", from, got, want)
		}
	}
	n := namespaceTold(t, host, box.name)
	want := map[string]string{"8000/tcp": "198.51.100.0/24", "8001/tcp": "local", "8002/tcp": "", "9000/tcp": "any IPv4"}
	for i := range n.Doors {
		d := &n.Doors[i]
		who := strings.Join(d.From, "; ")
		if d.Local {
			who = "local"
		}
		if w, ok := want[fmt.Sprintf("%d/%s", d.Port, d.Protocol)]; !ok || who != w || d.Untold {
			t.Errorf("%d/%s is reached by %q, want %q (%v)", d.Port, d.Protocol, who, w, ok)
		}
		delete(want, fmt.Sprintf("%d/%s", d.Port, d.Protocol))
		if d.Port == 9000 && !slices.Equal(d.Published, []string{"0.0.0.0:9000/tcp -> 10.9.9.9:80"}) {
			t.Errorf("published: %q", d.Published)
		}
	}
	if len(want) > 0 || len(n.Notes) > 0 || !slices.Equal(n.Addresses, []string{"box0 192.0.2.1/24"}) {
		t.Errorf("not told of: %v; notes %q; addresses %q", want, n.Notes, n.Addresses)
	}
	readable(t, host, box.name)
}

// namespaceTold audits all namespaces from the host and returns one of them.
func namespaceTold(t *testing.T, host *place, name string) (n exposure.Namespace) {
	t.Helper()
	_, said := host.audit("--json", "--all-namespaces") // others on this machine may be beyond telling
	var a struct {
		Doors []struct {
			Protocol string
			Port     int
		}
		Namespaces []json.RawMessage
	}
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if err := answerProblem("audit", said); err != nil {
		t.Error(err)
	}
	if len(a.Doors) != 1 || a.Doors[0].Port != 7000 {
		t.Errorf("of the host itself: %v", a.Doors)
	}
	for _, text := range a.Namespaces {
		if err := json.Unmarshal(text, &n); err != nil {
			t.Fatal(err)
		}
		if n.Name == name {
			return n
		}
		n = exposure.Namespace{}
	}
	t.Fatalf("%s is not told of:\n%s", name, said)
	return n
}

// readable holds what people read against the same.
func readable(t *testing.T, host *place, name string) {
	t.Helper()
	for _, args := range [][]string{{"--all-namespaces"}, {"--all-namespaces", "--format", "html"}} {
		_, said := host.audit(args...)
		for _, want := range []string{name, "box0 192.0.2.1/24", "8000/tcp", "198.51.100.0/24", "is not followed"} {
			if !strings.Contains(said, want) {
				t.Errorf("%q: nothing of %q\n%s", args, want, said)
			}
		}
	}
	if _, said := host.audit(); strings.Contains(said, "8000/tcp") {
		t.Errorf("not asked for:\n%s", said)
	}
}

// CAP_NET_ADMIN is enough to tell who gets in where; which processes wait, and what is in
// other namespaces, is said not to be known. Without it nothing is said to be well.
func TestAuditWithFewCapabilities(t *testing.T) {
	host := newPlace(t, "few")
	newPlace(t, "beside")
	host.sh(`ip link add e0 type veth peer name e1; ip addr add 192.0.2.1/24 dev e0; ip link set e0 up; ip link set e1 up
nft 'table inet t { chain in { type filter hook input priority 0; policy drop; ip saddr 198.51.100.0/24 tcp dport 8000 accept; }; }'`)
	host.listen("tcp4", "0.0.0.0:8000")
	status, said := host.auditWith("-all,+net_admin")
	for _, want := range []string{"8000/tcp  0.0.0.0  198.51.100.0/24", "somebody (root)", "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", "no process was found that has these open: 0.0.0.0:8000/tcp", "cannot tell: "} {
		if status != exitUnknown || !strings.Contains(said, want) {
			t.Errorf("status %d, want %d and %q:\n%s", status, exitUnknown, want, said)
		}
	}
	status, said = host.auditWith("-all,+net_admin", "--all-namespaces")
	for _, want := range []string{"may not be looked at (needs CAP_SYS_PTRACE", "could not be entered (needs CAP_SYS_ADMIN): fwctl-"} {
		if status != exitUnknown || !strings.Contains(said, want) {
			t.Errorf("status %d, want %d and %q:\n%s", status, exitUnknown, want, said)
		}
	}
	if status, said := host.auditWith("-all"); status != exitError || said != "" {
		t.Errorf("without: status %d\n%s", status, said)
	}
	status, said = host.auditWith("-all", "--format", "nagios")
	if wrong := forms.Nagios(said, "UNKNOWN"); status != exitUnknown || len(wrong) > 0 || !strings.Contains(said, "CAP_NET_ADMIN") {
		t.Errorf("without, for Nagios: status %d, %q\n%s", status, wrong, said)
	}
}
