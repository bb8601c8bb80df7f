package live_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/live"
)

// The test binary is also the programs of these tests:
//
//	tell FILE    writes to the file how it is reached
//	hold CMD…    keeps the sockets that it inherits for itself and runs the command
//	listen       waits on a port of TCP
//	listeners    writes the listeners that it sees
//	first        is the test, see elsewhere
const actAs = "LIVE_TEST_ACT_AS"

func TestMain(m *testing.M) {
	switch os.Getenv(actAs) {
	case "", "first":
		os.Exit(m.Run())
	case "tell":
		tell(os.Args[1])
	case "hold":
		hold(os.Args[1:])
	case "listen":
		listen()
	case "listeners":
		printListeners()
	}
}

// elsewhere runs the test once more among processes of its own, and reports
// whether it has. There the test is the first of all processes, so that it does
// not matter how whoever runs it reaches this machine; and no process outlives it.
func elsewhere(t *testing.T) bool {
	t.Helper()
	if os.Getenv(actAs) != "" {
		return false
	}
	if os.Geteuid() != 0 && os.Getenv("CI") != "true" {
		t.Skip("needs root")
	}
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
		self(t), "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), actAs+"=first")
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && bytes.Contains(out, []byte("--- SKIP: "+t.Name())):
		t.Skipf("%s", out)
	case err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Errorf("%v\n%s", err, out)
	}
	return true
}

func tell(file string) {
	text, _ := json.Marshal(live.ReachOf(0))
	// In place at once: the test waits for the file.
	if os.WriteFile(file+"~", text, 0o600) != nil || os.Rename(file+"~", file) != nil {
		os.Exit(1)
	}
}

func hold(argv []string) {
	for fd := range 2 {
		syscall.CloseOnExec(3 + fd)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if cmd.Run() != nil {
		os.Exit(1)
	}
}

// site is a host and its client, two network namespaces with a cable; the test
// runs on the host. Here the addresses of both ends differ in the last bit.
type site struct {
	t      *testing.T
	client chan func()
	file   string // that the program tell writes
}

func newSite(t *testing.T) *site {
	t.Helper()
	inNamespace(t)
	s := &site{t: t, client: make(chan func()), file: filepath.Join(t.TempDir(), "reach")}
	ready := make(chan netns.NsHandle)
	go func() {
		runtime.LockOSThread() // never unlocked, as in inNamespace
		ns, err := netns.New()
		if err != nil {
			t.Error(err)
		}
		ready <- ns
		for do := range s.client {
			do()
		}
		ns.Close()
	}()
	ns := <-ready
	t.Cleanup(func() { close(s.client) })
	link := netlink.NewLinkAttrs()
	link.Name = "v"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: link, PeerName: "v", PeerNamespace: netlink.NsFd(int(ns))}); err != nil {
		t.Fatal(err)
	}
	const plug = "ip link set lo up; ip addr add %s/24 dev v; ip addr add %s/64 dev v nodad; ip link set v up"
	run(t, fmt.Sprintf(plug, "192.0.2.1", "2001:db8::1"))
	s.asClient(func() { run(t, fmt.Sprintf(plug, "192.0.2.2", "2001:db8::2")) })
	return s
}

// asClient runs something on the client.
func (s *site) asClient(do func()) {
	done := make(chan bool)
	s.client <- func() { defer close(done); do() }
	<-done
}

// accept opens a connection from the client to the host and returns the host's
// socket and both ends as the client sees them.
func (s *site) accept(network, listen, dial string) (*os.File, live.TCPConnection) {
	s.t.Helper()
	l, err := net.Listen(network, listen)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	return s.acceptOn(l, dial)
}

func (s *site) acceptOn(l net.Listener, dial string) (*os.File, live.TCPConnection) {
	s.t.Helper()
	var c net.Conn
	var err error
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s.asClient(func() { c, err = net.DialTimeout("tcp", net.JoinHostPort(dial, port), 10*time.Second) })
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	a, err := l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.file3(a), ends(c)
}

// file3 is the socket for a program to hold.
func (s *site) file3(c net.Conn) *os.File {
	s.t.Helper()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		s.t.Fatal(err)
	}
	c.Close()
	s.t.Cleanup(func() { f.Close() })
	return f
}

// ends are the ends of a connection as the host has them, seen from the client.
func ends(c net.Conn) live.TCPConnection {
	plain := func(a net.Addr) netip.AddrPort {
		p := a.(*net.TCPAddr).AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return live.TCPConnection{Local: plain(c.RemoteAddr()), Remote: plain(c.LocalAddr())}
}

func self(t *testing.T) string {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// named is this program under another name.
func named(t *testing.T, name string) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self(t), link); err != nil {
		t.Fatal(err)
	}
	return link
}

