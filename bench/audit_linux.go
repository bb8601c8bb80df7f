package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What an audit has before it: so many sockets that wait, beside so many ends of
// connections.
const (
	waiting    = 2000
	ends       = 16000
	firstWaits = 2000
)

// measureAudit tells of 2,000 listeners who gets in, under a policy of 1,000 services,
// beside ss that lists them and nft that lists the rules.
func measureAudit(l *lab) ([]row, error) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "version = 1\n[defaults]\npublished = \"ignore\"\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "[service.s%d]\nports = [\"%d-%d/tcp\"]\nfrom = [\"10.%d.%d.0/24\", \"2001:db8:%x::/48\"]\n", i, firstWaits+2*i, firstWaits+2*i+1, i/250, i%250, i)
	}
	policy, err := l.file("audit.toml", text.Bytes())
	if err != nil {
		return nil, err
	}
	ns, err := l.namespace()
	if err != nil {
		return nil, err
	}
	for _, line := range []string{ // packets from outside need a way in
		"link add eth0 type veth peer name eth1", "address add 192.0.2.10/24 dev eth0", "address add 2001:db8::10/64 dev eth0 nodad",
		"link set eth0 up", "link set eth1 up",
	} {
		if err := sh(append([]string{"ip", "-n", ns}, strings.Fields(line)...)...); err != nil {
			return nil, err
		}
	}
	if _, _, err := in(ns, "", l.apply(ns, policy)...); err != nil {
		return nil, err
	}
	done, err := l.wait(ns)
	if err != nil {
		return nil, err
	}
	defer done()
	audit := []string{l.fwctl, "audit", "--state-dir", filepath.Join(l.dir, "state-"+ns), "--run-dir", filepath.Join(l.dir, "run-"+ns)}
	var sockets, rules duel
	for range rounds {
		ss, listed, err := in(ns, "", "ss", "-H", "-ltnup")
		if err != nil {
			return nil, err
		}
		if n := bytes.Count([]byte(listed), []byte("\n")); n <= waiting {
			return nil, fmt.Errorf("ss lists %d sockets", n)
		}
		list, _, err := in(ns, "", "nft", "list", "ruleset")
		if err != nil {
			return nil, err
		}
		told, err := tolerant(in(ns, "", audit...))
		if err != nil {
			return nil, err
		}
		sockets.add(told.Seconds(), ss.Seconds())
		rules.add(told.Seconds(), list.Seconds())
	}
	const work = "2,000 listeners, 16,000 ends of connections, 1,000 services, fwctl audit : "
	return []row{
		{work: work + "ss -ltnup", ratio: sockets.ratio(), high: 10, detail: sockets.String()},
		{work: work + "nft list ruleset", ratio: rules.ratio(), detail: rules.String()},
	}, nil
}

// tolerant takes findings, and what could not be told of other processes, for success.
func tolerant(took time.Duration, _ string, err error) (time.Duration, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == 1 || exit.ExitCode() == 3) {
		return took, nil
	}
	return took, err
}

// wait starts a process with the sockets; done ends it.
func (l *lab) wait(ns string) (done func(), err error) {
	cmd := exec.Command(l.self, "wait")
	cmd.Stderr = os.Stderr
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startIn(ns, cmd); err != nil {
		return nil, err
	}
	done = func() { life.Close(); _ = cmd.Wait() }
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		done()
		return nil, fmt.Errorf("open the sockets: %w", err)
	}
	return done, nil
}

// openSockets is what wait starts: it opens them, and keeps them until its input ends.
func openSockets(stdin io.Reader, stdout io.Writer) error {
	limit := unix.Rlimit{Cur: waiting + ends + 100, Max: waiting + ends + 100}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d descriptors: %w", limit.Cur, err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("10000 65000"), 0); err != nil {
		return err
	}
	var keep []io.Closer
	for i := range waiting {
		s, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", firstWaits+i))
		if err != nil {
			return err
		}
		keep = append(keep, s)
	}
	hub, err := net.Listen("tcp4", "127.0.0.1:1999")
	if err != nil {
		return err
	}
	for range ends / 2 {
		c, err := net.Dial("tcp4", "127.0.0.1:1999")
		if err != nil {
			return err
		}
		a, err := hub.Accept()
		if err != nil {
			return err
		}
		keep = append(keep, c, a)
	}
	fmt.Fprintln(stdout, "ready")
	_, err = io.Copy(io.Discard, stdin)
	for _, c := range keep {
		c.Close()
	}
	return err
}
