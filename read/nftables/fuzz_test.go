package nftables

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/fwctl/fwctl/packet"
)

// at writes an attribute.
func at(typ uint16, data ...byte) []byte {
	b := make([]byte, 4, 4+len(data)+3)
	binary.NativeEndian.PutUint16(b, uint16(4+len(data)))
	binary.NativeEndian.PutUint16(b[2:], typ)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func u32(typ uint16, n uint32) []byte { return at(typ, binary.BigEndian.AppendUint32(nil, n)...) }

func str(typ uint16, s string) []byte { return at(typ, append([]byte(s), 0)...) }

// value is nested data.
func value(typ uint16, b ...byte) []byte { return at(typ, at(dataValue, b...)...) }

// ex writes an expression as the kernel dumps it in a list.
func ex(name string, attrs ...[]byte) []byte {
	return at(1, slices.Concat(str(exprName, name), at(exprData, slices.Concat(attrs...)...))...)
}

func verdictOf(code int32, chain string) []byte {
	v := slices.Concat(u32(verdictCode, uint32(code)), str(verdictChain, chain))
	return ex("immediate", u32(immediateDreg, 0), at(immediateData, at(dataVerdict, v...)...))
}

func loadPayload(base, offset, n, dreg uint32) []byte {
	return ex("payload", u32(payloadDreg, dreg), u32(payloadBase, base), u32(payloadOffset, offset), u32(payloadLen, n))
}

func loadMeta(key, dreg uint32) []byte { return ex("meta", u32(metaKey, key), u32(metaDreg, dreg)) }

func compareWith(sreg, op uint32, b ...byte) []byte {
	return ex("cmp", u32(cmpSreg, sreg), u32(cmpOp, op), value(cmpData, b...))
}

func look(set string, sreg uint32, more ...[]byte) []byte {
	return ex("lookup", append([][]byte{str(lookupSet, set), u32(lookupSreg, sreg)}, more...)...)
}

// seeds are lists of expressions.
func seeds() [][]byte {
	port := loadPayload(baseTransport, 2, 2, 1)
	return [][]byte{
		slices.Concat(loadMeta(keyL4Proto, 1), compareWith(1, 0, 6), port, compareWith(1, 0, 0, 22), verdictOf(verdictAccept, "")),
		slices.Concat(loadPayload(baseNetwork, 12, 4, 1), ex("bitwise", u32(1, 1), u32(2, 1), u32(3, 4), value(4, 255, 255, 0, 0), value(5, 0, 0, 0, 0)), compareWith(1, 1, 10, 0, 0, 0), verdictOf(verdictDrop, "")),
		slices.Concat(loadPayload(baseNetwork, 12, 4, 1), loadPayload(baseTransport, 2, 2, 9), look("s", 1), verdictOf(verdictJump, "c")),
		slices.Concat(port, look("m", 1, u32(lookupDreg, 0))),
		slices.Concat(port, look("d", 1, u32(lookupDreg, 1)), ex("meta", u32(metaKey, keyMark), u32(metaSreg, 1)), verdictOf(verdictGoto, "c")),
		slices.Concat(loadMeta(keyIIFName, 1), compareWith(1, 0, 'e', 't', 'h'), ex("limit", at(1, 0, 0, 0, 0, 0, 0, 0, 5), at(2, 0, 0, 0, 0, 0, 0, 0, 1)), verdictOf(verdictAccept, "")),
		slices.Concat(ex("ct", u32(ctKey, keyState), u32(ctDreg, 1)), ex("range", u32(1, 1), u32(2, 0), value(3, 0, 0, 0, 0), value(4, 255, 0, 0, 0)), ex("reject")),
		slices.Concat(ex("immediate", u32(1, 1), value(2, 10, 0, 0, 1)), ex("nat", u32(1, 1), u32(2, 2), u32(3, 1))),
		slices.Concat(ex("dynset", str(1, "s"), u32(3, 0), u32(4, 1), at(7, str(1, "limit")...)), ex("objref", u32(1, 4), str(2, "x"))),
		slices.Concat(ex("fib", u32(1, 1), u32(2, 3), u32(3, 10)), compareWith(1, 0, 2, 0, 0, 0), ex("masq"), ex("redir"), ex("notrack"), ex("queue"), ex("tproxy"), ex("xfrm", u32(1, 1))),
		slices.Concat(ex("match", str(1, "comment")), ex("target", str(1, "MARK")), ex("byteorder", u32(1, 1), u32(2, 1), u32(4, 8), u32(5, 4))),
	}
}

// fuzzTable is a table whose rules and elements come from outside.
func fuzzTable(exprs, elements []byte) *Table {
	t := &Table{Family: FamilyInet, Name: "t"}
	if r, err := DecodeExprs(exprs); err == nil {
		for _, c := range []string{"base", "nat", "raw", "c"} {
			t.Rules = append(t.Rules, Rule{Chain: c, Exprs: r}, Rule{Chain: c, Exprs: r})
		}
	}
	for hook := range uint32(5) {
		t.Chains = append(t.Chains, Chain{Name: "base", Type: "filter", Hook: &Hook{Num: hook}, Policy: 1},
			Chain{Name: "nat", Type: "nat", Hook: &Hook{Num: hook}, Policy: 1}, Chain{Name: "raw", Type: "filter", Hook: &Hook{Num: hook, Priority: -300}})
	}
	es, _ := AppendElements(nil, elements) // those before the damage
	SortElements(es)
	for _, s := range []Set{
		{Name: "s", KeyLen: 8, Flags: setInterval | setConcat, Parts: []uint32{4, 2}}, {Name: "i", KeyLen: 4, Flags: setInterval},
		{Name: "m", KeyLen: 2, Flags: setMap, DataType: verdictType}, {Name: "d", KeyLen: 2, Flags: setMap, DataType: 19}, {Name: "n", KeyLen: 16, Flags: 1},
	} {
		s.Elements = es
		t.Sets = append(t.Sets, s)
	}
	return t
}

// Whatever the bytes are, the reader neither panics nor runs away, and diagram
// and packet agree on what it makes of them.
func FuzzExpressions(f *testing.F) {
	elements := at(elemListElements, slices.Concat(at(1, value(elemKey, 0, 22)...), at(1, slices.Concat(value(elemKey, 10, 0, 0, 0, 0, 22, 0, 0), value(elemKeyEnd, 10, 0, 0, 9, 0, 23, 0, 0))...))...)
	for _, s := range seeds() {
		f.Add(s, elements)
	}
	f.Fuzz(func(t *testing.T, exprs, elements []byte) {
		if len(exprs) > 1<<12 || len(elements) > 1<<12 {
			return
		}
		table := fuzzTable(exprs, elements)
		for i := range table.Rules[:min(len(table.Rules), 1)] {
			_ = table.RuleText(&table.Rules[i], nil)
			_, _ = Canonical(table.Rules[i].Exprs)
		}
		for _, is6 := range []bool{false, true} {
			agree(t, packet.Arrival(Source([]*Table{table}, is6, nil)), is6)
		}
	})
}

func agree(t *testing.T, fl *packet.Filter, is6 bool) {
	s := packet.NewSpace(is6, packet.HostAddrs{}, 20_000, fl)
	n, err := s.Build(fl)
	switch {
	case errors.Is(err, packet.ErrBudget):
		return
	case err != nil:
		t.Fatal(err)
	}
	facts := &packet.Facts{Is6: is6, In: "eth0", Out: "eth1", Unknowns: map[string]bool{}}
	if got, want := packet.Outcome(s.Eval(n, facts)), fl.Decide(facts).Outcome; got != want {
		t.Fatalf("diagram %v, packet %v", got, want)
	}
}

// The messages of a dump are read or refused.
func FuzzMessages(f *testing.F) {
	for _, s := range seeds() {
		f.Add(slices.Concat(str(1, "t"), str(ruleChain, "c"), at(ruleExprs, s...)))
	}
	f.Add(slices.Concat(str(1, "t"), str(setName, "s"), u32(setFlags, 4), at(setDesc, slices.Concat(u32(descSize, 4), at(descConcat, at(1, u32(fieldLen, 4)...)...))...)))
	f.Add(slices.Concat(str(1, "t"), str(chainName, "c"), at(chainHook, slices.Concat(u32(hookNum, 1), u32(hookPriority, 0))...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, errT := DecodeTable(FamilyInet, b)
		chain, errC := DecodeChain(b)
		rule, errR := DecodeRule(b)
		set, errS := DecodeSet(b)
		es, errE := AppendElements(nil, b)
		if errors.Join(errT, errC, errR, errS, errE) != nil {
			return
		}
		SortElements(es)
		set.Elements = es
		table.Chains, table.Rules, table.Sets = []Chain{chain}, []Rule{rule}, []Set{set}
		_ = table.RuleText(&rule, nil)
		_ = Filter([]*Table{table}, packet.Input, false, nil)
	})
}
