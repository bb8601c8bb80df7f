package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/beside"
	"github.com/vishvananda/netlink"
)

// Who asks: 10.77.0.2 is let in to the published port, 10.77.0.3 is not; so are the
// addresses of IPv6.
const publishedPolicy = `version = 1
[defaults]
published = "enforce"
container_interfaces = ["docker0", "br-*"]
[group.friends]
addresses = ["10.77.0.2", "2001:db8:77::2"]
[service.web]
ports = ["8080/tcp"]
from = ["friends"]
[service.ssh]
ports = ["2222/tcp"]
from = ["any"]
limit = "4/hour"
[service.redirected]
ports = ["8444/tcp"]
from = ["any"]
`

// The services decide about ports that Docker publishes, and what is Docker's own goes
// on: with each backend, before and behind restarts.
func TestPublishedPortsObey(t *testing.T) {
	if os.Getenv("FWCTL_ROOT") == "" {
		t.Skip("needs other managers: make coexist")
	}
	for _, w := range []boxBackend{
		{"nftables", "true", "true", "true"}, {"iptables over nf_tables", "true", "true", "true"}, {"iptables legacy", "true", "true", "true"},
	} {
		t.Run(w.name, func(t *testing.T) { newDockerBox(t, w).publishes() })
	}
}

// dockerBox is a box in which Docker runs, and a peer with several addresses.
type dockerBox struct {
	*box
	peer   *peer
	policy string
}

func newDockerBox(t *testing.T, w boxBackend) *dockerBox {
	d := enterDocker(t, w, true, "testdata/published/containers.sh")
	d.peer = d.plug()
	d.sh("ip address add 2001:db8:77::1/64 dev mgmt0 nodad; iptables-save >/dev/null")
	err := within(d.peer.ns, func() error {
		var errs []error
		for _, a := range []string{"10.77.0.3/24", "2001:db8:77::2/64", "2001:db8:77::3/64"} {
			addr, err := netlink.ParseAddr(a)
			up, err2 := netlink.LinkByName("up0")
			if err = errors.Join(err, err2); err == nil {
				addr.Flags = 2 // IFA_F_NODAD
				err = netlink.AddrAdd(up, addr)
			}
			errs = append(errs, err)
		}
		// By the host to the containers, and to an address that is nobody's.
		return errors.Join(append(errs, exec.Command("sh", "-ec",
			"ip link set lo up; ip route add 172.16.0.0/12 via 10.77.0.1; ip route add 10.96.0.0/16 via 10.77.0.1; ip -6 route add fd00:d0c::/64 via 2001:db8:77::1").Run())...)
	})
	if err != nil {
		t.Fatal(err)
	}
	d.serve("0.0.0.0:2222")
	return d
}

// enterDocker starts Docker in a new box, with IPv6 or without, and runs scripts there.
func enterDocker(t *testing.T, w boxBackend, six bool, scripts ...string) *dockerBox {
	d := &dockerBox{box: bare(t, w)}
	variant, families := "nft", ""
	if w.name == "iptables legacy" {
		variant = "legacy"
	}
	if six {
		families = "--experimental --ipv6 --ip6tables --fixed-cidr-v6 fd00:d0c::/64"
	}
	// FWCTL_DOCKERD are flags for dockerd, such as --firewall-backend=nftables.
	text := fmt.Sprintf("VARIANT=%s\nexport FLAGS=%q FAMILIES=%q\n", variant, os.Getenv("FWCTL_DOCKERD"), families)
	for _, name := range append([]string{"testdata/published/docker.sh"}, scripts...) {
		script, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text += string(script)
	}
	beside.Enter(t, d.do, text, func(dir string) error {
		for program, source := range map[string]string{"shell": "./testdata/published", "fwctl": "."} {
			build := exec.Command("go", "build", "-o", filepath.Join(dir, program), source)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
		}
		return nil
	})
	return d
}

// serve answers in the host's namespace.
func (d *dockerBox) serve(addr string) {
	d.Helper()
	var l net.Listener
	if err := d.in(func() (err error) { l, err = net.Listen("tcp", addr); return err }); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { l.Close() })
	answerAll(l)
}

func answerAll(l net.Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "here")
			c.Close()
		}
	}()
}

// patience of who asks: what is dropped answers never.
const askTime = 600 * time.Millisecond

// answers reports whether something answers at an address, asked from another.
func answers(from, addr string) bool {
	d := net.Dialer{Timeout: askTime}
	if from != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(askTime))
	text, _ := io.ReadAll(c) // a relay accepts before it knows that it cannot go on
	return len(text) > 0
}

