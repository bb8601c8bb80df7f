package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
)

// Cable is a host and a client like those of a [Lab], but nothing is loaded in the
// host, and its end of the cable, eth0, is down and has no address: [Plug] is the
// shell's line for that. What gets in shows by the answers, since a host that
// listens nowhere answers each attempt to connect with a reset.
type Cable struct {
	host, client netns.NsHandle
	wire         int // a packet socket on the client's end
}

// Plug brings the host's end of a [Cable] up.
const Plug = "ip address add 192.0.2.10/24 dev eth0; ip address add 2001:db8:1::10/64 dev eth0 nodad; ip link set eth0 up"

var (
	cableMAC  = [2]net.HardwareAddr{{2, 0, 0, 0, 2, 1}, {2, 0, 0, 0, 2, 2}} // of the host, of the client
	cableEnds = map[bool][2]netip.Addr{
		false: {netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.99")},
		true:  {netip.MustParseAddr("2001:db8:1::10"), netip.MustParseAddr("2001:db8:1::99")},
	}
)

// NewCable returns a cable and releases it when the test ends. It skips as [New] does.
func NewCable(tb testing.TB) *Cable {
	tb.Helper()
	c := &Cable{host: -1, client: -1, wire: -1}
	tb.Cleanup(func() { closeAll(c.wire, int(c.host), int(c.client)) })
	if err := c.make(); err != nil {
		if os.Getenv("CI") == "true" || os.Geteuid() == 0 && !os.IsPermission(err) {
			tb.Fatalf("network laboratory: %v", err)
		}
		tb.Skipf("needs root and network namespaces: %v", err)
	}
	return c
}

func (c *Cable) make() (err error) {
	for _, ns := range []*netns.NsHandle{&c.host, &c.client} {
		if *ns, err = newNamespace(); err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
	}
	h, err := netlink.NewHandleAt(c.host)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth0", HardwareAddr: cableMAC[0], TxQLen: -1},
		PeerName:  "eth0", PeerHardwareAddr: cableMAC[1], PeerNamespace: netlink.NsFd(c.client),
	}); err != nil {
		return err
	}
	return in(c.client, c.plugIn)
}

// plugIn readies the client's end.
func (c *Cable) plugIn() error {
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for six, bits := range map[bool]int{false: 24, true: 64} {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: cableEnds[six][1].AsSlice(), Mask: net.CIDRMask(bits, cableEnds[six][1].BitLen())}, Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(link, a); err != nil {
			return err
		}
	}
	const allProtocols = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	if c.wire, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, allProtocols); err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.SetsockoptTimeval(c.wire, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(c.wire, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		return err
	}
	return unix.Bind(c.wire, &unix.SockaddrLinklayer{Protocol: allProtocols, Ifindex: link.Attrs().Index})
}

// Do runs fn in the host's namespace, as [Lab.Do] does.
func (c *Cable) Do(fn func() error) error { return in(c.host, fn) }

// Answers are those that a port of the host gave to attempts to connect.
type Answers struct {
	Sent        int
	IPv4, IPv6  int
	First, Last time.Time // of the answers
}

// flood is one that is under way.
type flood struct {
	*Cable
	stop, heard chan struct{}
	sent        sync.WaitGroup
	mu          sync.Mutex
	seen        map[uint16]*Answers
}

// Flood tries to connect to the ports by IPv4 and IPv6, each some thousand times a
// second, also while the host's end is down, until the function is called that it
// returns. There is one at a time.
func (c *Cable) Flood(ports ...uint16) (stop func() map[uint16]*Answers) {
	f := &flood{Cable: c, stop: make(chan struct{}), heard: make(chan struct{}), seen: map[uint16]*Answers{}}
	for _, p := range ports {
		f.seen[p] = &Answers{}
	}
	quiet := make(chan struct{})
	f.sent.Go(func() { f.send(ports) })
	go func() { defer close(f.heard); f.hear(quiet) }()
	return func() map[uint16]*Answers {
		close(f.stop)
		f.sent.Wait()
		time.Sleep(50 * time.Millisecond) // for the last answers
		close(quiet)
		<-f.heard
		return f.seen
	}
}

// send sends attempts from ever other ports.
func (f *flood) send(ports []uint16) {
	for n := uint16(0); ; n++ {
		for _, port := range ports {
			for _, six := range []bool{false, true} {
				ends := cableEnds[six]
				p := packet.Packet{Proto: packet.TCP, Flags: packet.SYN, Src: ends[1], Dst: ends[0], SrcPort: 20000 + n%20000, DstPort: port}
				kind := uint16(unix.ETH_P_IP)
				if six {
					kind = unix.ETH_P_IPV6
				}
				frame := append(append([]byte{}, cableMAC[0]...), cableMAC[1]...)
				frame = append(binary.BigEndian.AppendUint16(frame, kind), ipPacket(p, n)...)
				_, _ = unix.Write(f.wire, frame) // the cable may be unplugged
			}
			f.mu.Lock()
			f.seen[port].Sent += 2
			f.mu.Unlock()
		}
		select {
		case <-f.stop:
			return
		default: // the timers of Go are coarser
			_ = unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil)
		}
	}
}

// hear counts the answers.
func (f *flood) hear(quiet <-chan struct{}) {
	frame := make([]byte, 2048)
	for {
		n, err := unix.Read(f.wire, frame)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return
		}
		select {
		case <-quiet:
			return
		default:
		}
		if err == nil {
			f.note(frame[:n])
		}
	}
}

// note notes an answer: TCP from the host.
func (f *flood) note(frame []byte) {
	if len(frame) < 14+20+20 || [6]byte(frame[6:12]) != [6]byte(cableMAC[0]) {
		return
	}
	ip, six := frame[14:], binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IPV6
	proto, tcp := ip[9], ip[20:]
	if six {
		proto, tcp = ip[6], ip[40:]
	}
	a := f.seen[binary.BigEndian.Uint16(tcp)]
	if proto != byte(packet.TCP) || a == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Last = time.Now(); a.First.IsZero() {
		a.First = a.Last
	}
	if six {
		a.IPv6++
	} else {
		a.IPv4++
	}
}
