package rules

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
)

// sampleSize is the most packets that Sample returns.
const sampleSize = 4096

// Trial is the outcome of a test on a sample of packets.
type Trial struct {
	Packets int              // how many were tried
	Wrong   []Counterexample // those that met another fate than the test expects
}

// Counterexample is a packet of a test and what became of it.
type Counterexample struct {
	Packet   packet.Packet
	Decision Decision
}

// Try decides a sample of the packets that a test speaks of. It proves nothing
// but what it finds. Without a Host, a stand-in for its addresses is used.
func (rs *Ruleset) Try(t Test, at time.Time) Trial {
	rs = rs.standIn()
	var out Trial
	for _, p := range rs.Sample(t) {
		out.Packets++
		if d := rs.Decide(p, at); d.Verdict != t.Expect {
			out.Wrong = append(out.Wrong, Counterexample{p, d})
		}
	}
	return out
}

// Addresses that stand in for those of a host that is not known: from the
// networks for benchmarks (RFC 2544, RFC 5180), which no policy speaks of.
var (
	standIn4 = netip.MustParsePrefix("198.18.0.1/24")
	standIn6 = netip.MustParsePrefix("2001:2::1/64")
)

// standIn returns the ruleset with an imagined host if it has none.
func (rs *Ruleset) standIn() *Ruleset {
	if rs.Host != nil {
		return rs
	}
	with := *rs
	with.Host = &Host{Interfaces: []Interface{{Name: "other0", Addrs: []netip.Prefix{standIn4, standIn6}}}}
	return &with
}

// Sample returns packets that a test speaks of, chosen at the edges: the first
// and last addresses and ports of the test, of what it excepts and of every rule
// that could decide, on every interface that a rule names and on one that none
// does. The loopback interface is left out unless the test names it. The same
// ruleset gives the same packets.
func (rs *Ruleset) Sample(t Test) []packet.Packet {
	rs = rs.standIn()
	s := &sampler{rs: rs, test: t}
	var all []packet.Packet
	for _, is6 := range []bool{false, true} {
		all = append(all, s.family(is6)...)
	}
	return all
}

type sampler struct {
	rs   *Ruleset
	test Test
}

// axes are the values to combine.
type axes struct {
	src, dst []netip.Addr
	in, out  []string
	heads    []packet.Packet // protocol, ports, type and code
}

func (s *sampler) family(is6 bool) []packet.Packet {
	ax := axes{
		src:   s.addresses(is6, func(r *Rule) Addresses { return r.From }, s.sourcePoints(is6)),
		dst:   s.addresses(is6, func(r *Rule) Addresses { return r.To }, s.targetPoints(is6)),
		in:    s.interfaces(s.test.Hook != packet.Output, s.test.Match.In),
		out:   s.interfaces(s.test.Hook != packet.Input, outPatterns(s.test)),
		heads: s.heads(is6),
	}
	var out []packet.Packet
	seen := map[packet.Packet]bool{}
	ax.combine(func(p packet.Packet) {
		p.Hook = s.test.Hook
		if !seen[p] && s.speaksOf(p) {
			seen[p] = true
			out = append(out, p)
		}
	})
	return out
}

func outPatterns(t Test) []string {
	if t.Out == "" {
		return nil
	}
	return []string{t.Out}
}

