package apply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// Attributes of linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_tcp.h.
const (
	ctNew, ctDelete = 0, 2 // IPCTNL_MSG_CT_*

	ctaTupleOrig, ctaTupleReply, ctaStatus, ctaProtoinfo, ctaTimeout = 1, 2, 3, 4, 7
	ctaTupleIP, ctaTupleProto                                        = 1, 2
	ctaIPv4Src, ctaIPv4Dst, ctaIPv6Src, ctaIPv6Dst                   = 1, 2, 3, 4
	ctaProtoNum, ctaProtoSrcPort, ctaProtoDstPort                    = 1, 2, 3
	ctaProtoinfoTCP                                                  = 1
	ctaTCPState, ctaTCPFlagsOriginal, ctaTCPFlagsReply               = 1, 4, 5

	statusSeenReply, statusAssured, statusConfirmed = 1 << 1, 1 << 2, 1 << 3 // IPS_*

	tcpEstablished = 3    // TCP_CONNTRACK_ESTABLISHED
	tcpBeLiberal   = 0x08 // IP_CT_TCP_FLAG_BE_LIBERAL
)

// establishedTime is how long the kernel remembers a quiet TCP connection
// (nf_conntrack_tcp_timeout_established).
const establishedTime = 5 * 24 * time.Hour

// track makes the kernel's connection tracking know the TCP connections of this
// host. Where nothing was tracked before, the first rules that ask for a state would
// take a packet of theirs for a new connection, and one that this host has opened
// would not hear any more from its other end.
func track() error {
	conns, outgoing, err := live.Connected()
	if err != nil {
		return err
	}
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("track connections: %w", err)
	}
	defer c.Close()
	for _, t := range conns {
		if t.Local.Addr().IsLoopback() || t.Remote.Addr().IsLoopback() {
			continue // these are accepted without being asked about
		}
		first := live.Connection{Proto: packet.TCP, Src: t.Remote, Dst: t.Local}
		if slices.Contains(outgoing, t) {
			first.Src, first.Dst = t.Local, t.Remote
		}
		if err := enter(c, first); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("track connections: %w", err)
		}
	}
	return nil
}

// enter makes an entry for an established TCP connection. Its windows are not known.
func enter(c *netlink.Conn, first live.Connection) error {
	return conntrack(c, ctNew, netlink.Create|netlink.Excl, first, func(ae *netlink.AttributeEncoder) {
		ae.Nested(ctaTupleReply, tuple(live.Connection{Proto: first.Proto, Src: first.Dst, Dst: first.Src}))
		ae.ByteOrder = binary.BigEndian
		ae.Uint32(ctaStatus, statusSeenReply|statusAssured|statusConfirmed)
		ae.Uint32(ctaTimeout, uint32(establishedTime/time.Second))
		ae.Nested(ctaProtoinfo, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(ctaProtoinfoTCP, func(ae *netlink.AttributeEncoder) error {
				ae.Uint8(ctaTCPState, tcpEstablished)
				liberal := []byte{tcpBeLiberal, tcpBeLiberal} // struct nf_ct_tcp_flags: flags and mask
				ae.Bytes(ctaTCPFlagsOriginal, liberal)
				ae.Bytes(ctaTCPFlagsReply, liberal)
				return nil
			})
			return nil
		})
	})
}

// untrack removes the entries of connections. That one is gone already is no error.
func untrack(conns []live.Connection) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, first := range conns {
		if err := conntrack(c, ctDelete, 0, first, func(*netlink.AttributeEncoder) {}); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// diagRequest is struct inet_diag_req_v2 (linux/inet_diag.h) for one socket.
type diagRequest struct {
	Family, Protocol, Ext, _ uint8
	States                   uint32
	SrcPort, DstPort         [2]byte
	Src, Dst                 [16]byte
	Interface                uint32
	Cookie                   [2]uint32
}

const (
	sockDestroy = 21         // SOCK_DESTROY, linux/sock_diag.h
	noCookie    = ^uint32(0) // INET_DIAG_NOCOOKIE
)

// abort ends the sockets of this host that have TCP connections: both ends are told.
// Without their entries in the tracking those of them that go on speaking would just
// begin new ones. A kernel that cannot (CONFIG_INET_DIAG_DESTROY) is an error.
func abort(own []live.TCPConnection) error {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, t := range own {
		r := diagRequest{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Cookie: [2]uint32{noCookie, noCookie}}
		if t.Local.Addr().Is6() {
			r.Family = unix.AF_INET6
		}
		binary.BigEndian.PutUint16(r.SrcPort[:], t.Local.Port())
		binary.BigEndian.PutUint16(r.DstPort[:], t.Remote.Port())
		copy(r.Src[:], t.Local.Addr().AsSlice())
		copy(r.Dst[:], t.Remote.Addr().AsSlice())
		data, err := binary.Append(nil, binary.NativeEndian, r)
		if err != nil {
			return err
		}
		_, err = c.Execute(netlink.Message{Header: netlink.Header{Type: sockDestroy, Flags: netlink.Request | netlink.Acknowledge}, Data: data})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("end the socket of %s with %s: %w", t.Local, t.Remote, err)
		}
	}
	return nil
}

// conntrack sends a message about the entry of a connection, named by its first
// packet.
func conntrack(c *netlink.Conn, msg netlink.HeaderType, flags netlink.HeaderFlags, first live.Connection, more func(*netlink.AttributeEncoder)) error {
	ae := netlink.NewAttributeEncoder()
	ae.Nested(ctaTupleOrig, tuple(first))
	more(ae)
	attrs, err := ae.Encode()
	if err != nil {
		return err
	}
	family := byte(unix.AF_INET)
	if first.Dst.Addr().Is6() {
		family = unix.AF_INET6
	}
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | msg, Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append([]byte{family, 0, 0, 0}, attrs...),
	})
	return err
}

func tuple(c live.Connection) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		ae.Nested(ctaTupleIP, func(ae *netlink.AttributeEncoder) error {
			src, dst := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
			if c.Dst.Addr().Is6() {
				src, dst = ctaIPv6Src, ctaIPv6Dst
			}
			ae.Bytes(src, c.Src.Addr().AsSlice())
			ae.Bytes(dst, c.Dst.Addr().AsSlice())
			return nil
		})
		ae.Nested(ctaTupleProto, func(ae *netlink.AttributeEncoder) error {
			ae.ByteOrder = binary.BigEndian
			ae.Uint8(ctaProtoNum, uint8(c.Proto))
			ae.Uint16(ctaProtoSrcPort, c.Src.Port())
			ae.Uint16(ctaProtoDstPort, c.Dst.Port())
			return nil
		})
		return nil
	}
}
