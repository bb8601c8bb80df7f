package packet

import (
	"cmp"
	"fmt"
	"slices"
)

// Source is one kind of rules on a host, of one family: it returns what stands
// at a hook, each base chain with its priority, or nil. What several sources
// have at a hook is met in the order of priorities; among equals the source that
// is named first comes first.
//
// A base chain that translates (NAT) sees the first packet of a connection, and
// only if no other has translated it: its rules say so by writing the bits
// [DstTranslated] or [SrcTranslated] of FieldCTStatus. Its priority counts for
// nothing: the kernel has one place for them all.
type Source func(Hook) *Filter

// Bits of ct status (IPS_*, linux/netfilter/nf_conntrack_common.h).
const (
	SrcNAT        = 1 << 4 // the source is another than in the first packet
	DstNAT        = 1 << 5
	SrcTranslated = 1 << 7 // it was decided what becomes of the source
	DstTranslated = 1 << 8
)

// Priorities at which the kernel itself acts (linux/netfilter_ipv4.h).
const (
	priorityTracking = -200
	priorityDstNAT   = -100
	prioritySrcNAT   = 100
)

// At returns what the sources do at one hook.
func At(h Hook, sources ...Source) *Filter {
	p := path{Filter: &Filter{Hook: h, Chains: map[string]*Chain{}}}
	p.hook(h, nil, sources)
	return p.Filter
}

// Arrival returns what becomes of a packet that enters the host: at prerouting,
// then at input if its destination is by then an address of the host, else at
// forward and postrouting.
//
// The packet's fields are those with which it arrives, with two exceptions: the
// state is the one that tracking will find, and the outgoing interface is the one
// by which it will leave if it is not for the host. It has no mark yet. A new
// connection has no mark and no status. What the translation of an older
// connection makes of a packet, or one that may choose, are FieldNATDst and
// FieldNATPort.
//
// After [Filter.Decide] the facts hold the packet as it is at the end of its way:
// [Facts.Local] says which way it went.
func Arrival(sources ...Source) *Filter {
	p := path{Filter: &Filter{Hook: Prerouting, Chains: map[string]*Chain{}}}
	p.Base = []*Chain{arrived()}
	p.hook(Prerouting, nil, sources)
	p.hook(Input, local, sources)
	p.Base = append(p.Base, routed())
	p.hook(Forward, Not{local}, sources)
	p.hook(Postrouting, Not{local}, sources)
	return p.Filter
}

// ArrivalAt is Arrival for packets that no rule before a hook gives another
// destination, as far as they come to the hook: Input or Forward.
func ArrivalAt(h Hook, sources ...Source) *Filter {
	p := path{Filter: &Filter{Hook: Prerouting, Chains: map[string]*Chain{}}}
	p.Base = []*Chain{arrived()}
	p.hook(Prerouting, nil, sources)
	p.hook(h, nil, sources)
	if h == Forward {
		p.hook(Postrouting, nil, sources)
	}
	return p.Filter
}

// Way returns what becomes of packets that seem to be for a hook by the address that
// they have when they enter the host, or leave it: Input, Forward or Output. Where rules
// give them other destinations, they may go to other hooks than they seem to.
func Way(h Hook, sources ...Source) *Filter {
	switch {
	case h == Output:
		return Departure(sources...)
	case slices.ContainsFunc(sources, redirects):
		return Arrival(sources...)
	}
	return ArrivalAt(h, sources...)
}

// redirects reports whether rules before routing change destinations.
func redirects(source Source) bool {
	f := source(Prerouting)
	return f != nil && (slices.ContainsFunc(f.Base, func(c *Chain) bool { return c.NAT }) ||
		f.Writes(FieldDst) || f.Writes(FieldDstType))
}

// Departure returns what becomes of a packet that the host sends: at output and
// postrouting. A new connection has no mark and no status.
func Departure(sources ...Source) *Filter {
	p := path{Filter: &Filter{Hook: Output, Chains: map[string]*Chain{}}}
	p.Base = []*Chain{{Name: "departure", Policy: OutcomeAccept, Rules: []Step{begins()}}}
	p.hook(Output, nil, sources)
	p.hook(Postrouting, nil, sources)
	return p.Filter
}

// local holds for packets to the host itself.
var local Cond = In{FieldDstType, Ranges{{Number(uint64(AddrLocal)), Number(uint64(AddrMulticast))}}}

// Local reports whether the destination is the host itself.
func (f *Facts) Local() bool { return f.holds(local) }

func arrived() *Chain {
	none := Step{Writes: []Write{{Field: FieldMark, Mask: Ones(32)}}, Outcome: OutcomeContinue}
	return &Chain{Name: "arrival", Policy: OutcomeAccept, Rules: []Step{none, begins()}}
}

// HopsRouted names the unknown hop limit of a packet that was sent on.
const HopsRouted = "hops after routing"

// routed is what routing does to a packet that it sends on: it has a hop less,
// which is no constant.
func routed() *Chain {
	return &Chain{Name: "routing", Policy: OutcomeAccept, When: Not{local}, Rules: []Step{{
		Writes: []Write{{Field: FieldTTL, Mask: Ones(8), Unknown: HopsRouted}}, Outcome: OutcomeContinue,
	}}}
}

// begins is what tracking knows of the first packet of a connection.
func begins() Step {
	return Step{
		Cond: In{FieldState, Ranges{Single(Number(uint64(New)))}},
		Writes: []Write{
			{Field: FieldCTMark, Mask: Ones(32)},
			{Field: FieldCTStatus, Mask: Ones(16)},
			{Field: FieldOrigDst, Mask: Ones(128), Copy: true, From: FieldDst},
			{Field: FieldOrigPort, Mask: Ones(16), Copy: true, From: FieldDstPort},
		},
		Outcome: OutcomeContinue,
	}
}

