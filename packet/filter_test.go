package packet

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// world draws filters and packets from a small universe, so that packets meet
// rules.
type world struct {
	r    *rand.Rand
	is6  bool
	host HostAddrs
}

func (w world) value(f Field) Value {
	r := w.r
	switch f {
	case FieldSrc, FieldDst, FieldOrigDst:
		if w.is6 {
			return Value{0x20010db8<<32 | r.Uint64N(3), r.Uint64N(6)}
		}
		return Number(0x0a000000 + r.Uint64N(24))
	case FieldProto:
		return Number([]uint64{1, 6, 17, 58, 112}[r.IntN(5)])
	case FieldState:
		return Number(r.Uint64N(5))
	case FieldDstPort, FieldSrcPort:
		return Number(20 + r.Uint64N(12))
	case FieldDstType, FieldSrcType:
		return Number(r.Uint64N(4))
	case FieldFlags:
		return Number(r.Uint64N(64))
	case FieldFragment:
		return Number(r.Uint64N(2))
	}
	return Number(r.Uint64N(4))
}

func (w world) ranges(f Field) Ranges {
	var rs []Range
	for range 1 + w.r.IntN(4) {
		a, b := w.value(f), w.value(f)
		if a.Compare(b) > 0 {
			a, b = b, a
		}
		rs = append(rs, Range{a, b})
	}
	set := NewRanges(rs...)
	if w.r.IntN(5) == 0 {
		set = set.Complement(f.Width(w.is6))
	}
	return set
}

var drawn = []Field{FieldState, FieldProto, FieldFlags, FieldType, FieldDstPort, FieldSrcPort, FieldDst, FieldSrc, FieldDstType, FieldMark, FieldFragment}

func (w world) cond(depth int) Cond {
	r := w.r
	if depth == 0 {
		switch r.IntN(8) {
		case 0:
			return Iface{Out: r.IntN(2) == 0, Pattern: []string{"lo", "eth0", "eth*", "e*", "wg1", "wg*", "", "*"}[r.IntN(8)]}
		case 1:
			f := []Field{FieldFlags, FieldMark}[r.IntN(2)]
			mask := Number(r.Uint64N(64))
			return Bits{f, mask, Number(r.Uint64N(64)).And(mask)}
		case 2:
			return Unknown{Key: fmt.Sprint("rate ", r.IntN(3))}
		case 3:
			t := &Tuples{Fields: []Field{FieldSrc, FieldProto, FieldDstPort}}
			for range r.IntN(5) {
				src := w.ranges(FieldSrc)[0]
				t.Entries = append(t.Entries, []Range{src, Single(w.value(FieldProto)), w.ranges(FieldDstPort)[0]})
			}
			return t
		}
		f := drawn[r.IntN(len(drawn))]
		return In{f, w.ranges(f)}
	}
	switch r.IntN(4) {
	case 0:
		return Not{w.cond(depth - 1)}
	case 1:
		return Any{w.cond(depth - 1), w.cond(depth - 1)}
	}
	return All{w.cond(depth - 1), w.cond(0)}
}

func (w world) chain(name string, callees []string) *Chain {
	c := &Chain{Name: name, Policy: []Outcome{OutcomeAccept, OutcomeDrop}[w.r.IntN(2)]}
	for i := range 1 + w.r.IntN(8) {
		s := Step{Cond: w.cond(w.r.IntN(3)), Outcome: Outcome(w.r.IntN(6)), Place: Place{Chain: name, Handle: uint64(i + 1)}}
		if len(callees) > 0 && w.r.IntN(3) == 0 {
			s.Outcome = []Outcome{OutcomeJump, OutcomeGoto}[w.r.IntN(2)]
			s.Chain = callees[w.r.IntN(len(callees))]
		}
		if w.r.IntN(6) == 0 {
			s.Writes = append(s.Writes, w.write())
		}
		if w.r.IntN(12) == 0 {
			s.Cases = w.cases(s)
		}
		c.Rules = append(c.Rules, s)
	}
	return c
}