// holding starts a process that holds the socket, which the test, an ancestor
// itself, then no longer does, and runs the shell's line. In the line $TELL says
// how it is reached. It has no terminal and only the environment that is given.
func (s *site) holding(f *os.File, program, line string, env ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(program, "sh", "-ec", line)
	defer f.Close()
	cmd.Env = append([]string{
		actAs + "=hold", "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin",
		"TELL=env " + actAs + "=tell " + self(s.t) + " " + s.file,
	}, env...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if _, err := cmd.StdinPipe(); err != nil { // at whose end a terminal would say good-bye
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() })
	return cmd
}

// told waits for what the program tell wrote.
func (s *site) told() live.Reach {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(s.file); err == nil {
			os.Remove(s.file)
			var r live.Reach
			if err := json.Unmarshal(text, &r); err != nil {
				s.t.Fatal(err)
			}
			return r
		}
	}
	s.t.Fatal("no process told how it is reached")
	return live.Reach{}
}

func (s *site) wants(want live.TCPConnection, by ...string) {
	s.t.Helper()
	r := s.told()
	if r.Kind != live.ReachConnection || r.Local != want.Local || r.Remote != want.Remote {
		s.t.Errorf("reached by %+v, want %v", r, want)
	}
	for _, b := range by {
		if !strings.Contains(r.By, b) {
			s.t.Errorf("known by %q, want %q", r.By, b)
		}
	}
}

// The connection of an ancestor is found whatever lies between, and so is that of
// the process itself.
func TestReachOfConnection(t *testing.T) {
	if elsewhere(t) {
		return
	}
	for name, c := range map[string]struct{ network, listen, dial, line string }{
		"IPv4":                   {"tcp4", "0.0.0.0:0", "192.0.2.1", "$TELL"},
		"IPv4, one address":      {"tcp4", "192.0.2.1:0", "192.0.2.1", "$TELL"},
		"IPv6":                   {"tcp6", "[::]:0", "2001:db8::1", "$TELL"},
		"IPv4 through IPv6":      {"tcp", "[::]:0", "192.0.2.1", "$TELL"},
		"without an environment": {"tcp4", "0.0.0.0:0", "192.0.2.1", "env -i $TELL; true"},
		"as another program":     {"tcp4", "0.0.0.0:0", "192.0.2.1", "setsid -w setpriv --no-new-privs sh -c '$TELL; true'; true"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			f, want := s.accept(c.network, c.listen, c.dial)
			p := s.holding(f, self(t), c.line, "SSH_CONNECTION=198.51.100.1 1 198.51.100.2 22")
			s.wants(want, fmt.Sprintf("(process %d)", p.Process.Pid))
			all, err := live.Established()
			if err != nil || !slices.Contains(all, want) {
				t.Errorf("%v is not in %v (%v)", want, all, err)
			}
		})
	}
}

func TestReachOfTheHolderItself(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	f, want := s.accept("tcp4", "0.0.0.0:0", "192.0.2.1")
	cmd := exec.Command(self(t), s.file)
	cmd.Env, cmd.ExtraFiles = []string{actAs + "=tell"}, []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	s.wants(want, fmt.Sprintf("(process %d)", cmd.Process.Pid))
}

// What a process opened leads away from the host; the way in is further up.
func TestReachPassesOverOutgoingConnections(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	var l net.Listener
	s.asClient(func() { l, _ = net.Listen("tcp4", "192.0.2.2:0") })
	defer l.Close()
	out, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.holding(s.file3(out), self(t), "$TELL")
	if r := s.told(); r.Kind == live.ReachConnection {
		t.Errorf("reached by %+v", r)
	}
	forwarded, _ := s.accept("tcp4", "0.0.0.0:0", "192.0.2.1")
	s.holding(forwarded, named(t, "ssh"), "$TELL; true") // as `ssh -L` accepts it
	if r := s.told(); r.Kind == live.ReachConnection {
		t.Errorf("reached by %+v", r)
	}
	in, want := s.accept("tcp4", "0.0.0.0:0", "192.0.2.1")
	inner := fmt.Sprintf("exec 3<>/dev/tcp/%s; %s=hold %s sh -c '$TELL; true'", strings.Replace(l.Addr().String(), ":", "/", 1), actAs, self(t))
	s.holding(in, self(t), `bash -ec "`+inner+`"`)
	s.wants(want)
}

