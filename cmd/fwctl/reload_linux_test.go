package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/internal/gen"
)

// The ports of the reloads: every policy has the one open and the other closed.
const openPort, closedPort = 22, 4444

// The policies that are applied one after the other. The first ones are wider and
// narrower than each other, the others wholly different.
var reloads = []string{
	"[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n[service.web]\nports = [\"80/tcp\"]\nfrom = [\"198.51.100.0/24\"]\n",
	"[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n[service.web]\nports = [\"80/tcp\", \"443/tcp\", \"4443/tcp\", \"4445/udp\"]\nfrom = [\"any\"]\n",
	"[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n[service.web]\nports = [\"80/tcp\"]\nfrom = [\"198.51.100.7\", \"2001:db8::/32\"]\n",
	"[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"10.77.0.0/24\", \"2001:db8::/32\"]\n[service.web]\nports = [\"80/tcp\"]\nfrom = [\"198.51.100.7\"]\n",
	"[group.them]\naddresses = [\"10.77.0.0/29\", \"198.51.100.64/26\", \"192.0.2.200-192.0.2.220\"]\n[service.all]\nports = [\"1-1000/tcp\"]\nfrom = [\"them\"]\nlog = true\n" +
		"[block.bad]\nfrom = [\"203.0.113.0/24\"]\n[service.vpn]\nprotocols = [\"esp\"]\nfrom = [\"any\"]\n[service.some]\nports = [\"5000-5100/udp\"]\nfrom = [\"them\"]\nlimit = \"5/second\"\n",
	"[service.mgmt]\nports = [\"20-30/tcp\"]\nfrom = [\"any\"]\nto = [\"10.77.0.1\"]\n[block.port]\nfrom = [\"any\"]\nports = [\"4444/udp\", \"4444/tcp\"]\n",
}

// alike is how many of them let everybody in to the open port.
const alike = 3

// While policies are applied one after the other, no packet comes to a port that all
// of them close, and every connection to one that all of them open succeeds.
func TestReloads(t *testing.T) {
	worlds := append(slices.Clone(boxBackends), boxBackend{"switching", "true", "true", "true"})
	for _, w := range worlds {
		for _, among := range []int{alike, len(reloads)} {
			t.Run(fmt.Sprintf("%s, %d policies", w.name, among), func(t *testing.T) {
				reloading(newBox(t, w), among, gen.Dose(t, "FWCTL_RELOADS", 8))
			})
		}
	}
}

// reloading applies the first of the policies in a random order.
func reloading(b *box, among, n int) {
	for i := range among {
		b.write(fmt.Sprintf("%d.toml", i), "version = 1\n[defaults]\npublished = \"ignore\"\n"+reloads[i])
	}
	b.want(0, "apply", "--no-confirm", filepath.Join(b.dir, "0.toml"))
	p := newProber(b)
	r := rand.New(rand.NewPCG(gen.Seed(b.T), 41))
	for i := range n {
		args := []string{"apply", "--no-confirm", filepath.Join(b.dir, fmt.Sprintf("%d.toml", r.IntN(among)))}
		if b.backend.name == "switching" {
			args = append(args, "--backend", []string{"iptables", "nftables"}[i%2])
		}
		_ = os.Remove(filepath.Join(b.dir, "run", "applied.json")) // so that an unchanged one is one, too
		b.want(0, args...)
	}
	for _, wrong := range p.end() {
		b.Error(wrong)
	}
	b.Logf("%d applies: %d packets to the closed port and %d timed connections, %d timed connections to the open one, of them wrong %d and %d",
		n, p.flooded.Load(), p.tried[1].Load(), p.tried[0].Load(), p.wrong[1].Load(), p.wrong[0].Load())
}

// The prober sees what a reload lets through, and what it breaks: that of rules that
// are taken away and put back.
func TestProberSeesGaps(t *testing.T) {
	for name, gap := range map[string]string{
		"open":   "nft delete table inet fwctl",
		"closed": "nft insert rule inet fwctl input counter drop; sleep 0.8",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, boxBackends[0])
			policy := b.write("0.toml", "version = 1\n[defaults]\npublished = \"ignore\"\n"+reloads[0])
			b.want(0, "apply", "--no-confirm", policy)
			p := newProber(b)
			for range 3 {
				b.sh(gap)
				b.want(0, "apply", "--no-confirm", policy)
			}
			if wrong := p.end(); len(wrong) == 0 {
				t.Errorf("nothing seen among %d packets and %d connections", p.flooded.Load(), p.tried[0].Load())
			} else {
				t.Log(wrong)
			}
		})
	}
}

