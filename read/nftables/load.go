package nftables

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// payload loads bytes of a header, or writes them.
func (x *exec) payload(e Expr, a *args) {
	from, n := int(a.num(payloadOffset)), int(a.num(payloadLen))
	write := a.has(payloadSreg)
	if n <= 0 || n > 64 || from < 0 || from > 1<<16 || !write && !a.has(payloadDreg) {
		x.require(x.unknown("a load that was not understood", true))
		return
	}
	bits, ok := x.header(a.num(payloadBase), from, n)
	if !ok {
		x.fail()
		return
	}
	if from+n > x.sure(a.num(payloadBase)) && (write || kindIs(bits, bitField)) {
		// What the packet lacks ends the rule.
		x.require(x.unknown(fmt.Sprintf("the packet has @%s,%d,%d", baseNames[min(a.num(payloadBase), 3)], 8*from, 8*n), true))
	}
	if write {
		x.write(x.assign(bits, x.load(a.num(payloadSreg), n), x.exprText(e)))
		return
	}
	if kindIs(bits, bitOpaque) {
		named := x.opaque(n, x.loadText(e), true)
		for i := range bits {
			if bits[i].kind == bitOpaque {
				bits[i] = named[i]
			}
		}
	}
	x.store(a.num(payloadDreg), bits)
}

// header returns bytes of a header, false if packets at the hook do not have it.
func (x *exec) header(base uint64, from, n int) ([]bit, bool) {
	switch base {
	case baseLink:
		if x.hook == packet.Output {
			return nil, false // a packet that leaves has no link-layer header yet
		}
		if x.hook == packet.Postrouting {
			return make([]bit, 8*n), true
		}
		return x.linkHeader().bytes(from, n), true
	case baseNetwork:
		return x.networkHeader().bytes(from, n), true
	case baseTransport:
		x.first()
		return transportHeader(x.class.kind).bytes(from, n), true
	}
	return make([]bit, 8*n), true
}

// first ends the rule for a fragment that is not the first: its transport header
// cannot be read.
func (x *exec) first() {
	if !x.whole {
		x.whole = true
		x.require(isField(packet.FieldFragment, 0))
	}
}

// sure is how many bytes every packet has behind the beginning of a header.
func (x *exec) sure(base uint64) int {
	switch base {
	case baseLink:
		return 14
	case baseNetwork:
		if x.is6 {
			return 40
		}
		return 20
	case baseTransport:
		return map[classKind]int{classTCP: 20, classPorts: 8, classICMP: 4}[x.class.kind]
	}
	return 0
}

// header says where fields stand, in bits.
type header []headerField

type headerField struct {
	at   int
	bits []bit
}

func field(f packet.Field, at int, n int) headerField {
	return headerField{at, numberBits(bitField, f, n)}
}

// bytes returns n bytes of the header.
func (h header) bytes(from, n int) []bit {
	out := make([]bit, 8*n)
	for _, f := range h {
		for i, b := range f.bits {
			if at := f.at + i - 8*from; at >= 0 && at < len(out) {
				out[at] = b
			}
		}
	}
	return out
}

// linkHeader is that of Ethernet, without tags.
func (x *exec) linkHeader() header {
	return header{field(packet.FieldMAC, 48, 48), {96, constBits(x.etherType())}}
}

// networkHeader follows RFC 791 and RFC 8200. Options and extension headers are
// not modelled: the next header is the protocol.
func (x *exec) networkHeader() header {
	if x.is6 {
		return header{
			{0, constBits([]byte{0x60})[:4]}, field(packet.FieldDSCP, 4, 6),
			field(packet.FieldProto, 48, 8), field(packet.FieldTTL, 56, 8),
			field(packet.FieldSrc, 64, 128), field(packet.FieldDst, 192, 128),
		}
	}
	return header{
		{0, constBits([]byte{0x45})}, field(packet.FieldDSCP, 8, 6), field(packet.FieldLength, 16, 16),
		{51, numberBits(bitPart, 0, 13)}, field(packet.FieldTTL, 64, 8), field(packet.FieldProto, 72, 8),
		field(packet.FieldSrc, 96, 32), field(packet.FieldDst, 128, 32),
	}
}

