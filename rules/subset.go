package rules

import (
	"slices"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
)

// within reports whether every packet that a matches is matched by b, as far as
// that can be told at little cost: false may mean "not known". Time and limits
// are not looked at.
func within(a, b *Rule) bool {
	return transportsWithin(a.Transports, b.Transports) &&
		patternsWithin(a.In, b.In) &&
		a.To.within(b.To) &&
		a.From.within(b.From)
}

func transportsWithin(a, b []Transport) bool {
	if len(b) == 0 {
		return true
	}
	return len(a) > 0 && !slices.ContainsFunc(a, func(t Transport) bool {
		return !slices.ContainsFunc(b, func(u Transport) bool { return t.within(u) })
	})
}

func (t Transport) within(u Transport) bool {
	return u.Any || !t.Any && t.Proto == u.Proto && portsWithin(t.Dst, u.Dst) && portsWithin(t.Src, u.Src)
}

// portsWithin takes an empty set for all ports.
func portsWithin(a, b packet.Ports) bool {
	if len(b) == 0 {
		return true
	}
	return len(a) > 0 && !slices.ContainsFunc(a, func(r packet.PortRange) bool {
		return !slices.ContainsFunc(b, func(s packet.PortRange) bool { return s.Lo <= r.Lo && r.Hi <= s.Hi })
	})
}

// patternsWithin reports whether every interface that fits a fits b.
func patternsWithin(a, b []string) bool {
	if len(b) == 0 {
		return true
	}
	return len(a) > 0 && !slices.ContainsFunc(a, func(p string) bool {
		return !slices.ContainsFunc(b, func(q string) bool { return covers(q, p) })
	})
}

// within reports whether every address of a is in b, on every interface on which
// it is in a.
func (a Addresses) within(b Addresses) bool {
	switch {
	case b.Any:
		return true
	case a.Any || hasHost(a) && !hasHost(b):
		return false
	}
	if a.Set != nil && !b.holds(a.Set, "") {
		return false
	}
	for _, g := range a.Groups {
		if !slices.Contains(b.Groups, g) && !g.within(b) {
			return false
		}
	}
	return true
}

func (g *Group) within(b Addresses) bool {
	if len(g.Unresolved) > 0 {
		return false
	}
	for _, t := range g.Terms {
		patterns := t.In
		if len(patterns) == 0 {
			patterns = []string{""}
		}
		for _, p := range patterns {
			if !b.holds(t.Set, p) {
				return false
			}
		}
	}
	return true
}

// holds reports whether every address of the set is in a on the interfaces of
// the pattern: each range within a single set of a.
func (a Addresses) holds(set *netipx.IPSet, pattern string) bool {
	var sets []*netipx.IPSet
	if a.Set != nil {
		sets = append(sets, a.Set)
	}
	for _, g := range a.Groups {
		for _, t := range g.Terms {
			if len(t.In) == 0 || slices.ContainsFunc(t.In, func(q string) bool { return pattern != "" && covers(q, pattern) }) {
				sets = append(sets, t.Set)
			}
		}
	}
	for _, r := range set.Ranges() {
		if !slices.ContainsFunc(sets, func(s *netipx.IPSet) bool { return s.ContainsRange(r) }) {
			return false
		}
	}
	return true
}
