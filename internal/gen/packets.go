package gen

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Packets picks n packets for the ruleset, which must have been resolved with
// its host's facts: up to half of them are decided by its rules, a few by each;
// the others are at the edges of what one rule names, or one step off in one
// field, some around the baseline, some at random; at every hook and on every
// interface of the host.
func Packets(rs *rules.Ruleset, r *rand.Rand, n int) []packet.Packet {
	pk := newPicker(rs, r)
	out := pk.decided(n / 2)
	for len(out) < n {
		p := pk.try()
		if Deliverable(p, rs.Host) {
			out = append(out, pk.inState(p))
		}
	}
	return out
}

// decided returns at most n packets that are decided by rules, for each rule
// some of every family and protocol.
func (pk *picker) decided(n int) []packet.Packet {
	type kind struct {
		rule  *rules.Rule
		is6   bool
		proto packet.Proto
	}
	seen := map[kind]int{}
	var out []packet.Packet
	for h, list := range pk.rules {
		for _, r := range list {
			for range 40 {
				p := pk.random(packet.Hook(h))
				pk.nearRule(&p, r)
				pk.headers(&p)
				p.State = KernelState(p)
				k := kind{r, p.Is6(), p.Proto}
				if Deliverable(p, pk.rs.Host) && seen[k] < 2 && pk.rs.Decide(p, pk.rs.Host.Time).Rule == r {
					seen[k]++
					out = append(out, p)
				}
			}
		}
	}
	pk.r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(n, len(out))]
}

// picker has what a ruleset names.
type picker struct {
	rs    *rules.Ruleset
	r     *rand.Rand
	names []string     // the interfaces of the host
	local []netip.Addr // its addresses
	rules [3][]*rules.Rule
	all   []*rules.Rule
}

func newPicker(rs *rules.Ruleset, r *rand.Rand) *picker {
	pk := &picker{rs: rs, r: r}
	for _, i := range rs.Host.Interfaces {
		pk.names = append(pk.names, i.Name)
		for _, a := range i.Addrs {
			pk.local = append(pk.local, a.Addr())
		}
	}
	pk.rules[packet.Input] = slices.Concat(rs.Services, rs.Blocks)
	pk.rules[packet.Output] = slices.Concat(rs.Outbounds, rs.OutboundBlocks)
	pk.rules[packet.Forward] = slices.Concat(rs.Routes, rs.Blocks)
	pk.all = slices.Concat(pk.rules[:]...)
	return pk
}

func (pk *picker) chance(percent int) bool { return pk.r.IntN(100) < percent }

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// try draws a packet that may not be deliverable.
func (pk *picker) try() packet.Packet {
	p := pk.random(pick(pk.r, []packet.Hook{packet.Input, packet.Input, packet.Input, packet.Output, packet.Forward}))
	switch {
	case pk.chance(15) && p.Hook != packet.Forward:
		pk.nearBaseline(&p)
	case pk.chance(85) && len(pk.rules[p.Hook]) > 0:
		pk.nearRule(&p, pick(pk.r, pk.rules[p.Hook]))
		for pk.chance(40) {
			pk.disturb(&p)
		}
	}
	pk.headers(&p)
	return p
}

// random draws every field without regard to the rules.
func (pk *picker) random(h packet.Hook) packet.Packet {
	is6 := pk.chance(45)
	p := packet.Packet{Hook: h, Src: pk.someAddr(is6), Dst: pk.someAddr(is6), Proto: pk.someProto(is6)}
	p.SrcPort, p.DstPort = pk.somePort(), pk.somePort()
	p.Type = pick(pk.r, []uint8{8, 128, 128, uint8(pk.r.IntN(256))})
	if h != packet.Output {
		p.In = pick(pk.r, pk.names)
	}
	if h != packet.Input {
		p.Out = pick(pk.r, pk.names)
	}
	return pk.settle(p, is6)
}

// settle gives the packet ends that fit its hook, of one family.
func (pk *picker) settle(p packet.Packet, is6 bool) packet.Packet {
	if p.Hook == packet.Input || p.Out == "lo" {
		p.Dst = pk.ownTarget(is6)
	}
	if p.Hook == packet.Output || p.In == "lo" {
		p.Src = pk.own(is6)
	}
	return p
}

