package netlab

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
)

// frameUntracked in the second byte of a frame's source address asks the host
// not to track it.
const frameUntracked = 1

// openWires opens a packet socket on each of the client's interfaces; it runs in
// the client's namespace.
func (l *Lab) openWires() error {
	for _, c := range l.cards {
		if c.mac == nil {
			continue
		}
		iface, err := indexOf(peerName(c.name))
		if err != nil {
			return err
		}
		if c.wire, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return fmt.Errorf("packet socket: %w", err)
		}
		if err := unix.Bind(c.wire, &unix.SockaddrLinklayer{Ifindex: iface}); err != nil {
			return fmt.Errorf("bind packet socket: %w", err)
		}
		// The veth's own queue would only delay; without it a write returns when
		// the host has taken the frame.
		if err := unix.SetsockoptInt(c.wire, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return fmt.Errorf("bypass the queue: %w", err)
		}
	}
	return nil
}

// indexOf returns the number of an interface of the thread's namespace.
func indexOf(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r); err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return int(r.Uint32()), nil
}

// openRaw opens the sockets by which the host itself sends, and those that join
// multicast groups; it runs in the host's namespace.
func (l *Lab) openRaw() (err error) {
	if l.raw4, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	if err := unix.SetsockoptInt(l.raw4, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return err
	}
	for _, c := range l.cards {
		if c.raw6, err = openRaw6(c.name); err != nil {
			return fmt.Errorf("raw IPv6 socket on %s: %w", c.name, err)
		}
	}
	if l.member4, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	l.member6, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	return err
}

// openRaw6 binds a socket to an interface: with a given source, the interface of
// a control message is no more than a wish. Not to the loopback interface: the
// way to an own address is by loopback, but the route bears its owner's name.
func openRaw6(device string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_HDRINCL, 1); err != nil {
		return fd, err
	}
	if device == "lo" {
		return fd, nil
	}
	return fd, unix.BindToDevice(fd, device)
}

// send puts the probe on its way: from the client for input and forward, from
// the host itself for output and for what enters by the loopback interface.
func (l *Lab) send(p packet.Packet, tag uint16) error {
	if p.Hook == packet.Output || p.In == "lo" {
		return l.sendOut(p, tag)
	}
	c, err := l.card(p.In)
	if err != nil {
		return err
	}
	if err := l.join(c, p.Dst); err != nil {
		return err
	}
	f, err := l.frame(c, p, tag)
	if err != nil {
		return err
	}
	_, err = unix.Write(c.wire, f)
	return err
}

// frame returns the probe with its Ethernet header. The source address tells the
// lab's rules what to do: its second byte whether to track the packet, its third
// by which interface to send it on.
func (l *Lab) frame(c *card, p packet.Packet, tag uint16) ([]byte, error) {
	f := make([]byte, 14, 14+128)
	copy(f, c.mac)
	f[6] = 2 // locally administered
	if p.State == packet.Untracked && !p.Proto.IsICMP() {
		f[macFlags] = frameUntracked
	}
	if p.Out != "" {
		out, err := l.card(p.Out)
		if err != nil {
			return nil, err
		}
		f[macMark] = byte(l.mark(out))
	}
	f[12], f[13] = 0x08, 0x00
	if p.Is6() {
		f[12], f[13] = 0x86, 0xdd
	}
	return append(f, ipPacket(p, tag)...), nil
}

// sendOut sends from the host. EPERM is the kernel's word for "dropped", which
// the rules of the lab do to every probe in the end.
func (l *Lab) sendOut(p packet.Packet, tag uint16) error {
	fd, to, control, err := l.outbound(p)
	if err != nil {
		return err
	}
	_, err = unix.SendmsgN(fd, ipPacket(p, tag), control, to, 0)
	if errors.Is(err, unix.EPERM) {
		return nil
	}
	return err
}

func (l *Lab) outbound(p packet.Packet) (fd int, to unix.Sockaddr, control []byte, err error) {
	name := p.Out
	if p.Hook == packet.Input {
		name = "lo"
	}
	c, err := l.card(name)
	if err != nil {
		return 0, nil, nil, err
	}
	index := c.index
	if c.wire < 0 {
		index = 0 // by loopback: see openRaw6
	}
	if p.Is6() {
		info := &unix.Inet6Pktinfo{Ifindex: uint32(index), Addr: p.Src.As16()} // else the kernel looks for a source, and may find none
		return c.raw6, &unix.SockaddrInet6{Addr: p.Dst.As16()}, unix.PktInfo6(info), nil
	}
	info := &unix.Inet4Pktinfo{Ifindex: int32(index)}
	return l.raw4, &unix.SockaddrInet4{Addr: p.Dst.As4()}, unix.PktInfo4(info), nil
}

// membership is a multicast group on an interface.
type membership struct {
	index int
	group netip.Addr
}

// join makes the host a member of a multicast group: the kernel drops what it is
// no member of before the input hook.
func (l *Lab) join(c *card, group netip.Addr) error {
	m := membership{c.index, group}
	if !group.IsMulticast() || l.joined[m] {
		return nil
	}
	l.joined[m] = true
	var err error
	if group.Is6() {
		err = unix.SetsockoptIPv6Mreq(l.member6, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
			&unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(c.index)})
	} else {
		err = unix.SetsockoptIPMreqn(l.member4, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP,
			&unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(c.index)})
	}
	if err != nil {
		return fmt.Errorf("join %s on %s: %w", group, c.name, err)
	}
	return nil
}
