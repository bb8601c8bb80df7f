package packet

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// A truth table over few variables: bit i of the table is the value for the
// assignment whose bits are i.
type table [256]Node

const vars = 8

// diagramOf builds the diagram of a table by splitting it in halves.
func diagramOf(s *store, t table) Node {
	var build func(level, from, n int) Node
	build = func(level, from, n int) Node {
		if n == 1 {
			return t[from]
		}
		return s.node(uint32(level), build(level+1, from, n/2), build(level+1, from+n/2, n/2))
	}
	return build(0, 0, 256)
}

func valueAt(s *store, n Node, i int) Node {
	for n >= terminals {
		b := s.nodes[n]
		if i>>(vars-1-b.level)&1 == 1 {
			n = b.hi
		} else {
			n = b.lo
		}
	}
	return n
}

func randomTable(r *rand.Rand, values int) (t table) {
	// Blocks of equal values, as sets of addresses have them.
	for i := 0; i < len(t); {
		v, n := Node(r.IntN(values)), 1+r.IntN(40)
		for ; n > 0 && i < len(t); n, i = n-1, i+1 {
			t[i] = v
		}
	}
	return t
}

// Every operation is what it is on truth tables, and equal tables are one node.
func TestOperationsOnTables(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 1000 {
		s := newStore(1<<20, 0)
		ft, gt, ht := randomTable(r, 2), randomTable(r, 5), randomTable(r, 5)
		f, g, h := diagramOf(s, ft), diagramOf(s, gt), diagramOf(s, ht)
		drop := r.Uint32N(256)
		dropped := func(level uint32) bool { return drop>>level&1 == 1 }
		check := func(name string, n Node, want func(i int) Node) {
			var wt table
			for i := range wt {
				wt[i] = want(i)
				if got := valueAt(s, n, i); got != wt[i] {
					t.Fatalf("%s at %08b: %d, want %d", name, i, got, wt[i])
				}
			}
			if again := diagramOf(s, wt); again != n {
				t.Fatalf("%s: node %d, its table is node %d", name, n, again)
			}
		}
		check("ite", s.ite(f, g, h), func(i int) Node { return pick(ft[i] == True, gt[i], ht[i]) })
		check("not", s.not(f), func(i int) Node { return 1 - ft[i] })
		check("bind", s.bind(g, 3, h), func(i int) Node { return pick(gt[i] == 3, ht[i], gt[i]) })
		check("is", s.is(g, 2), func(i int) Node { return pick(gt[i] == 2, True, False) })
		check("differ", s.differ(g, h), func(i int) Node { return pick(gt[i] != ht[i], True, False) })
		some := func(i int, want Node) bool {
			for j := range 256 {
				if same(i, j, drop) && ft[j] == want {
					return true
				}
			}
			return false
		}
		check("exists", s.exists(f, dropped), func(i int) Node { return pick(some(i, True), True, False) })
		check("forall", s.forall(f, dropped), func(i int) Node { return pick(some(i, False), False, True) })
		fixed := r.Uint32N(256)
		check("assign", s.assign(g, vars, func(l uint32) (Node, bool) { return truth(fixed>>l&1 == 1), dropped(l) }),
			func(i int) Node {
				for l := range uint32(vars) {
					if dropped(l) {
						i = i&^(1<<(vars-1-l)) | int(fixed>>l&1)<<(vars-1-l)
					}
				}
				return gt[i]
			})
	}
}

// same reports whether two assignments agree but for the dropped levels.
func same(i, j int, drop uint32) bool {
	for l := range vars {
		if drop>>l&1 == 0 && (i^j)>>(vars-1-l)&1 == 1 {
			return false
		}
	}
	return true
}

func pick(cond bool, yes, no Node) Node {
	if cond {
		return yes
	}
	return no
}

// The algebra of sets.
func TestAlgebra(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	s := newStore(1<<22, 0)
	for range 5000 {
		a, b, c := diagramOf(s, randomTable(r, 2)), diagramOf(s, randomTable(r, 2)), diagramOf(s, randomTable(r, 2))
		for name, law := range map[string][2]Node{
			"distribution":   {s.and(a, s.or(b, c)), s.or(s.and(a, b), s.and(a, c))},
			"De Morgan":      {s.not(s.and(a, b)), s.or(s.not(a), s.not(b))},
			"absorption":     {s.or(a, s.and(a, b)), a},
			"double":         {s.not(s.not(a)), a},
			"difference":     {s.less(a, b), s.and(a, s.not(b))},
			"associativity":  {s.or(a, s.or(b, c)), s.or(s.or(a, b), c)},
			"excluded third": {s.or(a, s.not(a)), True},
		} {
			if law[0] != law[1] {
				t.Fatalf("%s does not hold", name)
			}
		}
	}
}

// A budget that is spent is an error, not a hang and not an answer.
func TestBudget(t *testing.T) {
	f := &Filter{Base: []*Chain{{Name: "c", Policy: OutcomeDrop}}}
	r := rand.New(rand.NewPCG(9, 9))
	for range 2000 {
		f.Base[0].Rules = append(f.Base[0].Rules, Step{Outcome: OutcomeAccept, Cond: All{
			Bits{FieldSrc, Number(r.Uint64N(1 << 32)), Value{}},
			Bits{FieldDst, Number(0xffff), Number(r.Uint64N(1 << 16))}}})
	}
	s := NewSpace(false, HostAddrs{}, 50_000, f)
	if _, err := s.Build(f); !errors.Is(err, ErrBudget) {
		t.Errorf("error %v, %d nodes", err, s.Nodes())
	}
}
