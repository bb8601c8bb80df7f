package netlab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/rules"
)

// Lab is a host and its client, each a network namespace. [New] makes one. It is
// not for several goroutines at once.
type Lab struct {
	// Early says that the rules under test may end the way of packets at prerouting,
	// before the hook that they are sent to.
	Early bool

	host, client netns.NsHandle
	cards        []*card
	sets         *sets
	raw4         int // a raw socket of the host, it sends IPv4 packets as they are
	member4      int // sockets of the host that have joined multicast groups
	member6      int
	joined       map[membership]bool
	tags         uint16 // the last tag that was given
}

// card is an interface of the host and the client's end of the cable.
type card struct {
	name  string
	index int // of the host's end, in the host's namespace
	mac   net.HardwareAddr
	wire  int // a packet socket on the client's end; -1 for the loopback interface
	raw6  int // a raw socket of the host, bound to the interface
}

// New returns a laboratory whose host has the interfaces and addresses of the
// facts, and releases it when the test ends. Without root or network namespaces
// the test is skipped, but fails where the environment variable CI is "true".
func New(tb testing.TB, facts *rules.Host) *Lab {
	tb.Helper()
	l, err := build(facts)
	if err == nil {
		tb.Cleanup(l.close)
		return l
	}
	if os.Getenv("CI") == "true" || os.Geteuid() == 0 && !os.IsPermission(err) {
		tb.Fatalf("network laboratory: %v", err)
	}
	tb.Skipf("needs root and network namespaces: %v", err)
	return nil
}

