package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	// lineBytes bounds what is read from one connection. The longest handshake that
	// crypto/tls takes has certificates of 256 KiB.
	lineBytes = 300 << 10
	// lineKept bounds what is kept of it: a ServerHello's beginning, HTTP's header.
	lineKept = 4 << 10
	// restTime is how long the rest of what has begun to come is waited for.
	restTime = 100 * time.Millisecond
	// leaveTime is how long the server may take to see that nothing more comes.
	leaveTime = 50 * time.Millisecond
)

// line is a connection that reads a bounded number of bytes and keeps the first.
type line struct {
	*net.TCPConn
	got    []byte
	left   int       // bytes that may still be read
	until  time.Time // of this question
	end    time.Time // of all questions; a handshake that has begun may take until then
	failed error     // of the last Read
	stop   func() bool
}

// open connects, and gives the conversation until the instant. The end of the context
// ends it at once.
func (a *asker) open(ctx context.Context, until time.Time) (*line, error) {
	target, err := a.target()
	if err != nil {
		return nil, err
	}
	c, err := a.dial(ctx, target, until)
	if a.addr.Addr() == netip.IPv6Unspecified() && noIPv6(err) {
		c, err = a.dial(ctx, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.addr.Port()), until)
	}
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	if err := tcp.SetDeadline(until); err != nil {
		tcp.Close()
		return nil, fmt.Errorf("set a deadline: %w", err)
	}
	return &line{tcp, nil, lineBytes, until, a.end, nil, hangUp(ctx, tcp)}, nil
}

// hangUp closes the connection when the context is cancelled. Its deadline is the
// connection's own, too, and has to be told from that.
func hangUp(ctx context.Context, c net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			c.Close()
		}
	})
}

// dial waits for the first connection as long as there is time, but it never asks for
// more than one at once: no "happy eyeballs".
func (a *asker) dial(ctx context.Context, to netip.AddrPort, until time.Time) (net.Conn, error) {
	d := net.Dialer{Deadline: until, FallbackDelay: -1, KeepAlive: -1}
	if a.opts.Interface != "" {
		d.Control = bindTo(a.opts.Interface)
	}
	return d.DialContext(ctx, "tcp", to.String())
}

// noIPv6 reports whether the host has no ::1, so that a socket of all addresses is
// left with those of IPv4.
func noIPv6(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// target is the address by which the host reaches the listener.
func (a *asker) target() (netip.AddrPort, error) {
	addr, link := a.addr.Addr().Unmap(), a.opts.Interface
	switch {
	case addr.IsUnspecified() && link != "":
		own, err := addressOf(link, addr.Is4())
		if err != nil {
			return netip.AddrPort{}, err
		}
		addr = own
	case addr.IsUnspecified() && addr.Is4():
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case addr.IsUnspecified():
		addr = netip.IPv6Loopback()
	}
	if addr.Is6() && addr.IsLinkLocalUnicast() && addr.Zone() == "" {
		addr = addr.WithZone(link)
	}
	return netip.AddrPortFrom(addr, a.addr.Port()), nil
}

// addressOf is an address of the interface; a socket of all IPv6 addresses is asked by
// one of IPv4 if there is no other.
func addressOf(link string, is4 bool) (netip.Addr, error) {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("look at interface %s: %w", link, err)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read the addresses of %s: %w", link, err)
	}
	var other netip.Addr
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		switch {
		case err != nil:
		case p.Addr().Is4() == is4:
			return p.Addr(), nil
		case !is4:
			other = p.Addr()
		}
	}
	if !other.IsValid() {
		return netip.Addr{}, fmt.Errorf("interface %s has no address to ask by", link)
	}
	return other, nil
}

// Read keeps what it reads, as far as it is of use.
func (l *line) Read(b []byte) (int, error) {
	if l.left <= 0 {
		l.failed = errors.New("the server sends too much")
		return 0, l.failed
	}
	n, err := l.TCPConn.Read(b[:min(len(b), l.left)])
	l.left -= n
	l.got = append(l.got, b[:min(n, lineKept-len(l.got))]...)
	if serverHello(l.got) {
		_ = l.SetDeadline(l.end) // fails on a closed connection only, and so does what follows
	}
	l.failed = err
	return n, err
}

// hear waits for the first bytes, until the instant at the longest, and then a moment
// for what belongs to them.
func (l *line) hear(until time.Time, complete func([]byte) bool) {
	buf := make([]byte, 1024)
	_ = l.SetReadDeadline(until)
	for rest := false; len(l.got) < lineKept && !complete(l.got); {
		if len(l.got) > 0 && !rest {
			rest = true
			_ = l.SetReadDeadline(earlier(until, time.Now().Add(restTime)))
		}
		if _, err := l.Read(buf); err != nil {
			return
		}
	}
}

// say sends the bytes. A failure shows when the answer is read.
func (l *line) say(b []byte) { _, _ = l.Write(b) }

// oneLine reports whether a line has ended.
func oneLine(b []byte) bool { return bytes.IndexByte(b, '\n') >= 0 }

// quiet is what is to be told of a connection on which nothing was heard.
func (l *line) quiet() Spoken {
	if errors.Is(l.failed, os.ErrDeadlineExceeded) {
		return Spoken{Silent: true}
	}
	return Spoken{Closed: true}
}

// leave closes the connection so that the server sees its end, and no reset where it
// can be helped: that is the kernel's answer to what was never read (RFC 1122, 4.2.2.13).
func (l *line) leave() {
	defer l.stop()
	defer l.Close()
	if l.CloseWrite() == nil {
		_ = l.SetReadDeadline(earlier(l.end, time.Now().Add(leaveTime)))
		_, _ = io.CopyN(io.Discard, l.TCPConn, 64<<10)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
