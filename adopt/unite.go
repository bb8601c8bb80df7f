package adopt

import (
	"fmt"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// united puts sections of one name together that differ in their transports, or in
// their interfaces, alone: what was one section of a policy once, or one entry of a
// list, which had to become several rules.
func (m *merging) united() []*section {
	var out []*section
	for _, group := range grouped(m.all, func(a, b *section) bool { return a.alike(b) && slices.Equal(a.in, b.in) }) {
		out = append(out, uniteTransports(group)...)
	}
	var all []*section
	for _, group := range grouped(out, func(a, b *section) bool {
		return a.alike(b) && a.in != nil && b.in != nil && sameTransports(a.transports, b.transports)
	}) {
		s := group[0]
		for _, o := range group[1:] {
			s.in = slices.Compact(slices.Sorted(slices.Values(slices.Concat(s.in, o.in))))
			s.places = append(s.places, o.places...)
		}
		all = append(all, s)
	}
	return boundTogether(all)
}

// boundTogether puts sections with one limit together that differ in who enters
// where: a limit is one, however many sections have it, so it has to be in one.
func boundTogether(all []*section) []*section {
	var out []*section
	for _, group := range grouped(all, func(a, b *section) bool {
		return a.limit != "" && a.limit == b.limit && a.name == b.name && a.expires.Equal(b.expires) && a.fromHost == b.fromHost && a.toHost == b.toHost && !a.fromHost &&
			sameTransports(a.transports, b.transports) && a.to[0].fits(b.to[0]) && a.to[1].fits(b.to[1])
	}) {
		s := group[0]
		if len(group) > 1 {
			s.boundTo(group)
		}
		out = append(out, s)
	}
	return out
}

// boundTo makes one section of several.
func (s *section) boundTo(group []*section) {
	from := [2]ends{}
	for _, o := range group {
		if o.in != nil {
			s.bound = append(s.bound, bound{o.in, o.from})
		}
		for i, e := range o.from {
			switch {
			case o.in != nil || !e.said:
			case !from[i].said:
				from[i] = e
			case from[i].set == nil || e.set == nil:
				from[i].set = nil
			default:
				from[i].set = packet.NewRanges(slices.Concat(from[i].set, e.set)...)
			}
		}
	}
	for _, o := range group[1:] {
		s.places = append(s.places, o.places...)
	}
	for i := range s.to {
		for _, o := range group {
			if !s.to[i].said {
				s.to[i] = o.to[i]
			}
		}
	}
	s.in, s.from = nil, from
}

// grouped puts sections of one name that are the same in some way together, in the
// order of the first ones.
func grouped(all []*section, same func(a, b *section) bool) [][]*section {
	var out [][]*section
	byName := map[string][]int{}
	for _, s := range all {
		name := fmt.Sprint(s.block, s.proposal())
		i := slices.IndexFunc(byName[name], func(i int) bool { return same(out[i][0], s) })
		if i >= 0 {
			at := byName[name][i]
			out[at] = append(out[at], s)
			continue
		}
		byName[name] = append(byName[name], len(out))
		out = append(out, []*section{s})
	}
	return out
}

// uniteTransports makes as few sections as can say the transports of some that are
// the same otherwise: one with source ports for all protocols, or for none, and each
// protocol once.
func uniteTransports(group []*section) []*section {
	var all []transport
	var places []packet.Place
	for _, s := range group {
		all = append(all, s.transports...)
		places = append(places, s.places...)
	}
	if len(group) == 1 || slices.ContainsFunc(all, func(t transport) bool { return t.any }) {
		return group
	}
	var out []*section
	for _, t := range products(all) {
		i := slices.IndexFunc(out, func(s *section) bool {
			return (s.transports[0].src == nil) == (t.src == nil) && !slices.ContainsFunc(s.transports, func(o transport) bool { return o.proto == t.proto })
		})
		if i >= 0 {
			out[i].transports = append(out[i].transports, t)
			continue
		}
		s := *group[0]
		s.transports, s.places = []transport{t}, places
		out = append(out, &s)
	}
	return out
}

// products joins transports that differ in their ports, or in their source ports,
// alone.
func products(ts []transport) []transport {
	for again := true; again; {
		again = false
		var out []transport
		for _, t := range ts {
			i := slices.IndexFunc(out, func(o transport) bool {
				return o.proto == t.proto && (samePorts(o.src, t.src) || samePorts(o.dst, t.dst))
			})
			if i < 0 {
				out = append(out, t)
				continue
			}
			out[i].dst, out[i].src = union(out[i].dst, t.dst), union(out[i].src, t.src)
			again = true
		}
		ts = out
	}
	slices.SortFunc(ts, transport.compare)
	return ts
}

func samePorts(a, b packet.Ports) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

// union is of two sets of ports; nil is all.
func union(a, b packet.Ports) packet.Ports {
	if a == nil || b == nil {
		return nil
	}
	return packet.NewPorts(slices.Concat(a, b)...)
}

func sameTransports(a, b []transport) bool {
	return slices.EqualFunc(a, b, func(a, b transport) bool {
		return a.any == b.any && a.proto == b.proto && samePorts(a.dst, b.dst) && samePorts(a.src, b.src)
	})
}

// same reports whether two ends are the same.
func (e ends) same(o ends) bool { return e.said == o.said && sameAddrs(e.set, o.set) }

// fits reports whether two ends are the same as far as both say something.
func (e ends) fits(o ends) bool { return !e.said || !o.said || sameAddrs(e.set, o.set) }

// alike reports whether two sections have the same addresses, limit and end.
func (s *section) alike(o *section) bool {
	same := ends.same
	return s.fromHost == o.fromHost && s.toHost == o.toHost && s.limit == o.limit && s.expires.Equal(o.expires) && s.name == o.name &&
		same(s.to[0], o.to[0]) && same(s.to[1], o.to[1]) && same(s.from[0], o.from[0]) && same(s.from[1], o.from[1])
}
