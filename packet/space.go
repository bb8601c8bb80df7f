package packet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Space holds the decision diagrams of one question, all of packets of one
// family. Filters that are to be compared belong into the same Space; all that
// it holds is freed with it.
//
// A question that needs more nodes than the budget makes its methods return
// ErrBudget, one that takes longer than Until allows ErrTime; the Space is of no
// use then.
type Space struct {
	is6      bool
	store    *store
	host     HostAddrs
	classes  []string        // interface classes; see class
	unknowns map[string]uint // level offset behind the fields, by key
	keys     []string        // of unknowns, by offset
	flags    map[string]bool // unsupported unknowns
	conds    map[*Tuples]Node
	large    map[largeSet]Node
	parts    []part // a stack, for products
	assumed  Node   // what holds of the unknowns; True until Assume says more

	preferred []Node // what witnesses are, one after the other, as far as they can; nil: not asked for yet
}

// HostAddrs are the addresses that the kernel's routing calls the host's own.
// Where Known is false, tests for them are left open.
type HostAddrs struct {
	Known            bool
	Local, Broadcast Ranges // of the Space's family
}

// DefaultBudget is enough for a hundred thousand rules and takes at most about
// two gigabytes.
const DefaultBudget = 40_000_000

// nodesOfRule is about how many nodes a rule of a large ruleset adds.
const nodesOfRule = 16

// NewSpace returns a Space for the filters. Interfaces and unknowns that they
// name are its own from the start, so that their order is no accident of use.
func NewSpace(is6 bool, host HostAddrs, budget int, filters ...*Filter) *Space {
	size := 0
	for _, f := range filters {
		size = max(size, f.size())
	}
	s := &Space{is6: is6, store: newStore(budget, nodesOfRule*size), host: host, unknowns: map[string]uint{}, flags: map[string]bool{}, conds: map[*Tuples]Node{}, large: map[largeSet]Node{}, assumed: True}
	patterns := map[string]bool{"lo": true}
	keys := map[string]bool{}
	for _, f := range filters {
		f.conditions(func(c Cond) {
			switch c := c.(type) {
			case Iface:
				patterns[c.Pattern] = true
			case Unknown:
				keys[c.Key] = keys[c.Key] || c.Unsupported
			}
		})
	}
	s.classify(patterns)
	for _, k := range sortedNames(keys) {
		s.unknowns[k] = uint(len(s.keys))
		s.keys = append(s.keys, k)
		s.flags[k] = keys[k]
	}
	return s
}

func sortedNames(m map[string]bool) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Covers reports whether the Space can take another filter: that it names no
// interface and no unknown that the filters of NewSpace did not.
func (s *Space) Covers(f *Filter) bool {
	all := true
	f.conditions(func(c Cond) {
		switch c := c.(type) {
		case Iface:
			all = all && (c.Pattern == "" || c.Pattern == "*" || slices.Contains(s.classes, c.Pattern))
		case Unknown:
			_, known := s.unknowns[c.Key]
			all = all && known
		}
	})
	return all
}

// classify makes the classes of interface names that the patterns tell apart.
// Class 0 is no interface, class 1 all names that no pattern fits; then comes
// each name, and each prefix with its "*", which stands for the names that fit
// it but no name and no longer prefix.
func (s *Space) classify(patterns map[string]bool) {
	s.classes = []string{"", "*"} // the second is otherClass
	for _, p := range sortedNames(patterns) {
		if p != "" && p != "*" {
			s.classes = append(s.classes, p)
		}
	}
}

// otherClass is the class of the interfaces that no pattern fits.
const otherClass = 1

// fits reports whether the names of a class fit a pattern. Classes are made so
// that either all or none do.
func fits(pattern, class string) bool {
	prefix, wild := strings.CutSuffix(pattern, "*")
	if !wild {
		return pattern == class
	}
	return strings.HasPrefix(strings.TrimSuffix(class, "*"), prefix)
}

// guard turns a spent budget into an error.
func (s *Space) guard(err *error) {
	if r := recover(); r != nil {
		e, ok := r.(error)
		if !ok || e != ErrBudget && e != ErrTime { //nolint:errorlint // these very values are thrown
			panic(r)
		}
		*err = e
	}
}

