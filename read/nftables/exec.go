package nftables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	rule  *ruleState

	regs  [registerBits]bit
	whats []opaqueLoad
	exprs []Expr // that are still to be run
	conds packet.All
	steps []packet.Step // what the rule came to: cases of which at most one holds
	over  bool          // the rule ended
	whole bool          // it was asked whether the packet is a fragment
}

// ruleState is what all ways through a rule have in common.
type ruleState struct {
	keys  map[string]string // of unknowns: by where they occur in the rule
	forks int               // how many ways were followed
}

// mostForks bounds the ways through one rule: each look-up in a map is as many as
// the map has values.
const mostForks = 2048

// run runs what is left of the rule and returns what it does.
func (x *exec) run() []packet.Step {
	for !x.over && len(x.exprs) > 0 {
		e := x.exprs[0]
		x.exprs = x.exprs[1:]
		a := argsOf(e)
		x.expr(e, &a)
	}
	return x.steps
}

// child is the rule from here on, for some of the packets that come so far.
func (x *exec) child() *exec {
	y := *x
	y.conds, y.steps = nil, nil
	y.whats = slices.Clip(y.whats)
	if x.rule.forks++; x.rule.forks > mostForks {
		y.exprs = nil
		y.require(y.unknown("a rule with too many ways through it", true))
		y.end(packet.OutcomeUnknown, "")
	}
	return &y
}

// require adds a test. One that no packet of the class passes ends the rule, so
// that what follows is not read for packets that never come there.
func (x *exec) require(c packet.Cond) {
	if x.impossible(c) {
		x.fail()
		return
	}
	if all, ok := c.(packet.All); ok && len(all) == 0 {
		return
	}
	x.conds = append(slices.Clip(x.conds), c)
}

func (x *exec) impossible(c packet.Cond) bool {
	switch c := c.(type) {
	case packet.Any:
		return len(c) == 0
	case packet.All:
		return slices.ContainsFunc(c, x.impossible)
	case packet.Bits:
		return c.Field == packet.FieldProto && c.Mask == packet.Number(0xff) && !x.class.has(c.Value)
	case packet.In:
		return len(c.Set) == 0
	case *packet.Tuples:
		return len(c.Entries) == 0
	}
	return false
}

func (c protoClass) has(v packet.Value) bool { return c.protos == nil || c.protos.Contains(v) }

// fail ends the rule without a match.
func (x *exec) fail() { x.over = true }

// end ends the rule with an outcome.
func (x *exec) end(o packet.Outcome, chain string) {
	x.over = true
	if o == packet.OutcomeContinue {
		return
	}
	x.steps = append(x.steps, packet.Step{Cond: x.conds, Outcome: o, Chain: chain, Place: x.place})
}

// step is a condition before what follows if it holds.
func (x *exec) step(cond packet.All, then []packet.Step) packet.Step {
	if len(then) == 1 {
		// One case less is one condition more.
		s := then[0]
		if all, ok := s.Cond.(packet.All); ok || s.Cond == nil {
			s.Cond = append(slices.Clip(cond), all...)
			return s
		}
	}
	return packet.Step{Cond: cond, Outcome: packet.OutcomeContinue, Cases: then, Place: x.place}
}

// write gives fields new values. What is left of the rule sees them, so it
// becomes cases of the step that writes.
func (x *exec) write(ws []packet.Write) {
	if len(ws) == 0 {
		return
	}
	for i := range x.regs {
		if b := &x.regs[i]; b.kind != bitConst && slices.ContainsFunc(ws, func(w packet.Write) bool { return w.Field == b.field }) {
			*b = bit{} // what was read before is no longer what the packet has
		}
	}
	y := x.child()
	s := packet.Step{Cond: x.conds, Writes: ws, Outcome: packet.OutcomeContinue, Place: x.place}
	switch rest := y.run(); {
	case len(rest) == 1 && always(rest[0].Cond):
		s.Writes = append(slices.Clip(ws), rest[0].Writes...)
		s.Outcome, s.Chain, s.Cases = rest[0].Outcome, rest[0].Chain, rest[0].Cases
	default:
		s.Cases = rest
	}
	x.steps = append(x.steps, s)
	x.over = true
}

func always(c packet.Cond) bool {
	all, ok := c.(packet.All)
	return c == nil || ok && len(all) == 0
}

// unknown makes a condition of something that no packet decides or that was not
// understood. The same text in the same place of a rule is the same unknown.
func (x *exec) unknown(text string, unsupported bool) packet.Cond {
	return packet.Unknown{Key: x.key(text), Unsupported: unsupported}
}