func transportHeader(k classKind) header {
	ports := header{field(packet.FieldSrcPort, 0, 16), field(packet.FieldDstPort, 16, 16)}
	switch k {
	case classTCP:
		return append(ports, field(packet.FieldFlags, 104, 8))
	case classPorts:
		return ports
	case classICMP:
		return header{field(packet.FieldType, 0, 8), field(packet.FieldCode, 8, 8)}
	}
	return nil
}

func (x *exec) etherType() []byte {
	if x.is6 {
		return []byte{0x86, 0xdd}
	}
	return []byte{0x08, 0x00}
}

func (x *exec) meta(e Expr, a *args) {
	key := a.num(metaKey)
	if a.has(metaSreg) {
		x.setMeta(e, key, a.num(metaSreg))
		return
	}
	bits, ok := x.metaBits(key)
	switch {
	case !ok:
		x.fail()
	case bits == nil:
		// What changes from packet to packet is no lack of understanding.
		x.store(a.num(metaDreg), x.opaque(ifNameSize, x.loadText(e), key != keyRandom && key != keyCPU && key != keyHour && key != keyDay))
	default:
		x.store(a.num(metaDreg), bits)
	}
}

// metaBits returns what a key of meta has; nil if that is not known, false if
// the load ends the rule.
func (x *exec) metaBits(key uint64) ([]bit, bool) {
	switch key {
	case keyLen:
		return hostOrder(wide(numberBits(bitField, packet.FieldLength, 16), 4)), true
	case keyProtocol:
		return constBits(x.etherType()), true
	case keyMark:
		return hostOrder(numberBits(bitField, packet.FieldMark, 32)), true
	case keyNFProto:
		return constBits([]byte{x.family()}), true
	case keyL4Proto:
		return numberBits(bitField, packet.FieldProto, 8), true
	case keyPktType:
		return wide(numberBits(bitField, packet.FieldPacketType, 2), 1), true
	case keyTime:
		return hostOrder(numberBits(bitTime, 0, 64)), true
	case keyUID:
		return x.ownerBits(packet.FieldUser)
	case keyGID:
		return x.ownerBits(packet.FieldUserGroup)
	case keyClassID, keyCgroup:
		if x.hook == packet.Prerouting || x.hook == packet.Forward {
			return nil, false
		}
		return nil, true
	}
	return x.interfaceBits(key)
}

func (x *exec) family() byte {
	if x.is6 {
		return FamilyIPv6
	}
	return FamilyIPv4
}

// ownerBits are of packets from this host: others have no socket, and the rule
// ends. Packets of an established connection may be given one early.
func (x *exec) ownerBits(f packet.Field) ([]bit, bool) {
	switch x.hook {
	case packet.Prerouting, packet.Forward:
		return nil, false
	case packet.Input:
		x.require(isField(packet.FieldState, uint64(packet.Established)))
		x.require(x.unknown("the packet was given to its socket early", false))
		return nil, true
	case packet.Postrouting:
		x.require(packet.Iface{Pattern: ""})
	}
	return hostOrder(numberBits(bitField, f, 32)), true
}

// interfaceBits are of an interface. One that packets do not have at the hook has
// no name and the number 0, but nothing else.
func (x *exec) interfaceBits(key uint64) ([]bit, bool) {
	f := packet.FieldIn
	if slices.Contains([]uint64{keyOIF, keyOIFName, keyOIFType, keyOIFGroup, keyOIFKind}, key) {
		f = packet.FieldOut
	}
	absent := x.absent(f)
	switch key {
	case keyIIFName, keyOIFName:
		return nameBits(f), true
	case keyIIF, keyOIF:
		return hostOrder(numberBits(bitIndex, f, 32)), true
	case keyIIFType, keyOIFType:
		return x.attributeBits(f, linkType, 16), !absent
	case keyIIFGroup, keyOIFGroup:
		return x.attributeBits(f, linkGroup, 32), !absent
	case keyIIFKind, keyOIFKind:
		return nil, !absent
	}
	return nil, true
}

// absent reports whether packets at the hook have no such interface.
func (x *exec) absent(f packet.Field) bool {
	if f == packet.FieldIn {
		return x.hook == packet.Output
	}
	return x.hook == packet.Prerouting || x.hook == packet.Input
}

func nameBits(f packet.Field) []bit {
	out := make([]bit, 8*ifNameSize)
	for i := range out {
		out[i] = bit{kind: bitName, field: f, index: uint8(i)}
	}
	return out
}

