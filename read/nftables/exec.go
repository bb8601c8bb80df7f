package nftables

import (
	"fmt"
	"slices"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// exec runs the expressions of one rule on a packet of which nothing is known
// but its protocol's class. Registers hold symbols instead of bytes; tests
// become conditions.
type exec struct {
	*reader
	class protoClass
	place packet.Place

	regs   [regBytes]symbol
	conds  packet.All
	writes []packet.Write
	over   bool // the rule ended
	steps  []packet.Step
}

// regBytes is the size of the register file: 16 registers of four bytes behind
// the verdict (linux/netfilter/nf_tables.h, NFT_REG32_COUNT).
const regBytes = 64

// symbol is one byte of a register: a byte of a field, under a mask, or a
// constant, or something that was not understood.
type symbol struct {
	kind  symbolKind
	field packet.Field
	index uint8 // which byte of the field, 0 the lowest
	mask  byte
	xor   byte
	value byte   // of a constant
	what  string // of an opaque one
}

type symbolKind uint8

const (
	symOpaque symbolKind = iota
	symConst
	symField
	symState  // a byte of ct state, whose bits stand for the states
	symKind   // a byte of an address's kind as fib returns it
	symIndex  // a byte of an interface's index; field says which
	symName   // a byte of an interface's name, index counts from its beginning
	symTime   // a byte of the time in nanoseconds
	symAbsent // of a field that the hook lacks: a load of it ends the rule
)

func (x *exec) run(exprs []Expr) {
	if x.class.protos != nil {
		x.require(packet.In{Field: packet.FieldProto, Set: x.class.protos})
	}
	for _, e := range exprs {
		if x.over {
			return
		}
		x.expr(e)
	}
	x.emit(packet.OutcomeContinue, "", nil)
}

// require adds a test. One that no packet of the class passes ends the rule, so
// that what follows is not read for packets that never come there.
func (x *exec) require(c packet.Cond) {
	if x.impossible(c) {
		x.fail()
		return
	}
	x.conds = append(x.conds, c)
}

func (x *exec) impossible(c packet.Cond) bool {
	switch c := c.(type) {
	case packet.Any:
		return len(c) == 0
	case packet.All:
		return slices.ContainsFunc(c, x.impossible)
	case packet.Bits:
		return c.Field == packet.FieldProto && c.Mask == packet.Number(0xff) && !x.class.has(c.Value)
	case *packet.Tuples:
		return len(c.Entries) == 0
	}
	return false
}

func (c protoClass) has(v packet.Value) bool { return c.protos == nil || c.protos.Contains(v) }

// fail ends the rule without a match.
func (x *exec) fail() {
	x.over = true
}

// emit writes a step for what the rule has tested so far.
func (x *exec) emit(o packet.Outcome, chain string, also packet.Cond) {
	if o == packet.OutcomeContinue && len(x.writes) == 0 {
		return
	}
	conds := append(packet.All(nil), x.conds...)
	if also != nil {
		conds = append(conds, also)
	}
	x.steps = append(x.steps, packet.Step{Cond: conds, Writes: x.writes, Outcome: o, Chain: chain, Place: x.place})
}

// unknown makes a condition of something that no packet decides or that was not
// understood. The same text in the same place counts as the same unknown.
func (x *exec) unknown(text string, unsupported bool) packet.Cond {
	key := text
	if x.seen[text]++; x.seen[text] > 1 {
		key = fmt.Sprintf("%s (%d)", text, x.seen[text])
	}
	return packet.Unknown{Key: key, Unsupported: unsupported}
}

// register returns the bytes of the register file that a register number names.
func (x *exec) register(n uint64, length int) []symbol {
	from := 0
	switch {
	case n >= 1 && n <= 4: // NFT_REG_1 and its like have 16 bytes
		from = int(n-1) * 16
	case n >= 8 && n < 24: // NFT_REG32_00 and its like have 4
		from = int(n-8) * 4
	default:
		return make([]symbol, length)
	}
	if from+length > regBytes {
		return make([]symbol, length)
	}
	return x.regs[from : from+length]
}

// fill writes symbols into a register, the rest of its last four bytes becomes
// zero.
func (x *exec) fill(n uint64, syms []symbol) {
	size := align4(len(syms))
	reg := x.register(n, size)
	for i := range reg {
		if i < len(syms) {
			reg[i] = syms[i]
		} else {
			reg[i] = symbol{kind: symConst}
		}
	}
}

func opaque(length int, what string) []symbol {
	out := make([]symbol, length)
	for i := range out {
		out[i] = symbol{kind: symOpaque, what: what}
	}
	return out
}

// fieldBytes returns the symbols of a field whose bytes stand in network order.
func fieldBytes(f packet.Field, size int) []symbol {
	out := make([]symbol, size)
	for i := range out {
		out[i] = symbol{kind: symField, field: f, index: uint8(size - 1 - i), mask: 0xff}
	}
	return out
}

// hostBytes is fieldBytes for the order of this machine's memory, in which the
// kernel keeps marks, identities and its own numbers.
func hostBytes(kind symbolKind, f packet.Field, size int) []symbol {
	out := make([]symbol, size)
	for i := range out {
		at := i
		if bigEndianHost() {
			at = size - 1 - i
		}
		out[at] = symbol{kind: kind, field: f, index: uint8(i), mask: 0xff}
	}
	return out
}

func constBytes(b []byte) []symbol {
	out := make([]symbol, len(b))
	for i, c := range b {
		out[i] = symbol{kind: symConst, value: c}
	}
	return out
}

func (x *exec) expr(e Expr) {
	switch e.Name {
	case "counter", "log", "last":
	case "payload":
		x.payload(e)
	case "meta":
		x.meta(e)
	case "ct":
		x.ct(e)
	case "cmp":
		x.cmp(e)
	case "range":
		x.rangeTest(e)
	case "bitwise":
		x.bitwise(e)
	case "byteorder":
		x.byteorder(e)
	case "immediate":
		x.immediate(e)
	case "lookup":
		x.lookup(e)
	case "fib":
		x.fib(e)
	case "reject":
		x.end(packet.OutcomeReject, "")
	default:
		x.special(e)
	}
}

// special are the expressions whose effect does not follow from the packet.
func (x *exec) special(e Expr) {
	switch e.Name {
	case "limit":
		x.limit(e)
	case "dynset":
		x.dynset(e)
	case "notrack":
		x.writes = append(x.writes, packet.Write{Field: packet.FieldState, Mask: packet.Number(7), Value: packet.Number(uint64(packet.Untracked))})
	case "quota", "connlimit", "numgen", "hash", "rt", "socket", "osf", "xfrm", "exthdr", "tunnel", "inner":
		x.opaqueLoad(e)
	case "objref", "dup", "fwd", "flow_offload", "secmark":
		// Objects that count or label decide nothing; those that limit do.
		if e.Name == "objref" {
			x.require(x.unknown(Text([]Expr{e}), true))
		}
	case "queue", "synproxy", "tproxy":
		x.decideUnknown(e)
	case "nat", "masq", "redir":
		x.decideUnknown(e)
	default:
		x.require(x.unknown(Text([]Expr{e}), true))
	}
}

// opaqueLoad fills the destination register with something unknown, or is an
// unknown test if there is no such register.
func (x *exec) opaqueLoad(e Expr) {
	dreg := map[string]uint16{"numgen": 1, "hash": 2, "rt": 1, "socket": 2, "osf": 1, "xfrm": 1, "exthdr": 1}
	if d, ok := dreg[e.Name]; ok && attr(e, d) != nil {
		x.fill(attrNumber(e, d), opaque(16, Text([]Expr{e})))
		return
	}
	x.require(x.unknown(Text([]Expr{e}), e.Name != "quota" && e.Name != "connlimit"))
}

// decideUnknown is for expressions that hand the packet to something else.
func (x *exec) decideUnknown(e Expr) {
	u := x.unknown(Text([]Expr{e})+" lets it through", true)
	x.emit(packet.OutcomeAccept, "", u)
	x.end(packet.OutcomeDrop, "")
}

func (x *exec) end(o packet.Outcome, chain string) {
	x.emit(o, chain, nil)
	x.over = true
}

// payload loads bytes of a header.
func (x *exec) payload(e Expr) {
	const dreg, base, offset, length = 1, 2, 3, 4 // NFTA_PAYLOAD_*
	n := int(attrNumber(e, length))
	if attr(e, dreg) == nil || n == 0 || n > 16 {
		x.require(x.unknown(Text([]Expr{e}), true))
		return
	}
	from := int(attrNumber(e, offset))
	var syms []symbol
	switch attrNumber(e, base) {
	case 0: // NFT_PAYLOAD_LL_HEADER
		if x.hook == packet.Output {
			x.fail() // a packet that leaves has no link-layer header yet
			return
		}
		syms = headerBytes(linkHeader, from, n)
	case 1: // NFT_PAYLOAD_NETWORK_HEADER
		syms = headerBytes(networkHeader(x.is6), from, n)
	case 2: // NFT_PAYLOAD_TRANSPORT_HEADER
		// The header of a fragment that is not the first cannot be read.
		x.require(packet.In{Field: packet.FieldFragment, Set: packet.Ranges{packet.Single(packet.Value{})}})
		syms = headerBytes(transportHeader(x.class.kind), from, n)
	default:
		syms = opaque(n, "")
	}
	for i := range syms {
		if syms[i].kind == symOpaque {
			syms[i].what = Text([]Expr{e})
		}
	}
	x.fill(attrNumber(e, dreg), syms)
}

// header says where fields stand, in bytes.
type header []struct {
	field        packet.Field
	offset, size int
	mask         byte // of a field within one byte; 0: all
	shift        uint8
}

var linkHeader = header{{field: packet.FieldMAC, offset: 6, size: 6}}

// networkHeader follows RFC 791 and RFC 8200. Extension headers are not modelled:
// the next header is the protocol.
func networkHeader(is6 bool) header {
	if is6 {
		return header{{field: packet.FieldProto, offset: 6, size: 1}, {field: packet.FieldTTL, offset: 7, size: 1},
			{field: packet.FieldSrc, offset: 8, size: 16}, {field: packet.FieldDst, offset: 24, size: 16}}
	}
	return header{{field: packet.FieldLength, offset: 2, size: 2}, {field: packet.FieldTTL, offset: 8, size: 1},
		{field: packet.FieldProto, offset: 9, size: 1}, {field: packet.FieldSrc, offset: 12, size: 4}, {field: packet.FieldDst, offset: 16, size: 4}}
}

func transportHeader(k classKind) header {
	ports := header{{field: packet.FieldSrcPort, offset: 0, size: 2}, {field: packet.FieldDstPort, offset: 2, size: 2}}
	switch k {
	case classTCP:
		return append(ports, header{{field: packet.FieldFlags, offset: 13, size: 1}}...)
	case classPorts:
		return ports
	case classICMP:
		return header{{field: packet.FieldType, offset: 0, size: 1}, {field: packet.FieldCode, offset: 1, size: 1}}
	}
	return nil
}

// headerBytes returns the symbols of n bytes of a header.
func headerBytes(h header, from, n int) []symbol {
	out := opaque(n, "")
	for _, f := range h {
		all := fieldBytes(f.field, f.size)
		for i := range all {
			if at := f.offset + i - from; at >= 0 && at < n {
				out[at] = all[i]
			}
		}
	}
	return out
}

// Keys of meta (NFT_META_*, linux/netfilter/nf_tables.h).
const (
	metaLen, metaProtocol, metaMark, metaIIF, metaOIF = 0, 1, 3, 4, 5
	metaIIFName, metaOIFName, metaUID, metaGID        = 6, 7, 10, 11
	metaNFProto, metaL4Proto, metaPktType, metaTime   = 15, 16, 19, 30
	ifNameSize                                        = 16
)

func (x *exec) meta(e Expr) {
	const dreg, key, sreg = 1, 2, 3 // NFTA_META_*
	k := attrNumber(e, key)
	if attr(e, sreg) != nil {
		x.set(k == metaMark, packet.FieldMark, attrNumber(e, sreg), e)
		return
	}
	x.fill(attrNumber(e, dreg), x.metaBytes(k, e))
}

func (x *exec) metaBytes(key uint64, e Expr) []symbol {
	switch key {
	case metaLen:
		return hostBytes(symField, packet.FieldLength, 4)
	case metaProtocol:
		if x.is6 {
			return constBytes([]byte{0x86, 0xdd})
		}
		return constBytes([]byte{0x08, 0x00})
	case metaMark:
		return hostBytes(symField, packet.FieldMark, 4)
	case metaIIF:
		return hostBytes(symIndex, packet.FieldIn, 4)
	case metaOIF:
		return hostBytes(symIndex, packet.FieldOut, 4)
	case metaIIFName:
		return nameBytes(packet.FieldIn)
	case metaOIFName:
		return nameBytes(packet.FieldOut)
	case metaNFProto:
		if x.is6 {
			return constBytes([]byte{FamilyIPv6})
		}
		return constBytes([]byte{FamilyIPv4})
	case metaL4Proto:
		return fieldBytes(packet.FieldProto, 1)
	case metaPktType:
		return fieldBytes(packet.FieldPacketType, 1)
	case metaTime:
		return hostBytes(symTime, 0, 8)
	}
	return x.socketBytes(key, e)
}

// socketBytes are of packets from this host: others have no socket, and the
// rule ends.
func (x *exec) socketBytes(key uint64, e Expr) []symbol {
	if key != metaUID && key != metaGID {
		return opaque(ifNameSize, Text([]Expr{e}))
	}
	if x.hook != packet.Output {
		x.fail()
	}
	if key == metaUID {
		return hostBytes(symField, packet.FieldUser, 4)
	}
	return hostBytes(symField, packet.FieldUserGroup, 4)
}

func nameBytes(f packet.Field) []symbol {
	out := make([]symbol, ifNameSize)
	for i := range out {
		out[i] = symbol{kind: symName, field: f, index: uint8(i)}
	}
	return out
}

// set writes a constant from a register into a field; anything else is an
// unknown effect, which later tests of the field must not believe.
func (x *exec) set(known bool, f packet.Field, sreg uint64, e Expr) {
	if !known {
		return // priorities, queues and traces decide nothing
	}
	v, ok := constant(x.register(sreg, 4))
	if !ok {
		x.require(x.unknown(Text([]Expr{e}), true))
		return
	}
	if !bigEndianHost() {
		v[0], v[1], v[2], v[3] = v[3], v[2], v[1], v[0]
	}
	x.writes = append(x.writes, packet.Write{Field: f, Mask: packet.Number(1<<32 - 1), Value: packet.BytesValue(v)})
}

func constant(syms []symbol) ([]byte, bool) {
	out := make([]byte, len(syms))
	for i, s := range syms {
		if s.kind != symConst {
			return nil, false
		}
		out[i] = s.value
	}
	return out, true
}

// Keys of ct (NFT_CT_*).
const (
	ctState, ctDirection, ctStatus, ctMark = 0, 1, 2, 3
)

func (x *exec) ct(e Expr) {
	const dreg, key, direction, sreg = 1, 2, 3, 4 // NFTA_CT_*
	k := attrNumber(e, key)
	if attr(e, sreg) != nil {
		x.set(k == ctMark, packet.FieldCTMark, attrNumber(e, sreg), e)
		return
	}
	if k != ctState {
		// Every other key needs an entry, which an untracked packet lacks.
		untracked := packet.In{Field: packet.FieldState, Set: packet.Ranges{packet.Single(packet.Number(uint64(packet.Untracked)))}}
		x.require(packet.Not{Cond: untracked})
	}
	var syms []symbol
	switch k {
	case ctState:
		syms = hostBytes(symState, packet.FieldState, 4)
	case ctStatus:
		syms = hostBytes(symField, packet.FieldCTStatus, 4)
	case ctMark:
		syms = hostBytes(symField, packet.FieldCTMark, 4)
	default:
		syms = opaque(ifNameSize, Text([]Expr{e}))
	}
	x.fill(attrNumber(e, dreg), syms)
}

func (x *exec) fib(e Expr) {
	const dreg, result, flags = 1, 2, 3                    // NFTA_FIB_*
	const resultType, flagSrc, flagDst, plain = 3, 1, 2, 3 // NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_*
	f := attrNumber(e, flags)
	if attrNumber(e, result) != resultType || f&^uint64(plain) != 0 || f == plain {
		x.fill(attrNumber(e, dreg), opaque(ifNameSize, Text([]Expr{e})))
		return
	}
	field := packet.FieldDstType
	if f == flagSrc {
		field = packet.FieldSrcType
	}
	x.fill(attrNumber(e, dreg), hostBytes(symKind, field, 4))
}

func (x *exec) bitwise(e Expr) {
	const sreg, dreg, length, mask, xor, op = 1, 2, 3, 4, 5, 6 // NFTA_BITWISE_*
	n := int(attrNumber(e, length))
	if n == 0 || n > 16 {
		n = 4
	}
	src := append([]symbol(nil), x.register(attrNumber(e, sreg), n)...)
	m, okM := valueOf(attr(e, mask))
	o, okX := valueOf(attr(e, xor))
	if attrNumber(e, op) != 0 || !okM || !okX || len(m) < n || len(o) < n {
		x.fill(attrNumber(e, dreg), opaque(n, Text([]Expr{e})))
		return
	}
	for i := range src {
		src[i] = src[i].masked(m[i], o[i], Text([]Expr{e}))
	}
	x.fill(attrNumber(e, dreg), src)
}

func (s symbol) masked(mask, xor byte, text string) symbol {
	switch s.kind {
	case symConst:
		s.value = s.value&mask ^ xor
	case symField, symState, symKind, symIndex:
		s.mask &= mask
		s.xor = s.xor&mask ^ xor
	default:
		if mask != 0xff || xor != 0 {
			return symbol{kind: symOpaque, what: text}
		}
	}
	return s
}

// valueOf reads nested data (NFTA_DATA_VALUE).
func valueOf(b []byte) ([]byte, bool) {
	v, err := decodeValue(b)
	return v, err == nil && v != nil
}

func (x *exec) byteorder(e Expr) {
	const sreg, dreg, length, size = 1, 2, 4, 5 // NFTA_BYTEORDER_*
	n, unit := int(attrNumber(e, length)), int(attrNumber(e, size))
	if n == 0 || n > 16 || unit == 0 || n%unit != 0 {
		x.fill(attrNumber(e, dreg), opaque(16, Text([]Expr{e})))
		return
	}
	src := append([]symbol(nil), x.register(attrNumber(e, sreg), n)...)
	if !bigEndianHost() {
		for at := 0; at < n; at += unit {
			for i, j := at, at+unit-1; i < j; i, j = i+1, j-1 {
				src[i], src[j] = src[j], src[i]
			}
		}
	}
	x.fill(attrNumber(e, dreg), src)
}

func (x *exec) immediate(e Expr) {
	const dreg, data = 1, 2 // NFTA_IMMEDIATE_*
	if attrNumber(e, dreg) != 0 {
		v, ok := valueOf(attr(e, data))
		if !ok {
			v = nil
		}
		x.fill(attrNumber(e, dreg), constBytes(v))
		return
	}
	var el Element
	if err := el.decodeData(attr(e, data)); err != nil || el.Verdict == nil {
		x.end(packet.OutcomeUnknown, "")
		return
	}
	o, chain := x.outcome(*el.Verdict)
	x.end(o, chain)
}

// outcome reads a verdict (NF_*, NFT_*).
func (x *exec) outcome(v Verdict) (packet.Outcome, string) {
	switch v.Code {
	case 0:
		return packet.OutcomeDrop, ""
	case 1:
		return packet.OutcomeAccept, ""
	case -1: // NFT_CONTINUE
		return packet.OutcomeContinue, ""
	case -3:
		return packet.OutcomeJump, x.chainName(v.Chain)
	case -4:
		return packet.OutcomeGoto, x.chainName(v.Chain)
	case -5:
		return packet.OutcomeReturn, ""
	}
	return packet.OutcomeUnknown, ""
}

func (x *exec) limit(e Expr) {
	const over = 1 // NFT_LIMIT_F_INV
	const flags = 5
	c := x.unknown(limitText(e), false)
	if attrNumber(e, flags)&over != 0 {
		c = packet.Not{Cond: c}
	}
	x.require(c)
}

// limitOf reads a limit expression.
func limitOf(e Expr) (rate uint64, per time.Duration, burst uint64, bytes, over bool) {
	// NFTA_LIMIT_RATE, UNIT, BURST, TYPE, FLAGS
	return attrNumber(e, 1), time.Duration(attrNumber(e, 2)) * time.Second, attrNumber(e, 3), attrNumber(e, 4) != 0, attrNumber(e, 5)&1 != 0
}

func limitText(e Expr) string {
	rate, per, burst, bytes, _ := limitOf(e)
	unit := "packets"
	if bytes {
		unit = "bytes"
	}
	return fmt.Sprintf("fewer than %d %s in %s, burst %d", rate, unit, per, burst)
}

// dynset adds to a set; with an expression it also tests what it keeps for each
// element.
func (x *exec) dynset(e Expr) {
	const sregKey, expr, exprs = 4, 7, 10 // NFTA_DYNSET_*
	data := attr(e, expr)
	if data == nil {
		if attr(e, exprs) == nil {
			return
		}
		x.require(x.unknown(Text([]Expr{e}), true))
		return
	}
	inner, err := DecodeExpr(data)
	switch {
	case err != nil:
		x.require(x.unknown(Text([]Expr{e}), true))
	case inner.Name == "counter":
	case inner.Name == "limit":
		x.perSource(e, inner, attrNumber(e, sregKey))
	default:
		x.require(x.unknown(Text([]Expr{e}), inner.Name != "connlimit"))
	}
}
