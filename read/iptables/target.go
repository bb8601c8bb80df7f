package iptables

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// act writes the steps for what the rule does.
func (x *rule) act() {
	t := x.target
	if t == nil || t.name == "" {
		return
	}
	if name, ok := x.lead(t.name); ok {
		o := packet.OutcomeJump
		if x.isGoto {
			o = packet.OutcomeGoto
		}
		x.emit(o, name, nil)
		return
	}
	switch t.name {
	case "ACCEPT":
		x.emit(packet.OutcomeAccept, "", nil)
	case "DROP":
		x.emit(packet.OutcomeDrop, "", nil)
	case "REJECT":
		x.emit(packet.OutcomeReject, "", nil)
	case "RETURN":
		x.emit(packet.OutcomeReturn, "", nil)
	case "LOG", "ULOG", "NFLOG", "TRACE", "AUDIT", "TEE", "TCPMSS", "TCPOPTSTRIP", "CHECKSUM", "CLASSIFY", "CONNSECMARK", "SECMARK",
		"IDLETIMER", "LED", "RATEEST":
		// They change nothing that rules ask for.
	case "QUEUE", "NFQUEUE", "SYNPROXY", "TPROXY":
		x.elsewhere()
	case "DNAT", "SNAT", "REDIRECT", "MASQUERADE", "NETMAP":
		x.translate()
	default:
		x.change()
	}
}

// elsewhere is for targets that hand the packet to something that accepts or
// drops it.
func (x *rule) elsewhere() {
	x.emit(packet.OutcomeAccept, "", x.unknown(x.target.String()+" lets it through", true))
	x.emit(packet.OutcomeDrop, "", nil)
}

// anything is for targets that are not known: they accept, drop, or go on.
func (x *rule) anything() {
	x.emit(packet.OutcomeAccept, "", x.unknown(x.target.String()+" accepts", true))
	x.emit(packet.OutcomeDrop, "", x.unknown(x.target.String()+" drops", true))
}

// change is for targets that change the packet and go on.
func (x *rule) change() {
	t := x.target
	switch t.name {
	case "MARK":
		x.setMark(packet.FieldMark)
	case "CONNMARK":
		x.connmark()
	case "NOTRACK":
		x.emit(packet.OutcomeContinue, "", nil, constant(packet.FieldState, 7, uint64(packet.Untracked)))
	case "CT":
		if t.option("notrack") != nil {
			x.emit(packet.OutcomeContinue, "", nil, constant(packet.FieldState, 7, uint64(packet.Untracked)))
		}
	case "TOS":
		x.setTOS()
	case "DSCP":
		x.setDSCP()
	case "TTL", "HL":
		x.setTTL()
	case "ECN":
		if t.option("ecn-tcp-remove") != nil {
			x.emit(packet.OutcomeContinue, "", nil, constant(packet.FieldFlags, 0xc0, 0))
		}
	case "SET":
		if t.option("map-mark") != nil {
			x.hide(packet.FieldMark)
		}
	case "HMARK":
		x.hide(packet.FieldMark)
	case "DNPT":
		x.hide(packet.FieldDst)
	case "SNPT":
		x.hide(packet.FieldSrc)
	default:
		x.anything()
	}
}

func constant(f packet.Field, mask, value uint64) packet.Write {
	return packet.Write{Field: f, Mask: packet.Number(mask), Value: packet.Number(value)}
}

// hide gives a field a value that cannot be seen.
func (x *rule) hide(f packet.Field) { x.emit(packet.OutcomeContinue, "", nil, x.hidden(f)) }

// hidden is the write of something unknown; only as many bits as the field has
// are written.
func (x *rule) hidden(f packet.Field) packet.Write {
	return packet.Write{Field: f, Mask: packet.Value{Hi: ^uint64(0), Lo: ^uint64(0)}, Unknown: x.key(f.String() + " by " + x.target.String())}
}

