package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// peer is another host, on a cable to the box.
type peer struct {
	box *box
	ns  netns.NsHandle
}

// plug makes a peer; both ends of the cable have addresses.
func (b *box) plug() *peer {
	b.Helper()
	p := &peer{box: b, ns: -1}
	err := within(-1, func() (err error) {
		if p.ns, err = netns.New(); err != nil {
			return err
		}
		b.Cleanup(func() { p.ns.Close() })
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	err = b.in(func() error {
		pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "up0", PeerNamespace: netlink.NsFd(p.ns)}
		pair.Name = "mgmt0"
		return errors.Join(netlink.LinkAdd(pair), address("mgmt0", "10.77.0.1/24"))
	})
	if err = errors.Join(err, within(p.ns, func() error { return address("up0", "10.77.0.2/24") })); err != nil {
		b.Fatal(err)
	}
	return p
}

// address gives a link an address and brings it up.
func address(link, addr string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

// within runs f with the thread in a network namespace; -1 leaves it where it is,
// and takes it back from where f brought it.
func within(ns netns.NsHandle, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	was, err := netns.Get()
	if err != nil {
		return err
	}
	defer was.Close()
	if ns >= 0 {
		if err := netns.Set(ns); err != nil {
			return err
		}
	}
	return errors.Join(f(), netns.Set(was))
}

// dial opens a connection to a port of the box.
func (p *peer) dial(port string, limit time.Duration) (c net.Conn, err error) {
	err = within(p.ns, func() (err error) {
		c, err = net.DialTimeout("tcp4", "10.77.0.1:"+port, limit)
		return err
	})
	return c, err
}

// login is a connection to the box by which commands are run there, as sshd(8) does
// it.
type login struct {
	box    *box
	socket *os.File // the box's end
}

// listen makes the box accept connections to a port.
func (b *box) listen(port string) (l net.Listener) {
	b.Helper()
	err := b.in(func() (err error) { l, err = net.Listen("tcp4", "0.0.0.0:"+port); return err })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// logIn opens a connection to a server that goes on listening.
func (p *peer) logIn(server net.Listener) *login {
	b := p.box
	b.Helper()
	_, port, _ := net.SplitHostPort(server.Addr().String())
	client, err := p.dial(port, 5*time.Second)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	conn, err := server.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	l := &login{box: b}
	if l.socket, err = conn.(*net.TCPConn).File(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.socket.Close() })
	return l
}

// run runs a command over the connection and returns its status and what it said.
// The shell has the socket, the command has not.
func (l *login) run(args ...string) (status int, said string) {
	l.box.Helper()
	c := l.box.fwctl(args...)
	sh := exec.Command("sh", "-c", `"$0" "$@" 3>&-; exit $?`)
	sh.Args = append(sh.Args, c.Args...)
	sh.Env, sh.ExtraFiles = c.Env, []*os.File{l.socket}
	var out []byte
	_ = l.box.in(func() (err error) { out, err = sh.CombinedOutput(); return err })
	return sh.ProcessState.ExitCode(), string(out)
}

// Only who comes by a connection that is newer than the change can confirm it.
func TestConfirmNeedsANewConnection(t *testing.T) {
	b := newBox(t, boxBackends[0])
	b.obeyOld()
	p := b.plug()
	before, after := b.listen("22"), b.listen("8000")
	old := p.logIn(before)
	// The test itself holds that connection, and its port is closed by the policy.
	if said := b.want(2, "apply", "--detach", b.new); !strings.Contains(said, "would lock out your own connection: in mgmt0 tcp 10.77.0.2:") {
		t.Errorf("%s", said)
	}
	token := strings.TrimSpace(lastLine(b.want(0, "apply", "--force", "--detach", "--confirm", "1m", b.new)))
	status, said := old.run("confirm", token)
	if status != exitError || !strings.Contains(said, "is older than the change") || !strings.Contains(said, "ControlPath=none") {
		t.Errorf("by the old connection: %d, %s", status, said)
	}
	if _, err := p.dial("22", 500*time.Millisecond); err == nil {
		t.Error("a new connection came to the port that was closed")
	}
	fresh := p.logIn(after)
	if status, said := fresh.run("confirm", "0123456789abcdef"); status != exitError {
		t.Errorf("by another token: %d, %s", status, said)
	}
	if status, said := fresh.run("confirm", token); status != exitGood || !strings.Contains(said, "confirmed") || !strings.Contains(said, "who came by sh") {
		t.Errorf("by a new connection: %d, %s", status, said)
	}
	b.quiet(2 * time.Second) // the watchdog goes at once
	if got := b.decides(); got != "new" {
		t.Errorf("after the confirmation the kernel does what is %s", got)
	}
	if b.confirmed() == b.state {
		t.Error("a boot would load the old policy")
	}
	if status, said := fresh.run("confirm"); status != exitError {
		t.Errorf("a second confirmation: %d, %s", status, said)
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