// prober sends packets from the box's peer.
type prober struct {
	box     *box
	peer    *peer
	sink    *net.UDPConn
	stop    chan struct{}
	all     sync.WaitGroup
	flooded atomic.Int64
	tried   [2]atomic.Int64 // connections to the open and the closed port
	wrong   [2]atomic.Int64 // of these
	mu      sync.Mutex
	says    []string // what went wrong, the first of each kind
	gotIn   int      // packets of the flood, once heard is closed
	heard   chan struct{}
}

func newProber(b *box) *prober {
	b.Helper()
	p := &prober{box: b, peer: b.plug(), stop: make(chan struct{}), heard: make(chan struct{})}
	for _, port := range []int{openPort, closedPort} {
		l := b.listen(fmt.Sprint(port))
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
	}
	err := b.in(func() (err error) {
		p.sink, err = net.ListenUDP("udp4", &net.UDPAddr{Port: closedPort})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.sink.Close() })
	if c, err := p.peer.dial(fmt.Sprint(openPort), 5*time.Second); err != nil { // the cable is there
		b.Fatal(err)
	} else {
		c.Close()
	}
	go p.hear()
	p.all.Go(func() { p.report(within(p.peer.ns, p.flood)) })
	p.all.Go(func() { p.report(within(p.peer.ns, func() error { return p.connect(0, openPort, true) })) })
	p.all.Go(func() { p.report(within(p.peer.ns, func() error { return p.connect(1, closedPort, false) })) })
	return p
}

// hear counts what comes to the closed port, until it is told to stop.
func (p *prober) hear() {
	defer close(p.heard)
	for buf := make([]byte, 64); ; p.gotIn++ {
		if _, _, err := p.sink.ReadFromUDP(buf); err != nil {
			return
		}
	}
}

func (p *prober) report(err error) {
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.says = append(p.says, err.Error())
	}
}

// end stops all and says what went wrong.
func (p *prober) end() []string {
	close(p.stop)
	p.all.Wait()
	time.Sleep(50 * time.Millisecond)
	_ = p.sink.SetReadDeadline(time.Now())
	<-p.heard
	if p.gotIn > 0 {
		p.report(fmt.Errorf("%d of %d packets came to a port that was closed all the time", p.gotIn, p.flooded.Load()))
	}
	return p.says
}

func (p *prober) ended() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// flood sends packets to the closed port as fast as it can.
func (p *prober) flood() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet4{Port: closedPort, Addr: [4]byte{10, 77, 0, 1}}
	for !p.ended() {
		for range 1000 {
			switch err := unix.Sendto(fd, []byte("x"), 0, to); {
			case err == nil:
				p.flooded.Add(1)
			case !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPERM):
				return err
			}
		}
	}
	return nil
}

// patience is how long a connection may take. A lost packet would be sent again
// after a second.
const patience = 700 * time.Millisecond

// connect opens a connection every half a millisecond, and counts those that do not
// do as they should.
func (p *prober) connect(i, port int, open bool) error {
	type attempt struct {
		fd    int
		since time.Time
	}
	var waiting []attempt
	defer func() {
		for _, a := range waiting {
			unix.Close(a.fd)
		}
	}()
	settle := func(a attempt) {
		connected := connected(a.fd)
		unix.Close(a.fd)
		if connected == open {
			return
		}
		if p.wrong[i].Add(1) == 1 {
			p.report(fmt.Errorf("connection %d to port %d: connected %v after %s", p.tried[i].Load(), port, connected, time.Since(a.since)))
		}
	}
	limit := 50 * time.Millisecond
	if open {
		limit = patience
	}
	for !p.ended() || len(waiting) > 0 {
		if !p.ended() {
			fd, err := begin(port)
			if err != nil {
				return err
			}
			p.tried[i].Add(1)
			waiting = append(waiting, attempt{fd, time.Now()})
		}
		for len(waiting) > 0 && (open && connected(waiting[0].fd) || time.Since(waiting[0].since) > limit) {
			first := waiting[0]
			waiting = waiting[1:]
			settle(first)
		}
		time.Sleep(500 * time.Microsecond)
	}
	return nil
}

// begin begins a connection that will be reset when it is closed.
func begin(port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{10, 77, 0, 1}})
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func connected(fd int) bool {
	_, err := unix.Getpeername(fd)
	return err == nil
}