// Until bounds the time that the Space may work on its questions.
func (s *Space) Until(t time.Time) { s.store.until = t }

// Nodes returns how many nodes the Space holds.
func (s *Space) Nodes() int { return len(s.store.nodes) }

// The outcomes are the constants of a filter's diagram; this one stands for a
// chain that did not decide.
const leafFall Node = 8

// Build returns the filter's diagram: its values are the outcomes Drop, Accept,
// Reject and Unknown.
func (s *Space) Build(f *Filter) (n Node, err error) {
	defer s.guard(&err)
	b := &build{s: s, f: f, done: map[string]Node{}, busy: map[string]bool{}, writes: map[*Chain]bool{}, asked: f.asked(), left: mostSteps}
	n = Node(OutcomeAccept)
	for _, c := range slices.Backward(f.Base) {
		n = b.base(c, n)
	}
	return n, nil
}

// Set returns the diagram of a condition: the set of packets for which it holds.
func (s *Space) Set(c Cond) (n Node, err error) {
	defer s.guard(&err)
	return s.cond(c), nil
}

// build is the work on one filter.
type build struct {
	s      *Space
	f      *Filter
	done   map[string]Node // chains without writes, falling through to leafFall
	busy   map[string]bool // chains being built: what jumps back to them loops
	writes map[*Chain]bool // whether a chain, or one that it calls, writes what is asked for
	asked  [fieldCount]bool
	left   int // how many more rules may be tried
}

// mostSteps bounds the work for chains that write and are called from many
// places, each time anew.
const mostSteps = 20_000_000

// base puts a base chain before what follows when it accepts.
func (b *build) base(c *Chain, next Node) Node {
	n := b.meet(c, next)
	if c.When != nil {
		n = b.s.store.ite(b.s.cond(c.When), n, next)
	}
	return n
}

func (b *build) meet(c *Chain, next Node) Node {
	if b.hasWrites(c, 0) || next < terminals {
		end := Node(c.Policy)
		if c.Policy == OutcomeAccept {
			end = next
		}
		return b.rules(c, end, next, 0)
	}
	// Without writes the chain's own diagram is made first: it is small and does
	// not depend on what follows.
	d := b.rules(c, leafFall, Node(OutcomeAccept), 0)
	d = b.s.store.bind(d, leafFall, Node(c.Policy))
	return b.s.store.bind(d, Node(OutcomeAccept), next)
}

// leafNext stands for what follows when a chain accepts.
const leafNext Node = 9

// rules builds a chain from its last rule to its first. A packet that no rule
// decides goes to fall, one that is accepted to accept.
func (b *build) rules(c *Chain, fall, accept Node, depth int) Node {
	if depth > maxDepth {
		return Node(OutcomeUnknown)
	}
	rest := fall
	for i := len(c.Rules) - 1; i >= 0; i-- {
		r := c.Rules[i]
		first := b.run(c.Rules, i)
		run := c.Rules[first : i+1]
		i = first
		d, called := b.called(r, depth)
		switch {
		case called:
			rest = b.detour(r, b.either(run), d, rest, fall, accept)
		case len(run) > 1:
			rest = b.s.store.ite(b.either(run), b.target(r, fall, accept), rest)
		default:
			rest = b.s.store.ite(b.s.cond(r.Cond), b.then(r, rest, fall, accept, depth), rest)
		}
	}
	return rest
}

// run returns where the run of rules that ends with rule i begins: neighbours
// with one final outcome, or that lead to one chain which writes nothing. Of them
// only the union of conditions counts: what such a chain did not decide once it
// does not decide when it is asked again.
func (b *build) run(rules []Step, i int) int {
	alike := func(o *Step) bool { return o.plain() }
	switch last := &rules[i]; {
	case b.leads(last):
		alike = func(o *Step) bool { return o.Chain == last.Chain && b.leads(o) }
	case !last.plain():
		return i
	}
	for i > 0 && rules[i-1].Outcome == rules[i].Outcome && alike(&rules[i-1]) {
		i--
	}
	return i
}

