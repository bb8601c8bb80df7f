package live

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/fwctl/fwctl/packet"
)

func TestParseSockets(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the text is that of a little-endian machine")
	}
	const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0A0200C0:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0A0200C0:0016 090071CB:C822 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
`
	const udp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  10: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4 2 0 0
  11: B80D0120000000000000000010000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5 2 0 0
`
	for _, c := range []struct {
		text  string
		proto packet.Proto
		want  []string
	}{
		{tcp, packet.TCP, []string{"0.0.0.0:8000/tcp", "192.0.2.10:22/tcp"}},
		{udp6, packet.UDP, []string{"[::]:53/udp", "[2001:db8::10]:53/udp"}},
	} {
		ls, err := parseSockets(c.text, c.proto)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range ls {
			got = append(got, l.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if _, err := parseSockets("  0: zz:1 0:0 0A", packet.TCP); err == nil {
		t.Error("no error for what is no address")
	}
}
