package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// A probe of an open port gets in, one of a closed port is refused, and the
// report fails for each that is not as wanted.
func TestProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go greet(l)
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	go echo(u)
	tcpPort, udpPort := l.Addr().(*net.TCPAddr).Port, u.LocalAddr().(*net.UDPAddr).Port

	for _, c := range []struct {
		expect, probes, wantErr string
	}{
		{"wanted", fmt.Sprintf("a tcp 127.0.0.1 127.0.0.1 %d in\n# comment\n\nb udp 127.0.0.1 127.0.0.1 %d in\nc tcp 127.0.0.1 127.0.0.1 1 out", tcpPort, udpPort), ""},
		{"wanted", fmt.Sprintf("a tcp 127.0.0.1 127.0.0.1 %d out", tcpPort), "1 of 1 probes"},
		{"open", "a tcp 127.0.0.1 127.0.0.1 1 out", "1 of 1 probes"},
		{"wanted", "a tcp 127.0.0.1 127.0.0.1 1", "want who"},
		{"wanted", "a tcp 127.0.0.1 127.0.0.1 1 maybe", "neither in nor out"},
		{"wanted", "", "no probes"},
		// An address that is not ours is a mistake of the demo, never a refusal.
		{"wanted", fmt.Sprintf("a tcp 192.0.2.1 127.0.0.1 %d out", tcpPort), "1 of 1 probes"},
	} {
		err := probeAll(c.expect, false, strings.NewReader(c.probes), io.Discard)
		if c.wantErr == "" && err != nil {
			t.Errorf("%q: %v", c.probes, err)
		}
		if c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
			t.Errorf("%q: error %v, want one with %q", c.probes, err, c.wantErr)
		}
	}
}