// leads reports whether all that a rule does is to lead to a chain that writes
// nothing.
func (b *build) leads(r *Step) bool {
	c := b.f.Chains[r.Chain]
	return (r.Outcome == OutcomeJump || r.Outcome == OutcomeGoto) && len(r.Cases) == 0 && !b.writesAsked(r) &&
		c != nil && !b.busy[r.Chain] && !b.hasWrites(c, 0)
}

// plain reports whether the rule decides or returns, and does nothing else.
func (s *Step) plain() bool {
	return (s.Outcome.final() || s.Outcome == OutcomeReturn) && len(s.Writes) == 0 && len(s.Cases) == 0
}

func (b *build) either(rules []Step) Node {
	conds := make([]Cond, len(rules))
	for i, r := range rules {
		conds[i] = r.Cond
	}
	return b.s.any(conds)
}

func (b *build) target(r Step, fall, accept Node) Node {
	switch r.Outcome {
	case OutcomeAccept:
		return accept
	case OutcomeReturn:
		return fall
	}
	return Node(r.Outcome)
}

// leafSkip stands for the rules behind one that does not hold.
const leafSkip Node = 10

// detour leads the packets of a set, for which a rule holds, through a chain. The
// condition comes first: what comes after the chain is then joined only to the
// packets that get there.
func (b *build) detour(r Step, set, chain, rest, fall, accept Node) Node {
	st := b.s.store
	if accept != Node(OutcomeAccept) {
		chain = st.bind(chain, Node(OutcomeAccept), leafNext)
	}
	var d Node
	if r.Outcome == OutcomeJump {
		d = st.bind(st.ite(set, chain, leafFall), leafFall, rest)
	} else {
		d = st.bind(st.ite(set, chain, leafSkip), leafFall, fall)
		d = st.bind(d, leafSkip, rest)
	}
	if accept != Node(OutcomeAccept) {
		d = st.bind(d, leafNext, accept)
	}
	return d
}

// then is what becomes of a packet for which the rule's condition holds.
func (b *build) then(r Step, rest, fall, accept Node, depth int) Node {
	if b.left--; b.left < 0 {
		panic(ErrBudget)
	}
	then := rest
	switch {
	case len(r.Cases) > 0:
		for _, c := range slices.Backward(r.Cases) {
			then = b.s.store.ite(b.s.cond(c.Cond), b.then(c, rest, fall, accept, depth), then)
		}
	case r.Outcome == OutcomeContinue:
	case r.Outcome == OutcomeJump:
		then = b.call(r.Chain, rest, accept, depth)
	case r.Outcome == OutcomeGoto:
		then = b.call(r.Chain, fall, accept, depth)
	default:
		then = b.target(r, fall, accept)
	}
	for _, w := range slices.Backward(r.Writes) {
		if b.asked[w.Field] {
			then = b.s.write(then, w)
		}
	}
	return then
}

// called returns the diagram of the chain that a rule leads to, if that is all
// that the rule does and the chain writes nothing.
func (b *build) called(r Step, depth int) (Node, bool) {
	if !b.leads(&r) {
		return 0, false
	}
	if b.left--; b.left < 0 {
		panic(ErrBudget)
	}
	return b.own(b.f.Chains[r.Chain], r.Chain, depth), true
}

// own returns the diagram of a chain that writes nothing. It is built once.
func (b *build) own(c *Chain, name string, depth int) Node {
	d, ok := b.done[name]
	if !ok {
		b.busy[name] = true
		d = b.rules(c, leafFall, Node(OutcomeAccept), depth+1)
		delete(b.busy, name)
		b.done[name] = d
	}
	return d
}

// call returns what a chain does before fall. One that writes is built anew for
// each place that it returns to.
func (b *build) call(name string, fall, accept Node, depth int) Node {
	c := b.f.Chains[name]
	if c == nil || b.busy[name] {
		return Node(OutcomeUnknown)
	}
	if b.hasWrites(c, 0) {
		b.busy[name] = true
		defer delete(b.busy, name)
		return b.rules(c, fall, accept, depth+1)
	}
	d := b.own(c, name, depth)
	if accept != Node(OutcomeAccept) {
		d = b.s.store.bind(d, Node(OutcomeAccept), leafNext)
		d = b.s.store.bind(d, leafFall, fall)
		return b.s.store.bind(d, leafNext, accept)
	}
	return b.s.store.bind(d, leafFall, fall)
}

