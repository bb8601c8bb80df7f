package live

import "github.com/fwctl/fwctl/packet"

// fits says what packets must have to come to a rule, as far as sets of protocols,
// ports and destinations tell; nil is any. It may let in too many, never too few.
type fits struct{ protos, ports, dst packet.Ranges }

// nothing reports whether no packet fits.
func (f fits) nothing() bool {
	none := func(rs packet.Ranges) bool { return rs != nil && len(rs) == 0 }
	return none(f.protos) || none(f.ports) || none(f.dst)
}

// and adds a condition.
func (f fits) and(c packet.Cond, is6 bool) fits {
	f.protos = both(f.protos, allowed(c, packet.FieldProto, is6), packet.FieldProto.Width(is6))
	f.ports = both(f.ports, allowed(c, packet.FieldDstPort, is6), packet.FieldDstPort.Width(is6))
	f.dst = both(f.dst, allowed(c, packet.FieldDst, is6), packet.FieldDst.Width(is6))
	return f
}

// allowed returns the values of a field with which the condition may hold, nil for any.
func allowed(c packet.Cond, f packet.Field, is6 bool) packet.Ranges {
	switch c := c.(type) {
	case packet.In:
		if c.Field == f {
			return some(c.Set)
		}
	case packet.Bits:
		if c.Field == f {
			return prefixed(c, f.Width(is6))
		}
	case *packet.Tuples:
		return inTuples(c, f)
	case packet.All:
		var out packet.Ranges
		for _, x := range c {
			out = both(out, allowed(x, f, is6), f.Width(is6))
		}
		return out
	case packet.Any:
		return inAny(c, f, is6)
	case packet.Not:
		if x, ok := c.Cond.(packet.In); ok && x.Field == f {
			return some(x.Set.Complement(f.Width(is6)))
		}
	}
	return nil
}

// inAny is allowed for conditions of which one has to hold.
func inAny(c packet.Any, f packet.Field, is6 bool) packet.Ranges {
	all := []packet.Range{}
	for _, x := range c {
		rs := allowed(x, f, is6)
		if rs == nil {
			return nil
		}
		all = append(all, rs...)
	}
	return some(packet.NewRanges(all...))
}

// inTuples is allowed for the entries of a set with several fields.
func inTuples(c *packet.Tuples, f packet.Field) packet.Ranges {
	for i, field := range c.Fields {
		if field != f {
			continue
		}
		all := []packet.Range{}
		for _, e := range c.Entries {
			all = append(all, e[i])
		}
		return some(packet.NewRanges(all...))
	}
	return nil
}

// prefixed is the set of values whose first bits are given; nil if others are.
func prefixed(c packet.Bits, width uint) packet.Ranges {
	free := packet.Ones(width).And(c.Mask.Xor(packet.Ones(width)))
	if free.Next().And(free) != (packet.Value{}) {
		return nil
	}
	lo := c.Value.And(c.Mask)
	return packet.Ranges{{Lo: lo, Hi: lo.Or(free)}}
}

// some makes the empty set one that is not nil.
func some(rs packet.Ranges) packet.Ranges {
	if rs == nil {
		return packet.Ranges{}
	}
	return rs
}

// both returns what is in two sets, of which nil has everything.
func both(a, b packet.Ranges, width uint) packet.Ranges {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	missing := append(append([]packet.Range{}, a.Complement(width)...), b.Complement(width)...)
	return some(packet.NewRanges(missing...).Complement(width))
}

// overlap reports whether two sets have a value in common.
func overlap(a, b packet.Ranges) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Lo.Compare(y.Hi) <= 0 && y.Lo.Compare(x.Hi) <= 0 {
				return true
			}
		}
	}
	return false
}
