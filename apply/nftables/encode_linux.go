package nftables

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
	read "github.com/fwctl/fwctl/read/nftables"
	"github.com/fwctl/fwctl/render/nftables"
)

// Registers of 16 bytes are numbered from 1, those of 4 bytes from 8
// (linux/netfilter/nf_tables.h). A key begins in the first and goes on in the
// 4-byte registers that follow.
const (
	reg1  = unix.NFT_REG_1
	reg32 = unix.NFT_REG32_00
)

// exprsOf encodes the statements of a rule as nft does.
func exprsOf(r nftables.Rule) []expr.Any {
	e := encoder{}
	for i := 0; i < len(r.Stmts); i++ {
		if both := portPair(r.Stmts[i:]); both != nil {
			e.needProto(r.Stmts[i].(nftables.Port).Proto)
			e.add(payload(expr.PayloadBaseTransportHeader, 0, 4, reg1), eq(both))
			i++
			continue
		}
		e.stmt(r.Stmts[i])
	}
	return e.out
}

// portPair returns the first four bytes of the transport header if the list
// begins with one source and one destination port: nft compares them at once.
func portPair(stmts []nftables.Stmt) []byte {
	if len(stmts) < 2 {
		return nil
	}
	src, ok1 := stmts[0].(nftables.Port)
	dst, ok2 := stmts[1].(nftables.Port)
	if !ok1 || !ok2 || !src.Src || dst.Src || src.Proto != dst.Proto ||
		src.Range.Lo != src.Range.Hi || dst.Range.Lo != dst.Range.Hi {
		return nil
	}
	return append(be16(src.Range.Lo), be16(dst.Range.Lo)...)
}

// encoder writes expressions and remembers which implicit tests it has written.
type encoder struct {
	out    []expr.Any
	family int          // 4 or 6 once tested
	proto  packet.Proto // once tested; 0: not
}

func (e *encoder) add(xs ...expr.Any) { e.out = append(e.out, xs...) }

func (e *encoder) stmt(s nftables.Stmt) {
	switch s := s.(type) {
	case nftables.Loopback:
		e.meta(choose(s.Out, expr.MetaKeyOIF, expr.MetaKeyIIF), binaryutil.NativeEndian.PutUint32(1))
	case nftables.Iface:
		e.meta(choose(s.Out, expr.MetaKeyOIFNAME, expr.MetaKeyIIFNAME), ifname(s.Pattern))
	case nftables.Family:
		e.needFamily(s.Is6)
	case nftables.L4Proto:
		e.needProto(s.Proto)
	case nftables.Port:
		e.port(s)
	case nftables.Addr:
		e.addr(s)
	case nftables.ICMPType:
		e.needICMP(s.Is6)
		e.add(payload(expr.PayloadBaseTransportHeader, 0, 1, reg1), eq([]byte{s.Type}))
	case nftables.CTState:
		e.ctState(s.States)
	case nftables.Translated:
		e.bits(expr.CtKeySTATUS, packet.DstNAT)
	case nftables.FibType:
		e.add(&expr.Fib{Register: reg1, ResultADDRTYPE: true, FlagSADDR: s.Src, FlagDADDR: !s.Src},
			eq(binaryutil.NativeEndian.PutUint32(fibTypes[s.Type])))
	case nftables.Before:
		e.before(s)
	case nftables.Lookup:
		e.key(s.Key)
		e.add(&expr.Lookup{SourceRegister: reg1, SetName: s.Set})
	case nftables.Vmap:
		e.key(s.Key)
		e.add(&expr.Lookup{SourceRegister: reg1, SetName: s.Map, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT})
	default:
		e.action(s)
	}
}

func (e *encoder) action(s nftables.Stmt) {
	switch s := s.(type) {
	case nftables.Throttle:
		e.throttle(s)
	case nftables.Log:
		e.add(limit(nftables.LogRate, unix.NFT_LIMIT_PKTS, expr.LimitTimeSecond, nftables.LogBurst, false),
			&expr.Log{Key: 1 << unix.NFTA_LOG_PREFIX, Data: []byte(s.Prefix)})
	case nftables.Counter:
		e.add(&expr.Counter{})
	case nftables.Reject:
		if s.Reset {
			e.add(&expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
		} else {
			e.add(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH})
		}
	case nftables.Verdict:
		e.add(verdict(s))
	default:
		panic(fmt.Sprintf("nftables: statement %T cannot be encoded", s))
	}
}

// fibTypes are the address types of linux/rtnetlink.h (RTN_*).
var fibTypes = map[string]uint32{
	"local":     unix.RTN_LOCAL,
	"broadcast": unix.RTN_BROADCAST,
	"multicast": unix.RTN_MULTICAST,
}

func choose[T any](cond bool, yes, no T) T {
	if cond {
		return yes
	}
	return no
}

func eq(data []byte) *expr.Cmp {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data}
}

