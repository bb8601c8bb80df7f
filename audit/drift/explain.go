package drift

import (
	"slices"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// Fate is what becomes of one packet on the running host.
type Fate struct {
	Verdict string        `json:"verdict"`
	By      Side          `json:"by"`
	Counter *live.Counter `json:"counter,omitempty"` // of the rule, when it was read
	Way     []Side        `json:"way"`               // what each base chain on its way decided
	Else    []Alternative `json:"else,omitempty"`
	// CannotTell says that the verdict depends on something that is not
	// understood.
	CannotTell bool `json:"cannot_tell,omitempty"`
}

// Alternative is another verdict, and what has to hold for it.
type Alternative struct {
	Verdict string   `json:"verdict"`
	If      []string `json:"if"`
}

// Follow says what becomes of a packet. Out returns the interface by which an
// address is reached, for packets that are sent elsewhere on their way. Rates
// count as not used up.
func Follow(h *live.HostRules, p packet.Packet, out func(packet.Value) string, budget int) (*Fate, error) {
	is6 := p.Is6()
	filter := wayTo(p.Hook).filter(h.Sources(is6)...)
	start := p.Facts()
	start.Unknowns = map[string]bool{}
	usual(start, time.Now(), filter)
	start.SetKinds(h.Addrs(is6))
	facts := *start
	trail := filter.Trail(&facts)
	if p.Hook == packet.Input && !facts.Local() { // translated, and sent on
		start.Out = out(facts.Fields[packet.FieldDst])
		facts = *start
		trail = filter.Trail(&facts)
	}
	trail = slices.DeleteFunc(trail, isKernels)
	by := blame(trail)
	f := &Fate{Verdict: outcome(trail).String(), By: SideOf(by), Counter: h.Counter(by.By), Way: []Side{}}
	for _, d := range trail {
		f.Way = append(f.Way, SideOf(d))
	}
	return f, f.alternatives(h, filter, start, budget)
}

// outcome is what a trail ends in.
func outcome(trail []packet.Decided) packet.Outcome {
	if len(trail) == 0 {
		return packet.OutcomeAccept
	}
	return trail[len(trail)-1].Outcome
}

// fixed are the fields that a packet in notation has.
var fixed = []packet.Field{packet.FieldState, packet.FieldProto, packet.FieldFlags, packet.FieldType, packet.FieldCode,
	packet.FieldDstPort, packet.FieldSrcPort, packet.FieldDst, packet.FieldSrc, packet.FieldFragment}

// alternatives finds the other verdicts that the packet may meet, by what no
// packet in notation says: unknowns, and fields that it leaves out.
func (f *Fate) alternatives(h *live.HostRules, filter *packet.Filter, p *packet.Facts, budget int) error {
	cond := packet.All{packet.Iface{Pattern: p.In}}
	if p.Out != "" || filter.Hook != packet.Prerouting {
		cond = append(cond, packet.Iface{Pattern: p.Out, Out: true})
	}
	for _, field := range fixed {
		cond = append(cond, packet.In{Field: field, Set: packet.Ranges{packet.Single(p.Fields[field])}})
	}
	// The packet's interfaces are names that the Space has to know.
	names := &packet.Filter{Base: []*packet.Chain{{Rules: []packet.Step{{Cond: cond}}}}}
	s := packet.NewSpace(p.Is6, h.Addrs(p.Is6), budget, filter, names)
	n, err := s.Build(filter)
	if err != nil {
		return err
	}
	set, err := s.Set(cond)
	if err != nil {
		return err
	}
	for _, o := range []packet.Outcome{packet.OutcomeAccept, packet.OutcomeDrop, packet.OutcomeReject, packet.OutcomeUnknown} {
		if err := f.alternative(s, n, set, o); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fate) alternative(s *packet.Space, n, set packet.Node, o packet.Outcome) error {
	where, err := s.Where(n, o)
	if err != nil {
		return err
	}
	if where, err = s.And(where, set); err != nil || where == packet.False {
		return err
	}
	if o.String() == f.Verdict {
		f.CannotTell = f.CannotTell || o == packet.OutcomeUnknown
		return nil
	}
	w, err := s.Witness(where)
	if err != nil {
		return err
	}
	a := Alternative{Verdict: o.String(), If: conditions(w.Unknowns)}
	for _, u := range w.Unknowns {
		f.CannotTell = f.CannotTell || u.Unsupported
	}
	f.Else = append(f.Else, a)
	return nil
}

// conditions puts unknowns and what holds of them into words.
func conditions(us []packet.Held) []string {
	out := []string{}
	for _, u := range us {
		text := u.Key
		if !u.Holds {
			text = "not " + text
		}
		if u.Unsupported {
			text += " (not understood)"
		}
		out = append(out, text)
	}
	return out
}
