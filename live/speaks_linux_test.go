package live_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/live"
)

// A listener that takes no more connections is an error within the time.
func TestSpeaksFullBacklog(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*unix.SockaddrInet4).Port))
	for range 3 {
		if c, err := net.DialTimeout("tcp", at.String(), 50*time.Millisecond); err == nil {
			defer c.Close()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	got, err := live.Speaks(ctx, at, live.SpeakOptions{})
	var late net.Error
	if !errors.As(err, &late) || !late.Timeout() || time.Since(start) > 600*time.Millisecond {
		t.Errorf("%v (%v) after %v", got, err, time.Since(start))
	}
}

// A listener that is bound to an interface is asked there, and one without IPv6 on
// loopback by IPv4.
func TestSpeaksOnInterfaces(t *testing.T) {
	inNamespace(t)
	run(t, `ip link set lo up
		ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
		ip addr add 192.0.2.1/24 dev v0; ip addr add 2001:db8::1/64 dev v0 nodad
		ip addr add fe80::77/64 dev v0 nodad`)
	bound := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "v0") })
		return err
	}}
	for _, c := range []struct{ network, at string }{
		{"tcp4", "0.0.0.0"}, {"tcp4", "192.0.2.1"}, {"tcp6", "::"}, {"tcp", "::"}, {"tcp6", "2001:db8::1"}, {"tcp6", "fe80::77"},
	} {
		zoned := c.at
		if strings.HasPrefix(c.at, "fe80") {
			zoned += "%v0"
		}
		l, err := bound.Listen(t.Context(), c.network, net.JoinHostPort(zoned, "0"))
		if err != nil {
			t.Fatal(err)
		}
		port := serve(t, l, says("SSH-2.0-x\n")).Port()
		at := netip.AddrPortFrom(netip.MustParseAddr(c.at), port)
		if got, err := live.Speaks(t.Context(), at, live.SpeakOptions{Interface: "v0"}); err != nil || got.Protocol != "ssh" {
			t.Errorf("%s %v: %v (%v)", c.network, at, got, err)
		}
	}
	run(t, "ip addr del ::1/128 dev lo")
	at := serve(t, listenAt(t, "tcp", "[::]:0"), says("SSH-2.0-x\n"))
	if got, err := live.Speaks(t.Context(), netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port()), live.SpeakOptions{}); err != nil || got.Protocol != "ssh" {
		t.Errorf("no ::1: %v (%v)", got, err)
	}
}

// The system's roots are those of the file that crypto/x509 reads once in a process, so
// another one asks.
func TestSpeaksSystemRoots(t *testing.T) {
	if at := os.Getenv("FWCTL_ASKED"); at != "" {
		got, err := live.Speaks(t.Context(), netip.MustParseAddrPort(at), live.SpeakOptions{Now: noon})
		if err != nil || got.TLS == nil || !got.TLS.Leaf.Trusted || got.TLS.Leaf.Untrusted != "" || got.TLS.Leaf.ByRoots {
			t.Errorf("%v (%v)", got, err)
		}
		return
	}
	root := issue(t, nil, authority("root"))
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, root, func(*x509.Certificate) {})
	at := serve(t, listenAt(t, "tcp", "127.0.0.1:0"), shakes(&tls.Config{Certificates: []tls.Certificate{leaf.Certificate}}))
	cmd := exec.Command(os.Args[0], "-test.run", "^TestSpeaksSystemRoots$")
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+file, "FWCTL_ASKED="+at.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// No connection stays open, whatever the server does.
func TestSpeaksCloses(t *testing.T) {
	var ats []netip.AddrPort
	for _, talk := range []func(net.Conn){func(net.Conn) {}, says("SSH-2.0-x\n"), endless, plainHTTP} {
		ats = append(ats, serve(t, listenAt(t, "tcp", "127.0.0.1:0"), talk))
	}
	for _, at := range ats {
		if _, err := live.Speaks(t.Context(), at, live.SpeakOptions{}); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("ss", "-HOtn", "state", "established", "dport", "=", fmt.Sprint(at.Port())).Output(); err != nil || len(out) > 0 {
			t.Errorf("%v: %s (%v)", at, out, err)
		}
	}
}