func (w world) write() Write {
	switch w.r.IntN(20) {
	case 0:
		return Write{Field: FieldMark, Mask: Number(3), Copy: true, From: FieldDstPort, Shift: w.r.IntN(3) - 1, Value: w.value(FieldMark)}
	case 1:
		return Write{Field: FieldMark, Mask: Number(3), Copy: true, From: FieldMark, Shift: 1, Value: w.value(FieldMark)}
	case 2:
		return Write{Field: FieldMark, Mask: Number(1), Unknown: "hash"}
	case 3:
		return Write{Field: FieldDst, Mask: Ones(FieldDst.Width(w.is6)), Value: w.value(FieldDst)}
	case 4:
		return Write{Field: FieldDst, Mask: Number(3), Copy: true, From: FieldSrc}
	}
	return Write{Field: FieldMark, Mask: Number(3), Value: w.value(FieldMark)}
}

// cases makes several rests of a rule, that of s among them.
func (w world) cases(s Step) []Step {
	s.Cond = w.cond(1)
	cases := []Step{s}
	for range w.r.IntN(3) {
		other := Step{Cond: w.cond(1), Outcome: Outcome(w.r.IntN(6)), Writes: []Write{w.write()}}
		if w.r.IntN(3) == 0 {
			other.Cases = []Step{{Cond: w.cond(0), Outcome: Outcome(w.r.IntN(6))}}
		}
		cases = append(cases, other)
	}
	w.r.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	return cases
}

func (w world) filter() *Filter {
	f := &Filter{Chains: map[string]*Chain{}}
	var names []string
	for i := range 4 {
		n := fmt.Sprint("c", i)
		f.Chains[n] = w.chain(n, names)
		names = append(names, n)
	}
	for i := range 1 + w.r.IntN(3) {
		c := w.chain(fmt.Sprint("base", i), names)
		if w.r.IntN(3) == 0 {
			c.When = w.cond(1)
		}
		f.Base = append(f.Base, c)
	}
	return f
}

func (w world) facts() *Facts {
	f := &Facts{Is6: w.is6, Unknowns: map[string]bool{}}
	for _, x := range drawn {
		f.Fields[x] = w.value(x)
	}
	names := []string{"", "lo", "eth0", "eth1", "wg1", "wg2", "e", "tun0"}
	f.In, f.Out = names[w.r.IntN(len(names))], names[w.r.IntN(len(names))]
	for i := range 3 {
		f.Unknowns[fmt.Sprint("rate ", i)] = w.r.IntN(2) == 0
	}
	f.Unknowns[UnknownBit("hash", 0)] = w.r.IntN(2) == 0
	f.SetKinds(w.host)
	return f
}

func worlds(seed uint64) []world {
	local := HostAddrs{Known: true, Local: NewRanges(Range{Number(0x0a000004), Number(0x0a000006)}), Broadcast: NewRanges(Single(Number(0x0a000017)))}
	return []world{
		{r: rand.New(rand.NewPCG(seed, 1))},
		{r: rand.New(rand.NewPCG(seed, 2)), host: local},
		{r: rand.New(rand.NewPCG(seed, 3)), is6: true},
	}
}

// smallBudget ends the few drawn filters whose diagrams explode.
const smallBudget = 50_000

// undecided fails unless the error is a spent budget, and not too often.
func undecided(t *testing.T, err error, given *int) {
	t.Helper()
	if *given++; !errors.Is(err, ErrBudget) || *given > 150 {
		t.Fatal(err, *given)
	}
}

// A filter's diagram says of every packet what following the packet says.
func TestDiagramAndPacketAgree(t *testing.T) {
	given := 0
	for _, w := range worlds(1) {
		for range 150 {
			fl := w.filter()
			s := NewSpace(w.is6, w.host, smallBudget, fl)
			n, err := s.Build(fl)
			if err != nil {
				undecided(t, err, &given)
				continue
			}
			for range 200 {
				f := w.facts()
				got := Outcome(s.Eval(n, f))
				before := *f
				if want := fl.Decide(f).Outcome; got != want {
					t.Fatalf("diagram %v, packet %v for %+v", got, want, before)
				}
			}
		}
	}
}

