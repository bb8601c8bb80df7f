package adopt

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// section is one section of the policy: what both families say that differs in
// addresses alone.
type section struct {
	block      bool
	name       string
	in         []string
	transports []transport
	fromHost   bool
	toHost     bool
	to, from   [2]ends // IPv4, IPv6
	limit      string  // "10/minute"
	expires    time.Time
	shared     bool
	places     []packet.Place
	called     string // what to call it, if no rule tells
	remark     string // what stands above it in place of rules
}

// familyIndex is the place of a family in lists of both.
func familyIndex(is6 bool) int {
	if is6 {
		return 1
	}
	return 0
}

// ends are the addresses of one family in a section.
type ends struct {
	said bool          // the section says something of the family
	set  packet.Ranges // nil: any
}

// sections puts together what belongs together: both families, and rules of one
// family that differ in their sources alone.
func sections(plans []*plan) []*section {
	m := &merging{byKey: map[string][]*section{}}
	for _, p := range plans {
		for _, s := range p.said {
			for _, ts := range bySource(s.box.transports) {
				b := s.box
				b.transports = ts
				m.add(p.is6, s, b)
			}
		}
	}
	return m.united()
}

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
	return all
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

// alike reports whether two sections have the same addresses, limit and end.
func (s *section) alike(o *section) bool {
	same := func(a, b ends) bool { return a.said == b.said && sameAddrs(a.set, b.set) }
	return s.fromHost == o.fromHost && s.toHost == o.toHost && s.limit == o.limit && s.expires.Equal(o.expires) && s.name == o.name &&
		same(s.to[0], o.to[0]) && same(s.to[1], o.to[1]) && same(s.from[0], o.from[0]) && same(s.from[1], o.from[1])
}

// bySource splits transports into lists that one section can say: those without
// source ports, and each other one.
func bySource(ts []transport) [][]transport {
	var open []transport
	var out [][]transport
	for _, t := range ts {
		if t.src != nil {
			out = append(out, []transport{t})
			continue
		}
		open = append(open, t)
	}
	if open != nil {
		out = append(out, open)
	}
	return out
}

type merging struct {
	all   []*section
	byKey map[string][]*section
}

func (m *merging) add(is6 bool, s said, b box) {
	limit, owner, expires := attributes(b.keys)
	key := fmt.Sprint(s.block, b.in, b.transports, b.fromHost, b.toHost, limit, owner, expires)
	i := familyIndex(is6)
	for _, old := range m.byKey[key] {
		if old.absorb(i, b, s.place) {
			return
		}
	}
	n := &section{block: s.block, in: b.in, transports: b.transports, fromHost: b.fromHost, toHost: b.toHost, limit: limit, expires: expires, called: s.name, remark: s.remark, places: []packet.Place{s.place}}
	if owner != "" {
		n.name = strings.TrimPrefix(owner, "service.")
	}
	n.to[i], n.from[i] = ends{true, b.to}, ends{true, b.from}
	m.byKey[key] = append(m.byKey[key], n)
	m.all = append(m.all, n)
}

// absorb adds a box to the section, if that says no more than both.
func (s *section) absorb(i int, b box, at packet.Place) bool {
	switch {
	case !s.to[i].said:
		s.to[i], s.from[i] = ends{true, b.to}, ends{true, b.from}
	case sameAddrs(s.to[i].set, b.to) && s.from[i].set != nil && b.from != nil:
		s.from[i].set = packet.NewRanges(slices.Concat(s.from[i].set, b.from)...)
	case sameAddrs(s.to[i].set, b.to):
		s.from[i].set = nil
	case sameAddrs(s.from[i].set, b.from) && s.to[i].set != nil && b.to != nil && !s.toHost:
		s.to[i].set = packet.NewRanges(slices.Concat(s.to[i].set, b.to)...)
	default:
		return false
	}
	if !slices.Contains(s.places, at) {
		s.places = append(s.places, at)
	}
	return true
}

// attributes reads what the unknowns of a box are in a section.
func attributes(keys []string) (limit, owner string, expires time.Time) {
	for _, k := range keys {
		if t, ok := packet.ReadTimeBefore(k); ok && (expires.IsZero() || t.Before(expires)) {
			expires = t
		}
		if o, count, per, ok := packet.ReadUnspent(k); ok {
			limit, owner = fmt.Sprintf("%d/%s", count, periods[per]), o
		}
	}
	return limit, owner, expires
}

var periods = map[time.Duration]string{time.Second: "second", time.Minute: "minute", time.Hour: "hour", 24 * time.Hour: "day"}

// share marks the services that claim one port with another, whoever they are for.
func share(all []*section) {
	type claim struct {
		s  *section
		ps packet.Ports
	}
	claims := map[packet.Proto][]claim{}
	for _, s := range all {
		if s.block {
			continue
		}
		for _, t := range s.transports {
			if t.any {
				continue
			}
			ps := t.dst
			if ps == nil {
				ps = packet.Ports{{Lo: 1, Hi: 65535}}
			}
			for _, o := range claims[t.proto] {
				if o.s != s && (!t.proto.HasPorts() || o.ps.Overlaps(ps)) {
					o.s.shared, s.shared = true, true
				}
			}
			claims[t.proto] = append(claims[t.proto], claim{s, ps})
		}
	}
}
