package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is one host under flood: the sender's interface towards it, its
// addresses, and the flows it is sent.
type target struct {
	Host   string // its namespace
	Ifname string
	MAC    string
	Addr   netip.Addr
	Flows  []flow
}

// flood is the order for one run of the sender.
type flood struct {
	Rounds, Passes int
	Targets        []target
}

// timing is what one round of packets took.
type timing struct{ Wall, CPU time.Duration }

const (
	flowsPerTarget = 4096
	floodRounds    = 60
	floodPasses    = 8
)

// measurePackets floods four hosts with small datagrams of which every second
// one is let in, and compares how many each works off in a second.
func measurePackets(l *lab) ([]row, error) {
	many, few := services(10000), services(10)
	hosts := []struct {
		list  []service // what is open
		sent  []service // what the packets are for
		fwctl bool
	}{
		{many, many, true},
		{many, many, false},
		{many, few, true},
		{few, few, true},
	}
	sender, err := l.namespace()
	if err != nil {
		return nil, err
	}
	order := flood{Rounds: floodRounds, Passes: floodPasses}
	for i, h := range hosts {
		t, err := l.host(sender, i, h.list, h.fwctl)
		if err != nil {
			return nil, err
		}
		t.Flows = mix(h.sent, flowsPerTarget)
		order.Targets = append(order.Targets, t)
	}
	r, err := l.flood(sender, order)
	if err != nil {
		return nil, err
	}
	if err := order.halfGotIn(); err != nil {
		return nil, err
	}
	beside := func(a, b int) string {
		return fmt.Sprintf("%.0f against %.0f packets a second of CPU, connection tracking included", median(r[a]), median(r[b]))
	}
	return []row{
		{work: "packets per second, 10,000 services : a set written by hand", ratio: medianRatio(r[0], r[1]), low: 0.95, detail: beside(0, 1)},
		{work: "the same packets, 10,000 services : 10 services", ratio: medianRatio(r[2], r[3]), low: 0.95, detail: beside(2, 3)},
	}, nil
}

// host makes a host with the services open, by fwctl or by hand, and joins it to
// the sender.
func (l *lab) host(sender string, n int, list []service, fwctl bool) (target, error) {
	ns, t, err := l.wire(sender, n)
	if err != nil {
		return t, err
	}
	load, err := l.byHand(list)
	if fwctl {
		load, err = l.byFwctl(ns, list)
	}
	if err != nil {
		return t, err
	}
	_, _, err = in(ns, "", load...)
	return t, err
}

// byHand is the command that loads the hand-written ruleset.
func (l *lab) byHand(list []service) ([]string, error) {
	path, err := l.file(fmt.Sprintf("byhand-%d.nft", len(list)), byHandNFT(list))
	return []string{"nft", "-f", path}, err
}

// byFwctl is the command that applies the policy.
func (l *lab) byFwctl(ns string, list []service) ([]string, error) {
	path, err := l.file(fmt.Sprintf("policy-%d.toml", len(list)), policyText(list))
	return l.apply(ns, "--backend", "nftables", path), err
}

// wire joins a new host to the sender's namespace. Nothing listens there, and no
// ICMP error is sent for that: what is measured ends where a daemon would begin.
func (l *lab) wire(sender string, n int) (ns string, t target, err error) {
	if ns, err = l.namespace(); err != nil {
		return "", t, err
	}
	t = target{Host: ns, Ifname: fmt.Sprintf("to%d", n), Addr: netip.AddrFrom4([4]byte{10, 200, byte(n), 1})}
	script := fmt.Sprintf(`
ip -n %[1]s link add %[3]s type veth peer name eth0 netns %[2]s
ip -n %[1]s link set %[3]s up
ip -n %[2]s link set eth0 up
ip -n %[2]s addr add %[4]s/24 dev eth0
ip -n %[2]s route add 10.0.0.0/8 dev eth0
ip netns exec %[2]s sh -c 'cd /proc/sys/net/ipv4; echo 0 >conf/all/rp_filter; echo 0 >conf/eth0/rp_filter; ! test -e icmp_msgs_per_sec || echo 0 >icmp_msgs_per_sec'
`, sender, ns, t.Ifname, t.Addr)
	if err := sh("sh", "-ec", script); err != nil {
		return "", t, err
	}
	_, mac, err := in(ns, "", "ip", "-br", "link", "show", "eth0")
	if fields := strings.Fields(mac); len(fields) > 2 {
		t.MAC = fields[2]
	}
	return ns, t, err
}

