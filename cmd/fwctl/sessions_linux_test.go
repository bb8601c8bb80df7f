package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// bare is a box whose kernel has no rules at all, and tracks no connections.
func bare(t *testing.T, backend boxBackend) *box {
	t.Helper()
	b := furnish(&box{T: t, do: inNamespace(t), backend: backend})
	b.sh("ip link set lo up")
	return b
}

// inNamespace makes a network namespace for a test.
func inNamespace(t *testing.T) (do func(func() error) error) {
	t.Helper()
	if err := unshare(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace: %v", err)
		}
		t.Skipf("needs root and network namespaces: %v", err)
	}
	var ns netns.NsHandle
	err := within(-1, func() (err error) { ns, err = netns.New(); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return func(f func() error) error { return within(ns, f) }
}

// session is a TCP connection between the box and its peer, by both its ends.
type session struct {
	name       string
	here, peer net.Conn
}

// sessions opens one connection from the peer, to each of the ports, and one from the
// box.
func (p *peer) sessions(ports ...string) []session {
	b := p.box
	b.Helper()
	var out []session
	for _, port := range ports {
		l := b.listen(port)
		far, err := p.dial(port, 5*time.Second)
		if err != nil {
			b.Fatal(err)
		}
		near, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, session{"to port " + port, near, far})
	}
	var l net.Listener
	if err := within(p.ns, func() (err error) { l, err = net.Listen("tcp4", "10.77.0.2:9000"); return err }); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	var near net.Conn
	if err := b.in(func() (err error) { near, err = net.Dial("tcp4", "10.77.0.2:9000"); return err }); err != nil {
		b.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	out = append(out, session{"from the box", near, far})
	for _, s := range out {
		b.Cleanup(func() { s.here.Close(); s.peer.Close() })
	}
	return out
}

// carries reports whether what one end writes comes to the other in time.
func carries(from, to net.Conn, word string) bool {
	_, err := from.Write([]byte(word))
	buf := make([]byte, len(word))
	_ = to.SetReadDeadline(time.Now().Add(800 * time.Millisecond))
	n, rerr := to.Read(buf)
	return err == nil && rerr == nil && string(buf[:n]) == word
}

// The first rules of a host that never tracked connections break none that exists,
// though it is quiet, whichever end speaks first, and whether the policy would let it
// begin or not.
func TestFirstApplyKeepsSessions(t *testing.T) {
	for _, backend := range []boxBackend{
		{"nftables", "true", "true", "true"},
		{"iptables over nf_tables", "true", "true", "true"},
		{"iptables legacy", "true", "iptables-legacy -A OUTPUT -d 203.0.113.7 -j DROP; ip6tables-legacy -A OUTPUT -d 2001:db8:9::7 -j DROP", "true"},
	} {
		t.Run(backend.name, func(t *testing.T) {
			b := bare(t, backend)
			p := b.plug()
			b.listen("22")
			all := p.sessions("2200", "7777")
			if text := b.sh("conntrack -L 2>&1"); !strings.Contains(text, " 0 flow entries") {
				t.Fatalf("this kernel tracks already:\n%s", text)
			}
			b.want(0, "apply", "--force", "--no-confirm", b.old)
			for i, s := range all {
				for j, ends := range [][2]net.Conn{{s.peer, s.here}, {s.here, s.peer}} {
					if !carries(ends[0], ends[1], fmt.Sprintf("word %d %d", i, j)) {
						t.Errorf("the connection %s stands still, the peer speaking first: %v", s.name, j == 0)
					}
				}
			}
			if c, err := p.dial("7777", 300*time.Millisecond); err == nil {
				c.Close()
				t.Error("a new connection came to a closed port")
			}
		})
	}
}

// --cut ends the connections that the policy would not let begin, once it is
// confirmed, and no other.
func TestCut(t *testing.T) {
	b := bare(t, boxBackend{"nftables", "true", "true", "true"})
	p := b.plug()
	b.listen("22")
	server := b.listen("8000")
	all := p.sessions("2200", "7777", "8001")
	wide := b.write("wide.toml", "version = 1\n[defaults]\npublished = \"ignore\"\n[service.all]\nports = [\"1-9999/tcp\"]\nfrom = [\"any\"]\n")
	narrow := b.write("narrow.toml", "version = 1\n[defaults]\npublished = \"ignore\"\n[service.some]\nports = [\"2200/tcp\", \"8000/tcp\"]\nfrom = [\"10.77.0.0/24\"]\n[block.bad]\nfrom = [\"10.77.0.2\"]\nports = [\"8001/tcp\"]\n")
	b.want(0, "apply", "--force", "--no-confirm", wide)
	alive := func() (out []string) {
		for i, s := range all {
			if carries(s.here, s.peer, fmt.Sprintf("here %d", i)) && carries(s.peer, s.here, fmt.Sprintf("peer %d", i)) {
				out = append(out, s.name)
			}
		}
		return out
	}
	if got := alive(); len(got) != 4 {
		t.Fatalf("of four connections live %v", got)
	}
	_, planned := b.run("plan", narrow)
	for _, port := range []string{":7777", ":8001"} {
		if !strings.Contains(planned, port) {
			t.Errorf("plan does not list the connection to %s:\n%s", port, planned)
		}
	}
	b.want(0, "apply", "--force", "--cut", "--detach", "--confirm", "1m", narrow)
	if got := alive(); len(got) != 4 {
		t.Errorf("before the confirmation live %v", got)
	}
	status, said := p.logIn(server).run("confirm")
	if status != 0 || !strings.Contains(said, "ended 2 connections") {
		t.Errorf("confirm: %d, %s", status, said)
	}
	if got := strings.Join(alive(), ", "); got != "to port 2200, from the box" {
		t.Errorf("after the confirmation live: %s", got)
	}
	if out := b.want(0, "apply", "--no-confirm", "--json", narrow); strings.Contains(out, `"changed": true`) {
		t.Errorf("a second apply changes something: %s", out)
	}
}

// A list of bogons that has the link-local addresses in it does not cut IPv6 off:
// neighbours find each other all the same.
func TestBogonsLeaveIPv6(t *testing.T) {
	for _, backend := range boxBackends {
		t.Run(backend.name, func(t *testing.T) {
			b := bare(t, backend)
			p := b.plug()
			b.sh("ip address add 2001:db8:77::1/64 dev mgmt0 nodad")
			err := within(p.ns, func() error {
				return exec.Command("ip", "address", "add", "2001:db8:77::2/64", "dev", "up0", "nodad").Run()
			})
			if err != nil {
				t.Fatal(err)
			}
			var l net.Listener
			if err := b.in(func() (err error) { l, err = net.Listen("tcp6", "[::]:22"); return err }); err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			policy := b.write("bogons.toml", "version = 1\n[defaults]\npublished = \"ignore\"\n[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n"+
				"[block.bogons]\nfrom = [\"fe80::/10\", \"::/8\", \"100::/64\", \"0.0.0.0/8\", \"169.254.0.0/16\", \"240.0.0.0/4\"]\n")
			b.want(0, "apply", "--no-confirm", policy)
			for range 3 {
				// From the link-local addresses, as when a router asks.
				b.sh("ip -6 neigh flush dev mgmt0")
				err := within(p.ns, func() error {
					if err := exec.Command("ip", "-6", "neigh", "flush", "dev", "up0").Run(); err != nil {
						return err
					}
					c, err := net.DialTimeout("tcp6", "[2001:db8:77::1]:22", 5*time.Second)
					if err == nil {
						c.Close()
					}
					return err
				})
				if err != nil {
					t.Errorf("%v\n%s", err, b.sh("ip -6 neigh"))
				}
			}
		})
	}
}
