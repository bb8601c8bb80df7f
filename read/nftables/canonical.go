package nftables

import (
	"encoding/binary"
	"slices"
)

// Canonical returns a form of the expressions in which two rules that do the
// same by the same expressions are equal, whether they were dumped by the kernel
// or are about to be sent. What a program sends and what the kernel answers
// differ in attributes that say nothing: zeros written out or left out, numbers
// that only count inside one transaction, counters.
func Canonical(exprs []Expr) (string, error) {
	var out []byte
	for _, e := range exprs {
		out = append(out, e.Name...)
		out = append(out, 0)
		body, err := canonicalAttrs(e, nil)
		if err != nil {
			return "", err
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
		out = append(out, body...)
	}
	return string(out), nil
}

// skipped are the attributes that carry state or transaction numbers.
var skipped = map[string][]uint16{
	"counter": {1, 2}, // NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS
	"lookup":  {4},    // NFTA_LOOKUP_SET_ID
	"dynset":  {2},    // NFTA_DYNSET_SET_ID
}

// nested says which attributes of an expression hold attributes, and of which
// kind: data, or another expression.
var nested = map[string]map[uint16]string{
	"cmp":       {3: ""}, // NFTA_CMP_DATA
	"bitwise":   {4: "", 5: "", 7: ""},
	"immediate": {2: "verdict"},
	"range":     {3: "", 4: ""},
	"verdict":   {2: "code"},
	"dynset":    {7: "expr", 10: "exprs"},
	"exprs":     {1: "expr"},
}

func canonicalAttrs(e Expr, out []byte) ([]byte, error) {
	attrs, err := Attrs(e.Data)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(attrs, func(a, b Attr) int { return int(a.Type) - int(b.Type) })
	for _, a := range attrs {
		if zero(a.Data) || slices.Contains(skipped[e.Name], a.Type) || isDefault(e.Name, a) {
			continue
		}
		data, err := canonicalAttr(e.Name, a)
		if err != nil {
			return nil, err
		}
		out = binary.BigEndian.AppendUint16(out, a.Type)
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		out = append(out, data...)
	}
	return out, nil
}

func canonicalAttr(name string, a Attr) ([]byte, error) {
	kind, ok := nested[name][a.Type]
	switch {
	case !ok:
		return a.Data, nil
	case kind == "expr":
		e, err := DecodeExpr(a.Data)
		if err != nil {
			return nil, err
		}
		s, err := Canonical([]Expr{e})
		return []byte(s), err
	}
	return canonicalAttrs(Expr{Name: kind, Data: a.Data}, nil)
}

// isDefault reports whether the attribute says what the kernel assumes without
// it: log level 4 (LOGLEVEL_WARNING).
func isDefault(name string, a Attr) bool {
	const logLevel = 5 // NFTA_LOG_LEVEL
	return name == "log" && a.Type == logLevel && number(a.Data) == 4
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// SetName returns the name of the set that a lookup or dynset expression uses,
// "" for others.
func (e Expr) SetName() string {
	const lookupSet, dynsetName = 1, 1 // NFTA_LOOKUP_SET, NFTA_DYNSET_SET_NAME
	if e.Name != "lookup" && e.Name != "dynset" {
		return ""
	}
	attrs, err := Attrs(e.Data)
	if err != nil {
		return ""
	}
	for _, a := range attrs {
		if a.Type == lookupSet {
			return text(a.Data)
		}
	}
	return ""
}

// Counted returns what a counter has counted; ok is false of other expressions.
func (e Expr) Counted() (packets, bytes uint64, ok bool) {
	const counterBytes, counterPackets = 1, 2 // NFTA_COUNTER_*
	if e.Name != "counter" {
		return 0, 0, false
	}
	attrs, err := Attrs(e.Data)
	for _, a := range attrs {
		switch a.Type {
		case counterBytes:
			bytes = number(a.Data)
		case counterPackets:
			packets = number(a.Data)
		}
	}
	return packets, bytes, err == nil
}