// xmark is "set-xmark VALUE/MASK": the bits of the mask go, those of the value
// are turned over.
func xmark(f packet.Field, value, mask uint64) []packet.Write {
	var ws []packet.Write
	if mask != 0 {
		ws = append(ws, constant(f, mask, value&mask))
	}
	if flip := value &^ mask; flip != 0 {
		ws = append(ws, packet.Write{Field: f, Mask: packet.Number(flip), Copy: true, From: f, Value: packet.Number(flip)})
	}
	return ws
}

// marking reads what MARK and CONNMARK do to a mark.
func (p *part) marking(f packet.Field) ([]packet.Write, bool) {
	const all = 1<<32 - 1
	for i := range p.options {
		o := &p.options[i]
		text, _ := o.arg()
		value, mask, ok := masked(text, 32)
		switch {
		case !ok:
		case o.name == "set-xmark":
			return xmark(f, value, mask), true
		case o.name == "set-mark":
			return xmark(f, value, mask|value), true
		case o.name == "and-mark":
			return xmark(f, 0, all&^value), true
		case o.name == "or-mark":
			return xmark(f, value, value), true
		case o.name == "xor-mark":
			return xmark(f, value, 0), true
		}
	}
	return nil, false
}

func (x *rule) setMark(f packet.Field) {
	ws, ok := x.target.marking(f)
	if !ok {
		x.hide(f)
		return
	}
	x.emit(packet.OutcomeContinue, "", nil, ws...)
}

// connmark does what CONNMARK says with packets that have a connection.
func (x *rule) connmark() {
	t := x.target
	if x.table.Name == "raw" {
		return // none has, yet
	}
	x.cond = append(x.cond, tracked)
	save, restore := t.option("save-mark") != nil, t.option("restore-mark") != nil
	from, to := packet.FieldMark, packet.FieldCTMark
	fromMask, okFrom := t.mask("nfmask")
	toMask, okTo := t.mask("ctmask")
	if restore {
		from, to, fromMask, toMask = to, from, toMask, fromMask
	}
	switch {
	case !save && !restore:
		x.setMark(packet.FieldCTMark)
	case !okFrom || !okTo || t.option("left-shift-mark") != nil || t.option("right-shift-mark") != nil || fromMask&^toMask != 0:
		x.hide(to)
	default: // to = to &^ toMask ^ from & fromMask
		x.emit(packet.OutcomeContinue, "", nil,
			constant(to, toMask&^fromMask, 0), packet.Write{Field: to, Mask: packet.Number(fromMask), Copy: true, From: from})
	}
}

// mask is a mask of CONNMARK, all bits if there is none; "mask" is both.
func (p *part) mask(name string) (uint64, bool) {
	o := p.option(name)
	if o == nil {
		o = p.option("mask")
	}
	if o == nil {
		return 1<<32 - 1, true
	}
	text, _ := o.arg()
	return integer(text, 32)
}

func (x *rule) setTOS() {
	const all = 0xff
	for i := range x.target.options {
		o := &x.target.options[i]
		text, _ := o.arg()
		value, mask, ok := tos(text)
		switch {
		case !ok:
		case o.name == "and-tos":
			value, mask = 0, all&^value
		case o.name == "or-tos":
			mask = value
		case o.name == "xor-tos":
			mask = 0
		}
		if ok {
			x.emit(packet.OutcomeContinue, "", nil, xmark(packet.FieldDSCP, value>>2, mask>>2)...)
			return
		}
	}
	x.hide(packet.FieldDSCP)
}

func (x *rule) setDSCP() {
	for i := range x.target.options {
		o := &x.target.options[i]
		text, _ := o.arg()
		if n, ok := dscp(o.name, text); ok {
			x.emit(packet.OutcomeContinue, "", nil, constant(packet.FieldDSCP, 0x3f, n))
			return
		}
	}
	x.hide(packet.FieldDSCP)
}