// path is a filter in the making.
type path struct {
	*Filter
	copies int
}

// hook adds what the sources have at a hook, for the packets that come there.
func (p *path) hook(h Hook, when Cond, sources []Source) {
	var base []*Chain
	for _, source := range sources {
		if f := source(h); f != nil {
			base = append(base, p.take(f, h)...)
		}
	}
	if t := translated(h, base); t != nil {
		base = append(base, t)
	}
	slices.SortStableFunc(base, func(a, b *Chain) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, c := range base {
		c.When = both(when, c.When)
	}
	p.Base = append(p.Base, base...)
}

func both(a, b Cond) Cond {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return All{a, b}
}

// take copies the chains of a filter under names that no other has.
func (p *path) take(f *Filter, h Hook) []*Chain {
	names := map[string]string{}
	for name := range f.Chains {
		names[name] = name
		if p.Chains[name] != nil {
			p.copies++
			names[name] = fmt.Sprintf("%s (%d)", name, p.copies)
		}
	}
	for name, c := range f.Chains {
		p.Chains[names[name]] = renamed(c, names[name], names, p.view(h))
	}
	base := make([]*Chain, len(f.Base))
	for i, c := range f.Base {
		b := renamed(c, c.Name, names, p.view(h))
		if b.NAT {
			b.Priority = natPriority(h)
			b.When = both(untranslated(h), b.When)
		}
		base[i] = b
	}
	return base
}

// view returns what a condition means at a hook: an interface that packets do
// not have there is none, whatever a path knows of later.
func (p *path) view(h Hook) func(Cond) Cond {
	if p.Hook != Prerouting || h != Prerouting && h != Input {
		return nil
	}
	return func(c Cond) Cond {
		i, ok := c.(Iface)
		switch {
		case !ok || !i.Out:
			return c
		case matchName(i.Pattern, ""):
			return All{}
		}
		return Never
	}
}

func renamed(c *Chain, name string, names map[string]string, view func(Cond) Cond) *Chain {
	out := *c
	out.Name = name
	out.Rules = renamedSteps(c.Rules, names, view)
	return &out
}

func renamedSteps(steps []Step, names map[string]string, view func(Cond) Cond) []Step {
	out := slices.Clone(steps)
	for i := range out {
		s := &out[i]
		if n, ok := names[s.Chain]; ok {
			s.Chain = n
		}
		if view != nil {
			s.Cond = mapped(s.Cond, view)
		}
		if len(s.Cases) > 0 {
			s.Cases = renamedSteps(s.Cases, names, view)
		}
	}
	return out
}

// mapped puts other conditions in the place of those inside c.
func mapped(c Cond, f func(Cond) Cond) Cond {
	switch c := c.(type) {
	case nil:
		return nil
	case All:
		out := make(All, len(c))
		for i, x := range c {
			out[i] = mapped(x, f)
		}
		return out
	case Any:
		out := make(Any, len(c))
		for i, x := range c {
			out[i] = mapped(x, f)
		}
		return out
	case Not:
		return Not{mapped(c.Cond, f)}
	}
	return f(c)
}

// changesDst reports whether destinations are translated at the hook, rather
// than sources.
func changesDst(h Hook) bool { return h == Prerouting || h == Output }

func natPriority(h Hook) int {
	if changesDst(h) {
		return priorityDstNAT
	}
	return prioritySrcNAT
}

// untranslated holds for the first packet of a connection of which nothing has
// been decided yet. Of what enters by loopback it was, when the host sent it.
func untranslated(h Hook) Cond {
	done := uint64(SrcTranslated)
	if changesDst(h) {
		done = DstTranslated
	}
	first := Any{
		In{FieldState, Ranges{Single(Number(uint64(New)))}},
		All{In{FieldState, Ranges{Single(Number(uint64(Related)))}}, Not{In{FieldProto, NewRanges(Single(Number(uint64(ICMP))), Single(Number(uint64(ICMPv6))))}}},
	}
	open := All{first, Bits{FieldCTStatus, Number(done), Value{}}}
	if h == Prerouting {
		open = append(open, Not{Iface{Pattern: "lo"}})
	}
	return open
}

// translated is the kernel's own part where chains translate destinations: what
// it did with the first packet of a connection it does with all others, and takes
// back in the answers.
func translated(h Hook, base []*Chain) *Chain {
	if !changesDst(h) || !slices.ContainsFunc(base, func(c *Chain) bool { return c.NAT }) {
		return nil
	}
	return &Chain{
		Name: "translation", Policy: OutcomeAccept, Priority: priorityDstNAT,
		Rules: []Step{{
			Cond: All{
				In{FieldState, Ranges{{Number(uint64(Established)), Number(uint64(Related))}}},
				Not{Bits{FieldCTStatus, Number(SrcNAT | DstNAT), Value{}}},
			},
			Writes: append(OpenDst(Ones(128), "the translation of its connection"),
				Write{Field: FieldDstPort, Mask: Ones(16), Copy: true, From: FieldNATPort}),
			Outcome: OutcomeContinue,
		}},
	}
}

// OpenDst are the writes that leave open which destination the packet gets, but
// for the bits outside a mask.
func OpenDst(mask Value, by string) []Write {
	return []Write{
		{Field: FieldDst, Mask: mask, Copy: true, From: FieldNATDst},
		{Field: FieldDstType, Mask: Ones(2), Unknown: "kind of the destination after " + by},
	}
}
