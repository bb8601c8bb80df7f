package drift

import (
	"maps"
	"net/netip"
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

// Routes are the questions to the host's routes. The zero value knows none.
type Routes struct {
	// To returns the interface by which an address is reached, "" if it is not,
	// for packets that are sent elsewhere on their way.
	To func(netip.Addr) string
	// Back reports whether an interface is on the way to an address, for rules
	// that ask for a reverse path; known is false if that cannot be told.
	Back func(a netip.Addr, link string) (back, known bool)
}

// Follow says what becomes of a packet. Rates count as not used up.
func Follow(h *live.HostRules, p packet.Packet, routes Routes, budget int) (*Fate, error) {
	return NewFollower(h, routes, budget).Follow(p)
}

// Follower follows many packets through one state of a host: what their ways
// have in common is worked out once. It is not for several goroutines at once.
type Follower struct {
	host   *live.HostRules
	routes Routes
	budget int
	ways   map[wayOf]*followed
}

// wayOf is what the packets of one way have in common.
type wayOf struct {
	hook packet.Hook
	is6  bool
}

// NewFollower returns a Follower. See [Follow] for its arguments.
func NewFollower(h *live.HostRules, routes Routes, budget int) *Follower {
	return &Follower{h, routes, budget, map[wayOf]*followed{}}
}

// Follow says what becomes of a packet.
func (w *Follower) Follow(p packet.Packet) (*Fate, error) {
	key := wayOf{p.Hook, p.Is6()}
	if w.ways[key] == nil {
		w.ways[key] = &followed{filter: wayTo(p.Hook).filter(w.host.Sources(key.is6)...)}
	}
	way := w.ways[key]
	start := p.Facts()
	routes := w.reversePath(p, way.filter)
	start.Unknowns = maps.Clone(routes)
	usual(start, time.Now(), way.filter)
	start.SetKinds(w.host.Addrs(key.is6))
	facts := *start
	trail := way.filter.Trail(&facts)
	if p.Hook == packet.Input && !facts.Local() && w.routes.To != nil { // translated, and sent on
		start.Out = w.routes.To(facts.Fields[packet.FieldDst].Addr(key.is6))
		facts = *start
		trail = way.filter.Trail(&facts)
	}
	trail = slices.DeleteFunc(trail, isKernels)
	by := blame(trail)
	f := &Fate{Verdict: outcome(trail).String(), By: SideOf(by), Counter: w.host.Counter(by.By), Way: []Side{}}
	for _, d := range trail {
		f.Way = append(f.Way, SideOf(d))
	}
	if err := way.draw(w.host, start, w.budget); err != nil {
		return nil, err
	}
	return f, f.alternatives(way, start, routes)
}

// reversePath returns what the routes say of a packet's source, where the rules
// ask for it. A packet arrives without a mark; where rules give it one, the routes
// by marks are not known.
func (w *Follower) reversePath(p packet.Packet, rules *packet.Filter) map[string]bool {
	known := map[string]bool{}
	asked := rules.Unknowns()
	for _, key := range []string{packet.RouteBack, packet.MarkedRouteBack} {
		if _, ok := asked[key]; !ok || w.routes.Back == nil || p.In == "" || key == packet.MarkedRouteBack && rules.WritesTo(packet.FieldMark) {
			continue
		}
		if back, ok := w.routes.Back(p.Src, p.In); ok {
			known[key] = back
		}
	}
	return known
}

// followed is a way of packets, and its diagram.
type followed struct {
	filter *packet.Filter
	names  []string // the interfaces that the diagram knows
	space  *packet.Space
	node   packet.Node
}

// draw makes the diagram, unless there is one that knows the packet's interfaces
// and has not grown to half of what it may.
func (w *followed) draw(h *live.HostRules, p *packet.Facts, budget int) (err error) {
	known := func(name string) bool { return name == "" || slices.Contains(w.names, name) }
	if w.space != nil && known(p.In) && known(p.Out) && w.space.Nodes() < budget/2 {
		return nil
	}
	names := packet.Any{}
	w.names = append(h.LinkNames(), p.In, p.Out)
	for _, name := range w.names {
		names = append(names, packet.Iface{Pattern: name})
	}
	w.space = packet.NewSpace(p.Is6, h.Addrs(p.Is6), budget, w.filter, &packet.Filter{Base: []*packet.Chain{{Rules: []packet.Step{{Cond: names}}}}})
	w.node, err = w.space.Build(w.filter)
	return err
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
// packet in notation says: unknowns but for those that routes decide, and fields
// that it leaves out.
func (f *Fate) alternatives(way *followed, p *packet.Facts, routes map[string]bool) error {
	cond := packet.All{packet.Iface{Pattern: p.In}}
	if p.Out != "" || way.filter.Hook != packet.Prerouting {
		cond = append(cond, packet.Iface{Pattern: p.Out, Out: true})
	}
	for _, field := range fixed {
		cond = append(cond, packet.In{Field: field, Set: packet.Ranges{packet.Single(p.Fields[field])}})
	}
	for key, back := range routes {
		var c packet.Cond = packet.Unknown{Key: key}
		if !back {
			c = packet.Not{Cond: c}
		}
		cond = append(cond, c)
	}
	s := way.space
	set, err := s.Set(cond)
	if err != nil {
		return err
	}
	for _, o := range []packet.Outcome{packet.OutcomeAccept, packet.OutcomeDrop, packet.OutcomeReject, packet.OutcomeUnknown} {
		if err := f.alternative(s, way.node, set, o); err != nil {
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
