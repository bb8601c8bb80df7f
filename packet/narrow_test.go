package packet_test

import (
	"math/rand/v2"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
)

// A narrowed filter decides on each packet within its bounds as the whole one does,
// by the same rule.
func TestNarrow(t *testing.T) {
	r := rand.New(rand.NewPCG(gen.Seed(t), 7))
	host := gen.Host()
	smaller := 0
	for range 60 {
		rs, ps := gen.Load(gen.Policy(r, gen.Options{}), host)
		if ps.Err() != nil {
			t.Fatal(ps)
		}
		for _, p := range gen.Packets(rs, r, 60) {
			whole := rs.Filter(p.Hook, p.Is6())
			f := p.Facts()
			f.SetKinds(host.HostAddrs(p.Is6()))
			f.Unknowns = map[string]bool{}
			for key := range whole.Unknowns() {
				f.Unknowns[key] = r.IntN(2) == 0
			}
			b := bounds(r, f)
			narrow := whole.Narrow(b)
			if len(narrow.Base[0].Rules) < len(whole.Base[0].Rules) {
				smaller++
			}
			one, other := *f, *f
			if got, want := narrow.Decide(&one), whole.Decide(&other); got != want {
				t.Fatalf("%s within %v: %v, want %v", p, b, got, want)
			}
		}
	}
	if smaller == 0 {
		t.Error("no filter became smaller")
	}
}

// bounds are some within which the packet is.
func bounds(r *rand.Rand, f *packet.Facts) packet.Bounds {
	b := packet.Bounds{Fields: map[packet.Field]packet.Ranges{}}
	for _, field := range []packet.Field{packet.FieldState, packet.FieldProto, packet.FieldFlags, packet.FieldType, packet.FieldDstPort,
		packet.FieldSrcPort, packet.FieldDst, packet.FieldSrc, packet.FieldDstType, packet.FieldSrcType} {
		v := f.Fields[field]
		more := packet.Range{Lo: packet.Number(7), Hi: packet.Number(9)}
		switch r.IntN(4) {
		case 0:
			b.Fields[field] = packet.Ranges{packet.Single(v)}
		case 1:
			b.Fields[field] = packet.NewRanges(packet.Single(v), more)
		case 2:
			b.Fields[field] = packet.NewRanges(packet.Range{Lo: v, Hi: packet.Value{Hi: v.Hi, Lo: v.Lo | 0xff}}, more)
		}
	}
	if f.In != "" && r.IntN(2) == 0 {
		b.In = []string{f.In}
		if r.IntN(2) == 0 {
			b.In = append(b.In, "wg9", "eth0")
		}
	}
	return b
}

// In and Tuples are decided where all values of the bounds agree, and kept as far
// as they may hold elsewhere.
func TestNarrowTuples(t *testing.T) {
	n := func(lo, hi uint64) packet.Range { return packet.Range{Lo: packet.Number(lo), Hi: packet.Number(hi)} }
	cond := &packet.Tuples{
		Fields:  []packet.Field{packet.FieldProto, packet.FieldDstPort},
		Entries: [][]packet.Range{{n(6, 6), n(22, 22)}, {n(6, 6), n(80, 90)}, {n(17, 17), n(53, 53)}},
	}
	f := &packet.Filter{Base: []*packet.Chain{{Policy: packet.OutcomeDrop, Rules: []packet.Step{{Cond: cond, Outcome: packet.OutcomeAccept}}}}}
	for _, c := range []struct {
		ports packet.Range
		want  int // entries; 0: the rule is gone, -1: it holds in any case
	}{{n(22, 22), -1}, {n(82, 85), -1}, {n(22, 23), 1}, {n(22, 80), 2}, {n(53, 53), 0}} {
		b := packet.Bounds{Fields: map[packet.Field]packet.Ranges{packet.FieldProto: {n(6, 6)}, packet.FieldDstPort: {c.ports}}}
		got := 0
		if rules := f.Narrow(b).Base[0].Rules; len(rules) > 0 {
			got = -1
			if t, ok := rules[0].Cond.(*packet.Tuples); ok {
				got = len(t.Entries)
			}
		}
		if got != c.want {
			t.Errorf("ports %v: %d entries, want %d", c.ports, got, c.want)
		}
	}
}
