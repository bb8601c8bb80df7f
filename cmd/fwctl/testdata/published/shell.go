// Command shell is what runs in the containers of a test, and beside them on their
// host: it answers, asks, or runs the lines that it is sent.
//
//	shell serve PORT       answers each TCP connection with its source
//	shell dial ADDR        exits with 0 if the address answers within a second
//	shell look NAME        exits with 0 if Docker's resolver knows the name
//	shell obey ADDR        runs each line that a connection brings, and returns what it says
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
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
		return listen(":"+arg, func(c net.Conn) { fmt.Fprintln(c, c.RemoteAddr()) })
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
