package laws

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	applynft "github.com/fwctl/fwctl/apply/nftables"
	"github.com/fwctl/fwctl/internal/gen"
	rendernft "github.com/fwctl/fwctl/render/nftables"
)

// linkLocal blocks all of what IPv6 needs on a link, as published block lists do,
// and lets one port in.
const linkLocal = `version = 1
[block.bogons]
from = ["fe80::/10", "ff00::/8", "169.254.0.0/16"]
[service.web]
ports = ["8080/tcp"]
from = ["any"]
`

// A block list that holds fe80::/10 does not cut IPv6 off: the neighbours find
// each other, again and again, and with an empty connection tracking table.
func TestNeighboursUnderABlockList(t *testing.T) {
	p := newPair(t)
	p.load(t, linkLocal)
	for range 3 {
		if err := p.connect("[2001:db8::1]:8080"); err != nil {
			t.Errorf("with fresh neighbours: %v", err)
		}
		p.run(t, p.host, "ip", "neigh", "flush", "all")
		p.run(t, p.client, "ip", "neigh", "flush", "all")
		p.run(t, p.host, "conntrack", "-F")
	}
	if err := p.connect("[2001:db8::1]:8081"); err == nil {
		t.Error("a port that no service names is open")
	}
}

// On a host without IPv6 the same policy loads and holds.
func TestPolicyWithoutIPv6(t *testing.T) {
	p := newPair(t)
	p.run(t, p.host, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
	p.load(t, linkLocal)
	if err := p.connect("192.0.2.1:8080"); err != nil {
		t.Error(err)
	}
	if err := p.connect("192.0.2.1:8081"); err == nil {
		t.Error("a port that no service names is open")
	}
}

// pair is a host and a client on one wire, as `ip` makes them: addresses are
// resolved for real.
type pair struct{ host, client string }

func newPair(t *testing.T) *pair {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root for network namespaces")
	}
	id := rand.Uint32()
	p := &pair{fmt.Sprintf("fwctl-h%08x", id), fmt.Sprintf("fwctl-c%08x", id)}
	for _, ns := range []string{p.host, p.client} {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		p.run(t, ns, "ip", "link", "set", "lo", "up")
	}
	p.run(t, p.host, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", p.client)
	for i, ns := range []string{p.host, p.client} {
		p.run(t, ns, "ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "eth0")
		p.run(t, ns, "ip", "addr", "add", fmt.Sprintf("2001:db8::%d/64", i+1), "dev", "eth0", "nodad")
		p.run(t, ns, "ip", "link", "set", "eth0", "up")
	}
	p.in(t, p.host, func() {
		for _, port := range []string{":8080", ":8081"} {
			l, err := net.Listen("tcp", port)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
		}
	})
	return p
}

func (p *pair) run(t *testing.T, ns string, args ...string) {
	t.Helper()
	if out, err := exec.Command("nsenter", append([]string{"--net=/run/netns/" + ns}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// in runs f on a thread in the namespace, which ends with it.
func (p *pair) in(t *testing.T, ns string, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		h, err := netns.GetFromName(ns)
		if err == nil {
			err = netns.Set(h)
			_ = h.Close()
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (p *pair) load(t *testing.T, policy string) {
	t.Helper()
	rs, ps := gen.Load(policy, gen.Host())
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	prog, _ := rendernft.Render(rs)
	p.in(t, p.host, func() {
		if _, err := applynft.Apply(context.Background(), prog, nil); err != nil {
			t.Error(err)
		}
	})
}

func (p *pair) connect(to string) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		h, e := netns.GetFromName(p.client)
		if e == nil {
			e = netns.Set(h)
			_ = h.Close()
		}
		if err = e; err != nil {
			return
		}
		var c net.Conn
		if c, err = net.DialTimeout("tcp", to, 3*time.Second); err == nil {
			_ = c.Close()
		}
	}()
	<-done
	return err
}
