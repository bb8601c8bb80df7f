package live_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// told is a listener in one line, as ss has it, too.
type told struct {
	at     string // "tcp 0.0.0.0:80 on v0, IPv6 only"
	uid    int
	inode  uint64
	owners []string // "name 12", sorted
}

func (t told) String() string {
	return fmt.Sprintf("%s uid %d inode %d %q", t.at, t.uid, t.inode, t.owners)
}

func (t told) compare(o told) int {
	return cmp.Or(strings.Compare(t.at, o.at), cmp.Compare(t.inode, o.inode))
}

func where(proto string, addr netip.Addr, port uint16, link string, v6Only bool) string {
	s := fmt.Sprintf("%s %v on %q", proto, netip.AddrPortFrom(addr, port), link)
	if v6Only {
		s += ", IPv6 only"
	}
	return s
}

// ours are the listeners as live tells of them, UDP-Lite left out: ss does not know it.
func ours(t *testing.T) (all []told, lite []string) {
	t.Helper()
	ls, notes, err := live.Listeners(t.Context(), live.ListenOptions{})
	if err != nil || len(unexpected(notes)) > 0 {
		t.Fatalf("%v, %q", err, notes)
	}
	for _, l := range ls {
		at := where(l.Proto.String(), l.Addr, l.Port, l.Interface, l.V6Only)
		if l.Proto == packet.UDPLite {
			lite = append(lite, at)
			continue
		}
		var owners []string
		for _, o := range l.Owners {
			owners = append(owners, fmt.Sprintf("%s %d", o.Process, o.PID))
			if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", o.PID)); o.Exe != exe || o.Argv0 == "" {
				t.Errorf("program %q, want %q; called %q", o.Exe, exe, o.Argv0)
			}
		}
		slices.Sort(owners)
		all = append(all, told{at, int(l.UID), l.Inode, owners})
		if l.UID == 0 && l.User != "root" {
			t.Errorf("user %q of 0", l.User)
		}
	}
	slices.SortFunc(all, told.compare)
	slices.Sort(lite)
	return all, lite
}

var (
	ssLine  = regexp.MustCompile(`^(tcp|udp) +(?:LISTEN|UNCONN) +\d+ +\d+ +(\S+):(\d+) `)
	ssUser  = regexp.MustCompile(`\("([^"]+)",pid=(\d+),`)
	ssField = regexp.MustCompile(`(uid|ino|v6only):(\d+)`)
)

// theirs are the listeners as ss tells of them.
func theirs(t *testing.T) (all []told) {
	t.Helper()
	out, err := exec.Command("ss", "-HOltunpe").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		m := ssLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("ss: %q", line)
		}
		fields := map[string]int{}
		for _, f := range ssField.FindAllStringSubmatch(line, -1) {
			fields[f[1]], _ = strconv.Atoi(f[2])
		}
		host, link, _ := strings.Cut(m[2], "%")
		if host == "*" {
			host = "[::]"
		}
		addr := netip.MustParseAddr(strings.Trim(host, "[]")).Unmap()
		port, _ := strconv.ParseUint(m[3], 10, 16)
		var owners []string
		for _, u := range ssUser.FindAllStringSubmatch(line, -1) {
			owners = append(owners, u[1]+" "+u[2])
		}
		slices.Sort(owners)
		all = append(all, told{
			where(m[1], addr, uint16(port), link, fields["v6only"] == 1),
			fields["uid"], uint64(fields["ino"]), slices.Compact(owners),
		})
	}
	slices.SortFunc(all, told.compare)
	return all
}

// crowd is a set of sockets of every kind.
type crowd struct {
	*testing.T
	rnd  *rand.Rand
	lite []string // what is to be told of UDP-Lite
	ends []func()
}

func (c *crowd) leave() {
	for _, end := range c.ends {
		end()
	}
}

var crowdAddrs = []netip.Addr{
	netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1"),
	netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:192.0.2.1"),
}