func (e *encoder) meta(key expr.MetaKey, want []byte) {
	e.add(&expr.Meta{Key: key, Register: reg1}, eq(want))
}

// ifname is the whole field for a name and only its beginning for a wildcard.
func ifname(pattern string) []byte {
	if n := len(pattern); pattern[n-1] == '*' {
		return []byte(pattern[:n-1])
	}
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, pattern)
	return b
}

func (e *encoder) needFamily(is6 bool) {
	family, nfproto := 4, byte(unix.NFPROTO_IPV4)
	if is6 {
		family, nfproto = 6, unix.NFPROTO_IPV6
	}
	if e.family != family {
		e.family = family
		e.meta(expr.MetaKeyNFPROTO, []byte{nfproto})
	}
}

func (e *encoder) needProto(p packet.Proto) {
	if e.proto != p {
		e.proto = p
		e.meta(expr.MetaKeyL4PROTO, []byte{byte(p)})
	}
}

// needICMP tests for ICMP over its own family.
func (e *encoder) needICMP(is6 bool) {
	e.needFamily(is6)
	e.needProto(choose(is6, packet.ICMPv6, packet.ICMP))
}

func payload(base expr.PayloadBase, offset, length, reg uint32) *expr.Payload {
	return &expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: length}
}

func (e *encoder) port(s nftables.Port) {
	e.needProto(s.Proto)
	e.add(payload(expr.PayloadBaseTransportHeader, portOffset(s.Src), 2, reg1))
	lo, hi := be16(s.Range.Lo), be16(s.Range.Hi)
	if s.Range.Lo == s.Range.Hi {
		e.add(eq(lo))
		return
	}
	e.add(&expr.Cmp{Op: expr.CmpOpGte, Register: reg1, Data: lo}, &expr.Cmp{Op: expr.CmpOpLte, Register: reg1, Data: hi})
}

func portOffset(src bool) uint32 { return choose[uint32](src, 0, 2) }

func be16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// addrField returns where an address stands in its header (RFC 791, RFC 8200).
func addrField(is6, src bool) (offset, length uint32) {
	if is6 {
		return choose[uint32](src, 8, 24), 16
	}
	return choose[uint32](src, 12, 16), 4
}

// addr compares whole bytes directly and other prefixes under a mask.
func (e *encoder) addr(s nftables.Addr) {
	a, bits := s.Prefix.Addr(), s.Prefix.Bits()
	e.needFamily(a.Is6())
	offset, length := addrField(a.Is6(), s.Src)
	want := a.AsSlice()
	if bits%8 == 0 {
		e.add(payload(expr.PayloadBaseNetworkHeader, offset, uint32(bits/8), reg1), eq(want[:bits/8]))
		return
	}
	e.add(payload(expr.PayloadBaseNetworkHeader, offset, length, reg1), mask(reg1, length, bits), eq(want))
}

func mask(reg, length uint32, bits int) *expr.Bitwise {
	m := make([]byte, length)
	for i := range bits {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: length, Mask: m, Xor: make([]byte, length)}
}

// stateBits are those of ct state (linux/netfilter/nf_conntrack_common.h,
// NF_CT_STATE_BIT and its like).
var stateBits = map[packet.State]uint32{
	packet.Invalid: 1, packet.Established: 2, packet.Related: 4, packet.New: 8, packet.Untracked: 64,
}

func (e *encoder) ctState(states []packet.State) {
	var bits uint32
	for _, s := range states {
		bits |= stateBits[s]
	}
	e.bits(expr.CtKeySTATE, bits)
}

// bits tests that what tracking knows has one of the bits.
func (e *encoder) bits(key expr.CtKey, bits uint32) {
	e.add(&expr.Ct{Key: key, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)})
}

// metaTimeNS is NFT_META_TIME_NS (linux/netfilter/nf_tables.h, Linux 5.4), which
// x/sys lacks.
const metaTimeNS expr.MetaKey = 30

// before compares the time in nanoseconds. It is in host order, comparisons are
// of bytes, so it is turned round first.
func (e *encoder) before(s nftables.Before) {
	e.add(&expr.Meta{Key: metaTimeNS, Register: reg1},
		&expr.Byteorder{SourceRegister: reg1, DestRegister: reg1, Op: expr.ByteorderHton, Len: 8, Size: 8},
		&expr.Cmp{Op: expr.CmpOpLt, Register: reg1, Data: binary.BigEndian.AppendUint64(nil, uint64(s.Time.UnixNano()))})
}

// key loads the parts of a key one behind the other.
func (e *encoder) key(loads []nftables.Load) {
	for _, l := range loads {
		e.implied(l)
	}
	reg := uint32(reg1)
	for _, l := range loads {
		n := e.load(l, reg)
		if reg == reg1 {
			reg = reg32
		}
		reg += n
	}
}

