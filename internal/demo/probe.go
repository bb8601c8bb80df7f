package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

// patience is how long a probe waits for an answer. The other end is one veth
// pair away; silence for this long is a refusal.
const patience = 700 * time.Millisecond

// What became of a probe.
const (
	in      = "in"      // the listener answered
	refused = "refused" // a reset or an ICMP error came back
	silence = "silence"
)

// probe is one attempt to reach a port: who, by which protocol, from where, to
// where, and whether the policy lets it in.
type probe struct {
	who, proto string
	from       netip.Addr
	to         netip.AddrPort
	wanted     string // "in" or "out"
	seen       string
}

// probeAll reads one probe a line ("proxy tcp 203.0.113.10 192.0.2.10 8000 in"),
// sends them all, prints what became of them, and fails if something was not as
// expected: "wanted" expects what each line says, "open" that everything gets in.
// If brief and all is as expected, only the count is printed.
func probeAll(expect string, brief bool, text io.Reader, out io.Writer) error {
	probes, err := parse(text)
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	for i := range probes {
		if expect == "open" {
			probes[i].wanted = in
		}
		wait.Go(func() { probes[i].seen = probes[i].send() })
	}
	wait.Wait()
	return report(probes, brief, out)
}

func parse(text io.Reader) ([]probe, error) {
	var probes []probe
	for lines := bufio.NewScanner(text); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 6 {
			return nil, fmt.Errorf("probe %q: want who, protocol, from, to, port and in or out", lines.Text())
		}
		p, err := parseProbe(f)
		if err != nil {
			return nil, fmt.Errorf("probe %q: %w", lines.Text(), err)
		}
		probes = append(probes, p)
	}
	if len(probes) == 0 {
		return nil, errors.New("no probes to send")
	}
	return probes, nil
}

func parseProbe(f []string) (probe, error) {
	from, err := netip.ParseAddr(f[2])
	if err != nil {
		return probe{}, err
	}
	to, err := netip.ParseAddrPort(net.JoinHostPort(f[3], f[4]))
	if err != nil {
		return probe{}, err
	}
	if f[5] != in && f[5] != "out" {
		return probe{}, fmt.Errorf("%q is neither in nor out", f[5])
	}
	return probe{who: f[0], proto: f[1], from: from, to: to, wanted: f[5]}, nil
}

// send tries once and says what came of it.
func (p probe) send() string {
	d := net.Dialer{Timeout: patience}
	if p.proto == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.from, 0))
	} else {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.from, 0))
	}
	c, err := d.Dial(p.proto, p.to.String())
	if err == nil && p.proto == "udp" {
		err = ask(c)
	}
	if c != nil {
		defer c.Close()
	}
	return outcome(err)
}

// ask sends a datagram and waits for the echo.
func ask(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

func outcome(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return in
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.As(err, &timeout) && timeout.Timeout():
		return silence
	}
	return err.Error() // as when the source address is not ours: never expected
}

// asWanted reports whether the probe ended as the policy says.
func (p probe) asWanted() bool {
	if p.wanted == in {
		return p.seen == in
	}
	return p.seen == silence || p.seen == refused
}

func report(probes []probe, brief bool, out io.Writer) error {
	gotIn, wrong := 0, 0
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  who\tfrom\tto\twanted\tseen\t")
	for _, p := range probes {
		mark := ""
		if !p.asWanted() {
			mark = "<- not as wanted"
			wrong++
		}
		if p.seen == in {
			gotIn++
		}
		fmt.Fprintf(w, "  %s\t%s\t%s/%s\t%s\t%s\t%s\n", p.who, p.from, p.to, p.proto, p.wanted, p.seen, mark)
	}
	if brief && wrong == 0 {
		fmt.Fprintf(out, "  %d of %d get in, as wanted\n", gotIn, len(probes))
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d probes did not end as wanted", wrong, len(probes))
	}
	return nil
}
