package live

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Connection is a flow that connection tracking knows, by its first packet:
// addresses as before translation.
type Connection struct {
	Proto    packet.Proto
	Src, Dst netip.AddrPort // ports are zero where the protocol has none
}

// Listener is a socket that takes packets from anywhere: TCP that listens, UDP
// that is not connected.
type Listener struct {
	Proto packet.Proto
	Addr  netip.AddrPort // an unspecified address: all of the host's, of [::] perhaps those of IPv4, too
}

// String writes "0.0.0.0:8000/tcp".
func (l Listener) String() string { return l.Addr.String() + "/" + l.Proto.String() }

// Socket states as /proc/net writes them (linux/tcp_states.h).
const (
	stateListen = "0A" // TCP_LISTEN
	stateClosed = "07" // TCP_CLOSE: UDP that is not connected
)

// parseSockets reads one of the files tcp, tcp6, udp and udp6 of /proc/net: of
// each socket its own address, the other one's and its state (proc(5)).
func parseSockets(text string, proto packet.Proto) ([]Listener, error) {
	want := stateListen
	if proto == packet.UDP {
		want = stateClosed
	}
	var out []Listener
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || f[0] == "sl" || f[3] != want {
			continue
		}
		a, err := parseSocket(f[1])
		if err != nil {
			return nil, err
		}
		if l := (Listener{proto, a}); !slices.Contains(out, l) {
			out = append(out, l)
		}
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
