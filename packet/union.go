package packet

import "slices"

// all returns the union of sets. Many sets that look at the same bits, such as a
// port and a source each, are sorted by these bits all at once: joining them two
// by two would make every step between.
func (s *store) all(sets []Node) Node {
	slices.Sort(sets)
	sets = slices.Compact(sets)
	if len(sets) > 0 && sets[0] == False {
		sets = sets[1:]
	}
	switch {
	case len(sets) == 0:
		return False
	case sets[0] == True:
		return True
	case len(sets) == 1:
		return sets[0]
	case len(sets) == 2:
		return s.or(sets[0], sets[1])
	}
	level := uint32(leafLevel)
	for _, n := range sets {
		level = min(level, s.level(n))
	}
	both := 0 // sets that do not look at the bit, and go both ways
	for _, n := range sets {
		if s.level(n) != level {
			both++
		}
	}
	if both*4 > len(sets) {
		return s.pairs(sets)
	}
	halves := make([]Node, 2*len(sets))
	lo, hi := halves[:0:len(sets)], halves[len(sets):len(sets)]
	for _, n := range sets {
		l, h := s.split(n, level)
		if l != False {
			lo = append(lo, l)
		}
		if h != False {
			hi = append(hi, h)
		}
	}
	if len(lo)+len(hi) > len(sets)+len(sets)/4 {
		return s.pairs(sets)
	}
	return s.node(level, s.all(lo), s.all(hi))
}

// pairs joins sets two by two, which keeps the steps between small.
func (s *store) pairs(sets []Node) Node {
	for len(sets) > 1 {
		half := sets[:0]
		for i := 0; i < len(sets); i += 2 {
			if i+1 == len(sets) {
				half = append(half, sets[i])
				break
			}
			half = append(half, s.or(sets[i], sets[i+1]))
		}
		sets = half
	}
	return sets[0]
}
