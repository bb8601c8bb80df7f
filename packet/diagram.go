package packet

import (
	"errors"
	"time"
)

// Node is a decision diagram in a Space: a function from packets to small
// numbers. In one Space two diagrams are the same function exactly if they are
// the same Node. A Node below terminals is constant and its own value.
type Node uint32

// The diagrams of sets of packets have only these two values.
const (
	False Node = 0
	True  Node = 1
)

// terminals is how many constants there are; they come first among the nodes.
const terminals = 64

// ErrBudget says that a question needs more nodes than the Space may hold. It
// is the answer "undecided": nothing follows from it.
var ErrBudget = errors.New("undecided: the question needs more nodes than the budget allows")

// ErrTime says that a question takes longer than Space.Until allows. It is the
// answer "undecided", too.
var ErrTime = errors.New("undecided: the question takes longer than allowed")

// branch is one inner node: the bit at level decides between lo (0) and hi (1).
// Levels grow from the root to the leaves.
type branch struct {
	level  uint32
	lo, hi Node
}

const leafLevel = 1<<32 - 1

// cached is one result of an operation. Results are overwritten by others with
// the same place.
type cached struct {
	op      uint32
	f, g, h Node
	result  Node
}

// store holds all nodes, each once.
type store struct {
	nodes  []branch
	unique []Node // open addressing by hash; 0: free
	cache  []cached
	budget int
	asked  uint32    // how often a node was asked for
	until  time.Time // zero: as long as it takes
}

// betweenClocks is how many nodes are made between two looks at the clock.
const betweenClocks = 1 << 14

const (
	firstSize = 1 << 12
	maxCache  = 1 << 20
)

// newStore makes a store for so many nodes, to begin with.
func newStore(budget, size int) *store {
	n := firstSize
	for n < size && n < maxCache/4 {
		n *= 2
	}
	s := &store{nodes: make([]branch, terminals, n), unique: make([]Node, 2*n), cache: make([]cached, n), budget: budget}
	for i := range s.nodes {
		s.nodes[i] = branch{level: leafLevel, lo: Node(i), hi: Node(i)}
	}
	return s
}

func hash3(a, b, c uint32) uint32 {
	h := uint64(a)*0x9e3779b97f4a7c15 ^ uint64(b)*0xc2b2ae3d27d4eb4f ^ uint64(c)*0x165667b19e3779f9
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return uint32(h >> 32)
}

// node returns the node that decides by level between lo and hi.
func (s *store) node(level uint32, lo, hi Node) Node {
	if lo == hi {
		return lo
	}
	if s.asked++; s.asked%betweenClocks == 0 && !s.until.IsZero() && time.Now().After(s.until) {
		panic(ErrTime)
	}
	mask := uint32(len(s.unique) - 1)
	i := hash3(level, uint32(lo), uint32(hi)) & mask
	for ; s.unique[i] != 0; i = (i + 1) & mask {
		if n := s.unique[i]; s.nodes[n] == (branch{level, lo, hi}) {
			return n
		}
	}
	if len(s.nodes) >= s.budget {
		panic(ErrBudget)
	}
	n := Node(len(s.nodes))
	s.nodes = append(s.nodes, branch{level, lo, hi})
	s.unique[i] = n
	if len(s.nodes)*2 > len(s.unique) {
		s.grow()
	}
	return n
}

// grow doubles the table and, up to a bound, the cache.
func (s *store) grow() {
	s.unique = make([]Node, len(s.unique)*2)
	mask := uint32(len(s.unique) - 1)
	for n := terminals; n < len(s.nodes); n++ {
		b := s.nodes[n]
		i := hash3(b.level, uint32(b.lo), uint32(b.hi)) & mask
		for s.unique[i] != 0 {
			i = (i + 1) & mask
		}
		s.unique[i] = Node(n)
	}
	if len(s.cache) < maxCache && len(s.cache) < len(s.unique) {
		s.cache = make([]cached, len(s.cache)*2)
	}
}

func (s *store) level(n Node) uint32 { return s.nodes[n].level }

// split returns the halves of a diagram at a level.
func (s *store) split(n Node, level uint32) (lo, hi Node) {
	if b := &s.nodes[n]; b.level == level {
		return b.lo, b.hi
	}
	return n, n
}

// The operations with cached results. Those that take a value have it added.
const (
	opIf uint32 = iota + 1
	opDiffer
	opIs   = 1 << 8
	opBind = 2 << 8
)

func (s *store) slot(op uint32, f, g, h Node) *cached {
	return &s.cache[(hash3(uint32(f), uint32(g), uint32(h))+op*0x9e3779b1)&uint32(len(s.cache)-1)]
}

func (c *cached) holds(op uint32, f, g, h Node) bool {
	return c.op == op && c.f == f && c.g == g && c.h == h
}