func (x *exec) attributeBits(f packet.Field, attribute uint16, n int) []bit {
	bits := numberBits(bitOf, f, n)
	for i := range bits {
		bits[i].ref = attribute
	}
	return hostOrder(bits)
}

// setMeta writes the mark, or what decides nothing.
func (x *exec) setMeta(e Expr, key, sreg uint64) {
	switch key {
	case keyMark:
		x.write(x.assign(hostOrder(numberBits(bitField, packet.FieldMark, 32)), x.load(sreg, 4), x.exprText(e)))
	case keyPktType:
		x.write(x.assign(wide(numberBits(bitField, packet.FieldPacketType, 2), 1), x.load(sreg, 1), x.exprText(e)))
	}
}

func (x *exec) ct(e Expr, a *args) {
	key := a.num(ctKey)
	if a.has(ctSreg) {
		if key == keyCTMark && !x.early { // there is no entry to write to before tracking
			x.write(x.assign(hostOrder(numberBits(bitField, packet.FieldCTMark, 32)), x.load(a.num(ctSreg), 4), x.exprText(e)))
		}
		return
	}
	if key == keyState {
		x.store(a.num(ctDreg), x.stateBits())
		return
	}
	// Every other key needs an entry.
	if x.early {
		x.fail()
		return
	}
	x.require(packet.Not{Cond: packet.In{Field: packet.FieldState, Set: packet.Ranges{{
		Lo: packet.Number(uint64(packet.Invalid)), Hi: packet.Number(uint64(packet.Untracked)),
	}}}})
	if of4, of6 := key == keySrcIP || key == keyDstIP, key == keySrcIP6 || key == keyDstIP6; of4 && x.is6 || of6 && !x.is6 {
		x.fail()
		return
	}
	if key == keyCTProtocol {
		x.ctProtocol(e, a)
		return
	}
	bits := x.ctBits(key, a)
	if bits == nil {
		bits = x.opaque(ifNameSize, x.loadText(e), key != keyPkts && key != keyBytes && key != keyAvgPkt && key != keyExpiration)
	}
	x.store(a.num(ctDreg), bits)
}

// ctProtocol is that of the packet, unless it is an ICMP error about another.
func (x *exec) ctProtocol(e Expr, a *args) {
	b := x.branches()
	related := isField(packet.FieldState, uint64(packet.Related))
	b.when(related, func(y *exec) { y.store(a.num(ctDreg), y.opaque(1, y.loadText(e), true)) })
	b.otherwise(func(y *exec) { y.store(a.num(ctDreg), numberBits(bitField, packet.FieldProto, 8)) })
	b.done()
}

// statePlace is the bit of ct state that stands for a State
// (NF_CT_STATE_*, linux/netfilter/nf_conntrack_common.h).
var statePlace = [...]int{packet.New: 3, packet.Established: 1, packet.Related: 2, packet.Invalid: 0, packet.Untracked: 6}

// stateBits are those of ct state. Before tracking has seen a packet it is
// invalid, unless tracking was forbidden.
func (x *exec) stateBits() []bit {
	out := zeros(32)
	for state, place := range statePlace {
		b := &out[31-place]
		switch {
		case !x.early || state == int(packet.Untracked):
			*b = bit{kind: bitState, field: packet.FieldState, index: uint8(state)}
		case state == int(packet.Invalid):
			*b = bit{kind: bitState, field: packet.FieldState, index: uint8(packet.Untracked), one: true}
		}
	}
	return hostOrder(out)
}

// ctBits returns what a key of ct has, nil if that is not known.
func (x *exec) ctBits(key uint64, a *args) []bit {
	original := a.has(ctDirection) && a.num(ctDirection) == 0 // IP_CT_DIR_ORIGINAL
	switch key {
	case keyStatus:
		return hostOrder(wide(numberBits(bitField, packet.FieldCTStatus, 16), 4))
	case keyCTMark:
		return hostOrder(numberBits(bitField, packet.FieldCTMark, 32))
	case keyL3Protocol:
		return constBits([]byte{x.family()})
	case keyProtoDst:
		if original && x.class.kind <= classPorts {
			return numberBits(bitField, packet.FieldOrigPort, 16)
		}
	case keyCTDst, keyDstIP, keyDstIP6:
		if original {
			return numberBits(bitField, packet.FieldOrigDst, int(packet.FieldOrigDst.Width(x.is6)))
		}
	}
	return nil
}