func (x *exec) key(text string) string {
	at := strconv.Itoa(len(x.exprs)) + " " + text
	if key, ok := x.rule.keys[at]; ok {
		return key
	}
	key := text
	if x.seen[text]++; x.seen[text] > 1 {
		key = fmt.Sprintf("%s (%d)", text, x.seen[text])
	}
	if x.hook == packet.Prerouting || x.hook == packet.Postrouting {
		key += " at " + x.hook.String() // other hooks of the packet's way have their own
	}
	x.rule.keys[at] = key
	return key
}

func (x *exec) expr(e Expr, a *args) {
	switch e.Name {
	case "counter", "log", "last":
	case "payload":
		x.payload(e, a)
	case "meta":
		x.meta(e, a)
	case "ct":
		x.ct(e, a)
	case "cmp":
		x.cmp(a)
	case "range":
		x.rangeTest(a)
	case "bitwise":
		x.bitwise(e, a)
	case "byteorder":
		x.byteorder(a)
	case "immediate":
		x.immediate(a)
	case "lookup":
		x.lookup(a)
	case "fib":
		x.fib(e, a)
	case "reject":
		x.end(packet.OutcomeReject, "")
	default:
		x.special(e, a)
	}
}

// special are the expressions whose effect does not follow from the packet.
func (x *exec) special(e Expr, a *args) {
	switch e.Name {
	case "limit":
		x.limit(a)
	case "quota", "connlimit":
		x.require(x.unknown(x.exprText(e), false))
	case "dynset":
		x.dynset(e, a)
	case "objref":
		x.object(e, a)
	case "notrack":
		x.notrack()
	case "dup", "secmark": // a copy, a label
	case "flow_offload": // ends the rule for packets of which no flow can be made
		x.require(x.unknown(x.exprText(e), true))
	case "queue", "synproxy", "fwd":
		x.decideUnknown(e)
	case "tproxy":
		x.tproxy(e)
	case "nat":
		x.nat(a)
	case "masq":
		x.masquerade(a)
	case "redir":
		x.redirect(a)
	case "match", "target":
		x.xt(e, a)
	case "exthdr":
		x.extension(e, a)
	default:
		x.opaqueLoad(e, a)
	}
}

// destination is where expressions that read something unknown put it.
var destination = map[string]int{
	"numgen": numgenDreg, "hash": hashDreg, "rt": rtDreg, "socket": socketDreg,
	"osf": osfDreg, "xfrm": xfrmDreg, "exthdr": exthdrDreg, "tunnel": 2,
}

// opaqueLoad fills the destination register with something unknown, or is an
// unknown test if there is no such register.
func (x *exec) opaqueLoad(e Expr, a *args) {
	text := x.exprText(e)
	if d, ok := destination[e.Name]; ok && a.has(d) {
		x.store(a.num(d), x.opaque(ifNameSize, text, e.Name != "numgen"))
		return
	}
	x.require(x.unknown(text, true))
}

// extension reads an extension header or an option. To give an option of TCP
// another value, or to take it out, changes nothing that rules ask for, and the
// rule goes on also where the packet does not have the option.
func (x *exec) extension(e Expr, a *args) {
	if a.has(exthdrDreg) || a.num(exthdrOp) != optionTCP {
		x.opaqueLoad(e, a)
		return
	}
	x.first()
	x.require(isField(packet.FieldProto, uint64(packet.TCP)))
}

// decideUnknown is for expressions that hand the packet to something else.
func (x *exec) decideUnknown(e Expr) {
	x.conds = append(slices.Clip(x.conds), packet.Not{Cond: x.unknown(x.exprText(e)+" lets it through", true)})
	x.end(packet.OutcomeDrop, "")
	x.steps = append(x.steps, packet.Step{Cond: x.conds[:len(x.conds)-1], Outcome: packet.OutcomeAccept, Place: x.place})
}

// tproxy gives the packet to a socket, if there is one; then routing no longer
// decides where it goes.
func (x *exec) tproxy(e Expr) {
	x.require(x.unknown("a socket takes it by "+x.exprText(e), true))
	x.end(packet.OutcomeUnknown, "")
}

func (x *exec) cmp(a *args) {
	want := a.value(cmpData)
	bits := x.load(a.num(cmpSreg), len(want))
	if len(want) == 0 || len(bits) != 8*len(want) {
		x.require(x.unknown("a comparison that was not understood", true))
		return
	}
	x.require(x.compare(bits, comparison(a.num(cmpOp)), want))
}

