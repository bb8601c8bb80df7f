package packet

import (
	"slices"
	"strings"
)

// Whatever returns what is in the set whatever the unknowns are that were not
// understood. It may still depend on the others, like rates.
func (s *Space) Whatever(a Node) (n Node, err error) {
	defer s.guard(&err)
	return s.store.forall(a, func(level uint32) bool {
		return isUnknown(level) && s.flags[s.keys[level-firstLevel[fieldCount]]]
	}), nil
}

// Throughout returns what is in the set whatever the unknowns are, and whatever
// values the fields have. It may still depend on the time.
func (s *Space) Throughout(a Node, fields ...Field) (n Node, err error) {
	defer s.guard(&err)
	return s.store.forall(a, func(level uint32) bool {
		if f, _, ok := fieldAt(level); ok {
			return slices.Contains(fields, f)
		}
		return !strings.HasPrefix(s.keys[level-firstLevel[fieldCount]], before)
	}), nil
}

// Given returns the set as it is when an unknown holds, or does not.
func (s *Space) Given(a Node, key string, holds bool) (n Node, err error) {
	defer s.guard(&err)
	at, known := s.unknowns[key]
	if !known {
		return a, nil
	}
	u := s.unknown(key)
	if !holds {
		u = s.store.not(u)
	}
	return s.store.exists(s.store.and(a, u), func(level uint32) bool { return level == firstLevel[fieldCount]+uint32(at) }), nil
}

// Differ returns the packets of a set to which two diagrams give different values.
func (s *Space) Differ(a, b, over Node) (n Node, err error) {
	defer s.guard(&err)
	return s.store.differIn(over, a, b), nil
}

// leafElsewhere is the value of a diagram for packets that are not asked about.
const leafElsewhere Node = 11

// Within returns a diagram for the packets of a set alone: to others it gives a
// value that is no outcome.
func (s *Space) Within(n, set Node) (m Node, err error) {
	defer s.guard(&err)
	return s.store.ite(set, n, leafElsewhere), nil
}

const opDifferIn = 3 << 8

// differIn is differ for the packets of a set: it does not look at others.
func (s *store) differIn(over, f, g Node) Node {
	switch {
	case over == False || f == g:
		return False
	case over == True:
		return s.differ(f, g)
	case f < terminals && g < terminals:
		return over
	}
	if f > g {
		f, g = g, f
	}
	if c := s.slot(opDifferIn, over, f, g); c.holds(opDifferIn, over, f, g) {
		return c.result
	}
	level := min(s.level(over), s.level(f), s.level(g))
	o0, o1 := s.split(over, level)
	f0, f1 := s.split(f, level)
	g0, g1 := s.split(g, level)
	n := s.node(level, s.differIn(o0, f0, g0), s.differIn(o1, f1, g1))
	*s.slot(opDifferIn, over, f, g) = cached{opDifferIn, over, f, g, n}
	return n
}

// Holding returns the unknowns that a set asks for when a packet has come to
// them, with the values that the packet's facts give them.
func (s *Space) Holding(set Node, f *Facts) []Held {
	var out []Held
	for n := set; n >= terminals; {
		b := s.store.nodes[n]
		bit := s.bitOf(f, b.level)
		if isUnknown(b.level) {
			key := s.keys[b.level-firstLevel[fieldCount]]
			out = append(out, Held{key, bit, s.flags[key]})
		}
		if n = b.lo; bit {
			n = b.hi
		}
	}
	return out
}