func (b *build) hasWrites(c *Chain, depth int) bool {
	if c == nil || depth > maxDepth {
		return false
	}
	if w, ok := b.writes[c]; ok {
		return w
	}
	b.writes[c] = false // a loop adds nothing
	w := false
	c.Steps(func(r *Step) {
		jumps := r.Outcome == OutcomeJump || r.Outcome == OutcomeGoto
		w = w || b.writesAsked(r) || jumps && b.hasWrites(b.f.Chains[r.Chain], depth+1)
	})
	b.writes[c] = w
	return w
}

// write returns the diagram of what comes after a field was given a value.
func (s *Space) write(n Node, w Write) Node {
	width := w.Field.Width(s.is6)
	last := firstLevel[w.Field+1]
	return s.store.assign(n, last, func(level uint32) (bit Node, known bool) {
		f, i, ok := fieldAt(level)
		if !ok || f != w.Field || i >= width || !w.Mask.bit(i) {
			return 0, false
		}
		return s.written(w, i), true
	})
}

// written returns the packets in which a written bit becomes 1.
func (s *Space) written(w Write, i uint) Node {
	switch from := int(i) + w.Shift; {
	case w.Unknown != "":
		return s.unknown(UnknownBit(w.Unknown, i))
	case w.Copy && from >= 0 && from < int(w.From.Width(s.is6)):
		n := s.store.node(levelOf(w.From, uint(from)), False, True)
		if w.Value.bit(i) {
			n = s.store.not(n)
		}
		return n
	}
	return truth(w.Value.bit(i))
}

func truth(b bool) Node {
	if b {
		return True
	}
	return False
}

// cond returns the set of packets for which a condition holds.
func (s *Space) cond(c Cond) Node {
	switch c := c.(type) {
	case nil:
		return True
	case All:
		return s.all(c)
	case Any:
		return s.any(c)
	case Not:
		return s.store.not(s.cond(c.Cond))
	case In:
		return s.in(c)
	case Bits:
		return s.bits(c)
	case Iface:
		return s.iface(c)
	case *Tuples:
		return s.tuples(c)
	case Unknown:
		return s.unknown(c.Key)
	}
	panic(fmt.Sprintf("packet: condition %T", c))
}

// in returns the packets whose field is in the set. The kind of an address is a
// set of addresses where the host's are known.
func (s *Space) in(c In) Node {
	switch {
	case c.Field == FieldDstType && s.host.Known:
		return s.kinds(FieldDst, c.Set)
	case c.Field == FieldSrcType && s.host.Known:
		return s.kinds(FieldSrc, c.Set)
	}
	return s.ranges(c.Field, c.Set)
}

func (s *Space) kinds(f Field, kinds Ranges) Node {
	broadcast := s.host.Broadcast
	if f == FieldSrc && !s.is6 {
		broadcast = NewRanges(slices.Concat(broadcast, thisNetwork)...)
	}
	n, listed := False, False
	for _, k := range []struct {
		kind AddrType
		set  Ranges
	}{{AddrLocal, s.host.Local}, {AddrBroadcast, broadcast}, {AddrMulticast, Multicast(s.is6)}} {
		set := s.store.less(s.ranges(f, k.set), listed)
		listed = s.store.or(listed, set)
		if kinds.Contains(Number(uint64(k.kind))) {
			n = s.store.or(n, set)
		}
	}
	if kinds.Contains(Number(uint64(AddrOther))) {
		n = s.store.or(n, s.store.not(listed))
	}
	return n
}

// Multicast returns the multicast addresses of a family (RFC 5771, RFC 4291).
func Multicast(is6 bool) Ranges {
	if is6 {
		return Ranges{{Value{Hi: 0xff << 56}, Ones(128)}}
	}
	return Ranges{{Number(0xe0000000), Number(0xefffffff)}}
}

// largeSet names a set of values that is not built twice: by its place in
// memory, where nobody changes it.
type largeSet struct {
	field Field
	first *Range
	size  int
}

// fromLarge is the number of ranges from which on a set is large.
const fromLarge = 256

