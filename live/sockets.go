package live

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/live/pf"
	"github.com/fwctl/fwctl/packet"
)

// Connection is a flow that connection tracking knows, by its first packet:
// addresses as before translation.
type Connection struct {
	Proto    packet.Proto
	Src, Dst netip.AddrPort // ports are zero where the protocol has none
	// Translated says that its answers come from or go to other addresses.
	Translated bool
}

// OfPF is a state of pf as a connection.
func OfPF(f pf.Flow) Connection {
	return Connection{Proto: f.Proto, Src: f.Src, Dst: f.Dst, Translated: f.Translated}
}

// TCPConnection is a TCP connection as its socket on this host has it.
type TCPConnection struct {
	Local, Remote netip.AddrPort
}

// Socket states as /proc/net writes them (linux/tcp_states.h).
const (
	stateListen = "0A" // TCP_LISTEN
	stateClosed = "07" // TCP_CLOSE: UDP that is not connected
)

// connected are the states in which both ends know of the connection and at least
// one may still send.
var connected = []string{
	"01", // TCP_ESTABLISHED
	"03", // TCP_SYN_RECV
	"04", // TCP_FIN_WAIT1
	"05", // TCP_FIN_WAIT2
	"08", // TCP_CLOSE_WAIT
	"0C", // TCP_NEW_SYN_RECV
}

// socket is a line of the files tcp, tcp6, udp and udp6 of /proc/net.
type socket struct {
	local, remote netip.AddrPort
	state         string
	uid           uint32
	inode         uint64 // zero: no process has it open
}

// parseSockets reads the listeners out of one of the files. It tells neither of
// interfaces nor which of IPv6 take IPv4.
func parseSockets(text string, proto packet.Proto) ([]Listener, error) {
	want := stateClosed
	if proto == packet.TCP {
		want = stateListen
	}
	all, err := parseTable(text)
	if err != nil {
		return nil, err
	}
	var out []Listener
	for _, s := range all {
		if s.state == want {
			out = append(out, Listener{Proto: proto, Addr: s.local.Addr(), Port: s.local.Port(), UID: s.uid, Inode: s.inode})
		}
	}
	return out, nil
}

// parseTable reads one of the files: of each socket its own address, the other
// one's, its state and its inode (proc(5)).
func parseTable(text string) ([]socket, error) {
	var out []socket
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || f[0] == "sl" {
			continue
		}
		local, err1 := parseSocket(f[1])
		remote, err2 := parseSocket(f[2])
		if err := cmp.Or(err1, err2); err != nil {
			return nil, err
		}
		s := socket{local: local, remote: remote, state: f[3]}
		if len(f) > 9 {
			s.inode, _ = strconv.ParseUint(f[9], 10, 64)
			uid, _ := strconv.ParseUint(f[7], 10, 32)
			s.uid = uint32(uid)
		}
		out = append(out, s)
	}
	return out, nil
}

// parseSocket reads "0100007F:0016": the address in words of the machine, the
// port as a number.
func parseSocket(s string) (netip.AddrPort, error) {
	host, port, ok := strings.Cut(s, ":")
	b, err1 := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err1 != nil || err2 != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, fmt.Errorf("read sockets: %q is no address", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}
