package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
)

// Of linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h.
const (
	ctNew, ctDelete = 0, 2 // IPCTNL_MSG_CT_*

	ctaTupleOrig, ctaTupleReply, ctaStatus, ctaProtoinfo, ctaTimeout   = 1, 2, 3, 4, 7
	ctaTupleIP, ctaTupleProto                                          = 1, 2
	ctaIPv4Src, ctaIPv4Dst, ctaIPv6Src, ctaIPv6Dst                     = 1, 2, 3, 4
	ctaProtoNum, ctaProtoSrcPort, ctaProtoDstPort                      = 1, 2, 3
	ctaProtoICMPID, ctaProtoICMPType, ctaProtoICMPCode, ctaICMPv6Shift = 4, 5, 6, 3
	ctaProtoinfoTCP, ctaProtoinfoTCPState                              = 1, 1

	statusSeenReply, statusAssured, statusConfirmed = 2, 4, 8 // IPS_*
	tcpEstablished                                  = 3
)

// prime puts an entry into the connection tracking table that makes the probe
// belong to a flow, if its state asks for it: for Established the reverse of the
// probe, for Related the packet that it quotes.
func (l *Lab) prime(p packet.Packet) error {
	if p.State != packet.Established && p.State != packet.Related {
		return nil
	}
	first, err := opener(p)
	if err != nil {
		return err
	}
	ae := netlink.NewAttributeEncoder()
	ae.Nested(ctaTupleOrig, tuple(first))
	ae.Nested(ctaTupleReply, tuple(reply(first)))
	ae.ByteOrder = binary.BigEndian
	ae.Uint32(ctaStatus, statusSeenReply|statusAssured|statusConfirmed)
	ae.Uint32(ctaTimeout, 600)
	if first.Proto == packet.TCP {
		ae.Nested(ctaProtoinfo, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(ctaProtoinfoTCP, func(ae *netlink.AttributeEncoder) error {
				ae.Uint8(ctaProtoinfoTCPState, tcpEstablished)
				return nil
			})
			return nil
		})
	}
	err = l.track(ctNew, netlink.Create|netlink.Excl, first.Is6(), ae)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// untrack empties the host's connection tracking table.
func (l *Lab) untrack() error {
	return l.track(ctDelete, 0, false, netlink.NewAttributeEncoder())
}

func (l *Lab) track(msg netlink.HeaderType, flags netlink.HeaderFlags, is6 bool, ae *netlink.AttributeEncoder) error {
	attrs, err := ae.Encode()
	if err != nil {
		return err
	}
	family := byte(unix.AF_INET)
	switch {
	case msg == ctDelete:
		family = unix.AF_UNSPEC
	case is6:
		family = unix.AF_INET6
	}
	_, err = l.sets.dump.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  unix.NFNL_SUBSYS_CTNETLINK<<8 | msg,
			Flags: netlink.Request | netlink.Acknowledge | flags,
		},
		Data: append([]byte{family, 0, 0, 0}, attrs...),
	})
	return err
}

// opener returns the first packet of the flow that the probe belongs to.
func opener(p packet.Packet) (packet.Packet, error) {
	switch {
	case p.State == packet.Related && p.Proto.IsICMP() && isError(p):
		return quoted(p), nil
	case p.State == packet.Established && (p.Proto == packet.TCP || p.Proto == packet.UDP):
		return reply(p), nil
	case p.State == packet.Established && (p.Proto == packet.ICMP && p.Type == 0 || p.Proto == packet.ICMPv6 && p.Type == 129):
		return reply(p), nil
	}
	return packet.Packet{}, fmt.Errorf("no flow can be made for: %s", p)
}

// reply returns the packet that answers p, or that p answers.
func reply(p packet.Packet) packet.Packet {
	p.Src, p.Dst = p.Dst, p.Src
	p.SrcPort, p.DstPort = p.DstPort, p.SrcPort
	switch p.Proto {
	case packet.ICMP:
		p.Type ^= 8 // echo request 8, reply 0
	case packet.ICMPv6:
		p.Type ^= 1 // echo request 128, reply 129
	}
	return p
}

func tuple(p packet.Packet) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		ae.Nested(ctaTupleIP, func(ae *netlink.AttributeEncoder) error {
			src, dst := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
			if p.Is6() {
				src, dst = ctaIPv6Src, ctaIPv6Dst
			}
			ae.Bytes(src, p.Src.AsSlice())
			ae.Bytes(dst, p.Dst.AsSlice())
			return nil
		})
		ae.Nested(ctaTupleProto, func(ae *netlink.AttributeEncoder) error {
			ae.ByteOrder = binary.BigEndian
			ae.Uint8(ctaProtoNum, uint8(p.Proto))
			if !p.Proto.IsICMP() {
				ae.Uint16(ctaProtoSrcPort, p.SrcPort)
				ae.Uint16(ctaProtoDstPort, p.DstPort)
				return nil
			}
			shift := uint16(0)
			if p.Proto == packet.ICMPv6 {
				shift = ctaICMPv6Shift
			}
			ae.Uint16(ctaProtoICMPID+shift, echoID)
			ae.Uint8(ctaProtoICMPType+shift, p.Type)
			ae.Uint8(ctaProtoICMPCode+shift, p.Code)
			return nil
		})
		return nil
	}
}