func (x *exec) fib(e Expr, a *args) {
	const resultType, src, dst, mark, iif, present = 3, 1, 2, 4, 8, 32 // NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_*
	field, ref, flags := packet.FieldDstType, uint16(0), a.num(fibFlags)
	if flags&^(mark|present) == src|iif && a.num(fibResult) != resultType {
		x.reversePath(a, flags&mark != 0, flags&present != 0)
		return
	}
	switch flags {
	case dst:
	case src:
		field = packet.FieldSrcType
	case dst | iif:
		ref = ofInterface
	case src | iif:
		field, ref = packet.FieldSrcType, ofInterface
	default:
		x.store(a.num(fibDreg), x.opaque(ifNameSize, x.loadText(e), true))
		return
	}
	if a.num(fibResult) != resultType {
		x.store(a.num(fibDreg), x.opaque(ifNameSize, x.loadText(e), true))
		return
	}
	bits := wide(numberBits(bitKind_, field, 4), 4)
	for i := range bits {
		bits[i].ref = ref
	}
	x.store(a.num(fibDreg), hostOrder(bits))
}

// reversePath stores the interface by which the packet came where routes lead back
// to its source by it, else zeros. That there is one may be all that is asked for.
func (x *exec) reversePath(a *args, marked, present bool) {
	const resultIndex = 1 // NFT_FIB_RESULT_OIF
	key := uint64(keyIIFName)
	if a.num(fibResult) == resultIndex {
		key = keyIIF
	}
	found, _ := x.interfaceBits(key)
	if present {
		found = constBits([]byte{1})
	}
	store := func(bits []bit) func(*exec) { return func(y *exec) { y.store(a.num(fibDreg), bits) } }
	b := x.branches()
	b.when(packet.ReversePath(x.is6, marked), store(found))
	b.otherwise(store(zeros(len(found))))
	b.done()
}

// ofIncoming is the condition that the address belongs to the interface by which
// the packet came, or is a broadcast of none (RTN_BROADCAST, fib_frontend.c of
// Linux).
func (x *exec) ofIncoming(kind packet.Field) packet.Cond {
	addr := packet.FieldDst
	if kind == packet.FieldSrcType {
		addr = packet.FieldSrc
	}
	var c, known packet.Any
	if !x.is6 {
		c = append(c, packet.In{Field: addr, Set: packet.Ranges{{Hi: packet.Number(0x00ffffff)}, packet.Single(packet.Number(0xffffffff))}})
	}
	for _, i := range x.linkOrder {
		l := x.links[i]
		if l.Addrs == nil {
			continue
		}
		name := packet.Iface{Pattern: l.Name}
		known = append(known, name)
		if set := l.Addresses(x.is6); len(set) > 0 {
			c = append(c, packet.All{name, packet.In{Field: addr, Set: set}})
		}
	}
	return append(c, packet.All{packet.Not{Cond: known}, packet.Unknown{Key: kind.String() + " is that of the interface"}})
}

// Operations of bitwise (NFT_BITWISE_*).
const (
	bitwiseMaskXor, bitwiseLeft, bitwiseRight, bitwiseAnd, bitwiseOr, bitwiseExclusive = 0, 1, 2, 3, 4, 5
)

func (x *exec) bitwise(e Expr, a *args) {
	n := int(a.num(bitwiseLen))
	if n <= 0 || n > 64 {
		x.require(x.unknown("a bitwise operation that was not understood", true))
		return
	}
	bits := x.load(a.num(bitwiseSreg), n)
	op := a.num(bitwiseOp)
	ok := len(bits) == 8*n
	switch {
	case !ok:
	case op == bitwiseMaskXor:
		ok = maskXor(bits, a.value(bitwiseMask), a.value(bitwiseXor))
	case op == bitwiseLeft || op == bitwiseRight:
		bits, ok = shifted(bits, op == bitwiseRight, a.value(bitwiseData))
	default:
		ok = combine(bits, op, x.operand(a, n))
	}
	if !ok {
		bits = x.opaque(n, x.exprText(e), true)
	}
	x.store(a.num(bitwiseDreg), bits)
}

func maskXor(bits []bit, mask, xor []byte) bool {
	if 8*len(mask) != len(bits) || len(xor) != len(mask) {
		return false
	}
	for i := range bits {
		bits[i] = bits[i].masked(bitAt(mask, i), bitAt(xor, i))
	}
	return true
}