// add opens a socket, perhaps one that does not wait for anybody.
func (c *crowd) add(port int) {
	kinds := []struct {
		name       string
		typ, proto int
	}{{"tcp", unix.SOCK_STREAM, 0}, {"udp", unix.SOCK_DGRAM, 0}, {"udplite", unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE}, {"tcp", unix.SOCK_STREAM, unix.IPPROTO_MPTCP}}
	k := kinds[c.rnd.IntN(len(kinds))]
	addr := crowdAddrs[c.rnd.IntN(len(crowdAddrs))]
	family, at := sockaddr(addr, port)
	fd, err := unix.Socket(family, k.typ|unix.SOCK_CLOEXEC, k.proto)
	if err != nil {
		c.Logf("%s, protocol %d: %v", k.name, k.proto, err)
		return
	}
	c.ends = append(c.ends, func() { _ = unix.Close(fd) })
	v6Only := family == unix.AF_INET6 && !addr.Is4In6() && (!addr.IsUnspecified() || c.rnd.IntN(2) == 0)
	link := []string{"", "", "v0"}[c.rnd.IntN(3)]
	if family == unix.AF_INET6 {
		only := 0
		if v6Only {
			only = 1
		}
		c.must(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only))
	}
	if addr.IsLoopback() {
		link = ""
	}
	if link != "" {
		c.must(unix.BindToDevice(fd, link))
	}
	if err := unix.Bind(fd, at); err != nil {
		c.Fatalf("%v on %q: %v", addr, link, err)
	}
	if c.rnd.IntN(4) == 0 {
		c.must(unix.Fchown(fd, 65534, -1))
	}
	if k.typ == unix.SOCK_STREAM {
		c.must(unix.Listen(fd, 1))
	} else if c.rnd.IntN(3) == 0 && link == "" {
		c.must(unix.Connect(fd, peer(addr)))
		return
	}
	if k.name == "udplite" {
		c.lite = append(c.lite, where("udplite", addr.Unmap(), uint16(port), link, v6Only))
	}
	if c.rnd.IntN(10) == 0 {
		c.share(fd)
	}
}

// share gives the socket to another process, too, under two numbers.
func (c *crowd) share(fd int) {
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	c.must(err)
	f := os.NewFile(uintptr(other), "shared")
	defer f.Close()
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{f, f}
	c.must(cmd.Start())
	c.ends = append(c.ends, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func (c *crowd) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func sockaddr(a netip.Addr, port int) (family int, at unix.Sockaddr) {
	if a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: a.As16()}
}

// peer is somebody whom a socket with the address can be connected to.
func peer(a netip.Addr) unix.Sockaddr {
	if a.IsUnspecified() || a.IsLoopback() {
		a = map[bool]netip.Addr{true: netip.MustParseAddr("127.0.0.1"), false: netip.IPv6Loopback()}[a.Is4()]
	}
	_, at := sockaddr(a, 9)
	return at
}

// What is told of sockets is what ss tells, for sets of sockets of every kind: of both
// families or one, bound to an address or an interface, of several processes or
// another user. Connected ones are not among them.
func TestListenersAreThoseOfSS(t *testing.T) {
	inNamespace(t)
	run(t, `ip link set lo up
		ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
		ip addr add 192.0.2.1/24 dev v0; ip addr add 2001:db8::1/64 dev v0 nodad`)
	rnd := rand.New(rand.NewPCG(gen.Seed(t), 0))
	sets, waiting := gen.Dose(t, "FWCTL_LISTENERS", 60), 0
	for i := range sets {
		waiting += (&crowd{T: t, rnd: rnd}).compared(i)
	}
	t.Logf("%d listeners in %d sets", waiting, sets)
}

// compared fills the set and returns how many listeners it has.
func (c *crowd) compared(set int) int {
	defer c.leave()
	for n := range c.rnd.IntN(16) {
		c.add(3000 + n)
	}
	got, lite := ours(c.T)
	want := theirs(c.T)
	if !slices.EqualFunc(got, want, func(a, b told) bool { return a.String() == b.String() }) {
		c.Errorf("set %d: listeners\n%v\nss\n%v", set, lines(got), lines(want))
	}
	slices.Sort(c.lite)
	if !slices.Equal(lite, c.lite) {
		c.Errorf("set %d: UDP-Lite %q, want %q", set, lite, c.lite)
	}
	return len(got) + len(lite)
}

func lines(ts []told) string {
	var b strings.Builder
	for _, t := range ts {
		fmt.Fprintln(&b, t)
	}
	return b.String()
}
