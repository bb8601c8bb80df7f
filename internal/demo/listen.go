package main

import (
	"fmt"
	"io"
	"net"
	"strings"
)

// listen answers on every port, "8000/tcp" or "53/udp", on all addresses of both
// families, until it is killed. It says "ready" when all are open.
func listen(ports []string, out io.Writer) error {
	failed := make(chan error)
	for _, p := range ports {
		port, proto, _ := strings.Cut(p, "/")
		serve, err := open(proto, ":"+port)
		if err != nil {
			return err
		}
		go func() { failed <- serve() }()
	}
	fmt.Fprintln(out, "ready")
	return <-failed
}

// open binds the address and returns the loop that serves it.
func open(proto, addr string) (serve func() error, err error) {
	if proto == "udp" {
		c, err := net.ListenPacket(proto, addr)
		return func() error { return echo(c) }, err
	}
	l, err := net.Listen(proto, addr)
	return func() error { return greet(l) }, err
}

// greet closes every connection at once: to have been accepted is the answer.
func greet(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
}

// echo returns every datagram to its sender. One that cannot be sent back is
// lost, as datagrams are.
func echo(c net.PacketConn) error {
	buf := make([]byte, 64)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(buf[:n], from); err != nil {
			continue
		}
	}
}