func (x *rule) setTTL() {
	o := x.target.option(strings.ToLower(x.target.name) + "-set")
	text, _ := o.arg()
	if n, ok := integer(text, 8); ok {
		x.emit(packet.OutcomeContinue, "", nil, constant(packet.FieldTTL, 0xff, n))
		return
	}
	x.hide(packet.FieldTTL)
}

// translate gives the packet another address, and accepts it for table nat.
// What is not one address, or one port, is unknown.
func (x *rule) translate() {
	addr, port, bit := packet.FieldDst, packet.FieldDstPort, uint64(statusDestinationNAT)
	option := "to-destination"
	switch x.target.name {
	case "SNAT", "MASQUERADE":
		addr, port, bit, option = packet.FieldSrc, packet.FieldSrcPort, statusSourceNAT, "to-source"
	case "NETMAP":
		if x.hook == packet.Input || x.hook == packet.Postrouting {
			addr, bit = packet.FieldSrc, statusSourceNAT
		}
		x.emit(packet.OutcomeAccept, "", nil, x.hidden(addr), constant(packet.FieldCTStatus, bit, bit))
		return
	}
	text, _ := x.target.option(option).arg()
	a, rest, ok := x.endpoint(text)
	if to, _ := x.target.option("to-ports").arg(); to != "" {
		rest = to
	}
	var ports []packet.Write
	if n, single := integer(rest, 16); single {
		ports = []packet.Write{constant(port, 0xffff, n)}
	} else if rest != "" || addr == packet.FieldSrc {
		ports = []packet.Write{x.hidden(port)}
	}
	accept := func(when packet.Cond, w packet.Write) {
		ws := []packet.Write{constant(packet.FieldCTStatus, bit, bit), w}
		x.emit(packet.OutcomeAccept, "", joined(when, header(withPorts...)), append(slices.Clip(ws), ports...)...)
		x.emit(packet.OutcomeAccept, "", when, ws...)
	}
	if x.target.name == "REDIRECT" {
		x.redirect(accept)
	} else if ok {
		accept(nil, toAddr(addr, a))
	} else {
		accept(nil, x.hidden(addr))
	}
}

func toAddr(f packet.Field, a netip.Addr) packet.Write {
	return packet.Write{Field: f, Mask: packet.Value{Hi: ^uint64(0), Lo: ^uint64(0)}, Value: packet.AddrValue(a)}
}

// joined is the condition that both hold; the first may be nil.
func joined(a, b packet.Cond) packet.Cond {
	if a == nil {
		return b
	}
	return packet.All{a, b}
}

// redirect gives packets of the host itself loopback's address, others that of the
// interface by which they came; without one they are dropped.
func (x *rule) redirect(accept func(packet.Cond, packet.Write)) {
	if x.hook == packet.Output {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if x.is6 {
			loopback = netip.IPv6Loopback()
		}
		accept(nil, toAddr(packet.FieldDst, loopback))
		return
	}
	for _, l := range x.opt.Links {
		for _, to := range l.Redirect(x.is6) {
			when := joined(to.When, packet.Iface{Pattern: l.Name})
			if to.Addr.IsValid() {
				accept(when, toAddr(packet.FieldDst, to.Addr))
			} else {
				x.emit(packet.OutcomeDrop, "", when)
			}
		}
	}
	accept(nil, x.hidden(packet.FieldDst))
}

// endpoint reads "ADDRESS", "ADDRESS:PORT" or "[ADDRESS]:PORT".
func (x *rule) endpoint(text string) (a netip.Addr, rest string, ok bool) {
	word := text
	switch {
	case strings.HasPrefix(text, "["):
		word, rest, _ = strings.Cut(text[1:], "]")
		rest = strings.TrimPrefix(rest, ":")
	case !x.is6:
		word, rest, _ = strings.Cut(text, ":")
	}
	a, err := netip.ParseAddr(word)
	return a, rest, err == nil && a.Is6() == x.is6
}
