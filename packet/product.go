package packet

import (
	"cmp"
	"slices"
)

// all returns the packets for which each of the conditions holds. Those on one
// field each, the bulk of most rules, are built into one another from the last
// field to the first, without a diagram for each of them alone.
func (s *Space) all(c All) Node {
	var fields []In
	n := True
	for _, x := range slices.Backward(flat(nil, c)) {
		if in, ok := x.(In); ok && s.single(in) {
			fields = append(fields, in)
			continue
		}
		n = s.store.and(s.cond(x), n)
	}
	slices.SortStableFunc(fields, func(a, b In) int { return cmp.Compare(b.Field, a.Field) })
	for _, in := range fields {
		n = s.before(in, n)
	}
	return n
}

// before is the conjunction of a condition on one field and a set, which is
// built into it if it asks for later fields alone.
func (s *Space) before(in In, n Node) Node {
	if s.store.level(n) < firstLevel[in.Field+1] {
		return s.store.and(s.ranges(in.Field, in.Set), n)
	}
	return s.block(in.Field, s.possible(in.Field, in.Set), in.Field.Width(s.is6), Value{}, n)
}

// single reports whether the condition is on one field, and cheap to build.
func (s *Space) single(c In) bool {
	kind := s.host.Known && (c.Field == FieldDstType || c.Field == FieldSrcType)
	return !kind && len(c.Set) < fromLarge
}

// flat appends the conditions of a conjunction, those inside others included.
func flat(to []Cond, c Cond) []Cond {
	switch c := c.(type) {
	case All:
		for _, x := range c {
			to = flat(to, x)
		}
		return to
	case Any:
		if len(c) == 1 {
			return flat(to, c[0])
		}
	case nil:
		return to
	}
	return append(to, c)
}
