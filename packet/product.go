package packet

import (
	"cmp"
	"slices"
)

// all returns the packets for which each of the conditions holds. Those on one
// field each, the bulk of most rules, are built into one another from the last
// field to the first, without a diagram for each of them alone.
func (s *Space) all(c All) Node {
	var fields product
	n := True
	for _, x := range slices.Backward(flat(nil, c)) {
		if in, ok := x.(In); ok && s.single(in) {
			fields = append(fields, in)
			continue
		}
		n = s.store.and(s.cond(x), n)
	}
	slices.SortStableFunc(fields, byField)
	return s.product(fields, n)
}

// product is a conjunction of conditions on one field each, in the order of the
// fields.
type product []In

func byField(a, b In) int { return cmp.Compare(a.Field, b.Field) }

// product is the conjunction of the conditions and a set.
func (s *Space) product(p product, n Node) Node {
	for _, in := range slices.Backward(p) {
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

// any returns the packets for which one of the conditions holds. Products, such
// as a port and a source each, are built all at once: what two of them have in
// common is made once, and nothing is made on the way.
func (s *Space) any(conds []Cond) Node {
	var sets []Node
	var ps []part
	for _, c := range conds {
		if p, ok := s.asProduct(c); ok {
			ps = append(ps, part{rest: p})
		} else {
			sets = append(sets, s.cond(c))
		}
	}
	return s.store.all(append(sets, s.products(ps)))
}

// asProduct returns the condition as a product, if it is one.
func (s *Space) asProduct(c Cond) (product, bool) {
	p, ok := s.factors(make(product, 0, 4), c)
	if !ok {
		return nil, false
	}
	slices.SortFunc(p, byField)
	for i := range p {
		if i > 0 && p[i-1].Field == p[i].Field {
			return nil, false
		}
	}
	return p, true
}

// factors appends the conditions of a conjunction of conditions on one field each.
func (s *Space) factors(p product, c Cond) (_ product, ok bool) {
	switch c := c.(type) {
	case nil:
		return p, true
	case In:
		return append(p, c), s.single(c)
	case Any:
		if len(c) == 1 {
			return s.factors(p, c[0])
		}
	case All:
		for _, x := range c {
			if p, ok = s.factors(p, x); !ok {
				return nil, false
			}
		}
		return p, true
	}
	return nil, false
}

// part is what is left of a product inside a block of values of a field: the
// values of it in the block, and the conditions on later fields.
type part struct {
	set  Ranges
	rest product
}

// products returns the union of products, of which only the rest is looked at.
func (s *Space) products(ps []part) Node {
	if len(ps) == 0 {
		return False
	}
	first := fieldCount
	for _, p := range ps {
		if len(p.rest) == 0 {
			return True
		}
		first = min(first, p.rest[0].Field)
	}
	if len(ps) == 1 {
		return s.product(ps[0].rest, True)
	}
	s.parts = slices.Grow(s.parts, 2*len(ps)) // many a block keeps half of them
	mark := len(s.parts)
	for _, p := range ps {
		if in := p.rest[0]; in.Field == first {
			if set := s.possible(first, in.Set); len(set) > 0 {
				s.parts = append(s.parts, part{set, p.rest[1:]})
			}
		}
	}
	asking := s.parts[mark:]
	n := s.blocks(first, asking, first.Width(s.is6), Value{})
	s.parts = s.parts[:mark]
	for _, p := range ps {
		if p.rest[0].Field != first {
			s.parts = append(s.parts, p)
		}
	}
	if len(s.parts) > mark {
		n = s.store.or(n, s.products(s.parts[mark:]))
	}
	s.parts = s.parts[:mark]
	return n
}

// blocks is block for several products.
func (s *Space) blocks(f Field, ps []part, n uint, base Value) Node {
	switch len(ps) {
	case 0:
		return False
	case 1:
		return s.block(f, ps[0].set, n, base, s.product(ps[0].rest, True))
	}
	last := base.plus(Ones(n))
	mark := len(s.parts)
	for _, p := range ps {
		if p.set[0].Lo.Compare(base) <= 0 && p.set[0].Hi.Compare(last) >= 0 {
			s.parts = append(s.parts, p)
		}
	}
	whole := s.parts[mark:]
	if len(whole) == len(ps) {
		node := s.products(whole)
		s.parts = s.parts[:mark]
		return node
	}
	if len(whole)*4 > len(ps) { // to lead them through every half would be dear
		node := s.products(whole)
		s.parts = s.parts[:mark]
		for _, p := range ps {
			if p.set[0].Lo.Compare(base) > 0 || p.set[0].Hi.Compare(last) < 0 {
				s.parts = append(s.parts, p)
			}
		}
		node = s.store.or(node, s.blocks(f, s.parts[mark:], n, base))
		s.parts = s.parts[:mark]
		return node
	}
	mid := base.plus(Number(1).Shift(n - 1))
	s.parts = s.parts[:mark]
	for _, p := range ps {
		if lower, _ := halves(p.set, mid); len(lower) > 0 {
			s.parts = append(s.parts, part{lower, p.rest})
		}
	}
	lo := s.blocks(f, s.parts[mark:], n-1, base)
	s.parts = s.parts[:mark]
	for _, p := range ps {
		if _, upper := halves(p.set, mid); len(upper) > 0 {
			s.parts = append(s.parts, part{upper, p.rest})
		}
	}
	hi := s.blocks(f, s.parts[mark:], n-1, mid)
	s.parts = s.parts[:mark]
	return s.store.node(levelOf(f, n-1), lo, hi)
}
