package nftables

import (
	"encoding/binary"
	"errors"
)

// Attr is one netlink attribute (struct nlattr in linux/netlink.h), its type
// without the flags for nesting and byte order.
type Attr struct {
	Type uint16
	Data []byte // part of the message; not to be changed
}

var errShort = errors.New("netlink attribute is cut off")

const (
	attrHeader   = 4
	attrTypeMask = 0x3fff // NLA_TYPE_MASK
)

// Attrs splits bytes into attributes.
func Attrs(b []byte) ([]Attr, error) {
	var out []Attr
	err := eachAttr(b, func(a Attr) error {
		out = append(out, a)
		return nil
	})
	return out, err
}

// eachAttr calls f for each attribute, without making a list.
func eachAttr(b []byte, f func(Attr) error) error {
	for len(b) > 0 {
		if len(b) < attrHeader {
			return errShort
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < attrHeader || n > len(b) {
			return errShort
		}
		if err := f(Attr{binary.NativeEndian.Uint16(b[2:]) & attrTypeMask, b[attrHeader:n]}); err != nil {
			return err
		}
		b = b[min(align4(n), len(b)):]
	}
	return nil
}

func align4(n int) int { return (n + 3) &^ 3 }

// text reads a string that ends in a zero byte.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// number reads a big-endian number of up to eight bytes.
func number(b []byte) uint64 {
	var n uint64
	for _, c := range b[:min(len(b), 8)] {
		n = n<<8 | uint64(c)
	}
	return n
}