func (x *exec) rangeTest(a *args) {
	lo, hi := a.value(rangeFrom), a.value(rangeTo)
	bits := x.load(a.num(rangeSreg), len(lo))
	if len(lo) == 0 || len(lo) != len(hi) || len(bits) != 8*len(lo) {
		x.require(x.unknown("a range that was not understood", true))
		return
	}
	inverse := comparison(a.num(rangeOp)) == cmpNeq
	switch {
	case kindIs(bits, bitOpaque):
		op := cmpEq
		if inverse {
			op = cmpNeq
		}
		what := x.whatOf(bits)
		x.require(x.unknown(fmt.Sprintf("%s %s %s-%s", what.text, op, valueText(lo), valueText(hi)), what.unsupported))
	case inverse:
		x.require(packet.Not{Cond: x.span(bits, lo, hi)})
	default:
		x.require(x.span(bits, lo, hi))
	}
}

func (x *exec) immediate(a *args) {
	if a.num(immediateDreg) != 0 {
		x.store(a.num(immediateDreg), constBits(a.value(immediateData)))
		return
	}
	var el Element
	if err := el.decodeData(a[immediateData]); err != nil || el.Verdict == nil {
		x.end(packet.OutcomeUnknown, "")
		return
	}
	x.verdict(*el.Verdict)
}

// verdict does what a verdict says (NF_*, NFT_*).
func (x *exec) verdict(v Verdict) {
	switch v.Code {
	case verdictDrop:
		x.end(packet.OutcomeDrop, "")
	case verdictAccept:
		x.end(packet.OutcomeAccept, "")
	case verdictContinue: // with the next expression
	case verdictBreak:
		x.fail()
	case verdictJump:
		x.end(packet.OutcomeJump, x.called(v.Chain))
	case verdictGoto:
		x.end(packet.OutcomeGoto, x.called(v.Chain))
	case verdictReturn:
		x.end(packet.OutcomeReturn, "")
	default:
		x.end(packet.OutcomeUnknown, "")
	}
}

// notrack makes a packet untracked that tracking has not seen, or found invalid.
func (x *exec) notrack() {
	untracked := []packet.Write{{Field: packet.FieldState, Mask: packet.Number(7), Value: packet.Number(uint64(packet.Untracked))}}
	if x.early {
		x.write(untracked)
		return
	}
	invalid := isField(packet.FieldState, uint64(packet.Invalid))
	y, z := x.child(), x.child()
	y.conds = packet.All{invalid}
	y.write(untracked)
	z.conds = packet.All{packet.Not{Cond: invalid}}
	x.over = true
	if cases := append(y.steps, z.run()...); len(cases) > 0 {
		x.steps = append(x.steps, x.step(x.conds, cases))
	}
}

func (x *exec) limit(a *args) {
	const over = 1 // NFT_LIMIT_F_INV
	c := x.unknown(limitText(a), false)
	if a.flag(limitFlags, over) {
		c = packet.Not{Cond: c}
	}
	x.require(c)
}

// limitText is the same for a limit and for its contrary.
func limitText(a *args) string {
	unit := "packets"
	if a.num(limitType) != 0 { // NFT_LIMIT_PKT_BYTES
		unit = "bytes"
	}
	return fmt.Sprintf("fewer than %d %s in %s, burst %d", a.num(limitRate), unit, seconds(a.num(limitUnit)), a.num(limitBurst))
}

func seconds(n uint64) time.Duration { return time.Duration(min(n, 1<<32)) * time.Second }

// dynset adds to a set or takes out; with expressions it also tests what it keeps
// for each element. It ends the rule if the set is full.
func (x *exec) dynset(e Expr, a *args) {
	const remove, inverse = 2, 1 // NFT_DYNSET_OP_DELETE, NFT_DYNSET_F_INV
	if a.num(dynsetOp) == remove {
		return
	}
	exprs, err := dynsetExprsOf(a)
	if err != nil || a.flag(dynsetFlags, inverse) {
		x.require(x.unknown(x.exprText(e), true))
		return
	}
	tested := false
	for _, inner := range exprs {
		tested = x.perElement(inner, a) || tested
	}
	if !tested {
		x.require(x.unknown("there is room in "+x.setName(a.text(dynsetName)), false))
	}
}

func dynsetExprsOf(a *args) ([]Expr, error) {
	if a.has(dynsetExpr) {
		e, err := DecodeExpr(a[dynsetExpr])
		return []Expr{e}, err
	}
	return DecodeExprs(a[dynsetExprs])
}