// ite is "if f then g else h"; f is a set.
func (s *store) ite(f, g, h Node) Node {
	switch {
	case f == True || g == h:
		return g
	case f == False:
		return h
	case g == True && h == False:
		return f
	}
	if c := s.slot(opIf, f, g, h); c.holds(opIf, f, g, h) {
		return c.result
	}
	level := min(s.level(f), s.level(g), s.level(h))
	f0, f1 := s.split(f, level)
	g0, g1 := s.split(g, level)
	h0, h1 := s.split(h, level)
	n := s.node(level, s.ite(f0, g0, h0), s.ite(f1, g1, h1))
	*s.slot(opIf, f, g, h) = cached{opIf, f, g, h, n}
	return n
}

func (s *store) and(f, g Node) Node  { return s.ite(f, g, False) }
func (s *store) or(f, g Node) Node   { return s.ite(f, True, g) }
func (s *store) not(f Node) Node     { return s.ite(f, False, True) }
func (s *store) less(f, g Node) Node { return s.ite(g, False, f) }

// bind puts g in the place of the constant leaf in f.
func (s *store) bind(f, leaf, g Node) Node {
	switch {
	case f == leaf:
		return g
	case f < terminals || g == leaf:
		return f
	}
	op := opBind + uint32(leaf)
	if c := s.slot(op, f, g, 0); c.holds(op, f, g, 0) {
		return c.result
	}
	level := min(s.level(f), s.level(g))
	f0, f1 := s.split(f, level)
	g0, g1 := s.split(g, level)
	n := s.node(level, s.bind(f0, leaf, g0), s.bind(f1, leaf, g1))
	*s.slot(op, f, g, 0) = cached{op, f, g, 0, n}
	return n
}

// is returns the set of packets to which f gives the value.
func (s *store) is(f, value Node) Node {
	if f < terminals {
		if f == value {
			return True
		}
		return False
	}
	op := opIs + uint32(value)
	if c := s.slot(op, f, 0, 0); c.holds(op, f, 0, 0) {
		return c.result
	}
	b := s.nodes[f]
	n := s.node(b.level, s.is(b.lo, value), s.is(b.hi, value))
	*s.slot(op, f, 0, 0) = cached{op, f, 0, 0, n}
	return n
}

// differ returns the set of packets to which f and g give different values.
func (s *store) differ(f, g Node) Node {
	switch {
	case f == g:
		return False
	case f < terminals && g < terminals:
		return True
	}
	if f > g {
		f, g = g, f
	}
	if c := s.slot(opDiffer, f, g, 0); c.holds(opDiffer, f, g, 0) {
		return c.result
	}
	level := min(s.level(f), s.level(g))
	f0, f1 := s.split(f, level)
	g0, g1 := s.split(g, level)
	n := s.node(level, s.differ(f0, g0), s.differ(f1, g1))
	*s.slot(opDiffer, f, g, 0) = cached{opDiffer, f, g, 0, n}
	return n
}

// exists returns the packets that f holds for some value of the bits that drop
// names. Its results are kept for one call only.
func (s *store) exists(f Node, drop func(level uint32) bool) Node {
	return s.quantify(f, drop, s.or, map[Node]Node{})
}

// forall is exists for every value.
func (s *store) forall(f Node, drop func(level uint32) bool) Node {
	return s.quantify(f, drop, s.and, map[Node]Node{})
}

func (s *store) quantify(f Node, drop func(uint32) bool, join func(f, g Node) Node, done map[Node]Node) Node {
	if f < terminals {
		return f
	}
	if n, ok := done[f]; ok {
		return n
	}
	b := s.nodes[f]
	lo, hi := s.quantify(b.lo, drop, join, done), s.quantify(b.hi, drop, join, done)
	var n Node
	if drop(b.level) {
		n = join(lo, hi)
	} else {
		n = s.ite(s.node(b.level, False, True), hi, lo)
	}
	done[f] = n
	return n
}

// assign puts sets in the place of the bits that value knows, all at once; there
// are none at the level last or behind it.
func (s *store) assign(f Node, last uint32, value func(level uint32) (bit Node, known bool)) Node {
	return s.assignIn(f, last, value, map[Node]Node{})
}

func (s *store) assignIn(f Node, last uint32, value func(uint32) (Node, bool), done map[Node]Node) Node {
	if s.level(f) >= last {
		return f
	}
	if n, ok := done[f]; ok {
		return n
	}
	b := s.nodes[f]
	bit, known := value(b.level)
	if !known {
		bit = s.node(b.level, False, True)
	}
	var n Node
	switch bit {
	case True:
		n = s.assignIn(b.hi, last, value, done)
	case False:
		n = s.assignIn(b.lo, last, value, done)
	default:
		n = s.ite(bit, s.assignIn(b.hi, last, value, done), s.assignIn(b.lo, last, value, done))
	}
	done[f] = n
	return n
}