func (s *Space) ranges(f Field, set Ranges) Node {
	if len(set) < fromLarge {
		return s.fromRanges(f, set)
	}
	key := largeSet{f, &set[0], len(set)}
	n, ok := s.large[key]
	if !ok {
		n = s.fromRanges(f, set)
		s.large[key] = n
	}
	return n
}

// fromRanges builds a set of values from the top bit down, without joining ranges
// one by one.
func (s *Space) fromRanges(f Field, set Ranges) Node {
	return s.block(f, s.possible(f, set), f.Width(s.is6), Value{}, True)
}

// possible leaves out values that the field cannot have: they are in no packet.
func (s *Space) possible(f Field, set Ranges) Ranges {
	n := len(set)
	for n > 0 && set[n-1].Lo.Compare(Ones(f.Width(s.is6))) > 0 {
		n--
	}
	return set[:n]
}

// block returns the part of the set that lies in the block of 2^n values from
// base on, and then what asks for later fields alone.
func (s *Space) block(f Field, set Ranges, n uint, base Value, then Node) Node {
	switch {
	case len(set) == 0:
		return False
	case set[0].Lo.Compare(base) <= 0 && set[0].Hi.Compare(base.plus(Ones(n))) >= 0:
		return then
	}
	mid := base.plus(Number(1).Shift(n - 1))
	lower, upper := halves(set, mid)
	return s.store.node(levelOf(f, n-1), s.block(f, lower, n-1, base, then), s.block(f, upper, n-1, mid, then))
}

// halves returns the ranges that reach below a value and those that reach it or
// beyond. One range may be in both.
func halves(set Ranges, mid Value) (lower, upper Ranges) {
	i, _ := slices.BinarySearchFunc(set, mid, func(r Range, v Value) int { return r.Hi.Compare(v) })
	j := i
	if i < len(set) && set[i].Lo.Compare(mid) < 0 {
		j++
	}
	return set[:j], set[i:]
}

// bits fixes the bits under a mask.
func (s *Space) bits(c Bits) Node {
	if c.Value.And(c.Mask) != c.Value {
		return False
	}
	n := True
	for i := range c.Field.Width(s.is6) {
		if !c.Mask.bit(i) {
			continue
		}
		if c.Value.bit(i) {
			n = s.store.node(levelOf(c.Field, i), False, n)
		} else {
			n = s.store.node(levelOf(c.Field, i), n, False)
		}
	}
	return n
}

func (s *Space) iface(c Iface) Node {
	f := FieldIn
	if c.Out {
		f = FieldOut
	}
	var set []Range
	for i, class := range s.classes {
		if fits(c.Pattern, class) {
			set = append(set, Single(Number(uint64(i))))
		}
	}
	return s.ranges(f, NewRanges(set...))
}

// tuples builds a union of products: entries with one first range share it.
func (s *Space) tuples(t *Tuples) Node {
	if n, ok := s.conds[t]; ok {
		return n
	}
	order := make([]int, len(t.Fields))
	for i := range order {
		order[i] = i
	}
	// The order of the diagram, so that each product is a chain of nodes.
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(t.Fields[a], t.Fields[b]) })
	n := s.union(t, order)
	s.conds[t] = n
	return n
}

func (s *Space) union(t *Tuples, order []int) Node {
	ps := make([]part, len(t.Entries))
	ins, sets := make([]In, len(t.Entries)*len(order)), make([]Range, len(t.Entries)*len(order))
	for i, e := range t.Entries {
		at := i * len(order)
		for j, k := range order {
			sets[at+j] = e[k]
			ins[at+j] = In{t.Fields[k], sets[at+j : at+j+1]}
		}
		ps[i].rest = ins[at : at+len(order)]
	}
	for i := range order {
		if i > 0 && t.Fields[order[i-1]] == t.Fields[order[i]] { // a key that holds a field twice
			nodes := make([]Node, len(ps))
			for i, p := range ps {
				nodes[i] = s.product(p.rest, True)
			}
			return s.store.all(nodes)
		}
	}
	return s.products(ps)
}

func (s *Space) unknown(key string) Node {
	i, ok := s.unknowns[key]
	if !ok {
		panic("packet: unknown " + key + " was not announced to the Space")
	}
	return s.store.node(firstLevel[fieldCount]+uint32(i), False, True)
}
