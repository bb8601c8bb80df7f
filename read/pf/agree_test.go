package pf_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/pf"
)

var dialects = []pf.Dialect{pf.OpenBSD, pf.FreeBSD, pf.FreeBSDOld, pf.MacOS}

// The host that random rules are for.
var (
	links = []packet.Link{
		{Name: "em0", Addrs: prefixes("192.0.2.10/24", "2001:db8::10/64")},
		{Name: "em1", Addrs: prefixes("10.20.0.5/16", "fd00:20::5/64", "fe80::1/64")},
		{Name: "wg0", Addrs: prefixes("10.9.0.1/24")},
		{Name: "lo0", Addrs: prefixes("127.0.0.1/8", "::1/128")},
	}
	groups = map[string][]string{"egress": {"em0"}, "office": {"em1", "wg0"}, "wg": {"wg0"}, "lo": {"lo0"}, "nobody": nil}
)

func prefixes(ss ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range ss {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func hostAddrs(is6 bool) packet.HostAddrs {
	var local, broadcast []packet.Range
	for _, l := range links {
		for _, p := range l.Addrs {
			switch {
			case p.Addr().Is6() != is6:
			case is6:
				local = append(local, packet.Single(packet.AddrValue(p.Addr())))
			default:
				local = append(local, packet.Single(packet.AddrValue(p.Addr())))
				broadcast = append(broadcast, packet.Single(packet.AddrValue(lastOf(p))))
			}
		}
	}
	if !is6 {
		broadcast = append(broadcast, packet.Single(packet.Ones(32)))
	}
	return packet.HostAddrs{Known: true, Local: packet.NewRanges(local...), Broadcast: packet.NewRanges(broadcast...)}
}

// A packet that goes through random rules one after the other fares as the diagram
// of their meaning says, in every grammar, at every hook.
func TestEvaluatorAgrees(t *testing.T) {
	files, each := gen.Dose(t, "FWCTL_RULESETS", 300), 900
	r := rand.New(rand.NewPCG(gen.Seed(t), 21))
	seen := map[packet.Outcome]int{}
	for i := range files {
		d := &draw{Rand: r, dialect: dialects[i%len(dialects)], plain: i%3 == 0}
		text := d.file()
		c := pf.Parse(text, d.dialect)
		if len(c.Problems) > 0 {
			t.Fatalf("%v: %v\n%s", d.dialect, c.Problems, text)
		}
		for _, is6 := range []bool{false, true} {
			for _, hook := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
				agree(t, c, hook, is6, r, each/6, seen)
				if t.Failed() {
					t.Fatalf("file %d, %v, %v, IPv6 %v\n%s", i, d.dialect, hook, is6, text)
				}
			}
		}
	}
	t.Logf("%d files: %d packets accepted, %d refused, %d refused with an answer", files, seen[packet.OutcomeAccept], seen[packet.OutcomeDrop], seen[packet.OutcomeReject])
	if seen[packet.OutcomeAccept] < 100*files || seen[packet.OutcomeDrop] < 100*files || seen[packet.OutcomeReject] < files {
		t.Error("too few packets of some kind")
	}
}

func agree(t *testing.T, c *pf.Config, hook packet.Hook, is6 bool, r *rand.Rand, n int, seen map[packet.Outcome]int) {
	t.Helper()
	f := pf.Filter(c, hook, is6, pf.Options{Links: links, Groups: groups})
	host := hostAddrs(is6)
	s := packet.NewSpace(is6, host, packet.DefaultBudget, f)
	node, err := s.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		p, fragment := drawPacket(r, hook, is6)
		facts := p.Facts()
		if fragment {
			facts.Fields[packet.FieldFragment] = packet.Number(1)
		}
		facts.In, facts.Out = loopback(facts.In), loopback(facts.Out)
		facts.Unknowns = map[string]bool{}
		for key := range f.Unknowns() {
			facts.Unknowns[key] = r.IntN(2) == 0
		}
		facts.SetKinds(host)
		m := newMachine(c)
		m.links, m.groups, m.holds = map[string][]netip.Prefix{}, groups, func(u string) bool { return facts.Unknowns[u] }
		for _, l := range links {
			m.links[l.Name] = l.Addrs
		}
		want := m.way(p, fragment)
		got := packet.Outcome(s.Eval(node, facts))
		decided := f.Decide(facts)
		seen[want]++
		if got != want || decided.Outcome != want {
			t.Errorf("%+v fragment %v %v: the evaluator says %v, the diagram %v, the rules %v by %+v", p, fragment, facts.Unknowns, want, got, decided.Outcome, decided.By)
			return
		}
	}
}

// loopback is the name of an interface as the reader has it.
func loopback(iface string) string {
	if iface == "lo0" {
		return "lo"
	}
	return iface
}

// way leads the packet through the interfaces that it crosses.
func (m *machine) way(p packet.Packet, fragment bool) packet.Outcome {
	c := &crossing{Packet: p, fragment: fragment, iface: p.In}
	if p.In != "" {
		if o := m.cross(c); o != packet.OutcomeAccept || p.Out == "" {
			return o
		}
		c.received = p.In
	}
	c.out, c.iface = true, p.Out
	return m.cross(c)
}

func drawPacket(r *rand.Rand, hook packet.Hook, is6 bool) (p packet.Packet, fragment bool) {
	one := func(words ...string) string { return words[r.IntN(len(words))] }
	addrs := addrs4
	if is6 {
		addrs = addrs6
	}
	p = packet.Packet{Hook: hook, Src: netip.MustParseAddr(one(addrs...)), Dst: netip.MustParseAddr(one(addrs...))}
	card := func() string { return one("em0", "em0", "em1", "wg0", "lo0", "em9") }
	if hook != packet.Output {
		p.In = card()
	}
	if hook != packet.Input {
		p.Out = card()
	}
	p.Proto = []packet.Proto{packet.TCP, packet.TCP, packet.TCP, packet.UDP, packet.UDP, packet.ICMP, packet.ICMPv6, 47, packet.IGMP}[r.IntN(9)]
	if fragment = r.IntN(25) == 0; fragment {
		return p, true
	}
	port := func() uint16 {
		return []uint16{22, 53, 80, 443, 1000, 1010, 33434, 40000, uint16(r.IntN(65536))}[r.IntN(9)]
	}
	switch {
	case p.Proto == packet.TCP || p.Proto == packet.UDP:
		p.SrcPort, p.DstPort = port(), port()
		if p.Proto == packet.TCP {
			p.Flags = []packet.Flags{packet.SYN, packet.SYN, packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.RST}[r.IntN(6)]
		}
	case p.Proto.IsICMP():
		p.Type = []uint8{0, 3, 8, 13, 128, 129, 135, 143, 1}[r.IntN(9)]
		p.Code = uint8(r.IntN(5))
	}
	if r.IntN(20) == 0 {
		p.State = packet.Established
	}
	return p, false
}
