package iptables_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
	"github.com/fwctl/fwctl/rules"
)

// How much the ordinary run does for each variant.
const (
	kernelRulesets   = 60
	packetsOfRuleset = 500
	packetsOfRule    = 150
)

// A kernel does with every packet what following it through the filter says,
// whichever variant loaded the ruleset: read from what was sent, and from what
// iptables-save and ipset save print.
func TestKernelAgrees(t *testing.T) {
	n := gen.Dose(t, "FWCTL_RULESETS", kernelRulesets)
	for _, variant := range []string{"legacy", "nft"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			k := &kernel{T: t, variant: variant, lab: netlab.New(t, gen.Host()), host: gen.Host(), single: map[string]*[2]int{}}
			for i := range n {
				k.try(i)
				if t.Failed() {
					break
				}
			}
			t.Logf("%d rulesets, %d packets, %d of them accepted", n, k.packets, k.accepted)
			k.coverage()
		})
	}
}

// nothing is a ruleset that accepts all.
const nothing = `*raw
:OUTPUT ACCEPT [0:0]
COMMIT
*mangle
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*security
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
`

// kernel is a laboratory whose host filters by one variant of iptables.
type kernel struct {
	*testing.T
	variant string
	lab     *netlab.Lab
	host    *rules.Host

	packets, accepted int
	single            map[string]*[2]int // by match, packets that did not match a rule of it alone and that did
}

// coverage tells of each match how many packets met it, and fails where none
// matched or all did.
func (k *kernel) coverage() {
	for _, name := range slices.Sorted(maps.Keys(k.single)) {
		n := k.single[name]
		k.Logf("%-10s %6d matched, %6d did not", name, n[1], n[0])
		if name != "comment" && n[0]+n[1] > 3000 && (n[0] == 0 || n[1] == 0) {
			k.Errorf("the test says nothing of %s", name)
		}
	}
}

func (k *kernel) met(text string, got packet.Outcome) {
	_, rest, _ := strings.Cut(text, "-m ")
	name, _, _ := strings.Cut(rest, " ")
	if k.single[name] == nil {
		k.single[name] = new([2]int)
	}
	if strings.Contains(text, " ACCEPT [") == (got == packet.OutcomeAccept) {
		k.single[name][0]++
	} else {
		k.single[name][1]++
	}
}

