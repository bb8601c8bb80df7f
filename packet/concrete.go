package packet

import (
	"fmt"
	"strings"
)

// Facts are all that a filter may ask of one packet.
type Facts struct {
	Is6      bool
	Fields   [fieldCount]Value // FieldIn and FieldOut are not used
	In, Out  string            // names of interfaces, "" for none
	Unknowns map[string]bool   // absent ones do not hold
	host     HostAddrs         // makes the kinds of addresses, where it is known
}

// Facts returns what the packet itself says. Fields that it says nothing of are
// zero.
func (p Packet) Facts() *Facts {
	f := &Facts{Is6: p.Is6(), In: p.In, Out: p.Out}
	f.Fields[FieldState] = Number(uint64(p.State))
	f.Fields[FieldProto] = Number(uint64(p.Proto))
	f.Fields[FieldFlags] = Number(uint64(p.Flags))
	f.Fields[FieldType] = Number(uint64(p.Type))
	f.Fields[FieldCode] = Number(uint64(p.Code))
	f.Fields[FieldDstPort] = Number(uint64(p.DstPort))
	f.Fields[FieldSrcPort] = Number(uint64(p.SrcPort))
	f.Fields[FieldDst] = AddrValue(p.Dst)
	f.Fields[FieldSrc] = AddrValue(p.Src)
	f.Fields[FieldOrigDst] = f.Fields[FieldDst]
	f.Fields[FieldOrigPort] = f.Fields[FieldDstPort]
	return f
}

// Decided is what a filter does with one packet, and the rule that did it: the
// last one for a packet that all base chains accept.
type Decided struct {
	Outcome Outcome // OutcomeDrop, Accept, Reject or Unknown
	By      Place
	Policy  bool // a base chain's policy decided; By then names the chain only
}

// Decide follows one packet through the filter. It is written for clearness and
// shares nothing with the diagrams, which are tested against it. The facts'
// fields may be changed by writes.
func (fl *Filter) Decide(f *Facts) Decided {
	if t := fl.Trail(f); len(t) > 0 {
		return t[len(t)-1]
	}
	return Decided{Outcome: OutcomeAccept, Policy: true}
}

// Trail is Decide with what every base chain decides, up to the one that ends
// the packet's way.
func (fl *Filter) Trail(f *Facts) []Decided {
	var trail []Decided
	for _, c := range fl.Base {
		if !f.holds(c.When) {
			continue
		}
		d := fl.through(c, f)
		trail = append(trail, d)
		if d.Outcome != OutcomeAccept {
			break
		}
	}
	return trail
}

func (fl *Filter) through(c *Chain, f *Facts) Decided {
	if d, ended := fl.follow(c, f, 0); ended {
		return d
	}
	return Decided{Outcome: c.Policy, By: Place{Chain: c.Name}, Policy: true}
}

// maxDepth is more than the 16 chains that nf_tables allows one below the other
// and stops what a loop in iptables text would not end.
const maxDepth = 64

// follow tries the rules of a chain; ended is false if none of them decided and
// the packet goes back to where the chain was called.
func (fl *Filter) follow(c *Chain, f *Facts, depth int) (d Decided, ended bool) {
	if c == nil || depth > maxDepth {
		return Decided{Outcome: OutcomeUnknown}, true
	}
	for i := range c.Rules {
		s := f.chosen(&c.Rules[i])
		if s == nil {
			continue
		}
		switch s.Outcome {
		case OutcomeContinue:
		case OutcomeReturn:
			return Decided{}, false
		case OutcomeJump:
			if d, ended := fl.follow(fl.Chains[s.Chain], f, depth+1); ended {
				return d, true
			}
		case OutcomeGoto:
			return fl.follow(fl.Chains[s.Chain], f, depth+1)
		default:
			return Decided{Outcome: s.Outcome, By: s.Place}, true
		}
	}
	return Decided{}, false
}

// chosen does the writes of a rule that holds and returns the step whose outcome
// counts, nil if there is none.
func (f *Facts) chosen(s *Step) *Step {
	if !f.holds(s.Cond) {
		return nil
	}
	for _, w := range s.Writes {
		f.write(w)
	}
	if len(s.Cases) == 0 {
		return s
	}
	for i := range s.Cases {
		if c := &s.Cases[i]; f.holds(c.Cond) {
			return f.chosen(c)
		}
	}
	return nil
}

func (f *Facts) write(w Write) {
	v := w.Value
	switch {
	case w.Unknown != "":
		v = Value{}
		w.bits(w.Field.Width(f.Is6), func(i uint) {
			if f.Unknowns[UnknownBit(w.Unknown, i)] {
				v = v.Or(Number(1).Shift(i))
			}
		})
	case w.Copy:
		v = f.Fields[w.From].Moved(w.Shift).Xor(w.Value)
	}
	old := f.Fields[w.Field]
	f.Fields[w.Field] = old.Xor(old.And(w.Mask)).Or(v.And(w.Mask))
	f.SetKinds(f.host)
}

// holds reports whether the condition holds for the facts.
func (f *Facts) holds(c Cond) bool {
	switch c := c.(type) {
	case nil:
		return true
	case All:
		for _, x := range c {
			if !f.holds(x) {
				return false
			}
		}
		return true
	case Any:
		for _, x := range c {
			if f.holds(x) {
				return true
			}
		}
		return false
	case Not:
		return !f.holds(c.Cond)
	case In:
		return c.Set.Contains(f.Fields[c.Field])
	case Bits:
		return f.Fields[c.Field].And(c.Mask) == c.Value
	case Iface:
		if c.Out {
			return matchName(c.Pattern, f.Out)
		}
		return matchName(c.Pattern, f.In)
	case *Tuples:
		return f.inTuples(c)
	case Unknown:
		return f.Unknowns[c.Key]
	}
	panic(fmt.Sprintf("packet: condition %T", c))
}

func (f *Facts) inTuples(t *Tuples) bool {
	for _, e := range t.Entries {
		if f.inEntry(t.Fields, e) {
			return true
		}
	}
	return false
}

func (f *Facts) inEntry(fields []Field, e []Range) bool {
	for i, field := range fields {
		v := f.Fields[field]
		if v.Compare(e[i].Lo) < 0 || v.Compare(e[i].Hi) > 0 {
			return false
		}
	}
	return true
}

// matchName reports whether an interface's name fits a pattern as in Iface. A
// prefix pattern does not fit an absent interface, unless it is "*" alone.
func matchName(pattern, name string) bool {
	if prefix, wild := strings.CutSuffix(pattern, "*"); wild {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}