// What Compare finds is real, and what it does not find is not there.
func TestCompare(t *testing.T) {
	kinds, given := map[Comparison]int{}, 0
	for _, w := range worlds(2) {
		for range 100 {
			a := w.filter()
			b := &Filter{Base: append([]*Chain(nil), a.Base...), Chains: a.Chains}
			c := *b.Base[0]
			b.Base[0] = &c
			c.Rules = append([]Step(nil), c.Rules...)
			i := w.r.IntN(len(c.Rules))
			c.Rules[i].Cond = w.cond(1)
			s := NewSpace(w.is6, w.host, smallBudget, a, b)
			x, errX := s.Build(a)
			y, errY := s.Build(b)
			over, _ := s.Set(All{s.named(FieldIn), s.named(FieldOut)})
			d, err := s.Compare(x, y, over)
			if e := errors.Join(errX, errY, err); e != nil {
				undecided(t, e, &given)
				continue
			}
			kinds[d.Kind]++
			if d.Kind == Equal {
				for range 100 {
					f := w.facts()
					g := *f
					if a.Decide(f).Outcome != b.Decide(&g).Outcome {
						t.Fatalf("equal, but not for %+v", g)
					}
				}
				continue
			}
			f, g := *d.Witness.Facts, *d.Witness.Facts
			if a.Decide(&f).Outcome == b.Decide(&g).Outcome {
				t.Fatalf("the witness is decided alike: %+v", *d.Witness.Facts)
			}
		}
	}
	t.Log(kinds)
	if len(kinds) < 3 {
		t.Errorf("not every kind occurred: %v", kinds)
	}
}

// Counting counts.
func TestCount(t *testing.T) {
	s := NewSpace(false, HostAddrs{}, DefaultBudget)
	set, err := s.Set(All{In{FieldProto, Ranges{Single(Number(6))}}, In{FieldDstPort, Ranges{{Number(80), Number(89)}, {Number(443), Number(443)}}},
		In{FieldSrc, Ranges{{Number(0x0a000000), Number(0x0affffff)}}}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Count(set, FieldDstPort, FieldSrc)
	if err != nil || n.Cmp(big.NewInt(11<<24)) != 0 {
		t.Errorf("%v packets, %v", n, err)
	}
	only, _ := s.Only(set, FieldDstPort)
	parts, more := s.Split(only, FieldDstPort, 10)
	if len(parts) != 1 || more || len(parts[0].Values) != 2 {
		t.Errorf("ports split into %v", parts)
	}
}

// The complement of a set of values holds the other values, and twice it is the
// set.
func TestComplement(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		var rs []Range
		for range r.IntN(6) {
			a, b := r.Uint64N(256), r.Uint64N(256)
			rs = append(rs, Range{Number(min(a, b)), Number(max(a, b))})
		}
		set := NewRanges(rs...)
		other := set.Complement(8)
		for v := range uint64(256) {
			if set.Contains(Number(v)) == other.Contains(Number(v)) {
				t.Fatalf("%d in %v and %v", v, set, other)
			}
		}
	}
}

// A witness is a packet that people believe.
func TestWitnessIsSane(t *testing.T) {
	s := NewSpace(false, HostAddrs{}, DefaultBudget)
	set, err := s.Set(All{s.Frame(Input), Not{In{FieldSrc, Ranges{{Number(0x0a000000), Number(0x0affffff)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Witness(set)
	if err != nil || w == nil {
		t.Fatal(err)
	}
	want := Packet{In: w.Packet.In, Src: netip.MustParseAddr("203.0.113.9"), Dst: netip.MustParseAddr("192.0.2.10"), Proto: TCP, SrcPort: 51234, DstPort: 22, Flags: SYN}
	if w.Packet != want || w.Packet.In == "" || w.Packet.In == "lo" {
		t.Errorf("witness %+v", w.Packet)
	}
}