// The nearest connection is the one that is typed over; of several of one process
// nobody knows which, unless that tells its child.
func TestReachOfSeveralConnections(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first, one := s.acceptOn(l, "192.0.2.1")
	second, two := s.acceptOn(l, "192.0.2.1")
	holding := func(program string, env ...string) {
		cmd := exec.Command(program, "sh", "-ec", "$TELL; true")
		cmd.Env = append([]string{actAs + "=hold", "PATH=" + os.Getenv("PATH"), "TELL=env -i " + actAs + "=tell " + self(t) + " " + s.file}, env...)
		cmd.ExtraFiles, cmd.Stderr = []*os.File{first, second}, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	holding(self(t))
	if r := s.told(); r.Kind != live.ReachUnknown || !strings.HasSuffix(r.By, "has 2 connections") {
		t.Errorf("reached by %+v", r)
	}
	sshd := named(t, "sshd-session")
	holding(sshd)
	s.wants(one, "sshd-session (process ")
	holding(self(t), sshConnection(two))
	s.wants(two)
	l.Close() // sshd may have been told to listen elsewhere since
	holding(sshd, sshConnection(two))
	s.wants(two)
}

func sshConnection(c live.TCPConnection) string {
	return fmt.Sprintf("SSH_CONNECTION=%s %d %s %d", c.Remote.Addr(), c.Remote.Port(), c.Local.Addr(), c.Local.Port())
}

// A connection that begins on the host is followed to who opened it.
func TestReachThroughTheHostItself(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	outer, want := s.accept("tcp4", "0.0.0.0:0", "192.0.2.1")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := strings.Replace(l.Addr().String(), ":", "/", 1)
	s.holding(outer, self(t), "bash -c 'exec 4<>/dev/tcp/"+dial+"; read -u 4 2>&-; true'; true")
	inner, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.holding(s.file3(inner), self(t), "$TELL")
	s.wants(want, ", from bash (process ")
}

// SSH_CONNECTION counts where no ancestor tells, if there is such a connection.
func TestReachByEnvironment(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	f, c := s.accept("tcp4", "0.0.0.0:0", "192.0.2.1")
	s.holding(f, self(t), "exec sleep 60")
	null := func() *os.File {
		f, _ := os.Open(os.DevNull)
		return f
	}
	s.holding(null(), self(t), "$TELL", sshConnection(c))
	s.wants(c, "SSH_CONNECTION")
	s.holding(null(), self(t), "env -i $TELL", sshConnection(c)) // as sudo does
	s.wants(c, "SSH_CONNECTION of sh (process ")
	stale := c
	stale.Remote = netip.AddrPortFrom(c.Remote.Addr(), c.Remote.Port()^1)
	for _, env := range [][]string{{sshConnection(stale)}, {sshConnection(c), "STY=812.pts-0.host"}, {sshConnection(c), "TMUX=/nowhere,1,0"}} {
		s.holding(null(), self(t), "$TELL", env...)
		if r := s.told(); r.Kind == live.ReachConnection {
			t.Errorf("%q: reached by %+v", env, r)
		}
	}
}

// A tunnel is started in one place and used from another.
func TestReachThroughTunnel(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	outer, _ := s.accept("tcp4", "0.0.0.0:0", "192.0.2.1")
	near, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	var far net.Listener
	s.asClient(func() { far, _ = net.Listen("tcp4", "192.0.2.2:0") })
	defer far.Close()
	dial := func(fd string, l net.Listener) string {
		return "exec " + fd + "<>/dev/tcp/" + strings.Replace(l.Addr().String(), ":", "/", 1) + "; "
	}
	s.holding(outer, self(t), "bash -c '"+dial("4", far)+dial("5", near)+"read -u 4 2>&-; true'; true")
	inner, err := near.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.holding(s.file3(inner), self(t), "$TELL")
	if r := s.told(); r.Kind != live.ReachUnknown || !strings.HasSuffix(r.By, "), which has others") {
		t.Errorf("reached by %+v", r)
	}
}

// The server of screen is known by its name; nothing tells who is attached to it.
func TestReachUnderScreen(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	f, c := s.accept("tcp4", "0.0.0.0:0", "192.0.2.1")
	s.holding(f, self(t), "exec sleep 60")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	p := s.holding(null, named(t, "screen"), "$TELL; true", sshConnection(c))
	want := live.Reach{By: fmt.Sprintf("screen (process %d) does not tell who is attached", p.Process.Pid)}
	if r := s.told(); r != want {
		t.Errorf("reached by %+v, want %+v", r, want)
	}
}

// Who may not look at the processes of others believes the environment.
func TestReachWithoutPrivilege(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	f, c := s.accept("tcp4", "0.0.0.0:0", "192.0.2.1")
	dir, program := openTo(t, 0o755)
	s.file = filepath.Join(dir, "reach")
	line := "setpriv --reuid 65534 --regid 65534 --clear-groups env " + actAs + "=tell " + program + " " + s.file
	s.holding(f, self(t), line, sshConnection(c))
	s.wants(c, "SSH_CONNECTION")
}

// openTo returns a directory that every user may write to, and in it this program.
func openTo(t *testing.T, mode os.FileMode) (dir, program string) {
	t.Helper()
	dir = t.TempDir()
	text, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "program")
	for _, err := range []error{
		os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o777),
		os.WriteFile(program, text, 0o755), os.Chmod(program, mode),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir, program
}

