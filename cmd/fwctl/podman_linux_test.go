package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/fwctl/fwctl/internal/beside"
)

// podmanPolicy lets in 10.77.0.2 to what root's Podman publishes and to what a user's
// does, and nobody else.
const podmanPolicy = `version = 1
[defaults]
published = "enforce"
container_interfaces = ["podman*"]
[service.web]
ports = ["8080/tcp"]
from = ["10.77.0.2"]
[service.own]
ports = ["8082/tcp"]
from = ["10.77.0.2"]
`

// newPodmanBox is a box in which Podman runs, and a peer with two addresses.
func newPodmanBox(t *testing.T, w boxBackend) *dockerBox {
	if _, err := os.Stat(filepath.Join(os.Getenv("FWCTL_ROOT"), "usr/bin/podman")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("the root has no Podman")
	}
	d := &dockerBox{box: bare(t, w)}
	script, err := os.ReadFile("testdata/published/podman.sh")
	if err != nil {
		t.Fatal(err)
	}
	beside.Enter(t, d.do, string(script), func(dir string) error {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, "shell"), "./testdata/published")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	d.peer = d.plug()
	err = within(d.peer.ns, func() error {
		up, err := netlink.LinkByName("up0")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr("10.77.0.3/24")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(up, addr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What Podman publishes, as root by rules and as a user by a program that keeps the port,
// is told as packets find it; and the services decide about both.
func TestPublishedPortsOfPodman(t *testing.T) {
	if os.Getenv("FWCTL_ROOT") == "" {
		t.Skip("needs other managers: make coexist")
	}
	d := newPodmanBox(t, boxBackend{"nftables", "true", "true", "true"})
	const root, own = "10.77.0.1:8080", "10.77.0.1:8082"
	for _, from := range []string{"10.77.0.2", "10.77.0.3"} {
		for _, addr := range []string{root, own} {
			if !eventually(func() bool { return d.asks(from, addr) }) {
				t.Fatalf("without rules %s does not reach %s", from, addr)
			}
		}
		if d.asks(from, "10.77.0.1:8081") {
			t.Errorf("%s reaches what is published for the host alone", from)
		}
	}
	if err := within(d.peer.ns, func() error { return shell(toNeighbour) }); err != nil {
		t.Fatal(err)
	}
	if !d.asks("10.77.0.2", "127.0.0.1:8081") {
		t.Error("a neighbour does not reach what is published on 127.0.0.1")
	}
	d.tellsOfPodman()
	d.policy = d.write("podman.toml", podmanPolicy)
	d.apply()
	for from, in := range map[string]bool{"10.77.0.2": true, "10.77.0.3": false} {
		for _, addr := range []string{root, own} {
			if got := d.asks(from, addr); got != in {
				t.Errorf("%s to %s: %v, want %v", from, addr, got, in)
			}
		}
	}
	if d.asks("10.77.0.2", "127.0.0.1:8081") {
		t.Error("a neighbour reaches what no service opens")
	}
	_, said := d.run("audit")
	for _, want := range []string{
		`(?m)^  8080/tcp +0.0.0.0 +any IPv4 in podman0; 10.77.0.2 in mgmt0.* +conmon \(root, podman container web\); 0.0.0.0:8080/tcp -> 10.88.0.2:80 \(podman container [0-9a-f]{12}\) +service.web$`,
		`(?m)^  8081/tcp +127.0.0.1 +any IPv4 in podman0, if on the link +conmon `,
		`(?m)^  8082/tcp +\* +any IPv4 in podman0; 10.77.0.2 in mgmt0.* +rootlessport \(uid 1234\) +service.own$`,
	} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("nothing of %s", want)
		}
	}
	if regexp.MustCompile(`(?m)^(critical|warning) `).MatchString(said) || t.Failed() {
		t.Errorf("audit says\n%s", said)
	}
}

// toNeighbour makes the peer send to its neighbour what is for 127.0.0.1.
const toNeighbour = `
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
ip route add default via 10.77.0.1 dev up0 table 77; ip rule add pref 2 to 127.0.0.0/8 lookup 77
ip rule add pref 5 lookup local; ip rule del pref 0
`

// tellsOfPodman holds what audit says of Podman's ports against what is so without rules.
func (d *dockerBox) tellsOfPodman() {
	d.Helper()
	_, said := d.run("audit", "--all", "--all-namespaces")
	for _, want := range []string{
		`(?m)^  8080/tcp +0.0.0.0 +any IPv4 +conmon \(root, podman container web\); 0.0.0.0:8080/tcp -> `,
		`(?m)^  8081/tcp +127.0.0.1 +any IPv4, if on the link +conmon \(root, podman container local\); 127.0.0.1:8081/tcp -> `,
		`(?m)^  8082/tcp +\* +any IPv4.* +rootlessport \(uid 1234\)$`,
		// In the containers, those of the user included.
		`network namespace net:\[[0-9]+\]: podman container [0-9a-f]{12}; eth0 10.88.0.2/16(\n.*){3,4}\n  80/tcp +\* +any IPv4`,
		`network namespace net:\[[0-9]+\].*; tap0 10.0.2.100/24.*(\n.*){3,4}\n  8000/tcp +\* +any IPv4`,
	} {
		if !regexp.MustCompile(want).MatchString(said) {
			d.Errorf("nothing of %s", want)
		}
	}
	if regexp.MustCompile(`(?m)^(critical|warning) `).MatchString(said) || d.Failed() {
		d.Errorf("without rules audit says\n%s", said)
	}
}
