package live

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
)

// diagAnswer is a struct inet_diag_msg with attributes.
func diagAnswer(family byte, port uint16, attrs ...[]byte) []byte {
	b := make([]byte, diagMessageSize)
	b[0], b[1] = family, tcpListen
	binary.BigEndian.PutUint16(b[4:], port)
	binary.NativeEndian.PutUint32(b[40:], 3)
	binary.NativeEndian.PutUint32(b[64:], 1000)
	binary.NativeEndian.PutUint32(b[68:], 4711)
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

func diagAttr(kind uint16, data []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), data...)
	return append(b, make([]byte, -len(b)&3)...)
}

// storage is a struct sockaddr_storage.
func storage(family uint16, at int, addr ...byte) []byte {
	b := make([]byte, 128)
	binary.NativeEndian.PutUint16(b, family)
	copy(b[at:], addr)
	return b
}

// A socket of SCTP that is bound to several addresses is told of for each.
func TestDecodeDiag(t *testing.T) {
	locals := append(storage(unix.AF_INET, 4, 192, 0, 2, 1), storage(unix.AF_INET6, 8, 0x20, 1, 0xd, 0xb8)...)
	tests := []struct {
		name string
		b    []byte
		want string
	}{
		{"IPv4", diagAnswer(unix.AF_INET, 80), "[0.0.0.0:80/sctp]"},
		{"IPv6", diagAnswer(unix.AF_INET6, 80, diagAttr(diagV6Only, []byte{0})), "[[::]:80/sctp]"},
		{"IPv6 only", diagAnswer(unix.AF_INET6, 80, diagAttr(diagV6Only, []byte{1})), "[[::]:80/sctp only]"},
		{"several", diagAnswer(unix.AF_INET6, 80, diagAttr(diagLocals, locals)), "[192.0.2.1:80/sctp [2001:db8::]:80/sctp]"},
		{"other attributes", diagAnswer(unix.AF_INET, 80, diagAttr(99, []byte{1}), diagAttr(diagLocals, nil)), "[0.0.0.0:80/sctp]"},
		{"short", diagAnswer(unix.AF_INET, 80)[:71], "error"},
		{"attribute cut off", append(diagAnswer(unix.AF_INET, 80), 9, 0), "error"},
	}
	for _, tt := range tests {
		ds, err := decodeDiag(tt.b, packet.SCTP)
		var got []string
		for _, d := range ds {
			s := d.String()
			if d.V6Only {
				s += " only"
			}
			if d.UID != 1000 || d.Inode != 4711 || d.index != 3 {
				t.Errorf("%s: %+v", tt.name, d)
			}
			got = append(got, s)
		}
		text := fmt.Sprint(got)
		if err != nil {
			text = "error"
		}
		if text != tt.want {
			t.Errorf("%s: %s, want %s (%v)", tt.name, text, tt.want, err)
		}
	}
}

// One of all IPv6 addresses takes IPv4, too, unless it says otherwise.
func TestListenerTakes(t *testing.T) {
	for addr, want := range map[string][2]bool{
		"0.0.0.0": {true, false}, "::": {true, true}, "::1": {false, true}, "192.0.2.1": {true, false},
	} {
		l := Listener{Addr: netip.MustParseAddr(addr)}
		if got := [2]bool{l.Takes(false), l.Takes(true)}; got != want {
			t.Errorf("%s takes %v, want %v", addr, got, want)
		}
	}
	if l := (Listener{Addr: netip.MustParseAddr("::"), V6Only: true}); l.Takes(false) {
		t.Error("IPv6 only takes IPv4")
	}
}

// What is read from files for want of sock_diag is the same, but for what the files do
// not tell.
func TestListenersFromFiles(t *testing.T) {
	for _, proto := range []packet.Proto{packet.TCP, packet.UDP} {
		for _, bind := range []func() (io.Closer, error){
			func() (io.Closer, error) { return net.Listen("tcp4", "127.0.0.1:0") },
			func() (io.Closer, error) { return net.ListenPacket("udp6", "[::1]:0") },
		} {
			c, err := bind()
			if err != nil {
				t.Skip(err)
			}
			defer c.Close()
		}
		d, err := dialDiag()
		if err != nil {
			t.Fatal(err)
		}
		defer d.nl.Close()
		asked, err := d.listeners(proto)
		if err != nil {
			t.Fatal(err)
		}
		var s listening
		read, err := s.fromFiles(proto)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := ofThisProcess(asked), ofThisProcess(read); !slices.Equal(a, b) || len(a) == 0 || len(s.notes) != 1 {
			t.Errorf("asked %q, read %q, notes %q", a, b, s.notes)
		}
	}
}

// ofThisProcess lists those sockets that it has open, others come and go.
func ofThisProcess(ds []diagnosed) (out []string) {
	mine := openSockets(os.Getpid())
	for _, d := range ds {
		if slices.Contains(mine, d.Inode) {
			out = append(out, fmt.Sprint(d, d.UID, d.Inode))
		}
	}
	slices.Sort(out)
	return out
}

func TestMayHaveFiles(t *testing.T) {
	for text, want := range map[string]bool{
		"S 1 7 7 0 -1 4194560 1": true, "S 2 0 0 0 -1 2129984 0": false, "Z 1 7 7 0 -1 4228364 0": false, "": false,
	} {
		if got := mayHaveFiles(strings.Fields(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
