package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/internal/gen"
)

// scene is a host that nobody has written a policy for yet: what listens on it, and
// who is connected.
type scene struct {
	*box
	peer      *peer
	random    *rand.Rand
	listeners []net.Listener
	calls     []call
}

// call is a connection from the peer, by both its ends.
type call struct {
	from, to   netip.AddrPort
	here, peer net.Conn
}

// The host's own addresses, and the networks of its peers: private, public, IPv6 and
// a second private one behind no interface of the host.
var (
	sceneOwn   = []string{"10.77.0.1/24", "203.0.113.1/24", "2001:db8:77::1/64", "fd00:77::1/64"}
	scenePeers = []string{"10.77.0.%d/24", "203.0.113.%d/24", "2001:db8:77::%x/64", "fd00:77::%x/64"}
)

const scenePeersEach = 24 // enough that some are many

func newScene(t *testing.T, seed uint64) *scene {
	b := bare(t, boxBackend{"nftables", "true", "true", "true"})
	s := &scene{box: b, peer: b.plug(), random: rand.New(rand.NewPCG(seed, 0))}
	err := b.in(func() error { return addresses("mgmt0", sceneOwn[1:]) })
	var theirs []string
	for i := 2; i < 2+scenePeersEach; i++ {
		for _, form := range scenePeers {
			theirs = append(theirs, fmt.Sprintf(form, i))
		}
	}
	err = errors.Join(err, within(s.peer.ns, func() error { return addresses("up0", theirs) }))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// addresses gives a link addresses that are good at once.
func addresses(link string, all []string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	for _, text := range all {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrReplace(l, a); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

// someAddress is one that a socket may be bound to.
func (s *scene) someAddress() (network, addr string) {
	own := func(i int) string { return netip.MustParsePrefix(sceneOwn[i]).Addr().String() }
	switch s.random.IntN(8) {
	case 0:
		return "tcp4", "127.0.0.1"
	case 1, 2:
		return "tcp4", "0.0.0.0"
	case 3:
		return "tcp6", "::"
	case 4:
		return "tcp4", own(s.random.IntN(2))
	case 5:
		return "tcp6", own(2 + s.random.IntN(2))
	}
	return "tcp", "::" // both families
}

// populate makes listeners and UDP sockets.
func (s *scene) populate() {
	s.Helper()
	ports := []string{"22", "80", "443", "2000", "2001", "2002", "5432", "8000", "8443", "9000", "40000", "51820"}
	for range 1 + s.random.IntN(7) {
		network, addr := s.someAddress()
		where := net.JoinHostPort(addr, ports[s.random.IntN(len(ports))])
		lc := net.ListenConfig{}
		if s.random.IntN(6) == 0 {
			lc.Control = onInterface("mgmt0")
		}
		_ = s.in(func() error {
			if s.random.IntN(4) == 0 {
				if c, err := lc.ListenPacket(context.Background(), strings.Replace(network, "tcp", "udp", 1), where); err == nil {
					s.Cleanup(func() { c.Close() })
				}
				return nil
			}
			l, err := lc.Listen(context.Background(), network, where)
			if err == nil { // else the port is taken
				s.listeners = append(s.listeners, l)
				s.Cleanup(func() { l.Close() })
			}
			return nil
		})
	}
}

func onInterface(name string) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), name) }), err)
	}
}

// connect lets peers call, from some of their addresses.
func (s *scene) connect() {
	s.Helper()
	for _, l := range s.listeners {
		n := s.random.IntN(4)
		if s.random.IntN(5) == 0 {
			n = 20
		}
		bound := l.Addr().(*net.TCPAddr)
		kind := s.random.IntN(len(scenePeers))
		for range n {
			if s.random.IntN(3) == 0 {
				kind = s.random.IntN(len(scenePeers))
			}
			from := fmt.Sprintf(strings.Split(scenePeers[kind], "/")[0], 2+s.random.IntN(scenePeersEach))
			to := netip.AddrPortFrom(netip.MustParsePrefix(sceneOwn[kind]).Addr(), uint16(bound.Port))
			c, err := s.dial(netip.MustParseAddr(from), to, 2*time.Second)
			if err != nil {
				continue // it is bound to something else
			}
			far := s.accepted(c)
			s.Cleanup(func() { c.Close() })
			if far == nil {
				s.Fatalf("%s -> %s: connected, but nobody accepted", from, to)
			}
			s.calls = append(s.calls, call{netip.MustParseAddrPort(c.LocalAddr().String()), to, far, c})
		}
	}
}