// own returns an address of the host, or whatever there is if it has none of
// that family.
func (pk *picker) own(is6 bool) netip.Addr {
	var of []netip.Addr
	for _, a := range pk.local {
		if a.Is6() == is6 {
			of = append(of, a)
		}
	}
	if len(of) == 0 {
		return pick(pk.r, pk.local)
	}
	return pick(pk.r, of)
}

var (
	broadcast  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	multicast4 = []netip.Addr{netip.MustParseAddr("224.0.0.251"), netip.MustParseAddr("224.0.0.18"), netip.MustParseAddr("239.1.2.3")}
	multicast6 = []netip.Addr{netip.MustParseAddr("ff02::fb"), netip.MustParseAddr("ff02::12"), netip.MustParseAddr("ff02::1"), netip.MustParseAddr("ff05::2")}
)

// ownTarget returns a destination of packets for the host.
func (pk *picker) ownTarget(is6 bool) netip.Addr {
	switch {
	case pk.chance(80):
		return pk.own(is6)
	case is6:
		return pick(pk.r, multicast6)
	case pk.chance(50):
		return pick(pk.r, multicast4)
	}
	return pk.broadcast()
}

func (pk *picker) broadcast() netip.Addr {
	i := pick(pk.r, pk.rs.Host.Interfaces)
	for _, p := range i.Addrs {
		if p.Addr().Is4() && p.Bits() < 31 && !p.Addr().IsLoopback() {
			return netipx.PrefixLastIP(p)
		}
	}
	return broadcast
}

// someAddr returns an address out of the universe of the generated policies.
func (pk *picker) someAddr(is6 bool) netip.Addr {
	for {
		if a := pk.universe(); a.Is6() == is6 {
			return a
		}
	}
}

func (pk *picker) universe() netip.Addr {
	text := pick(pk.r, pick(pk.r, [][]string{sources, farDestinations}))
	if p, err := netip.ParsePrefix(text); err == nil {
		return pk.edge(netipx.RangeOfPrefix(p))
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return a
	}
	if r, err := netipx.ParseIPRange(text); err == nil {
		return pk.edge(r)
	}
	return pk.own(pk.chance(50))
}

// edge returns the first or last address of a range, the one before or after it,
// or one inside.
func (pk *picker) edge(r netipx.IPRange) netip.Addr {
	a := r.From()
	switch pk.r.IntN(6) {
	case 0:
		a = r.To()
	case 1:
		a = r.From().Prev()
	case 2:
		a = r.To().Next()
	case 3, 4:
		a = pk.inside(r)
	}
	if !a.IsValid() {
		return r.From()
	}
	return a
}

// inside returns a random address of a range: random bytes behind those that
// its ends share, until one fits.
func (pk *picker) inside(r netipx.IPRange) netip.Addr {
	from, to := r.From().AsSlice(), r.To().AsSlice()
	same := 0
	for same < len(from) && from[same] == to[same] {
		same++
	}
	for range 20 {
		var b [16]byte
		binary.NativeEndian.PutUint64(b[:], pk.r.Uint64())
		binary.NativeEndian.PutUint64(b[8:], pk.r.Uint64())
		copy(b[:], from[:same])
		if a, _ := netip.AddrFromSlice(b[:len(from)]); r.Contains(a) {
			return a
		}
	}
	return r.From()
}

var someProtos = []packet.Proto{
	packet.TCP, packet.TCP, packet.TCP, packet.UDP, packet.UDP, packet.SCTP, packet.DCCP, packet.UDPLite,
	47, 50, 112, packet.IGMP, 4, 89, 99, 98, 100, 254, 255, 41,
}

func (pk *picker) someProto(is6 bool) packet.Proto {
	switch {
	case pk.chance(15) && is6:
		return packet.ICMPv6
	case pk.chance(15):
		return packet.ICMP
	case pk.chance(3):
		return packet.ICMPv6
	case pk.chance(5):
		return packet.Proto(pk.r.IntN(256))
	}
	return pick(pk.r, someProtos)
}

