package packet

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// Value is the value of a header field, up to 128 bits, as a number.
type Value struct{ Hi, Lo uint64 }

// Number returns a small value.
func Number(n uint64) Value { return Value{Lo: n} }

// AddrValue returns an address as the number that its bytes spell.
func AddrValue(a netip.Addr) Value {
	if a.Is4() {
		b := a.As4()
		return Number(uint64(binary.BigEndian.Uint32(b[:])))
	}
	b := a.As16()
	return Value{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Addr returns the value as an address.
func (v Value) Addr(is6 bool) netip.Addr {
	if !is6 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(v.Lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], v.Hi)
	binary.BigEndian.PutUint64(b[8:], v.Lo)
	return netip.AddrFrom16(b)
}

// BytesValue returns the number that up to 16 bytes spell, the first byte the
// highest.
func BytesValue(b []byte) Value {
	var v Value
	for _, c := range b {
		v = v.Shift(8).Or(Number(uint64(c)))
	}
	return v
}

// Compare returns -1, 0 or 1.
func (v Value) Compare(w Value) int {
	switch {
	case v == w:
		return 0
	case v.Hi < w.Hi || v.Hi == w.Hi && v.Lo < w.Lo:
		return -1
	}
	return 1
}

// And returns the bits that both have.
func (v Value) And(w Value) Value { return Value{v.Hi & w.Hi, v.Lo & w.Lo} }

// Or returns the bits that one of both has.
func (v Value) Or(w Value) Value { return Value{v.Hi | w.Hi, v.Lo | w.Lo} }

// Xor returns the bits that just one of both has.
func (v Value) Xor(w Value) Value { return Value{v.Hi ^ w.Hi, v.Lo ^ w.Lo} }

// Next returns the value plus one; after the highest of 128 bits comes zero.
func (v Value) Next() Value { return v.plus(Number(1)) }

func (v Value) plus(w Value) Value {
	lo, carry := bits.Add64(v.Lo, w.Lo, 0)
	hi, _ := bits.Add64(v.Hi, w.Hi, carry)
	return Value{hi, lo}
}

func (v Value) minus(w Value) Value {
	lo, borrow := bits.Sub64(v.Lo, w.Lo, 0)
	hi, _ := bits.Sub64(v.Hi, w.Hi, borrow)
	return Value{hi, lo}
}

// Shift moves the bits up by n, 0 to 127.
func (v Value) Shift(n uint) Value {
	switch {
	case n == 0:
		return v
	case n >= 64:
		return Value{Hi: v.Lo << (n - 64)}
	}
	return Value{v.Hi<<n | v.Lo>>(64-n), v.Lo << n}
}

// Moved moves the bits down by n, or up by -n.
func (v Value) Moved(n int) Value {
	switch {
	case n <= 0:
		return v.Shift(uint(-n))
	case n >= 64:
		return Value{Lo: v.Hi >> (n - 64)}
	}
	return Value{v.Hi >> n, v.Lo>>n | v.Hi<<(64-n)}
}

// bit returns bit i, 0 the lowest.
func (v Value) bit(i uint) bool {
	if i >= 64 {
		return v.Hi>>(i-64)&1 == 1
	}
	return v.Lo>>i&1 == 1
}

// Ones returns a value of n one bits, 0 to 128.
func Ones(n uint) Value {
	if n >= 128 {
		return Value{^uint64(0), ^uint64(0)}
	}
	return Number(1).Shift(n).minus(Number(1))
}

// Bit returns the value of bit i alone, 0 the lowest.
func Bit(i uint) Value { return Number(1).Shift(i) }

// Range is an inclusive range of values.
type Range struct{ Lo, Hi Value }

// Single returns the range of one value.
func Single(v Value) Range { return Range{v, v} }

// Ranges is a set of values: ranges in ascending order that neither overlap nor
// touch. NewRanges makes one.
type Ranges []Range

// NewRanges returns the union of ranges.
func NewRanges(rs ...Range) Ranges {
	sorted := slices.IsSortedFunc(rs, func(a, b Range) int { return a.Lo.Compare(b.Lo) })
	if !sorted {
		rs = slices.Clone(rs)
		slices.SortFunc(rs, func(a, b Range) int { return a.Lo.Compare(b.Lo) })
	}
	out := make(Ranges, 0, len(rs))
	for _, r := range rs {
		if n := len(out); n > 0 && touches(out[n-1], r) {
			if r.Hi.Compare(out[n-1].Hi) > 0 {
				out[n-1].Hi = r.Hi
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

func touches(a, b Range) bool {
	next := a.Hi.Next()
	return b.Lo.Compare(a.Hi) <= 0 || next != (Value{}) && b.Lo == next
}

// Contains reports whether the value is in the set.
func (rs Ranges) Contains(v Value) bool {
	_, found := slices.BinarySearchFunc(rs, v, func(r Range, v Value) int {
		switch {
		case r.Hi.Compare(v) < 0:
			return -1
		case r.Lo.Compare(v) > 0:
			return 1
		}
		return 0
	})
	return found
}

// Complement returns all other values of so many bits.
func (rs Ranges) Complement(width uint) Ranges {
	var out Ranges
	next, done := Value{}, false
	for _, r := range rs {
		if r.Lo.Compare(next) > 0 {
			out = append(out, Range{next, r.Lo.minus(Number(1))})
		}
		if next = r.Hi.Next(); r.Hi == Ones(width) {
			done = true
		}
	}
	if !done {
		out = append(out, Range{next, Ones(width)})
	}
	return out
}

// Previous returns the value minus one; before zero comes the highest of 128
// bits.
func (v Value) Previous() Value { return v.minus(Number(1)) }
