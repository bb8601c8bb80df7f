package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
	read "github.com/fwctl/fwctl/read/nftables"
)

// Of linux/inet_diag.h and net/tcp_states.h.
const (
	diagRequestSize = 56 // struct inet_diag_req_v2
	diagMessageSize = 72 // struct inet_diag_msg
	diagV6Only      = 11 // INET_DIAG_SKV6ONLY
	diagLocals      = 16 // INET_DIAG_LOCALS: all addresses of an SCTP socket
	diagCgroup      = 21 // INET_DIAG_CGROUP_ID, since Linux 5.9

	tcpClose  = 7
	tcpListen = 10
)

// diagBuffer is what one answer of the kernel may fill: it makes its pieces as large
// as the reader's buffer, up to 32 KiB.
const diagBuffer = 65536

// waitingState is the state of the protocol's sockets that wait for anybody.
func waitingState(proto packet.Proto) uint8 {
	if proto == packet.UDP || proto == packet.UDPLite {
		return tcpClose
	}
	return tcpListen
}

// errNoDiag says that the kernel cannot be asked for the sockets of a protocol.
var errNoDiag = errors.New("the kernel does not answer for its sockets (CONFIG_INET_DIAG, CONFIG_INET_UDP_DIAG)")

// diagnosed is a listener as inet_diag tells it.
type diagnosed struct {
	Listener
	index  uint32 // of the interface, zero: any
	cgroup uint64 // of version 2, in which the socket was made; zero: not told
}

// diag asks the kernel for sockets by sock_diag(7), in the network namespace of the
// thread that made it.
type diag struct{ nl *netlink.Conn }

func dialDiag() (diag, error) {
	nl, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{MessageBufferSize: diagBuffer})
	if err != nil {
		return diag{}, fmt.Errorf("open netlink socket for sock_diag: %w", err)
	}
	return diag{nl}, nil
}

// listeners returns the waiting sockets of the protocol. The kernel picks them out:
// it goes through no connections of TCP for it.
func (d diag) listeners(proto packet.Proto) ([]diagnosed, error) {
	var out []diagnosed
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		answers, err := d.nl.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump},
			Data:   diagRequest(family, proto),
		})
		switch {
		case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL):
			return nil, errNoDiag
		case err != nil:
			return nil, err
		}
		for _, m := range answers {
			ls, err := decodeDiag(m.Data, proto)
			if err != nil {
				return nil, err
			}
			out = append(out, ls...)
		}
	}
	return out, nil
}

// diagRequest is a struct inet_diag_req_v2 for all sockets in the waiting state.
func diagRequest(family uint8, proto packet.Proto) []byte {
	b := make([]byte, diagRequestSize)
	b[0], b[1] = family, uint8(proto)
	binary.NativeEndian.PutUint32(b[4:], 1<<waitingState(proto))
	return b
}

// decodeDiag reads a struct inet_diag_msg and its attributes. A socket of SCTP may
// have several addresses and gives a listener for each.
func decodeDiag(b []byte, proto packet.Proto) ([]diagnosed, error) {
	if len(b) < diagMessageSize {
		return nil, fmt.Errorf("a socket in %d bytes, want %d", len(b), diagMessageSize)
	}
	one := diagnosed{index: binary.NativeEndian.Uint32(b[40:])}
	one.Listener = Listener{
		Proto: proto, Addr: diagAddr(b[0], b[8:]), Port: binary.BigEndian.Uint16(b[4:]),
		UID: binary.NativeEndian.Uint32(b[64:]), Inode: uint64(binary.NativeEndian.Uint32(b[68:])),
	}
	attrs, err := read.Attrs(b[diagMessageSize:])
	if err != nil {
		return nil, err
	}
	addrs := []netip.Addr{one.Addr}
	for _, a := range attrs {
		switch {
		case a.Type == diagV6Only && len(a.Data) > 0:
			one.V6Only = a.Data[0] != 0
		case a.Type == diagCgroup && len(a.Data) >= 8:
			one.cgroup = binary.NativeEndian.Uint64(a.Data)
		case a.Type == diagLocals:
			if many := diagAddrs(a.Data); len(many) > 0 {
				addrs = many
			}
		}
	}
	var out []diagnosed
	for _, a := range addrs {
		one.Addr = a
		out = append(out, one)
	}
	return out, nil
}

// diagAddr reads an address of a family; one of IPv4 that a socket of IPv6 is bound
// to is one of IPv4.
func diagAddr(family uint8, b []byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b))
	}
	return netip.AddrFrom16([16]byte(b)).Unmap()
}

// diagAddrs reads an array of struct sockaddr_storage.
func diagAddrs(b []byte) []netip.Addr {
	const size = 128
	var out []netip.Addr
	for ; len(b) >= size; b = b[size:] {
		switch family := binary.NativeEndian.Uint16(b); family {
		case unix.AF_INET:
			out = append(out, diagAddr(unix.AF_INET, b[4:]))
		case unix.AF_INET6:
			out = append(out, diagAddr(unix.AF_INET6, b[8:]))
		}
	}
	return out
}