// somePort returns a port that some rule knows, or any.
func (pk *picker) somePort() uint16 {
	if len(pk.all) == 0 || pk.chance(20) {
		return uint16(pk.r.IntN(1 << 16))
	}
	for range 5 {
		if ts := pick(pk.r, pk.all).Transports; len(ts) > 0 {
			return pk.portEdge(pick(pk.r, ts).Dst)
		}
	}
	return 22
}

// portEdge returns a port in the set, or next to a range of it; any if it is empty.
func (pk *picker) portEdge(s packet.Ports) uint16 {
	if len(s) == 0 {
		return uint16(pk.r.IntN(1 << 16))
	}
	r := pick(pk.r, s)
	switch pk.r.IntN(8) {
	case 0, 1:
		return r.Lo
	case 2, 3:
		return r.Hi
	case 4:
		return max(r.Lo, 1) - 1
	case 5:
		return min(r.Hi, 65534) + 1
	}
	return r.Lo + uint16(pk.r.IntN(int(r.Hi-r.Lo)+1))
}

// nearRule makes the packet fit the rule, or nearly.
func (pk *picker) nearRule(p *packet.Packet, r *rules.Rule) {
	pk.nearTransport(p, r.Transports)
	if len(r.In) > 0 && p.Hook != packet.Output {
		p.In = pk.fitting(r.In)
	}
	src, in := pk.member(r.From)
	dst, out := pk.member(r.To)
	if !src.IsValid() && !dst.IsValid() {
		return
	}
	if src.IsValid() && dst.IsValid() && src.Is6() != dst.Is6() {
		dst = netip.Addr{} // another attempt may find one of the same family
	}
	is6 := src.IsValid() && src.Is6() || !src.IsValid() && dst.Is6()
	if p.Is6() != is6 {
		p.Src, p.Dst = pk.someAddr(is6), pk.someAddr(is6)
		*p = pk.settle(*p, is6)
	}
	pk.ends(p, src, in, dst, out)
}

func (pk *picker) ends(p *packet.Packet, src netip.Addr, in []string, dst netip.Addr, out []string) {
	if src.IsValid() {
		p.Src = src
	}
	if dst.IsValid() {
		p.Dst = dst
	}
	if len(in) > 0 && p.Hook != packet.Output && pk.chance(80) {
		p.In = pk.fitting(in)
	}
	if len(out) > 0 && p.Hook != packet.Input && pk.chance(80) {
		p.Out = pk.fitting(out)
	}
}

// member returns an address in the set or at its edge, with the interfaces on
// which it must be seen; the zero Addr if it may be any.
func (pk *picker) member(as rules.Addresses) (netip.Addr, []string) {
	var terms []rules.Term
	if as.Set != nil {
		terms = append(terms, rules.Term{Set: as.Set})
	}
	own := as.Host
	for _, g := range as.Groups {
		terms = append(terms, g.Terms...)
		own = own || g.Host
	}
	switch {
	case own && (len(terms) == 0 || pk.chance(20)):
		return pick(pk.r, pk.local), nil
	case len(terms) == 0:
		return netip.Addr{}, nil
	}
	t := pick(pk.r, terms)
	return pk.edge(pick(pk.r, t.Set.Ranges())), t.In
}

// fitting returns an interface that fits one of the patterns, or any.
func (pk *picker) fitting(patterns []string) string {
	var fit []string
	for _, n := range pk.names {
		if slices.ContainsFunc(patterns, func(pat string) bool { return rules.MatchInterface(pat, n) }) {
			fit = append(fit, n)
		}
	}
	if len(fit) == 0 {
		return pick(pk.r, pk.names)
	}
	return pick(pk.r, fit)
}

func (pk *picker) nearTransport(p *packet.Packet, ts []rules.Transport) {
	if len(ts) == 0 {
		return
	}
	t := pick(pk.r, ts)
	if t.Any {
		return
	}
	p.Proto = t.Proto
	p.DstPort, p.SrcPort = pk.portEdge(t.Dst), pk.portEdge(t.Src)
}