// operand is the second operand of the boolean operations of newer kernels.
func (x *exec) operand(a *args, n int) []bit {
	if a.has(bitwiseSreg2) {
		return x.load(a.num(bitwiseSreg2), n)
	}
	return constBits(a.value(bitwiseData))
}

// combine joins bits with constants, either side first.
func combine(bits []bit, op uint64, with []bit) bool {
	if len(with) != len(bits) || op < bitwiseAnd || op > bitwiseExclusive {
		return false
	}
	for i := range bits {
		b, c := bits[i], with[i]
		if c.kind != bitConst {
			b, c = c, b
		}
		if c.kind != bitConst {
			return false
		}
		switch {
		case op == bitwiseExclusive:
			b = b.masked(true, c.one)
		case c.one == (op == bitwiseOr):
			b = c
		}
		bits[i] = b
	}
	return true
}

// shifted moves bits within a number whose words are in the order of this
// machine's memory (nft_bitwise_eval_lshift of Linux).
func shifted(bits []bit, right bool, data []byte) ([]bit, bool) {
	n, ok := hostNumber(data)
	if !ok || len(bits)%32 != 0 || n >= 32 {
		return nil, false
	}
	words(bits)
	out := make([]bit, 0, len(bits))
	if right {
		out = append(append(out, zeros(n)...), bits[:len(bits)-n]...)
	} else {
		out = append(append(out, bits[n:]...), zeros(n)...)
	}
	words(out)
	return out, true
}

func words(bits []bit) {
	for i := 0; i < len(bits); i += 32 {
		hostOrder(bits[i : i+32])
	}
}

// byteorder turns words around (NFT_BYTEORDER_*: both directions are the same).
// Bytes behind the last whole word stay as they were in the register: nft writes
// such expressions, too (nft_byteorder_eval, nft_byteorder.c).
func (x *exec) byteorder(a *args) {
	n, unit := int(a.num(byteorderLen)), int(a.num(byteorderSize))
	bits := x.load(a.num(byteorderSreg), n)
	if n <= 0 || n > 64 || len(bits) != 8*n || !slices.Contains([]int{2, 4, 8}, unit) {
		x.store(a.num(byteorderDreg), x.opaque(ifNameSize, "a change of byte order that was not understood", true))
		return
	}
	whole := 8 * (n - n%unit)
	for i := 0; i < whole; i += 8 * unit {
		hostOrder(bits[i : i+8*unit])
	}
	if was := x.load(a.num(byteorderDreg), n); len(was) == len(bits) {
		copy(bits[whole:], was[whole:])
	}
	x.store(a.num(byteorderDreg), bits)
}

// assign returns the writes that put bits of a register into fields. What the
// register has that is neither constant nor of a field becomes unknown.
func (x *exec) assign(to, from []bit, what string) []packet.Write {
	var ws []packet.Write
	for i, t := range to {
		if t.kind != bitField || i >= len(from) || from[i] == t {
			continue
		}
		w := packet.Write{Field: t.field, Mask: packet.Bit(uint(t.index))}
		switch f := from[i]; f.kind {
		case bitConst:
			if f.one {
				w.Value = w.Mask
			}
		case bitField:
			w.Copy, w.From, w.Shift = true, f.field, int(f.index)-int(t.index)
			if f.one {
				w.Value = w.Mask
			}
		default:
			w.Unknown = what
		}
		ws = join(ws, w)
	}
	for i := range ws {
		if w := &ws[i]; w.Unknown != "" || w.Copy && w.From == w.Field && len(ws) > 1 {
			*w = packet.Write{Field: w.Field, Mask: w.Mask, Unknown: w.Field.String() + " after " + x.key(what)}
		}
	}
	return ws
}

// join adds a write of one bit to those that differ from it in the bit alone.
func join(ws []packet.Write, w packet.Write) []packet.Write {
	for i := range ws {
		o := &ws[i]
		if o.Field == w.Field && o.Copy == w.Copy && o.From == w.From && o.Shift == w.Shift && (o.Unknown == "") == (w.Unknown == "") {
			o.Mask, o.Value = o.Mask.Or(w.Mask), o.Value.Or(w.Value)
			return ws
		}
	}
	return append(ws, w)
}

// hostNumber reads four bytes in the order of this machine's memory.
func hostNumber(b []byte) (int, bool) {
	if len(b) != 4 {
		return 0, false
	}
	return int(binary.NativeEndian.Uint32(b)), true
}
