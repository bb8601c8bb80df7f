package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	read "github.com/fwctl/fwctl/read/nftables"
)

// Conn is a netlink socket to nf_tables in one network namespace. It is for one
// goroutine.
type Conn struct{ nl *netlink.Conn }

// bufferSize is what one answer of the kernel may fill: it makes its pieces as
// large as the reader's buffer, up to 32 KiB, and walks a set anew for each.
const bufferSize = 65536

// Dial opens a socket in the network namespace of the file descriptor, or in
// the thread's own if it is 0.
func Dial(netns int) (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: netns, MessageBufferSize: bufferSize})
	if err != nil {
		return nil, fmt.Errorf("open netlink socket for nf_tables: %w", err)
	}
	return &Conn{nl}, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return c.nl.Close() }

// Generation returns the id of the ruleset's generation, which every committed
// transaction of any program raises.
func (c *Conn) Generation() (uint32, error) {
	msgs, err := c.ask(unix.NFT_MSG_GETGEN, 0, 0, nil)
	if err != nil || len(msgs) == 0 {
		return 0, fmt.Errorf("read the generation id of nf_tables: %w", err)
	}
	attrs, err := read.Attrs(msgs[0])
	if err != nil {
		return 0, err
	}
	const genID = 1 // NFTA_GEN_ID
	for _, a := range attrs {
		if a.Type == genID && len(a.Data) == 4 {
			return binary.BigEndian.Uint32(a.Data), nil
		}
	}
	return 0, errors.New("read the generation id of nf_tables: the kernel's answer has none")
}

// errInterrupted says that a dump was not of one generation.
var errInterrupted = errors.New("dump interrupted by a change")

// ask sends one request and returns the bodies of the answers behind their
// nfgenmsg header.
func (c *Conn) ask(msg uint16, family uint8, flags netlink.HeaderFlags, attrs []netlink.Attribute) ([][]byte, error) {
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return nil, err
	}
	// struct nfgenmsg: family, version NFNETLINK_V0, resource id.
	req := netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | msg), Flags: netlink.Request | flags},
		Data:   append([]byte{family, 0, 0, 0}, data...),
	}
	answers, err := c.nl.Execute(req)
	if err != nil {
		return nil, err
	}
	var bodies [][]byte
	for _, m := range answers {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return nil, errInterrupted
		}
		if len(m.Data) >= 4 {
			bodies = append(bodies, m.Data[4:])
		}
	}
	return bodies, nil
}

func name(attr uint16, s string) netlink.Attribute {
	return netlink.Attribute{Type: attr, Data: append([]byte(s), 0)}
}