// disturb gives one field another value.
func (pk *picker) disturb(p *packet.Packet) {
	q := pk.random(p.Hook)
	if len(pk.all) > 0 {
		pk.nearRule(&q, pick(pk.r, pk.all))
	}
	switch pk.r.IntN(7) {
	case 0:
		p.In, p.Out = q.In, q.Out
	case 1:
		if q.Is6() == p.Is6() {
			p.Src = q.Src
		}
	case 2:
		if q.Is6() == p.Is6() {
			p.Dst = q.Dst
		}
	case 3:
		p.Proto = q.Proto
	case 4:
		p.DstPort = q.DstPort
	case 5:
		p.SrcPort = q.SrcPort
	case 6:
		p.DstPort += uint16(pk.r.IntN(3)) - 1
	}
}

// nearBaseline makes a packet that one of the necessary allowances, or the
// answers to requests, let through, or nearly.
func (pk *picker) nearBaseline(p *packet.Packet) {
	list := rules.InputBaseline
	if p.Hook == packet.Output {
		list = rules.OutputBaseline
	}
	a := pick(pk.r, list)
	if pk.chance(25) {
		a = rules.Allowance{Is6: a.Is6, Proto: packet.ICMP, Types: rules.ICMPAll.Types(a.Is6)}
		if a.Is6 {
			a.Proto = packet.ICMPv6
		}
	}
	*p = pk.settle(packet.Packet{
		Hook: p.Hook, In: p.In, Out: p.Out, Src: pk.someAddr(a.Is6), Dst: pk.someAddr(a.Is6), Proto: a.Proto,
		SrcPort: pk.step(a.Src), DstPort: pk.step(a.Dst), Type: uint8(pk.r.IntN(256)),
	}, a.Is6)
	if len(a.Types) > 0 {
		p.Type = pick(pk.r, a.Types) + uint8(pick(pk.r, []int{0, 0, 0, 1, -1}))
	}
	if len(a.From) > 0 && p.Hook == packet.Input && pk.chance(70) {
		p.Src = pk.edge(netipx.RangeOfPrefix(pick(pk.r, a.From)))
	}
	if a.Is6 && p.Hook == packet.Input && pk.chance(30) {
		p.Dst = pick(pk.r, multicast6)
	}
}

// step returns the number, or now and then a neighbour of it.
func (pk *picker) step(n uint16) uint16 {
	return n + uint16(pick(pk.r, []int{0, 0, 0, 0, 1, -1}))
}

// headers clears the fields that the packet's protocol lacks, and gives it the
// flags of a first packet; now and then others.
func (pk *picker) headers(p *packet.Packet) {
	p.Flags, p.Code = 0, 0
	if !p.Proto.HasPorts() {
		p.SrcPort, p.DstPort = 0, 0
	}
	if !p.Proto.IsICMP() {
		p.Type = 0
	}
	if p.Proto == packet.TCP {
		p.Flags = packet.SYN
		if pk.chance(6) {
			p.Flags = pick(pk.r, []packet.Flags{packet.ACK, packet.ACK | packet.PSH, packet.SYN | packet.FIN, 0, packet.SYN | packet.ACK, packet.RST, packet.FIN | packet.ACK})
		}
	}
}

// inState gives the packet the state that the kernel will see, for some packets
// one that has to be prepared: established, related, untracked.
func (pk *picker) inState(p packet.Packet) packet.Packet {
	p.State = KernelState(p)
	one := !p.Dst.IsMulticast() && !pk.rs.Host.Broadcast(p.Dst) && !p.Src.IsUnspecified() && p.In != "lo" && p.Out != "lo"
	switch {
	case !one || !pk.chance(12):
	case p.Proto == packet.TCP:
		p.State, p.Flags = packet.Established, packet.ACK
	case p.Proto == packet.UDP:
		p.State = packet.Established
	case p.Proto == packet.ICMP && !p.Is6():
		p.State, p.Type = pk.icmpInFlow(0, []uint8{3, 4, 5, 11, 12})
	case p.Proto == packet.ICMPv6 && p.Is6():
		p.State, p.Type = pk.icmpInFlow(129, []uint8{1, 2, 3, 4})
	case p.Hook != packet.Output && p.Proto != packet.ICMP && p.Proto != packet.ICMPv6:
		p.State = packet.Untracked
	}
	return p
}

func (pk *picker) icmpInFlow(reply uint8, errors []uint8) (packet.State, uint8) {
	if pk.chance(50) {
		return packet.Established, reply
	}
	return packet.Related, pick(pk.r, errors)
}
