package pf

import (
	"slices"

	"github.com/fwctl/fwctl/rules"
)

// routedTag marks packets that a route accepted where they came in, for dialects
// that cannot ask on the way out.
const routedTag = "FWCTL_ROUTED"

// routesAny reports whether routes are rendered.
func (b *builder) routesAny() bool {
	return b.self && b.rs.Routed == rules.RoutedDrop && slices.ContainsFunc(b.rs.Routes, b.current)
}

// current is live without a word about it.
func (b *builder) current(r *rules.Rule) bool {
	return r.Expires.IsZero() || b.opt.At.IsZero() || b.opt.At.Before(r.Expires)
}

// routes accepts packets through this host on both of their ways: in and out.
func (b *builder) routes() []Line {
	if !b.routesAny() {
		return nil
	}
	var lines []Line
	for _, r := range b.rs.Routes {
		if b.live(r) {
			lines = append(lines, b.described(r, ruled(b.route(r)))...)
		}
	}
	if !b.receivedOn {
		lines = append(lines, stateful(Rule{Dir: Out, Quick: true, Label: labelRouted, Tagged: routedTag}))
	}
	return lines
}

func (b *builder) route(r *rules.Rule) []Rule {
	if r.Limit.Count > 0 {
		b.fail(r.Pos, "pf can limit what comes in alone", "")
	}
	base := b.pass(r)
	in := b.comingIn(r, base)
	if !b.receivedOn {
		b.unbound(r)
		for i := range in {
			in[i].Tag = routedTag
		}
	}
	rs := append(in, b.goingOut(r, base)...)
	for i := range rs {
		rs[i] = stateful(rs[i])
	}
	return rs
}

// comingIn is a route's rules for the interface by which its packets come in.
// Where they will leave is not known there.
func (b *builder) comingIn(r *rules.Rule, base Rule) []Rule {
	base.Dir = In
	for _, w := range b.addresses(r, r.To, "to") {
		base.To.Hosts = append(base.To.Hosts, w.hosts...)
	}
	if !r.To.Any && len(base.To.Hosts) == 0 {
		return nil
	}
	var rs []Rule
	for _, w := range b.sources(r) {
		for _, t := range b.transports(r) {
			next := t.set(base)
			next.On, next.From.Hosts = w.on, w.hosts
			if next.possible() {
				rs = append(rs, next)
			}
		}
	}
	return rs
}

// goingOut is a route's rules for the interface by which its packets leave. The
// grammar takes one received-on a rule.
func (b *builder) goingOut(r *rules.Rule, base Rule) []Rule {
	if !b.receivedOn {
		return nil
	}
	base.Dir = Out
	var rs []Rule
	for _, from := range b.sources(r) {
		for _, on := range orAny(from.on) {
			for _, to := range b.addresses(r, r.To, "to") {
				for _, t := range b.transports(r) {
					next := t.set(base)
					next.On, next.From.Hosts, next.To.Hosts = to.on, from.hosts, to.hosts
					next.Received = Received{On: on}
					if next.possible() {
						rs = append(rs, next)
					}
				}
			}
		}
	}
	return rs
}

func orAny(on []string) []string {
	if on == nil {
		return []string{"any"}
	}
	return on
}

// unbound refuses destinations that count only on the interface by which a packet
// leaves, where the grammar cannot ask on the way out where it came in.
func (b *builder) unbound(r *rules.Rule) {
	if g := boundGroup(r.To); g != nil {
		b.fail(r.Pos, b.system+" cannot ask on the way out where a packet came in, as "+r.ID()+" needs for group."+g.Name, "give the group no interfaces")
	}
}

// boundGroup is a group of the set that counts on certain interfaces only, nil if
// there is none.
func boundGroup(as rules.Addresses) *rules.Group {
	i := slices.IndexFunc(as.Groups, func(g *rules.Group) bool {
		return slices.ContainsFunc(g.Terms, func(t rules.Term) bool { return len(t.In) > 0 })
	})
	if i < 0 {
		return nil
	}
	return as.Groups[i]
}