func (k *kernel) run(stdin, command string, args ...string) string {
	k.Helper()
	var out []byte
	err := k.lab.Do(func() (err error) {
		cmd := exec.Command(command, args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		k.Fatalf("%s: %v\n%s\n%s", command, err, out, stdin)
	}
	return string(out)
}

func (k *kernel) tool(is6 bool, what string) string {
	if is6 {
		return "ip6tables-" + k.variant + "-" + what
	}
	return "iptables-" + k.variant + "-" + what
}

// try loads a random ruleset of each family and sends packets through both.
func (k *kernel) try(number int) {
	r := rand.New(rand.NewPCG(gen.Seed(k), uint64(number)))
	hook := packet.Hook(r.IntN(3))
	for _, is6 := range []bool{false, true} {
		k.run(nothing, k.tool(is6, "restore"))
	}
	// The kernel lets go of a set some time after the rule that asked for it.
	for range 50 {
		if k.lab.Do(exec.Command("ipset", "destroy").Run) == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, is6 := range []bool{false, true} {
		d := &draw{Rand: r, is6: is6, hook: hook, small: number%3 > 0}
		sets := d.setText(number)
		text := d.text()
		if sets != "" {
			k.run(sets, "ipset", "restore")
		}
		k.run(text, k.tool(is6, "restore"))
		saved := k.run("", k.tool(is6, "save"))
		k.compare(d, sets, text, saved)
	}
}

func (k *kernel) compare(d *draw, sets, text, saved string) {
	sent := iptables.Filter(iptables.Parse(text), d.hook, d.is6, iptables.Options{Sets: iptables.ParseSets(sets, nil)})
	printed := iptables.Filter(iptables.Parse(saved), d.hook, d.is6, iptables.Options{Sets: iptables.ParseSets(k.run("", "ipset", "save"), nil)})
	for _, f := range []*packet.Filter{sent, printed} {
		for key, unsupported := range f.Unknowns() {
			if unsupported {
				k.Errorf("not understood: %s\n%s", key, text)
			}
		}
	}
	k.sameMeaning(sent, printed, d.is6, text+saved)
	ps := k.draw(d)
	got, err := k.lab.Probe(ps)
	if err != nil {
		k.Fatalf("%v\n%s", err, text)
	}
	for i, p := range ps {
		k.packets++
		want := printed.Decide(k.facts(p, printed))
		if want.Outcome == packet.OutcomeAccept {
			k.accepted++
		}
		if d.small {
			k.met(text, want.Outcome)
		}
		if agree(want.Outcome, got[i]) {
			continue
		}
		if again, err := k.lab.Probe([]packet.Packet{p}); err == nil && agree(want.Outcome, again[0]) {
			k.Logf("only once: %s", p)
			continue
		}
		k.Errorf("%s: expected %v by %+v, the kernel says %s\n%s\n%s", p, want.Outcome, want.By, got[i], sets, text)
		return
	}
}

// agree reports whether the kernel may do that: what is refused need not be
// answered.
func agree(want packet.Outcome, got packet.Verdict) bool {
	switch want {
	case packet.OutcomeAccept:
		return got == packet.Accept
	case packet.OutcomeReject:
		return got != packet.Accept
	}
	return got == packet.Drop
}

// sameMeaning proves that two filters mean the same.
func (k *kernel) sameMeaning(a, b *packet.Filter, is6 bool, text string) {
	k.Helper()
	s := packet.NewSpace(is6, k.host.HostAddrs(is6), packet.DefaultBudget, a, b)
	x, errX := s.Build(a)
	y, errY := s.Build(b)
	over, _ := s.Set(s.Frame(a.Hook))
	if errX != nil || errY != nil {
		k.Logf("%v %v", errX, errY)
		return
	}
	if d, err := s.Compare(x, y, over); err != nil || d.Kind != packet.Equal {
		k.Errorf("what is printed is %v to what was sent: %+v\n%s", d.Kind, d.Witness, text)
	}
}

// facts are what the laboratory's packets are beside what their notation says.
func (k *kernel) facts(p packet.Packet, f *packet.Filter) *packet.Facts {
	facts := p.Facts()
	facts.Unknowns = map[string]bool{}
	set := func(f packet.Field, n uint64) { facts.Fields[f] = packet.Number(n) }
	set(packet.FieldTTL, 255)
	if p.Hook == packet.Forward {
		set(packet.FieldTTL, 254)
	}
	set(packet.FieldDSCP, 10)
	set(packet.FieldLength, length(p))
	if p.Hook != packet.Output {
		mac := uint64(2) << 40
		if p.State == packet.Untracked && !p.Proto.IsICMP() {
			mac |= 1 << 32
		}
		for i, c := range k.host.Interfaces {
			if c.Name == p.Out {
				mac |= uint64(i+1) << 24
			}
		}
		set(packet.FieldMAC, mac)
	}
	facts.SetKinds(k.host.HostAddrs(p.Is6()))
	switch p.State {
	case packet.Established: // the probe answers the flow's first packet
		set(packet.FieldCTStatus, 2|4|8)
		facts.Fields[packet.FieldOrigDst] = packet.AddrValue(p.Src)
		set(packet.FieldOrigPort, uint64(p.SrcPort))
	case packet.Related: // it complains about a packet of UDP, from its own destination
		set(packet.FieldCTStatus, 2|4|8)
		facts.Fields[packet.FieldOrigDst] = packet.AddrValue(p.Src)
		set(packet.FieldOrigPort, 33434)
		for key := range f.Unknowns() {
			if strings.HasPrefix(key, "-m conntrack --ctproto udp of") || strings.HasPrefix(key, "-m conntrack --ctproto 17 of") {
				facts.Unknowns[key] = true
			}
			if strings.HasPrefix(key, "-m conntrack --ctorigdstport 33434") {
				facts.Unknowns[key] = true
			}
		}
	}
	return facts
}

// length is that of the laboratory's packets.
func length(p packet.Packet) uint64 {
	n := uint64(20)
	if p.Is6() {
		n = 40
	}
	switch p.Proto {
	case packet.TCP, packet.DCCP:
		return n + 20
	case packet.SCTP:
		return n + 32
	case packet.ICMP:
		switch p.Type {
		case 3, 4, 5, 11, 12:
			return 2*n + 8 + 12
		}
		return n + 32
	case packet.ICMPv6:
		if p.Type < 128 {
			return 2*n + 8 + 12
		}
		return n + 32
	}
	return n + 12
}

// draw draws packets for the hook. No two belong to one flow.
func (k *kernel) draw(d *draw) []packet.Packet {
	var out []packet.Packet
	flows := map[string]bool{}
	n := packetsOfRuleset
	if d.small {
		n = packetsOfRule
	}
	for len(out) < n {
		p := d.packet()
		p.State = gen.KernelState(p)
		one := !p.Dst.IsMulticast() && !k.host.Broadcast(p.Dst)
		if one && d.chance(30) {
			p = d.inFlow(p)
		}
		if !gen.Deliverable(p, k.host) || p.Out == "lo" || p.In == "lo" {
			continue
		}
		if p.State == packet.Established || p.State == packet.Related {
			key := fmt.Sprint(p.Src, p.Dst, p.Proto, p.SrcPort, p.DstPort)
			if flows[key] {
				continue
			}
			flows[key] = true
		}
		out = append(out, p)
	}
	return out
}

func (d *draw) near(text string) netip.Addr {
	a := netip.MustParseAddr(text)
	switch d.IntN(8) {
	case 0:
		return a.Next()
	case 1:
		return a.Prev()
	}
	return a
}

func (d *draw) packet() packet.Packet {
	p := packet.Packet{Hook: d.hook, Src: d.near(d.addr()), Dst: d.near(d.addr())}
	if entering[d.hook] {
		p.In = d.one(cards...)
	}
	if d.hook != packet.Input {
		p.Out = d.one(cards...)
	}
	p.Proto = []packet.Proto{6, 6, 6, 17, 17, 132, 33, 136, 47, 1, 58, 4}[d.IntN(12)]
	if d.proto != 0 && d.chance(70) {
		p.Proto = d.proto
	}
	if d.is6 && p.Proto == packet.ICMP {
		p.Proto = packet.ICMPv6
	}
	if p.Proto.HasPorts() {
		p.SrcPort, p.DstPort = uint16(d.port()+d.IntN(3)-1), uint16(d.port()+d.IntN(3)-1)
	}
	switch p.Proto {
	case packet.TCP:
		p.Flags = []packet.Flags{packet.SYN, packet.SYN, packet.ACK, packet.SYN | packet.ACK, packet.FIN | packet.ACK, packet.RST, packet.SYN | packet.FIN, 0}[d.IntN(8)]
	case packet.ICMP:
		p.Type, p.Code = []uint8{8, 0, 3, 11, 13, 5}[d.IntN(6)], uint8(d.IntN(3))
	case packet.ICMPv6:
		p.Type, p.Code = []uint8{128, 129, 1, 135, 143, 3}[d.IntN(6)], []uint8{0, 0, 1, 4}[d.IntN(4)]
	}
	if len(d.asked) > 0 && d.chance(60) {
		d.member(&p, d.asked[d.IntN(len(d.asked))])
	}
	return p
}

// member makes the packet one that an element of the set is about.
func (d *draw) member(p *packet.Packet, s askedSet) {
	if len(s.elements) == 0 {
		return
	}
	element, _, _ := strings.Cut(d.one(s.elements...), " ")
	for i, word := range strings.Split(element, ",") {
		if a, err := netip.ParseAddr(strings.Split(strings.Split(word, "/")[0], "-")[0]); err == nil && i < len(s.sides) {
			if s.sides[i] == "src" {
				p.Src = a
			} else {
				p.Dst = a
			}
			continue
		}
		if proto, port, ok := strings.Cut(word, ":"); ok && d.chance(70) {
			d.portMember(p, strings.Replace(proto, "icmpv6", "ipv6-icmp", 1), port)
		} else if slices.Contains(cards, word) && p.In != "" && d.chance(70) {
			p.In = word
		}
	}
}

func (d *draw) portMember(p *packet.Packet, proto, port string) {
	*p = packet.Packet{Hook: p.Hook, In: p.In, Out: p.Out, Src: p.Src, Dst: p.Dst}
	p.Proto, _ = packet.ParseProto(proto)
	n, _ := strconv.Atoi(strings.Split(port, "-")[0])
	switch {
	case p.Proto == packet.ICMP:
		p.Type = 8
	case p.Proto == packet.ICMPv6:
		p.Type = 128
	case p.Proto.HasPorts():
		p.SrcPort, p.DstPort = uint16(n), uint16(n)
	}
	if p.Proto == packet.TCP {
		p.Flags = packet.SYN
	}
}

// inFlow gives the packet a state that has to be prepared.
func (d *draw) inFlow(p packet.Packet) packet.Packet {
	switch {
	case p.Proto == packet.TCP:
		p.State, p.Flags = packet.Established, packet.ACK
	case p.Proto == packet.UDP:
		p.State = packet.Established
	case p.Proto == packet.ICMP && !d.is6:
		p.State, p.Type, p.Code = packet.Related, 3, uint8(d.IntN(3))
	case p.Proto == packet.ICMPv6 && d.is6:
		p.State, p.Type, p.Code = packet.Related, 1, uint8(d.IntN(5))
	case d.hook != packet.Output && !p.Proto.IsICMP():
		p.State = packet.Untracked
	}
	return p
}
