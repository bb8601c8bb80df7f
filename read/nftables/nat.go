package nftables

import (
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// nat gives the packet, and with it its connection, other addresses or ports.
func (x *exec) nat(a *args) {
	const dnat = 1 // NFT_NAT_DNAT
	if family := a.num(natFamily); family != uint64(x.family()) && family != FamilyInet {
		return // not for packets of this family
	}
	t := x.translation(a.num(natType) == dnat)
	if a.has(natAddrMin) {
		t.address(x.span16(a, natAddrMin, natAddrMax, t.addr.Width(x.is6)))
	}
	if a.has(natPortMin) {
		t.ports(x.span16(a, natPortMin, natPortMax, 16))
	}
	t.done()
}

// translation is what becomes of one end of a connection.
type translation struct {
	*exec
	addr, kind, port packet.Field
	freeAddr         packet.Field // where an address is taken from that is not fixed; the field itself if it becomes unknown
	freePort         packet.Field
	status           uint64 // the bits of ct status that say so
	writes           []packet.Write
	same             packet.All // holds for packets to which nothing new is given
	varies           bool       // it is not known what they are given
}

func (x *exec) translation(dst bool) *translation {
	if dst {
		return &translation{exec: x, addr: packet.FieldDst, kind: packet.FieldDstType, port: packet.FieldDstPort, freeAddr: packet.FieldNATDst, freePort: packet.FieldNATPort, status: packet.DstNAT | packet.DstTranslated}
	}
	return &translation{exec: x, addr: packet.FieldSrc, kind: packet.FieldSrcType, port: packet.FieldSrcPort, freeAddr: packet.FieldSrc, freePort: packet.FieldSrcPort, status: packet.SrcNAT | packet.SrcTranslated}
}

// span16 returns the first and the last value that registers give, nil if they
// are not known.
func (x *exec) span16(a *args, from, to int, width uint) []packet.Value {
	var out []packet.Value
	for _, i := range []int{from, to} {
		if !a.has(i) {
			continue
		}
		b, ok := constant(x.load(a.num(i), int(width)/8))
		if !ok {
			return nil
		}
		out = append(out, packet.BytesValue(b))
	}
	return []packet.Value{out[0], out[len(out)-1]}
}

func (t *translation) address(span []packet.Value) {
	t.writes = append(t.writes, t.choice(t.addr, t.freeAddr, span)...)
	if span != nil && span[0] == span[1] && packet.Multicast(t.is6).Contains(span[0]) {
		t.writes = append(t.writes, packet.Write{Field: t.kind, Mask: packet.Ones(2), Value: packet.Number(uint64(packet.AddrMulticast))})
		return
	}
	// Where the host's addresses are known, the kind follows from the address.
	t.writes = append(t.writes, packet.Write{Field: t.kind, Mask: packet.Ones(2), Unknown: "kind of the translated " + t.addr.String() + t.valueText(span)})
}

func (t *translation) valueText(span []packet.Value) string {
	if span == nil {
		return ""
	}
	return " " + span[0].Addr(t.is6).String()
}

func (t *translation) ports(span []packet.Value) {
	t.writes = append(t.writes, t.choice(t.port, t.freePort, span)...)
}

// choice writes one value of a range: the bits that all have, the others open.
func (t *translation) choice(f, free packet.Field, span []packet.Value) []packet.Write {
	width := f.Width(t.is6)
	fixed := packet.Value{}
	if span != nil {
		differ := span[0].Xor(span[1])
		fixed = packet.Ones(width)
		for differ != (packet.Value{}) {
			differ = differ.Moved(1)
			fixed = fixed.Shift(1).And(packet.Ones(width))
		}
	}
	var ws []packet.Write
	if fixed != (packet.Value{}) {
		ws = append(ws, packet.Write{Field: f, Mask: fixed, Value: span[0].And(fixed)})
	}
	if fixed == packet.Ones(width) {
		t.unchanged(f, span[0])
	} else {
		t.varies = true
	}
	if open := packet.Ones(width).Xor(fixed); open != (packet.Value{}) {
		w := packet.Write{Field: f, Mask: open, Copy: true, From: free}
		if free == f {
			w = packet.Write{Field: f, Mask: open, Unknown: t.key("translated " + f.String())}
		}
		ws = append(ws, w)
	}
	return ws
}

// unchanged adds the condition that the field has the value anyway. A packet
// without ports is given none.
func (t *translation) unchanged(f packet.Field, v packet.Value) {
	is := packet.Cond(packet.In{Field: f, Set: packet.Ranges{packet.Single(v)}})
	if f == t.port {
		ports := append(packet.Ranges{}, transportClasses[0].protos...)
		ports = packet.NewRanges(append(ports, transportClasses[1].protos...)...)
		is = packet.Any{is, packet.Not{Cond: packet.In{Field: packet.FieldProto, Set: ports}}}
	}
	t.same = append(t.same, is)
}

// done ends the rule: the packet is accepted, and its connection translated, if
// that changes anything.
func (t *translation) done() {
	decided := uint64(packet.SrcTranslated | packet.DstTranslated)
	changed := packet.Step{Writes: append(slices.Clip(t.writes), bits(t.status)), Outcome: packet.OutcomeAccept, Place: t.place}
	t.over = true
	if t.varies || len(t.same) == 0 {
		changed.Cond = t.conds
		t.steps = append(t.steps, changed)
		return
	}
	same := packet.Step{Cond: t.same, Writes: []packet.Write{bits(t.status & decided)}, Outcome: packet.OutcomeAccept, Place: t.place}
	t.steps = append(t.steps, t.step(t.conds, []packet.Step{same, changed}))
}

// bits sets bits of ct status.
func bits(n uint64) packet.Write {
	return packet.Write{Field: packet.FieldCTStatus, Mask: packet.Number(n), Value: packet.Number(n)}
}

// masquerade gives the source the address of the interface by which the packet
// leaves; without one the packet is dropped.
func (x *exec) masquerade(a *args) {
	x.toInterface(false, packet.FieldOut, a, masqPortMin, masqPortMax)
}

// redirect gives the destination an address of the host: of the interface by
// which the packet came, or loopback's for packets of the host itself.
func (x *exec) redirect(a *args) {
	if x.hook != packet.Output {
		x.toInterface(true, packet.FieldIn, a, redirPortMin, redirPortMax)
		return
	}
	t := x.translation(true)
	loopback := packet.AddrValue(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if x.is6 {
		loopback = packet.AddrValue(netip.IPv6Loopback())
	}
	t.local(loopback)
	if a.has(redirPortMin) {
		t.ports(x.span16(a, redirPortMin, redirPortMax, 16))
	}
	t.done()
}

func (t *translation) local(v packet.Value) {
	t.unchanged(t.addr, v)
	t.writes = append(t.writes,
		packet.Write{Field: t.addr, Mask: packet.Ones(t.addr.Width(t.is6)), Value: v},
		packet.Write{Field: t.kind, Mask: packet.Ones(2), Value: packet.Number(uint64(packet.AddrLocal))})
}

func (x *exec) toInterface(dst bool, f packet.Field, a *args, portMin, portMax int) {
	b := x.branches()
	with := func(addr netip.Addr) func(*exec) {
		return func(y *exec) {
			t := y.translation(dst)
			if addr.IsValid() {
				t.local(packet.AddrValue(addr))
			} else {
				t.address(nil)
			}
			if a.has(portMin) {
				t.ports(y.span16(a, portMin, portMax, 16))
			}
			t.done()
		}
	}
	for _, i := range x.linkOrder {
		if l := x.links[i]; l.Addrs != nil {
			b.when(packet.Iface{Out: f == packet.FieldOut, Pattern: l.Name}, func(y *exec) { y.addressOf(l, dst, with) })
		}
	}
	b.otherwise(with(netip.Addr{}))
	b.done()
}

// addressOf goes on with the address of an interface that the kernel takes.
func (x *exec) addressOf(l packet.Link, dst bool, with func(netip.Addr) func(*exec)) {
	to := l.Redirect(x.is6)
	if !dst && len(to) > 1 {
		with(netip.Addr{})(x) // the kernel chooses by the other end
		return
	}
	b := x.branches()
	for _, r := range to {
		then := with(r.Addr)
		if !r.Addr.IsValid() {
			then = func(y *exec) { y.end(packet.OutcomeDrop, "") }
		}
		if r.When == nil {
			b.otherwise(then)
		} else {
			b.when(r.When, then)
		}
	}
	b.done()
}