// implied writes the tests without which a field has no meaning. A port in a
// concatenation has its protocol beside it.
func (e *encoder) implied(l nftables.Load) {
	switch l.Field {
	case nftables.FieldAddr4, nftables.FieldAddr6:
		e.needFamily(l.Field == nftables.FieldAddr6)
	case nftables.FieldICMP, nftables.FieldICMP6:
		e.needICMP(l.Field == nftables.FieldICMP6)
	case nftables.FieldPort:
		if l.Proto != 0 {
			e.needProto(l.Proto)
		}
	}
}

// load reads one field into the register and returns how many 4-byte registers
// it fills.
func (e *encoder) load(l nftables.Load, reg uint32) uint32 {
	switch l.Field {
	case nftables.FieldProto:
		e.add(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg})
		return 1
	case nftables.FieldPort:
		e.add(payload(expr.PayloadBaseTransportHeader, portOffset(false), 2, reg))
		return 1
	case nftables.FieldICMP, nftables.FieldICMP6:
		e.add(payload(expr.PayloadBaseTransportHeader, 0, 1, reg))
		return 1
	}
	offset, length := addrField(l.Field == nftables.FieldAddr6, l.Src)
	e.add(payload(expr.PayloadBaseNetworkHeader, offset, length, reg))
	if l.Mask > 0 {
		e.add(mask(reg, length, l.Mask))
	}
	return length / 4
}

func (e *encoder) throttle(s nftables.Throttle) {
	l := nftables.Load{Field: nftables.FieldAddr4, Src: true}
	if s.Is6 {
		l = nftables.Load{Field: nftables.FieldAddr6, Src: true, Mask: nftables.ThrottleBits6}
	}
	e.key([]nftables.Load{l})
	e.add(&expr.Dynset{SrcRegKey: reg1, SetName: s.Set, Operation: unix.NFT_DYNSET_OP_UPDATE,
		Exprs: []expr.Any{limit(uint64(s.Limit.Count), unix.NFT_LIMIT_PKTS, expr.LimitTime(s.Limit.Per.Seconds()), s.Limit.Count, s.Over)}})
}

func limit(rate uint64, typ expr.LimitType, per expr.LimitTime, burst uint32, over bool) *expr.Limit {
	return &expr.Limit{Type: typ, Rate: rate, Unit: per, Burst: burst, Over: over}
}

func verdict(v nftables.Verdict) *expr.Verdict {
	return &expr.Verdict{Kind: verdictKinds[v.Kind], Chain: v.Chain}
}

var verdictKinds = map[nftables.VerdictKind]expr.VerdictKind{
	nftables.Accept: expr.VerdictAccept,
	nftables.Drop:   expr.VerdictDrop,
	nftables.Jump:   expr.VerdictJump,
	nftables.Goto:   expr.VerdictGoto,
	nftables.Return: expr.VerdictReturn,
}

// canonical returns the form in which expressions about to be sent compare with
// those of a dump.
func canonical(exprs []expr.Any) (string, error) {
	out := make([]read.Expr, len(exprs))
	for i, x := range exprs {
		b, err := expr.Marshal(unix.NFPROTO_INET, x)
		if err != nil {
			return "", fmt.Errorf("encode %T: %w", x, err)
		}
		if out[i], err = read.DecodeExpr(b); err != nil {
			return "", err
		}
	}
	return read.Canonical(out)
}

// elementsOf encodes a set's elements in the order of their keys.
func elementsOf(s *nftables.Set) []element {
	out := make([]element, len(s.Elements))
	for i, e := range s.Elements {
		first, next := keyOf(s.Fields, e)
		out[i] = element{key: first, verdict: e.Verdict, comment: e.Comment}
		if s.Interval {
			out[i].interval, out[i].next = true, next
		}
	}
	slices.SortFunc(out, func(a, b element) int { return bytes.Compare(a.key, b.key) })
	return out
}

// keyOf returns the key at which an element begins and, for a single field, the
// one behind its end: nil if the element reaches to the last key of all.
func keyOf(fields []nftables.Field, e nftables.Element) (first, next []byte) {
	for _, f := range fields {
		var b []byte
		switch f {
		case nftables.FieldProto:
			b = []byte{byte(e.Proto)}
		case nftables.FieldPort:
			b, next = be16(e.Ports.Lo), after(be16(e.Ports.Hi))
		case nftables.FieldICMP, nftables.FieldICMP6:
			b = []byte{e.ICMP}
		default:
			b, next = e.Addrs.From().AsSlice(), afterAddr(e.Addrs.To())
		}
		if len(fields) > 1 {
			b = append(b, make([]byte, (4-len(b)%4)%4)...)
		}
		first = append(first, b...)
	}
	return first, next
}

func afterAddr(a netip.Addr) []byte {
	if n := a.Next(); n.IsValid() {
		return n.AsSlice()
	}
	return nil
}

func after(b []byte) []byte {
	n := binary.BigEndian.Uint16(b)
	if n == 1<<16-1 {
		return nil
	}
	return be16(n + 1)
}
