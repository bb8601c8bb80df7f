// Command shell is what runs in the containers of a test, and beside them on their
// host: it answers, asks, or runs the lines that it is sent.
//
//	shell serve PORT       answers each TCP connection with its source, and each datagram
//	shell echo ADDR        answers datagrams
//	shell dial ADDR        exits with 0 if the address answers within a second
//	shell look NAME        exits with 0 if Docker's resolver knows the name
//	shell obey ADDR        runs each line that a connection brings, and returns what it says
//	shell probe TIME       reads lines "tcp FROM TO" or "udp FROM TO", and says of each whether
//	                       it gets in within that time: 1, or 0
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(what, arg string) error {
	switch what {
	case "serve":
		go func() {
			if err := echo(":" + arg); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
		return listen(":"+arg, func(c net.Conn) { fmt.Fprintln(c, c.RemoteAddr()) })
	case "echo":
		return echo(arg)
	case "probe":
		return probe(arg)
	case "obey":
		return listen(arg, obey)
	case "look":
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.11:53")
		}}
		_, err := r.LookupHost(ctx, arg)
		return err
	}
	c, err := net.DialTimeout("tcp", arg, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, err = io.ReadAll(c) // a relay accepts before it knows that it cannot go on
	return err
}

func listen(addr string, answer func(net.Conn)) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			answer(c)
		}()
	}
}

// obey runs one line and says what it printed, and its exit status last.
func obey(c net.Conn) {
	line, _ := bufio.NewReader(c).ReadString('\n')
	cmd := exec.Command("sh", "-c", line)
	out, _ := cmd.CombinedOutput()
	fmt.Fprintf(c, "%s\n%d", out, cmd.ProcessState.ExitCode())
}

// echo answers datagrams from the address that they were for: the kernel tells it, and
// takes it back (IP_PKTINFO, ip(7); IPV6_RECVPKTINFO, ipv6(7)).
func echo(addr string) error {
	network := "udp"
	if strings.HasPrefix(addr, "0.0.0.0:") {
		network = "udp4"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		_ = c.Control(func(fd uintptr) {
			if err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, 1); err != nil {
				err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1)
			}
		})
		return err
	}}
	p, err := lc.ListenPacket(context.Background(), network, addr)
	if err != nil {
		return err
	}
	c := p.(*net.UDPConn)
	text, about := make([]byte, 512), make([]byte, 512)
	for {
		n, m, _, from, err := c.ReadMsgUDPAddrPort(text, about)
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		if err == nil {
			_, _, _ = c.WriteMsgUDPAddrPort(text[:n], about[:m], from)
		}
	}
}

// probe tries all at once.
func probe(limit string) error {
	d, err := time.ParseDuration(limit)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	got := make([]int, len(lines))
	var all sync.WaitGroup
	for i, line := range lines {
		all.Go(func() {
			if f := strings.Fields(line); len(f) == 3 && in(f[0], f[1], f[2], d) {
				got[i] = 1
			}
		})
	}
	all.Wait()
	for _, n := range got {
		fmt.Println(n)
	}
	return nil
}

// in reports whether a connection comes about, or a datagram is answered.
func in(network, from, to string, limit time.Duration) bool {
	d := net.Dialer{Timeout: limit}
	if ip := net.ParseIP(from); ip != nil && network == "tcp" {
		d.LocalAddr = &net.TCPAddr{IP: ip}
	} else if ip != nil {
		d.LocalAddr = &net.UDPAddr{IP: ip}
	}
	c, err := d.Dial(network, to)
	if err != nil {
		return false
	}
	defer c.Close()
	if network == "tcp" {
		return true
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write([]byte("?")); err != nil {
		return false
	}
	_, err = c.Read(make([]byte, 16))
	return err == nil
}