// combine calls visit with each combination, or with a fixed choice of them if
// there are too many: each value of each axis, then others at random.
func (ax axes) combine(visit func(packet.Packet)) {
	sizes := []int{len(ax.src), len(ax.dst), len(ax.in), len(ax.out), len(ax.heads)}
	total := 1
	for _, n := range sizes {
		total = min(total*n, 1<<30)
	}
	if total == 0 {
		return
	}
	if total <= sampleSize/2 {
		for i := range total {
			visit(ax.at(sizes, func(n int) int { k := i % n; i /= n; return k }))
		}
		return
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same packets at each run
	for axis, n := range sizes {
		for k := range min(n, sampleSize/8) {
			i := -1
			visit(ax.at(sizes, func(m int) int {
				if i++; i == axis {
					return k
				}
				return random.IntN(m)
			}))
		}
	}
	for range sampleSize / 2 {
		visit(ax.at(sizes, random.IntN))
	}
}

// at returns the packet whose values pick chooses, axis by axis.
func (ax axes) at(sizes []int, pick func(n int) int) packet.Packet {
	src, dst, in, out := ax.src[pick(sizes[0])], ax.dst[pick(sizes[1])], ax.in[pick(sizes[2])], ax.out[pick(sizes[3])]
	p := ax.heads[pick(sizes[4])]
	p.Src, p.Dst, p.In, p.Out = src, dst, in, out
	return p
}

// speaksOf reports whether the test is about the packet.
func (s *sampler) speaksOf(p packet.Packet) bool {
	t := s.test
	if p.Src.IsMulticast() || p.Hook == packet.Input && t.Match.To.Any && !s.rs.forHost(p.Dst) {
		return false // no such packet gets there
	}
	return s.rs.Matches(&t.Match, p, time.Time{}) &&
		(t.Out == "" || MatchInterface(t.Out, p.Out)) &&
		(t.Type == nil || *t.Type == p.Type) && (t.Code == nil || *t.Code == p.Code) &&
		!s.rs.contains(t.Except, p.Src, p.In)
}

// forHost reports whether packets to the address are for this host.
func (rs *Ruleset) forHost(a netip.Addr) bool {
	return rs.Host.Local(a) || a.IsMulticast() || rs.Host.Broadcast(a)
}

// rules returns the rules that could decide at the test's hook.
func (s *sampler) rules() []*Rule {
	var all []*Rule
	switch s.test.Hook {
	case packet.Output:
		all = slices.Concat(s.rs.OutboundBlocks, s.rs.Outbounds)
	case packet.Forward:
		all = slices.Concat(s.rs.Blocks, s.rs.Routes)
	default:
		all = slices.Concat(s.rs.Blocks, s.rs.Services)
	}
	return slices.DeleteFunc(all, func(r *Rule) bool { return !transportsMeet(r.Transports, s.test.Match.Transports) })
}

func transportsMeet(a, b []Transport) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	return slices.ContainsFunc(a, func(t Transport) bool {
		return slices.ContainsFunc(b, func(u Transport) bool {
			return t.Any || u.Any || t.Proto == u.Proto && (len(t.Dst) == 0 || len(u.Dst) == 0 || t.Dst.Overlaps(u.Dst))
		})
	})
}

// points collects addresses of one family, each once, up to a bound.
type points struct {
	is6  bool
	list []netip.Addr
	seen map[netip.Addr]bool
}

// maxPoints bounds an axis of addresses.
const maxPoints = 400

func (ps *points) add(addrs ...netip.Addr) {
	for _, a := range addrs {
		if a.IsValid() && a.Is6() == ps.is6 && !ps.seen[a] && len(ps.list) < maxPoints {
			ps.seen[a] = true
			ps.list = append(ps.list, a)
		}
	}
}

// edges adds the first and last address of each range of a set, and those just
// outside; of a large set, of the first and the last ranges.
func (ps *points) edges(set *netipx.IPSet) {
	ranges := set.Ranges()
	const most = 8
	if len(ranges) > 2*most {
		ranges = slices.Concat(ranges[:most], ranges[len(ranges)-most:])
	}
	for _, r := range ranges {
		ps.add(r.From(), r.To(), r.From().Prev(), r.To().Next())
	}
}

func (ps *points) set(a Addresses) {
	for _, s := range setsOf(a) {
		ps.edges(s)
	}
}

// addresses returns the points of the test's own end and of every rule's.
func (s *sampler) addresses(is6 bool, end func(*Rule) Addresses, own []netip.Addr) []netip.Addr {
	ps := &points{is6: is6, seen: map[netip.Addr]bool{}}
	ps.set(end(&s.test.Match))
	ps.add(own...)
	for _, r := range s.rules() {
		ps.set(end(r))
	}
	return ps.list
}

func (s *sampler) sourcePoints(is6 bool) []netip.Addr {
	ps := &points{is6: is6, seen: map[netip.Addr]bool{}}
	ps.set(s.test.Except)
	ps.add(s.hostAddrs()...)
	if s.test.Match.From.Any && is6 {
		ps.add(parseAddrs("2000::", "2606:4700::1", "fe80::1", "fd00::1", "::")...)
	}
	if s.test.Match.From.Any && !is6 {
		ps.add(parseAddrs("1.1.1.1", "0.0.0.0", "10.255.255.255", "169.254.169.254", "172.16.0.0", "192.168.0.1", "223.255.255.255")...)
	}
	return ps.list
}

// targetPoints are destinations that a packet of the hook can have.
func (s *sampler) targetPoints(is6 bool) []netip.Addr {
	ps := &points{is6: is6, seen: map[netip.Addr]bool{}}
	if s.test.Hook != packet.Forward {
		ps.add(s.hostAddrs()...)
		ps.add(parseAddrs("255.255.255.255", "224.0.0.1", "ff02::1")...)
	}
	if s.test.Hook != packet.Input {
		ps.add(parseAddrs("1.1.1.1", "169.254.169.254", "10.0.0.1", "2606:4700::1", "fd00::1")...)
	}
	return ps.list
}

func parseAddrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

func (s *sampler) hostAddrs() []netip.Addr {
	var out []netip.Addr
	for _, i := range s.rs.Host.Interfaces {
		for _, p := range i.Addrs {
			if !i.Loopback {
				out = append(out, p.Addr().WithZone(""))
			}
		}
	}
	return out
}

// interfaces returns names of interfaces that the packets may have.
func (s *sampler) interfaces(has bool, patterns []string) []string {
	if !has {
		return []string{""}
	}
	if len(patterns) > 0 {
		return concrete(patterns)
	}
	names := []string{"other0"}
	for _, r := range s.rules() {
		names = append(names, concrete(r.In)...)
		for _, g := range slices.Concat(r.From.Groups, r.To.Groups) {
			for _, t := range g.Terms {
				names = append(names, concrete(t.In)...)
			}
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "lo" })
}

// concrete returns names that fit the patterns.
func concrete(patterns []string) []string {
	var out []string
	for _, p := range patterns {
		if prefix, wild := strings.CutSuffix(p, "*"); wild {
			p = prefix + "0"
		}
		out = append(out, p)
	}
	return out
}

// heads returns the protocol, ports, type and code of the packets.
func (s *sampler) heads(is6 bool) []packet.Packet {
	var out []packet.Packet
	for _, t := range s.test.Match.Transports {
		if !t.Any {
			out = append(out, s.protoHeads(t, is6)...)
			continue
		}
		for _, p := range s.protocols(is6) {
			out = append(out, s.protoHeads(Transport{Proto: p, Dst: t.Dst, Src: t.Src}, is6)...)
		}
	}
	return out
}

// protocols returns those of the rules, and some that none may name.
func (s *sampler) protocols(is6 bool) []packet.Proto {
	out := []packet.Proto{packet.TCP, packet.UDP, packet.SCTP, 47, 50, 253}
	if is6 {
		out = append(out, packet.ICMPv6)
	} else {
		out = append(out, packet.ICMP)
	}
	for _, r := range s.rules() {
		for _, t := range r.Transports {
			if !t.Any {
				out = append(out, t.Proto)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *sampler) protoHeads(t Transport, is6 bool) []packet.Packet {
	p := packet.Packet{Proto: t.Proto}
	switch {
	case t.Proto.HasPorts():
		return s.portHeads(t)
	case t.Proto == packet.ICMPv6 != is6 && t.Proto.IsICMP():
		return nil // a test's icmp is that of its own family
	case t.Proto.IsICMP():
		return s.icmpHeads(p, is6)
	}
	return []packet.Packet{p}
}

func (s *sampler) icmpHeads(p packet.Packet, is6 bool) []packet.Packet {
	types := []uint8{0, 3, 5, 8, 11, 13, 17, 255}
	if is6 {
		types = []uint8{1, 2, 128, 129, 130, 133, 135, 137, 139, 255}
	}
	if s.test.Type != nil {
		types = []uint8{*s.test.Type}
	}
	var out []packet.Packet
	for _, t := range types {
		p.Type, p.Code = t, 0
		if s.test.Code != nil {
			p.Code = *s.test.Code
		}
		out = append(out, p)
	}
	return out
}

func (s *sampler) portHeads(t Transport) []packet.Packet {
	var dst, src []uint16
	dst, src = portPoints(dst, t.Dst), portPoints(src, t.Src)
	for _, r := range s.rules() {
		for _, u := range r.Transports {
			if u.Proto == t.Proto {
				dst, src = portPoints(dst, u.Dst), portPoints(src, u.Src)
			}
		}
	}
	dst, src = append(dst, 1, 65535), append(src, 1, packet.EphemeralPort)
	var out []packet.Packet
	for _, d := range inPorts(dst, t.Dst) {
		for _, c := range inPorts(src, t.Src) {
			p := packet.Packet{Proto: t.Proto, DstPort: d, SrcPort: c}
			if t.Proto == packet.TCP {
				p.Flags = packet.SYN
			}
			out = append(out, p)
		}
	}
	return out
}

// portPoints adds the edges of a set of ports, inside and outside.
func portPoints(list []uint16, ports packet.Ports) []uint16 {
	for _, r := range ports {
		list = append(list, r.Lo, r.Hi)
		if r.Lo > 0 {
			list = append(list, r.Lo-1)
		}
		if r.Hi < 65535 {
			list = append(list, r.Hi+1)
		}
	}
	return list
}

// inPorts returns the ports that are in the set, each once; every one if the set
// is empty.
func inPorts(list []uint16, set packet.Ports) []uint16 {
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(p uint16) bool { return len(set) > 0 && !set.Contains(p) })
}
