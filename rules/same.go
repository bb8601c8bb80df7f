package rules

import (
	"slices"

	"go4.org/netipx"
)

// Same reports whether two rules are seen at once to match the same packets, as
// long as none has expired: what they say is the same, whatever their names.
func (r *Rule) Same(o *Rule) bool {
	return r.From.same(o.From) && r.To.same(o.To) && slices.Equal(r.In, o.In) &&
		slices.EqualFunc(r.Transports, o.Transports, func(a, b Transport) bool {
			return a.Any == b.Any && a.Proto == b.Proto && a.Dst.Equal(b.Dst) && a.Src.Equal(b.Src)
		})
}

func (a Addresses) same(b Addresses) bool {
	return a.Any == b.Any && a.Host == b.Host && sameSet(a.Set, b.Set) && slices.EqualFunc(a.Groups, b.Groups, (*Group).same)
}

func (g *Group) same(o *Group) bool {
	return g == o || g.Host == o.Host && slices.EqualFunc(g.Terms, o.Terms, func(a, b Term) bool {
		return slices.Equal(a.In, b.In) && sameSet(a.Set, b.Set)
	})
}

func sameSet(a, b *netipx.IPSet) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || a.Equal(b)
}
