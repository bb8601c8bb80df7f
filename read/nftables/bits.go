package nftables

import (
	"encoding/binary"

	"github.com/fwctl/fwctl/packet"
)

// bit is one bit of a register, as far as the packet decides it.
type bit struct {
	kind  bitKind
	one   bool // of a constant: its value; of others: it is turned over
	field packet.Field
	index uint8  // which bit of the field, 0 the lowest; see bitKind
	ref   uint16 // of bitOpaque: what was loaded
}

type bitKind uint8

const (
	bitOpaque bitKind = iota // nobody knows
	bitConst
	bitField // of a field
	bitState // one if the packet has the state index
	bitKind_ // of the number of an address's kind; field says of which
	bitName  // of an interface's name, index counts from its beginning; field says of which
	bitIndex // of an interface's number; field says of which
	bitTime  // of the time in nanoseconds
	bitOf    // one if the interface of field is one of the links whose attribute ref has the bit index
	bitPart  // of the place of a fragment: all are zero in whole packets and first fragments
)

// registerBits is the size of the register file: 16 registers of four bytes
// behind the verdict (linux/netfilter/nf_tables.h, NFT_REG32_COUNT). Bits are in
// the order of memory, of each byte the highest first.
const registerBits = 16 * 32

// register returns so many bytes of the register file from a register's number
// on, nil if there are no such.
func (x *exec) register(n uint64, length int) []bit {
	var from int
	switch {
	case n >= 1 && n <= 4: // NFT_REG_1 and its like have 16 bytes
		from = int(n-1) * 128
	case n >= 8 && n < 24: // NFT_REG32_00 and its like have 4
		from = int(n-8) * 32
	default:
		return nil
	}
	if length <= 0 || from+8*length > registerBits {
		return nil
	}
	return x.regs[from : from+8*length]
}

// load returns a copy of a register's bits; what is not there is opaque.
func (x *exec) load(n uint64, length int) []bit {
	if reg := x.register(n, length); reg != nil {
		return append([]bit(nil), reg...)
	}
	return make([]bit, 8*min(max(length, 1), 64))
}

// store writes bits into a register; the rest of its last four bytes becomes
// zero.
func (x *exec) store(n uint64, bits []bit) {
	reg := x.register(n, align4((len(bits)+7)/8))
	for i := range reg {
		if i < len(bits) {
			reg[i] = bits[i]
		} else {
			reg[i] = bit{kind: bitConst}
		}
	}
}

// opaque returns bits of which only a name is known.
func (x *exec) opaque(length int, what string, unsupported bool) []bit {
	x.whats = append(x.whats, opaqueLoad{what, unsupported})
	out := make([]bit, 8*length)
	for i := range out {
		out[i] = bit{kind: bitOpaque, ref: uint16(len(x.whats))}
	}
	return out
}

// opaqueLoad is what an opaque bit was read from.
type opaqueLoad struct {
	text        string
	unsupported bool // not understood, rather than not decided by the packet
}

// number returns the bits of a number, the highest first.
func numberBits(kind bitKind, f packet.Field, n int) []bit {
	out := make([]bit, n)
	for i := range out {
		out[i] = bit{kind: kind, field: f, index: uint8(n - 1 - i)}
	}
	return out
}

// wide puts zeros before the bits, up to so many bytes.
func wide(bits []bit, length int) []bit {
	return append(zeros(8*length-len(bits)), bits...)
}

func zeros(n int) []bit {
	out := make([]bit, max(n, 0))
	for i := range out {
		out[i].kind = bitConst
	}
	return out
}

// hostOrder turns whole bytes into the order of this machine's memory, in which
// the kernel keeps marks, identities and its own numbers.
func hostOrder(bits []bit) []bit {
	if !bigEndianHost() {
		swapBytes(bits)
	}
	return bits
}

func swapBytes(bits []bit) {
	for i, j := 0, len(bits)/8-1; i < j; i, j = i+1, j-1 {
		for k := range 8 {
			bits[8*i+k], bits[8*j+k] = bits[8*j+k], bits[8*i+k]
		}
	}
}

// bigEndianHost reports the order of bytes in this machine's memory.
func bigEndianHost() bool { return binary.NativeEndian.Uint16([]byte{0, 1}) == 1 }

func constBits(b []byte) []bit {
	out := make([]bit, 8*len(b))
	for i := range out {
		out[i] = bit{kind: bitConst, one: bitAt(b, i)}
	}
	return out
}

// bitAt returns a bit of bytes, counted as in a register.
func bitAt(b []byte, i int) bool { return b[i/8]>>(7-i%8)&1 == 1 }

// constant returns the bytes that the bits are, and false if they are not all
// known.
func constant(bits []bit) ([]byte, bool) {
	out := make([]byte, len(bits)/8)
	for i, b := range bits {
		if b.kind != bitConst {
			return nil, false
		}
		if b.one {
			out[i/8] |= 1 << (7 - i%8)
		}
	}
	return out, true
}

// masked is the bit under a mask, turned over or not (NFT_BITWISE_MASK_XOR).
func (b bit) masked(mask, xor bool) bit {
	if !mask {
		return bit{kind: bitConst, one: xor}
	}
	b.one = b.one != xor
	return b
}