// halfGotIn checks that each host did what was measured: it let in every second
// packet, for which nobody listened.
func (order flood) halfGotIn() error {
	want := (order.Rounds + 1) * order.Passes * flowsPerTarget / 2
	for _, t := range order.Targets {
		_, snmp, err := in(t.Host, "", "grep", "^Udp: [0-9]", "/proc/net/snmp")
		if err != nil {
			return err
		}
		fields := strings.Fields(snmp) // Udp: InDatagrams NoPorts …
		if len(fields) < 3 || fields[2] != strconv.Itoa(want) {
			return fmt.Errorf("%s should have let in %d packets; its counters: %s", t.Ifname, want, snmp)
		}
	}
	return nil
}

// flood runs the sender over the targets and returns the packets per second of
// each target and round.
func (l *lab) flood(sender string, order flood) ([][]float64, error) {
	text, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	_, out, err := in(sender, string(text), l.self, "flood")
	if err != nil {
		return nil, err
	}
	var took [][]timing
	if err := json.Unmarshal([]byte(out), &took); err != nil {
		return nil, fmt.Errorf("flood: %w", err)
	}
	return rates(took, float64(order.Passes*flowsPerTarget)), nil
}

// rates turns the time of each round into packets per second: per CPU second of
// the sending thread, in which the receiver's work is done too. A kernel that
// books that work elsewhere (CONFIG_IRQ_TIME_ACCOUNTING) leaves the wall clock; it
// is known by this, that no round has even half of its time on the CPU. One that
// shares a busy machine has at times.
func rates(took [][]timing, packets float64) [][]float64 {
	elsewhere := !slices.ContainsFunc(slices.Concat(took...), func(t timing) bool { return t.CPU > t.Wall/2 })
	all := make([][]float64, len(took))
	for i, rounds := range took {
		for _, t := range rounds {
			d := t.CPU
			if elsewhere {
				d = t.Wall
			}
			all[i] = append(all[i], packets/d.Seconds())
		}
	}
	return all
}

// sendFlood is the sender's side, run in its namespace: it goes round the targets,
// so that whatever else the machine does meets all of them alike.
func sendFlood(stdin io.Reader, stdout io.Writer) error {
	var order flood
	if err := json.NewDecoder(stdin).Decode(&order); err != nil {
		return err
	}
	if err := pin(); err != nil {
		return fmt.Errorf("pin to one CPU: %w", err)
	}
	blasters, err := newBlasters(order.Targets)
	if err != nil {
		return err
	}
	took := make([][]timing, len(blasters))
	for round := range order.Rounds + 1 {
		for i, b := range blasters {
			t, err := b.round(order.Passes)
			if err != nil {
				return err
			}
			if round > 0 { // the first warms up
				took[i] = append(took[i], t)
			}
		}
	}
	return json.NewEncoder(stdout).Encode(took)
}

func newBlasters(targets []target) ([]*blaster, error) {
	blasters := make([]*blaster, len(targets))
	for i, t := range targets {
		mac, err := net.ParseMAC(t.MAC)
		if err != nil {
			return nil, err
		}
		if blasters[i], err = newBlaster(t.Ifname, t.Addr, mac, t.Flows); err != nil {
			return nil, err
		}
	}
	return blasters, nil
}

func (b *blaster) round(passes int) (timing, error) {
	var all timing
	for range passes {
		wall, cpu, err := b.pass()
		if err != nil {
			return timing{}, err
		}
		all.Wall += wall
		all.CPU += cpu
	}
	return all, nil
}