// Whoever becomes root in a tmux of his own does not get a client of tmux that
// runs as root and does what his server says.
func TestReachAsksTmuxAsItsUser(t *testing.T) {
	if elsewhere(t) {
		return
	}
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := newSite(t)
	dir, program := openTo(t, 0o755|os.ModeSetuid)
	s.file = filepath.Join(dir, "reach")
	liar, err := net.Listen("unix", filepath.Join(dir, "false"))
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close()
	if err := os.Chmod(filepath.Join(dir, "false"), 0o777); err != nil {
		t.Fatal(err)
	}
	asked := make(chan uint32, 1)
	go func() {
		c, err := liar.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		raw, _ := c.(*net.UnixConn).SyscallConn()
		raw.Control(func(fd uintptr) {
			if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				asked <- peer.Uid
			}
		})
	}()
	tmux := "setpriv --reuid 65534 --regid 65534 --clear-groups env -i SHELL=/bin/sh PATH=$PATH tmux -f /dev/null -S " + filepath.Join(dir, "s")
	t.Cleanup(func() { exec.Command("sh", "-c", tmux+" kill-server").Run() })
	tell := "env " + actAs + "=tell " + program + " " + s.file
	run(t, tmux+` new-session -d '`+tell+`; sleep 60'`)
	if r := s.told(); r.By != "no client of tmux shows it" {
		t.Errorf("reached by %+v", r)
	}
	run(t, tmux+` new-window 'TMUX=`+filepath.Join(dir, "false")+`,$(echo $TMUX | cut -d, -f2),0; export TMUX; `+tell+`; sleep 60'`)
	if r := s.told(); r.Kind != live.ReachUnknown {
		t.Errorf("reached by %+v", r)
	}
	select {
	case uid := <-asked:
		if uid != 65534 {
			t.Errorf("tmux was asked as user %d", uid)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody asked")
	}
}