func build(facts *rules.Host) (l *Lab, err error) {
	l = &Lab{host: -1, client: -1, raw4: -1, member4: -1, member6: -1, joined: map[membership]bool{}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, ns := range []*netns.NsHandle{&l.host, &l.client} {
		if *ns, err = newNamespace(); err != nil {
			return nil, fmt.Errorf("new network namespace: %w", err)
		}
	}
	for _, step := range []func() error{
		func() error { return in(l.client, func() error { return setAll(clientSettings) }) },
		func() error { return in(l.host, func() error { return setAll(hostSettings) }) },
		func() error { return l.wire(facts) },
		func() error { return in(l.client, l.openWires) },
		func() error { return in(l.host, l.openRaw) },
		l.openSets,
		func() error { return in(l.host, func() error { return setAll(trackSettings) }) },
	} {
		if err = step(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Do runs fn in the host's namespace, on a locked thread: sockets that it opens
// and processes that it starts are the host's.
func (l *Lab) Do(fn func() error) error { return in(l.host, fn) }

// NFT runs nft in the host's namespace and returns what it prints.
func (l *Lab) NFT(stdin string, args ...string) (string, error) {
	var out []byte
	err := l.Do(func() (err error) {
		cmd := exec.Command("nft", args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("nft %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func (l *Lab) close() {
	if l.sets != nil {
		l.sets.close()
	}
	for _, c := range l.cards {
		closeAll(c.wire, c.raw6)
	}
	closeAll(l.raw4, l.member4, l.member6, int(l.host), int(l.client))
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// newNamespace makes a namespace without a name and leaves the thread where it was.
func newNamespace() (netns.NsHandle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	was, err := netns.Get()
	if err != nil {
		return -1, err
	}
	defer was.Close()
	ns, err := netns.New()
	if err != nil {
		return -1, err
	}
	return ns, netns.Set(was)
}

// in runs fn with the thread in the namespace. A thread that cannot come back
// is left locked, so that it dies with its goroutine.
func in(ns netns.NsHandle, fn func() error) error {
	runtime.LockOSThread()
	was, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if netns.Set(was) == nil {
			runtime.UnlockOSThread()
		}
		was.Close()
	}()
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return fn()
}

// wire makes the interfaces, addresses and routes of the host.
func (l *Lab) wire(facts *rules.Host) error {
	h, err := netlink.NewHandleAt(l.host)
	if err != nil {
		return err
	}
	defer h.Close()
	c, err := netlink.NewHandleAt(l.client)
	if err != nil {
		return err
	}
	defer c.Close()
	for i, f := range facts.Interfaces {
		if f.Loopback {
			err = l.loopback(h, f)
		} else {
			err = l.cable(h, c, i, f)
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", f.Name, err)
		}
	}
	return nil
}

func (l *Lab) loopback(h *netlink.Handle, f rules.Interface) error {
	link, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	l.cards = append(l.cards, &card{name: "lo", index: link.Attrs().Index, wire: -1, raw6: -1})
	return h.LinkSetUp(link) // the kernel gives it 127.0.0.1 and ::1
}

// cable makes one interface of the host, without neighbour resolution, with a
// default route of its own in the main table, for packets that are bound to it,
// and in a table for packets that carry its number in the highest byte of their
// mark.
func (l *Lab) cable(h, c *netlink.Handle, i int, f rules.Interface) error {
	cd := &card{name: f.Name, mac: net.HardwareAddr{2, 0, 0, 0, 1, byte(i)}, wire: -1, raw6: -1}
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: f.Name, HardwareAddr: cd.mac, TxQLen: -1},
		PeerName:      peerName(f.Name),
		PeerNamespace: netlink.NsFd(l.client),
	}
	if err := h.LinkAdd(veth); err != nil {
		return err
	}
	link, err := h.LinkByName(f.Name)
	if err != nil {
		return err
	}
	cd.index = link.Attrs().Index
	l.cards = append(l.cards, cd)
	peer, err := c.LinkByName(veth.PeerName)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return h.LinkSetARPOff(link) },
		func() error { return h.LinkSetUp(link) },
		func() error { return c.LinkSetUp(peer) },
		func() error { return addAddresses(h, link, f) },
		func() error { return addRoutes(h, cd.index, l.mark(cd)) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// peerName is the name of the client's end; interface names have at most 15 bytes.
func peerName(host string) string { return "c." + host[:min(len(host), 13)] }

// mark is the number of a card: the mark that routes a packet out of it, and the
// third byte of the source address of the frames that are to leave by it.
func (l *Lab) mark(c *card) int {
	for i, o := range l.cards {
		if o == c {
			return i + 1
		}
	}
	return 0
}

func (l *Lab) card(name string) (*card, error) {
	for _, c := range l.cards {
		if c.name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("the host has no interface %q", name)
}

func addAddresses(h *netlink.Handle, link netlink.Link, f rules.Interface) error {
	for _, p := range f.Addrs {
		a := &netlink.Addr{
			IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
			Flags: unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE,
		}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	return nil
}

// addRoutes sends everything of both families by the interface to a gateway
// that nobody asks for: one neighbour each, whatever the destination.
func addRoutes(h *netlink.Handle, index, mark int) error {
	for _, fam := range []struct {
		family  int
		gateway net.IP
		all     *net.IPNet
	}{
		{unix.AF_INET, net.IPv4(198, 18, 255, byte(mark)).To4(), &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}},
		{unix.AF_INET6, net.ParseIP("fe80::ffff"), &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}},
	} {
		for _, table := range []int{unix.RT_TABLE_MAIN, 100 + mark} {
			r := &netlink.Route{LinkIndex: index, Dst: fam.all, Gw: fam.gateway, Priority: 100 + mark, Table: table, Flags: int(netlink.FLAG_ONLINK)}
			if err := h.RouteAdd(r); err != nil {
				return fmt.Errorf("default route: %w", err)
			}
		}
		rule := netlink.NewRule()
		mask := uint32(0xff << routeShift)
		rule.Family, rule.Mark, rule.Mask, rule.Table, rule.Priority = fam.family, uint32(mark)<<routeShift, &mask, 100+mark, 100
		if err := h.RuleAdd(rule); err != nil {
			return fmt.Errorf("routing rule: %w", err)
		}
	}
	return nil
}
