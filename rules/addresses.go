package rules

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// role is the place at which a list of addresses stands.
type role uint8

const (
	source        role = iota
	ownTarget          // to, of packets for this host
	refusedTarget      // the same of a block
	farTarget          // to, of packets from or through this host
)

// own reports whether the addresses are those of packets for this host.
func (as role) own() bool { return as == ownTarget || as == refusedTarget }

func destinationOf(s *Statement) role {
	switch {
	case s.fromHost() || s.Kind == Route:
		return farTarget
	case s.Kind == Block:
		return refusedTarget
	}
	return ownTarget
}

// addresses resolves a list.
func (r *resolver) addresses(ms Members, as role) Addresses {
	var out Addresses
	var literals netipx.IPSetBuilder
	for _, m := range ms.Items {
		switch {
		case m.Interface != "":
			r.interfaceAddrs(&literals, m, as)
		case m.Group == "host":
			out.Host = true
		case m.Group != "":
			r.addGroup(&out, m, as)
		default:
			literals.AddRange(m.Range)
		}
	}
	if set := made(&literals); !isEmpty(set) {
		out.Set = set
	}
	slices.SortFunc(out.Groups, func(a, b *Group) int { return cmp.Compare(a.Name, b.Name) })
	out.Groups = slices.Compact(out.Groups)
	if r.isTotal(out) {
		return Addresses{Any: true}
	}
	return out
}

func (r *resolver) addGroup(out *Addresses, m Member, as role) {
	g := r.member(m)
	if g == nil || g.group == nil {
		return
	}
	if as.own() && slices.ContainsFunc(g.group.Terms, func(t Term) bool { return len(t.In) > 0 }) {
		r.errorAt(m.Pos, "group "+quote(m.Group)+" is bound to interfaces, which have no meaning in to", "use in for the interface by which packets enter")
		return
	}
	out.Groups = append(out.Groups, g.group)
}

// interfaceAddrs adds the addresses of the host's interface.
func (r *resolver) interfaceAddrs(b *netipx.IPSetBuilder, m Member, as role) {
	if !as.own() {
		r.interfaceElsewhere(m)
		return
	}
	if r.host == nil {
		r.unknownInterface(m, as)
		return
	}
	i := slices.IndexFunc(r.host.Interfaces, func(i Interface) bool { return i.Name == m.Interface })
	switch {
	case i < 0:
		r.errorAt(m.Pos, "the host has no interface "+m.Interface, nearest(m.Interface, interfaceNames(r.host)))
	case len(r.host.Interfaces[i].Addrs) == 0:
		r.errorAt(m.Pos, "the interface "+m.Interface+" has no address", "")
	default:
		for _, p := range r.host.Interfaces[i].Addrs {
			if p.IsValid() {
				b.Add(p.Addr().Unmap())
			}
		}
	}
}

// unknownInterface tells of an interface whose addresses are not known. They
// stand for none, which closes a service; a block would refuse nothing.
func (r *resolver) unknownInterface(m Member, as role) {
	severity, what := Note, " stands for no address"
	if as == refusedTarget {
		severity, what = Error, " would refuse nothing"
	}
	r.report(severity, m.Pos, quote(m.Text)+what+": those of "+m.Interface+" are not known", r.factsHint())
}

func interfaceNames(h *Host) []string {
	var out []string
	for _, i := range h.Interfaces {
		out = append(out, i.Name)
	}
	return out
}

// isTotal reports whether the set is every address on every interface.
func (r *resolver) isTotal(a Addresses) bool {
	sets := []*netipx.IPSet{a.Set}
	for _, g := range a.Groups {
		for _, t := range g.Terms {
			if len(t.In) == 0 {
				sets = append(sets, t.Set)
			}
		}
	}
	sets = slices.DeleteFunc(sets, isEmpty)
	var sum weight
	for _, s := range sets {
		sum = sum.plus(r.weigh(s))
	}
	return sum.v4 >= 1<<32 && sum.v6 >= 1<<64 && unionOf(sets).Equal(everything)
}

// weight is how much of each family a set could fill: a bound that tells at
// little cost that it is not everything. The unit of v6 is a /64, and a range
// weighs every /64 that it touches.
type weight struct{ v4, v6 float64 }

func (w weight) plus(o weight) weight { return weight{w.v4 + o.v4, w.v6 + o.v6} }

// weigh returns the weight of a set, worked out once: groups are large and used
// by many rules.
func (r *resolver) weigh(s *netipx.IPSet) weight {
	w, done := r.weights[s]
	if done {
		return w
	}
	for _, rg := range s.Ranges() {
		if rg.From().Is4() {
			w.v4 += float64(number4(rg.To())-number4(rg.From())) + 1
		} else {
			w.v6 += float64(upper6(rg.To())-upper6(rg.From())) + 1
		}
	}
	r.weights[s] = w
	return w
}

// upper6 returns the upper half of an IPv6 address.
func upper6(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}