// asks reports whether the peer gets an answer.
func (d *dockerBox) asks(from, addr string) (ok bool) {
	_ = within(d.peer.ns, func() error { ok = answers(from, addr); return nil })
	return ok
}

// itself reports whether the host gets an answer.
func (d *dockerBox) itself(addr string) (ok bool) {
	_ = d.in(func() error { ok = answers("", addr); return nil })
	return ok
}

// docker runs a line where docker is, and reports whether that ended well.
func (d *dockerBox) docker(line string) (said string, ok bool) {
	d.Helper()
	err := d.in(func() error {
		c, err := net.Dial("tcp", "127.0.0.1:2999")
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprintln(c, line)
		text, err := io.ReadAll(c)
		said = string(text)
		return err
	})
	if err != nil {
		d.Fatal(err)
	}
	text, code, _ := cutLast(said, "\n")
	return text, code == "0"
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// inside reports whether what is done in a container's network ends well.
func (d *dockerBox) inside(container, what string) bool {
	d.Helper()
	_, ok := d.docker("nsenter --net=/proc/$(docker inspect -f '{{.State.Pid}}' " + container + ")/ns/net /share/shell " + what)
	return ok
}

// address is what Docker says of a container.
func (d *dockerBox) address(container string) string {
	d.Helper()
	said, ok := d.docker("docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' " + container)
	if !ok {
		d.Fatal(said)
	}
	return strings.TrimSpace(said)
}

// published are the ports, and what the policy says of who asks.
var published = []struct {
	from, addr string
	in         bool
}{
	{"10.77.0.2", "10.77.0.1:8080", true},
	{"10.77.0.3", "10.77.0.1:8080", false},
	{"10.77.0.2", "10.77.0.1:8081", false},
	{"2001:db8:77::2", "[2001:db8:77::1]:8080", true},
	{"2001:db8:77::3", "[2001:db8:77::1]:8080", false},
	{"2001:db8:77::2", "[2001:db8:77::1]:8081", false},
}

// obeys fails unless the published ports obey, and what is Docker's own goes on.
func (d *dockerBox) obeys(when string) {
	d.Helper()
	for _, p := range published {
		if got := d.asks(p.from, p.addr); got != p.in {
			d.Errorf("%s: %s to %s: %v, want %v", when, p.from, p.addr, got, p.in)
		}
	}
	d.goesOn(when)
	for _, c := range []string{"web", "app"} {
		if a := d.address(c) + ":80"; d.asks("10.77.0.2", a) {
			d.Errorf("%s: straight to container %s at %s: in", when, c, a)
		}
	}
}

// goesOn fails unless what is Docker's own works.
func (d *dockerBox) goesOn(when string) {
	d.Helper()
	for _, a := range []string{"127.0.0.1:8080", "[::1]:8080", "10.77.0.1:8080", d.address("web") + ":80"} {
		if !d.itself(a) {
			d.Errorf("%s: the host itself does not reach %s", when, a)
		}
	}
	for _, x := range []struct {
		container, what string
		ok              bool
	}{
		{"web", "dial 10.77.0.2:9999", true},                // egress
		{"web", "dial 10.77.0.1:8080", true},                // hairpin
		{"app", "dial 10.77.0.1:8080", true},                // from another network
		{"web", "dial 10.77.0.1:2222", true},                // to a port of the host
		{"other", "dial " + d.address("web") + ":80", true}, // beside it
		{"app", "dial " + d.address("app2") + ":80", true},  //
		{"app", "look app2", true},                          // Docker's names
		{"app", "dial " + d.address("web") + ":80", false},  // Docker keeps networks apart
		{"web", "dial " + d.address("app") + ":80", false},  //
	} {
		if got := d.inside(x.container, x.what); got != x.ok {
			d.Errorf("%s: in container %s: %s: %v, want %v", when, x.container, x.what, got, x.ok)
		}
	}
}

// publishes goes through the life of a host with containers.
func (d *dockerBox) publishes() {
	d.Helper()
	d.serves("0.0.0.0:9999")
	for _, p := range published {
		if !d.asks(p.from, p.addr) {
			d.Fatalf("without rules %s does not reach %s", p.from, p.addr)
		}
	}
	d.goesOn("without rules")
	d.policy = d.write("published.toml", publishedPolicy)
	unset := d.write("unset.toml", strings.Replace(publishedPolicy, "published = \"enforce\"\n", "", 1))
	if said := d.want(2, "apply", "--no-confirm", unset); !strings.Contains(said, "8081") || !strings.Contains(said, "would close") {
		d.Errorf("without a word on published ports: %s", said)
	}
	d.audited(strings.Replace(publishedPolicy, "enforce", "ignore", 1), `"code": "FW101",
      "severity": "critical",
      "door": "8081/tcp"`, `"code": "FW102",
      "severity": "critical",
      "door": "8080/tcp"`)
	d.apply()
	d.audited(publishedPolicy)
	d.obeys("applied")
	if in := d.counted(6); in != 4 {
		d.Errorf("of six connections under a limit of four %d got in", in)
	}
	d.translatedByHand()
	if said, _ := d.docker("docker restart -t 0 web"); !d.asks("10.77.0.2", "10.77.0.1:8080") && !eventually(func() bool { return d.asks("10.77.0.2", "10.77.0.1:8080") }) {
		d.Errorf("after a restart of the container: %s", said)
	}
	d.obeys("after a restart")
	was := d.address("web")
	if said, ok := d.docker("docker stop -t 0 web && docker run -d --security-opt seccomp=unconfined --name thief shell /shell serve 80 && docker start web"); !ok {
		d.Fatal(said)
	}
	if !eventually(func() bool { return d.asks("10.77.0.2", "10.77.0.1:8080") }) {
		d.Error("the container does not come back")
	}
	if now := d.address("web"); now == was {
		d.Errorf("the container still has %s", was)
	}
	d.obeys("with another address")
	d.apply()
	if said, ok := d.docker(`cd /run/docker-test; kill $(cat pid); while [ -e pid ]; do sleep 0.1; done; sh -eu start`); !ok {
		d.Fatal(said)
	}
	if !eventually(func() bool { return d.asks("10.77.0.2", "10.77.0.1:8080") }) {
		d.Error("the daemon started anew, and the port does not answer")
	}
	d.obeys("after the daemon started anew")
	d.want(0, "drift")
	d.want(0, "off", "--yes")
	for _, p := range published {
		if !d.asks(p.from, p.addr) {
			d.Errorf("after off %s does not reach %s", p.from, p.addr)
		}
	}
}

// apply applies the policy by the box's backend, whatever Docker uses.
func (d *dockerBox) apply() {
	d.Helper()
	args := []string{"apply", "--no-confirm", d.policy}
	if d.backend.name == "nftables" {
		args = append(args, "--backend", "nftables")
	}
	d.want(0, args...)
}

func eventually(f func() bool) bool {
	for range 50 {
		if f() {
			return true
		}
		time.Sleep(200 * time.Millisecond)
	}
	return false
}

// audited fails unless audit finds that, among what is critical, under a policy.
func (d *dockerBox) audited(policy string, wants ...string) {
	d.Helper()
	_, said := d.run("--json", "audit", d.write("audited.toml", policy))
	for _, want := range wants {
		if !strings.Contains(said, want) {
			d.Errorf("audit does not say %s:\n%s", want, said)
		}
	}
	if n := strings.Count(said, `"severity": "critical"`); n != len(wants) {
		d.Errorf("%d critical findings, want %d:\n%s", n, len(wants), said)
	}
	if !strings.Contains(said, "172.17.0.") {
		d.Errorf("audit does not say where published ports lead:\n%s", said)
	}
}

// counted is how many connections to the limited port get in, of so many.
func (d *dockerBox) counted(n int) (in int) {
	for range n {
		if d.asks("10.77.0.2", "10.77.0.1:2222") {
			in++
		}
	}
	return in
}

// translatedByHand adds what no container engine did: an address that is not the host's
// is left alone, a redirection is judged by the port that is asked for.
func (d *dockerBox) translatedByHand() {
	d.Helper()
	dnat := "iptables -t nat %s PREROUTING -p tcp -d 10.96.0.1 --dport 80 -j DNAT --to-destination " + d.address("web") + ":80"
	redirect := "iptables -t nat %s PREROUTING -p tcp --dport 8443:8444 -j REDIRECT --to-ports 2222"
	for _, line := range []string{dnat, redirect} {
		if said, ok := d.docker(fmt.Sprintf(line, "-I")); !ok {
			d.Fatal(said)
		}
		defer d.docker(fmt.Sprintf(line, "-D"))
	}
	for _, x := range []struct {
		addr string
		in   bool
	}{{"10.96.0.1:80", true}, {"10.77.0.1:8443", false}, {"10.77.0.1:8444", true}} {
		if got := d.asks("10.77.0.3", x.addr); got != x.in {
			d.Errorf("translated by hand: %s: %v, want %v", x.addr, got, x.in)
		}
	}
}
