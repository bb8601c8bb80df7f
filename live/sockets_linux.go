package live

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
)

// Connections lists the flows that connection tracking knows. It needs
// CAP_NET_ADMIN. What comes and goes meanwhile may be missing.
func Connections() ([]Connection, error) {
	var out []Connection
	for _, family := range []netlink.InetFamily{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		flows, err := connections(family)
		if err != nil {
			return nil, fmt.Errorf("list the connections: %w", err)
		}
		for _, f := range flows {
			if c, ok := connection(f); ok {
				out = append(out, c)
			}
		}
	}
	return out, nil
}

func connections(family netlink.InetFamily) (flows []*netlink.ConntrackFlow, err error) {
	for range dumpTries {
		flows, err = netlink.ConntrackTableList(netlink.ConntrackTable, family)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return flows, err
		}
	}
	return flows, nil // as good as it gets on a busy host
}

// connection leaves out ICMP, whose types the library does not tell: its flows
// last for seconds.
func connection(f *netlink.ConntrackFlow) (Connection, bool) {
	proto := packet.Proto(f.Forward.Protocol)
	src, ok1 := netip.AddrFromSlice(f.Forward.SrcIP)
	dst, ok2 := netip.AddrFromSlice(f.Forward.DstIP)
	if !ok1 || !ok2 || proto.IsICMP() {
		return Connection{}, false
	}
	c := Connection{Proto: proto, Src: netip.AddrPortFrom(src.Unmap(), 0), Dst: netip.AddrPortFrom(dst.Unmap(), 0)}
	if proto.HasPorts() {
		c.Src, c.Dst = netip.AddrPortFrom(src.Unmap(), f.Forward.SrcPort), netip.AddrPortFrom(dst.Unmap(), f.Forward.DstPort)
	}
	c.Translated = !f.Reverse.SrcIP.Equal(f.Forward.DstIP) || !f.Reverse.DstIP.Equal(f.Forward.SrcIP) ||
		f.Reverse.SrcPort != f.Forward.DstPort || f.Reverse.DstPort != f.Forward.SrcPort
	return c, true
}

// Established lists the TCP connections of this network namespace, also those
// that one end has begun to close, but none that wait for stray packets only. It
// needs no privilege.
func Established() ([]TCPConnection, error) {
	all, err := tcpSockets()
	if err != nil {
		return nil, fmt.Errorf("list the TCP connections: %w", err)
	}
	var out []TCPConnection
	for _, s := range all {
		if slices.Contains(connected, s.state) {
			out = append(out, TCPConnection{Local: s.local, Remote: s.remote})
		}
	}
	return out, nil
}

// Connected lists what Established does, and those of them that lead to other hosts,
// in one state of the sockets.
func Connected() (all, outgoing []TCPConnection, err error) {
	ss, err := tcpSockets()
	if err != nil {
		return nil, nil, fmt.Errorf("list the TCP connections: %w", err)
	}
	var listeners []Listener
	for _, s := range ss {
		switch {
		case s.state == stateListen:
			listeners = append(listeners, Listener{Proto: packet.TCP, Addr: s.local.Addr(), Port: s.local.Port()})
		case slices.Contains(connected, s.state):
			all = append(all, TCPConnection{Local: s.local, Remote: s.remote})
		}
	}
	return all, Outgoing(all, listeners), nil
}

// tcpSockets lists the TCP sockets of this network namespace. A kernel that cannot be
// asked for them (CONFIG_INET_DIAG) has them in files, which take it several times as
// long.
func tcpSockets() ([]socket, error) {
	var out []socket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		found, err := netlink.SocketDiagTCP(family)
		if err != nil {
			return tcpFiles()
		}
		for _, f := range found {
			out = append(out, socketOf(f))
		}
	}
	return out, nil
}

func socketOf(f *netlink.Socket) socket {
	local, _ := netip.AddrFromSlice(f.ID.Source)
	remote, _ := netip.AddrFromSlice(f.ID.Destination)
	return socket{
		local: netip.AddrPortFrom(local.Unmap(), f.ID.SourcePort), remote: netip.AddrPortFrom(remote.Unmap(), f.ID.DestinationPort),
		state: fmt.Sprintf("%02X", f.State), inode: uint64(f.INode),
	}
}

// tcpFiles is tcpSockets from /proc.
func tcpFiles() ([]socket, error) {
	var out []socket
	for _, file := range []string{"tcp", "tcp6"} {
		text, err := socketFile(file)
		if err != nil {
			return nil, err
		}
		ss, err := parseTable(text)
		if err != nil {
			return nil, err
		}
		out = append(out, ss...)
	}
	return out, nil
}

// socketFile reads one of the files on sockets; a kernel without IPv6 has only
// half of them.
func socketFile(name string) (string, error) {
	text, err := os.ReadFile("/proc/thread-self/net/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}