// accepted is the host's end of a connection.
func (s *scene) accepted(c net.Conn) net.Conn {
	for _, l := range s.listeners {
		if l.Addr().(*net.TCPAddr).Port != c.RemoteAddr().(*net.TCPAddr).Port {
			continue
		}
		// Of several listeners at the port it is the one that has it waiting.
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
		for {
			far, err := l.Accept()
			if err != nil {
				break
			}
			s.Cleanup(func() { far.Close() })
			if far.RemoteAddr().String() == c.LocalAddr().String() {
				return far
			}
		}
	}
	return nil
}

func (s *scene) dial(from netip.Addr, to netip.AddrPort, limit time.Duration) (c net.Conn, err error) {
	err = within(s.peer.ns, func() error {
		d := net.Dialer{Timeout: limit, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		c, err = d.Dial("tcp", to.String())
		return err
	})
	return c, err
}

// The policy that init writes for a host passes check, and when it is applied every
// connection that was there goes on, and may begin anew; what does not listen is shut.
func TestInitKeepsWhoIsThere(t *testing.T) {
	n := gen.Dose(t, "FWCTL_SCENES", 60)
	seed := gen.Seed(t)
	var calls, groups atomic.Int64
	t.Run("scenes", func(t *testing.T) {
		for i := range n {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				s := newScene(t, seed+uint64(i)) //nolint:gosec // not negative
				s.populate()
				s.connect()
				text := s.begin()
				calls.Add(int64(len(s.calls)))
				groups.Add(int64(strings.Count(text, "[group.")))
				if err := s.obeys(); err != nil {
					t.Errorf("%v\n%s", err, text)
				}
			})
		}
	})
	t.Logf("%d scenes, %d connections, %d groups of peers", n, calls.Load(), groups.Load())
	if n >= 50 && (calls.Load() < int64(n) || groups.Load() < int64(n)/5) {
		t.Errorf("too few to show anything")
	}
}

// begin writes the policy, twice, and applies it.
func (s *scene) begin() string {
	s.Helper()
	first, second := filepath.Join(s.dir, "first.toml"), filepath.Join(s.dir, "second.toml")
	s.want(0, "init", "-q", "-o", first)
	s.want(0, "init", "-q", "-o", second)
	a, _ := os.ReadFile(first)
	b, _ := os.ReadFile(second)
	if string(a) != string(b) {
		s.Errorf("two runs write two policies:\n%s\n%s", a, b)
	}
	s.want(0, "check", first)
	s.want(0, "apply", "--no-confirm", first)
	return string(a)
}

// obeys looks whether everybody is served who was, and nobody else.
func (s *scene) obeys() (err error) {
	for i, c := range s.calls {
		for _, ends := range [][2]net.Conn{{c.peer, c.here}, {c.here, c.peer}} {
			if !carries(ends[0], ends[1], fmt.Sprintf("word %d", i)) {
				err = errors.Join(err, fmt.Errorf("the connection %s -> %s stands still", c.from, c.to))
			}
		}
		again, failed := s.dial(c.from.Addr(), c.to, 2*time.Second)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("anew: %w", failed))
			continue
		}
		again.Close()
	}
	closed := s.listen("7777")
	defer closed.Close()
	if c, failed := s.dial(netip.MustParseAddr("10.77.0.2"), netip.MustParseAddrPort("10.77.0.1:7777"), 100*time.Millisecond); failed == nil {
		c.Close()
		err = errors.Join(err, errors.New("a port that nobody listened on is open"))
	}
	return err
}

// Who works on the host may go on after the first apply, and come again: also where
// nothing listens any more at the port by which they came.
func TestInitKeepsTheWayIn(t *testing.T) {
	for _, gone := range []bool{false, true} {
		s := newScene(t, 1)
		server := s.listen("2222")
		l := s.peer.logIn(server)
		if gone { // only sshd, or what it tells, knows then which end called
			server.Close()
			c, err := net.FileConn(l.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			t.Setenv("SSH_CONNECTION", strings.ReplaceAll(c.RemoteAddr().String()+" "+c.LocalAddr().String(), ":", " "))
		}
		file := filepath.Join(s.dir, "first.toml")
		if status, said := l.run("init", "-o", file); status != 0 {
			t.Fatalf("init: %d, %s", status, said)
		}
		text, _ := os.ReadFile(file)
		if !strings.Contains(string(text), "# You came in by port 2222, from 10.77.0.2.\n") {
			t.Errorf("it does not say how one came in:\n%s", text)
		}
		if status, said := l.run("apply", "--no-confirm", file); status != 0 {
			t.Errorf("apply: %d, %s\n%s", status, said, text)
		}
		if gone {
			s.listen("2222")
		}
		if c, err := s.dial(netip.MustParseAddr("10.77.0.2"), netip.MustParseAddrPort("10.77.0.1:2222"), time.Second); err != nil {
			t.Errorf("the way in is shut: %v\n%s", err, text)
		} else {
			c.Close()
		}
	}
}