// perElement tests what a set keeps for each element, and reports whether it
// tests anything.
func (x *exec) perElement(e Expr, dynset *args) bool {
	a := argsOf(e)
	switch e.Name {
	case "counter", "last":
		return false
	case "limit":
		x.perSource(&a, dynset.num(dynsetKey))
	default:
		supported := e.Name == "connlimit" || e.Name == "quota"
		x.require(x.unknown(x.exprText(e)+" for each element of "+x.setName(dynset.text(dynsetName)), !supported))
	}
	return true
}

// perSource tests a limit that a set keeps for each source address.
func (x *exec) perSource(limit *args, sreg uint64) {
	n := 4
	if x.is6 {
		n = 16
	}
	bits := x.load(sreg, n)
	rate, per := limit.num(limitRate), seconds(limit.num(limitUnit))
	var c packet.Cond
	if x.sourceMask(bits) && rate == limit.num(limitBurst) && limit.num(limitType) == 0 && x.place.Name != "" {
		c = packet.Unspent(x.place.Name, rate, per, x.is6)
	} else {
		c = x.unknown(limitText(limit)+" for each "+x.keyText(bits), false)
	}
	if limit.flag(limitFlags, 1) {
		c = packet.Not{Cond: c}
	}
	x.require(c)
}

// sourceMask reports whether the bits are an IPv4 source address, or the first
// half of an IPv6 one.
func (x *exec) sourceMask(bits []bit) bool {
	top := len(bits) - 1
	for i, b := range bits {
		switch {
		case i >= 64 && b.kind == bitConst && !b.one:
		case i >= 64, b.kind != bitField, b.field != packet.FieldSrc, int(b.index) != top-i, b.one:
			return false
		}
	}
	return true
}

// Kinds of objects (NFT_OBJECT_*, linux/netfilter/nf_tables.h).
const (
	objCounter, objQuota, objHelper, objLimit, objConnlimit = 1, 2, 3, 4, 5
	objTunnel, objTimeout, objSecmark, objExpect            = 6, 7, 8, 9
	objSynproxy                                             = 10
)

// object refers to an object by name, or by a map. A key that the map does not
// have ends the rule.
func (x *exec) object(e Expr, a *args) {
	kind := a.num(objrefType)
	if a.has(objrefSet) {
		s := x.sets[a.text(objrefSet)]
		if s == nil || s.Unread {
			x.require(x.unknown(x.exprText(e), true))
			return
		}
		x.require(x.member(x.load(a.num(objrefSreg), int(s.KeyLen)), s, x.entriesOf(s)))
		kind = uint64(s.ObjType)
	}
	switch kind {
	case objCounter, objHelper, objTunnel, objTimeout, objSecmark, objExpect:
	case objQuota, objLimit, objConnlimit:
		x.require(x.unknown(x.exprText(e), false))
	case objSynproxy:
		x.decideUnknown(e)
	default:
		x.require(x.unknown(x.exprText(e), true))
	}
}

// xt are the matches and targets of iptables. Their meaning is that of the text
// of iptables-save; of the bytes only the name is read.
func (x *exec) xt(e Expr, a *args) {
	name := a.text(xtName)
	text := x.exprText(e)
	switch {
	case e.Name == "match" && name == "comment":
	case e.Name == "match":
		x.require(x.unknown(text, true))
	case name == "REJECT":
		x.end(packet.OutcomeReject, "")
	case slices.Contains(harmless, name):
	case xtWrites[name] != nil:
		var ws []packet.Write
		for _, f := range xtWrites[name] {
			ws = append(ws, packet.Write{Field: f, Mask: packet.Ones(f.Width(x.is6)), Unknown: f.String() + " after " + x.key(text)})
		}
		x.write(ws)
	default:
		x.end(packet.OutcomeUnknown, "")
	}
}

// harmless are the targets that change nothing that rules ask for.
var harmless = strings.Fields("LOG NFLOG TRACE AUDIT CHECKSUM CLASSIFY TCPMSS TEE LED RATEEST SECMARK CONNSECMARK SET IDLETIMER")

// xtWrites are the fields that targets change.
var xtWrites = map[string][]packet.Field{
	"MARK": {packet.FieldMark}, "HMARK": {packet.FieldMark}, "CONNMARK": {packet.FieldMark, packet.FieldCTMark},
	"DSCP": {packet.FieldDSCP}, "TOS": {packet.FieldDSCP}, "TTL": {packet.FieldTTL}, "HL": {packet.FieldTTL},
}
