package pf_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
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
	files, each := gen.Dose(t, "FWCTL_RULESETS", 400), 900
	r := rand.New(rand.NewPCG(gen.Seed(t), 21))
	seen, words := map[packet.Outcome]int{}, map[string]bool{}
	for i := range files {
		d := &draw{Rand: r, dialect: dialects[i%len(dialects)], plain: i%3 == 0}
		text := d.file()
		c := pf.Parse(text, d.dialect)
		if len(c.Problems) > 0 {
			t.Fatalf("%v: %v\n%s", d.dialect, c.Problems, text)
		}
		for _, w := range constructs {
			words[w] = words[w] || strings.Contains(text, w)
		}
		for _, is6 := range []bool{false, true} {
			for _, hook := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
				opt := d.known()
				opt.Refuses, opt.Keeping = i%7 == 0, i%5 == 0
				agree(t, c, opt, hook, is6, r, each/6, seen)
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
	for _, w := range constructs {
		if !words[w] {
			t.Errorf("no file has %q", w)
		}
	}
}

// constructs are what the reader knows, each by a word that nothing else has.
var constructs = []string{
	"set block-policy", "set skip on", "set state-defaults", "table <", "persist", "const", " file ", "{ self", "em1:network", "antispoof",
	"anchor \"a", "anchor \"b/", " quick on em0", "/*\" ", "rdr-anchor", "nat-anchor", "binat-anchor",
	"scrub in", "match in", "match out quick", "block return", "return-rst", "return-icmp", "return-icmp6", "log (all)", "on ! ", "on any", "on { ",
	"inet6", "proto { ", "sctp", "icmp-type", "icmp6-type", " code ", "10/8", " - ", "<t1>", "<undefined>", "(self)", "(em0:0)", "(office:network)",
	"(em1)/24", "! self", "em0:peer", "no-route", "urpf-failed", "route \"", "%em1", "port != ", "><", "<>", ":", "port domain", " os ",
	"flags S/SA", "flags any", "fragment", "user ", "group ", "probability", "max-pkt-rate", "once", "tos ", "set prio", "set (",
	"no state", "keep state", "modulate state", "synproxy state", "sloppy", "max ", "max-src-conn ", "max-src-conn-rate", "max-src-states",
	"max-src-nodes", "overload <", "flush global", "tcp.established", "allow-opts", "received-on any", "! received-on", "label ", " tag ", "! tagged",
	"nat-to", "nat-to {", "nat-to (em0)", "static-port", "rdr-to", "port 1000:*", "rdr-to {", "binat-to", "af-to", "route-to (em1", "route-to 10",
	"reply-to", "dup-to", "divert-packet", "divert-reply", "nat on", "nat pass", "rdr on", "rdr pass", "binat on", "binat pass", "no rdr", "no nat", "no binat",
}

func agree(t *testing.T, c *pf.Config, opt pf.Options, hook packet.Hook, is6 bool, r *rand.Rand, n int, seen map[packet.Outcome]int) {
	t.Helper()
	f := pf.Filter(c, hook, is6, opt)
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
		m := newMachine(c, opt)
		m.natDst = drawAddr(r, is6)
		facts.Fields[packet.FieldNATDst] = packet.AddrValue(m.natDst)
		facts.Unknowns = drawUnknowns(r, f, kindOf(host, m.natDst))
		facts.SetKinds(host)
		m.holds = func(u string) bool { return facts.Unknowns[u] }
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

// drawUnknowns draws what no packet tells, but for what the kind of an address is that a
// translation gives.
func drawUnknowns(r *rand.Rand, f *packet.Filter, kind packet.AddrType) map[string]bool {
	out := map[string]bool{}
	for key := range f.Unknowns() {
		out[key] = r.IntN(2) == 0
		if name := packet.UnknownName(key); strings.HasPrefix(name, "kind of the destination") {
			out[key] = key == packet.UnknownBit(name, 0) && kind&1 != 0 || key == packet.UnknownBit(name, 1) && kind&2 != 0
		}
	}
	return out
}

func kindOf(host packet.HostAddrs, a netip.Addr) packet.AddrType {
	switch v := packet.AddrValue(a); {
	case host.Local.Contains(v):
		return packet.AddrLocal
	case host.Broadcast.Contains(v):
		return packet.AddrBroadcast
	case a.IsMulticast():
		return packet.AddrMulticast
	}
	return packet.AddrOther
}

func drawAddr(r *rand.Rand, is6 bool) netip.Addr {
	addrs := addrs4
	if is6 {
		addrs = addrs6
	}
	return netip.MustParseAddr(addrs[r.IntN(len(addrs))])
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
	p = packet.Packet{Hook: hook, Src: drawAddr(r, is6), Dst: drawAddr(r, is6)}
	if !is6 && r.IntN(4) == 0 { // which translations are for
		p.Src, p.Dst = netip.MustParseAddr(one("10.20.0.5", "10.20.0.77")), netip.MustParseAddr(one("192.0.2.10", "203.0.113.9"))
	}
	card := func() string { return one("em0", "em0", "em1", "wg0", "lo0", "em9") }
	if hook != packet.Output {
		p.In = card()
	}
	if hook != packet.Input {
		p.Out = card()
	}
	p.Proto = []packet.Proto{packet.TCP, packet.TCP, packet.TCP, packet.UDP, packet.UDP, packet.ICMP, packet.ICMPv6, 47, packet.IGMP, packet.SCTP, 50}[r.IntN(11)]
	if fragment = r.IntN(15) == 0; fragment {
		return p, true
	}
	port := func() uint16 {
		return []uint16{22, 53, 80, 443, 1000, 1010, 33434, 40000, uint16(r.IntN(65536))}[r.IntN(9)]
	}
	switch {
	case p.Proto.HasPorts():
		p.SrcPort, p.DstPort = port(), port()
		if p.Proto == packet.TCP {
			p.Flags = []packet.Flags{packet.SYN, packet.SYN, packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.RST}[r.IntN(6)]
		}
	case p.Proto.IsICMP():
		p.Type = []uint8{0, 3, 8, 13, 16, 34, 128, 129, 134, 135, 137, 143, 200, 1}[r.IntN(14)]
		p.Code = uint8(r.IntN(5))
	}
	if r.IntN(20) == 0 {
		p.State = packet.Established
	}
	return p, false
}