// In tmux the way in is that of the client, wherever the server was started.
func TestReachThroughTmux(t *testing.T) {
	if elsewhere(t) {
		return
	}
	for _, tool := range []string{"tmux", "script"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	s := newSite(t)
	tmux := "tmux -f /dev/null -S " + filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first, old := s.acceptOn(l, "192.0.2.1")
	second, now := s.acceptOn(l, "192.0.2.1")
	t.Cleanup(func() { exec.Command("sh", "-c", tmux+" kill-server").Run() })
	attach := "script -qec '" + tmux + " attach' /dev/null >/dev/null"

	// The environment of the server has the connection that it was started over,
	// which lasts; to type over another one is what tmux is for.
	s.holding(first, self(t), tmux+" new-session -d -x 80 -y 24", "SHELL=/bin/sh", "TERM=xterm", sshConnection(old)).Wait()
	shown := func(clients int) {
		t.Helper()
		for range 500 {
			if out, _ := exec.Command("sh", "-c", tmux+" list-clients").Output(); strings.Count(string(out), "\n") == clients {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("tmux has not got %d clients", clients)
	}
	typed := func(line string) {
		t.Helper()
		argv := append(strings.Fields(tmux)[1:], "send-keys", line, "Enter")
		if out, err := exec.Command("tmux", argv...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	typed("$TELL")
	if r := s.told(); r.Kind != live.ReachUnknown || r.By != "no client of tmux shows it" {
		t.Errorf("without a client, reached by %+v", r)
	}
	client := s.holding(second, self(t), attach, "TERM=xterm", sshConnection(now))
	shown(1)
	typed("$TELL")
	s.wants(now, "tmux client ")
	typed("env -i $TELL; true") // as under sudo
	s.wants(now, "tmux client ")

	run(t, tmux+" detach-client -s 0")
	client.Wait()
	shown(0)
	third, newest := s.acceptOn(l, "192.0.2.1")
	s.holding(third, self(t), attach, "TERM=xterm")
	shown(1)
	typed("sh -c '$TELL; true'")
	s.wants(newest, "tmux client ")
}

// A name may look like the rest of the line that it stands in.
func TestReachOfOddlyNamedAncestors(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	f, want := s.accept("tcp4", "0.0.0.0:0", "192.0.2.1")
	s.holding(f, named(t, "a) b (c\n\x1b"), "$TELL")
	s.wants(want, "a) b (c?? (process ")
}

// terminal returns a new pseudo-terminal; the test holds its other end.
func terminal(t *testing.T) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return tty
}

// onTerminal runs the shell's line at the terminal and returns how $TELL in it is
// reached.
func (s *site) onTerminal(tty *os.File, line string) live.Reach {
	s.t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "SHELL=/bin/sh",
		"TELL=env " + actAs + "=tell " + self(s.t) + " " + s.file,
	}
	cmd.Stdin, cmd.Stderr = tty, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err != nil {
		s.t.Fatal(err)
	}
	return s.told()
}

func TestReachFromConsole(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	for _, line := range []string{"$TELL", "script -qec \"$TELL\" /dev/null"} {
		tty, err := os.OpenFile("/dev/tty60", os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			t.Skipf("needs a virtual console: %v", err)
		}
		if r := s.onTerminal(tty, line); r != (live.Reach{Kind: live.ReachConsole, By: "console tty60"}) {
			t.Errorf("%s: reached by %+v", line, r)
		}
		tty.Close()
	}
}

// A pseudo-terminal is the host's own only as part of a login at a seat.
func TestReachFromSeat(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	tty := terminal(t)
	if r := s.onTerminal(tty, "$TELL"); r.Kind != live.ReachUnknown {
		t.Errorf("reached by %+v", r)
	}
	for login, want := range map[string]live.ReachKind{
		`LEADER=$$\nREMOTE=0\nSEAT=seat0`: live.ReachConsole,
		`LEADER=1\nREMOTE=0\nSEAT=seat0`:  live.ReachUnknown, // what it left behind
		`LEADER=$$\nREMOTE=1\nSEAT=seat0`: live.ReachUnknown,
		`LEADER=$$\nREMOTE=0`:             live.ReachUnknown,
	} {
		r := s.onTerminal(tty, `exec unshare -m sh -ec '
			echo 0 > /proc/self/loginuid || true
			mount -t tmpfs none /run
			mkdir -p /run/systemd/sessions
			for id in $(cat /proc/self/sessionid) $(sed -n "s/.*session-\(.*\)\.scope$/\1/p" /proc/self/cgroup); do
				printf "`+login+`\n" > /run/systemd/sessions/$id
			done
			$TELL; true'`)
		if r.Kind != want {
			t.Errorf("%q: reached by %+v", login, r)
		}
	}
}

// A process of nobody's terminal is not reached by anybody.
func TestReachOfNobody(t *testing.T) {
	if elsewhere(t) {
		return
	}
	s := newSite(t)
	cmd := exec.Command("setsid", "-f", "sh", "-c", "while [ $(ps -o ppid= $$ | tr -d ' ') != 1 ]; do sleep 0.01; done; exec env -i "+actAs+"=tell "+self(t)+" "+s.file)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if r := s.told(); r != (live.Reach{}) {
		t.Errorf("reached by %+v", r)
	}
}

// A connection exists until both ends have closed it.
func TestEstablished(t *testing.T) {
	inNamespace(t)
	run(t, "ip link set lo up")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	host := ends(c)
	client := live.TCPConnection{Local: host.Remote, Remote: host.Local}
	exist := func(want ...live.TCPConnection) {
		t.Helper()
		all, err := live.Established()
		if err != nil || len(all) != len(want) || slices.ContainsFunc(want, func(w live.TCPConnection) bool { return !slices.Contains(all, w) }) {
			t.Errorf("%v (%v), want %v", all, err, want)
		}
	}
	exist(host, client)
	c.(*net.TCPConn).CloseWrite()
	a.Read(make([]byte, 1)) // until the host knows
	exist(host, client)
	a.Close()
	c.Read(make([]byte, 1))
	exist()
	c.Close()
}
