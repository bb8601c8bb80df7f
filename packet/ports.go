package packet

import (
	"slices"
	"strconv"
	"strings"
)

// PortRange is an inclusive range of port numbers, Lo <= Hi.
type PortRange struct{ Lo, Hi uint16 }

// String writes "22" or "9000-9010".
func (r PortRange) String() string {
	if r.Lo == r.Hi {
		return strconv.Itoa(int(r.Lo))
	}
	return strconv.Itoa(int(r.Lo)) + "-" + strconv.Itoa(int(r.Hi))
}

// Ports is a set of port numbers: ranges in ascending order that neither
// overlap nor touch. NewPorts makes one. The zero value is the empty set.
type Ports []PortRange

// NewPorts returns the union of the ranges.
func NewPorts(rs ...PortRange) Ports {
	s := slices.Clone(rs)
	slices.SortFunc(s, func(a, b PortRange) int { return int(a.Lo) - int(b.Lo) })
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && int(r.Lo) <= int(out[n-1].Hi)+1 {
			out[n-1].Hi = max(out[n-1].Hi, r.Hi)
			continue
		}
		out = append(out, r)
	}
	return Ports(out)
}

// Contains reports whether the port is in the set.
func (s Ports) Contains(p uint16) bool {
	_, found := slices.BinarySearchFunc(s, p, func(r PortRange, p uint16) int {
		switch {
		case r.Hi < p:
			return -1
		case r.Lo > p:
			return 1
		}
		return 0
	})
	return found
}

// Overlaps reports whether the two sets share a port.
func (s Ports) Overlaps(t Ports) bool {
	for i, j := 0, 0; i < len(s) && j < len(t); {
		switch {
		case s[i].Hi < t[j].Lo:
			i++
		case t[j].Hi < s[i].Lo:
			j++
		default:
			return true
		}
	}
	return false
}

// Equal reports whether the two sets hold the same ports.
func (s Ports) Equal(t Ports) bool { return slices.Equal(s, t) }

// String joins the ranges with commas.
func (s Ports) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// Ranges returns the ports as values of a field.
func (s Ports) Ranges() Ranges {
	rs := make([]Range, len(s))
	for i, r := range s {
		rs[i] = Range{Lo: Number(uint64(r.Lo)), Hi: Number(uint64(r.Hi))}
	}
	return NewRanges(rs...)
}
