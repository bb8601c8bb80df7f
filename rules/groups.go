package rules

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

// everything is every address of both families.
var everything = setOf(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))

// privateSet is the group private: RFC 1918, unique local (RFC 4193) and link-local
// addresses (RFC 3927, RFC 4291), without the metadata service of clouds.
var privateSet = func() *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, p := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"} {
		b.AddPrefix(netip.MustParsePrefix(p))
	}
	b.Remove(netip.AddrFrom4([4]byte{169, 254, 169, 254}))
	return made(&b)
}()

var loopbackSet = setOf(netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))

func setOf(prefixes ...netip.Prefix) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, p := range prefixes {
		b.AddPrefix(p)
	}
	return made(&b)
}

// made returns the builder's set. Only invalid addresses could make it fail, and
// none gets here.
func made(b *netipx.IPSetBuilder) *netipx.IPSet {
	set, err := b.IPSet()
	if err != nil {
		panic("address set of invalid addresses: " + err.Error())
	}
	return set
}

// isEmpty asks by way of Equal, which looks at the lengths first: a set that is
// asked for its ranges copies them.
func isEmpty(s *netipx.IPSet) bool { return s == nil || s.Equal(&netipx.IPSet{}) }

// meet reports whether the sets have an address in common, in one walk over
// both: IPSet.Overlaps compares each range with each.
func meet(a, b *netipx.IPSet) bool {
	for as, bs := a.Ranges(), b.Ranges(); len(as) > 0 && len(bs) > 0; {
		switch {
		case as[0].To().Less(bs[0].From()):
			as = as[1:]
		case bs[0].To().Less(as[0].From()):
			bs = bs[1:]
		default:
			return true
		}
	}
	return false
}

// resolved is a group whose addresses are known.
type resolved struct {
	pairs      pairs
	host       bool
	unresolved []string
	broken     bool   // an error was reported: say nothing more about it
	group      *Group // nil if it is empty
}

// pairs are addresses by the pattern of interfaces on which they must be seen,
// "" for any.
type pairs map[string]*netipx.IPSet

func (ps pairs) add(pattern string, set *netipx.IPSet) {
	switch old := ps[pattern]; {
	case isEmpty(set):
	case old == nil:
		ps[pattern] = set
	default:
		ps[pattern] = union(old, set)
	}
}

func union(a, b *netipx.IPSet) *netipx.IPSet {
	var sb netipx.IPSetBuilder
	sb.AddSet(a)
	sb.AddSet(b)
	return made(&sb)
}

func without(a, b *netipx.IPSet) *netipx.IPSet {
	if isEmpty(a) || isEmpty(b) || !meet(a, b) {
		return a
	}
	var sb netipx.IPSetBuilder
	sb.AddSet(a)
	sb.RemoveSet(b)
	return made(&sb)
}

// terms returns the pairs in normal form: what a wider pattern holds is not
// said again, and patterns with the same addresses are one term.
func (ps pairs) terms() []Term {
	var out []Term
	for _, pattern := range slices.Sorted(maps.Keys(ps)) {
		set := ps[pattern]
		for w := range wider(pattern) {
			set = without(set, ps[w])
		}
		if !isEmpty(set) {
			out = addTerm(out, pattern, set)
		}
	}
	slices.SortFunc(out, func(a, b Term) int { return slices.Compare(a.In, b.In) })
	return out
}

func addTerm(terms []Term, pattern string, set *netipx.IPSet) []Term {
	if pattern == "" {
		return append(terms, Term{Set: set})
	}
	for i, t := range terms {
		if len(t.In) > 0 && t.Set.Equal(set) {
			terms[i].In = append(terms[i].In, pattern)
			return terms
		}
	}
	return append(terms, Term{In: []string{pattern}, Set: set})
}

// group resolves the group of that name, once; nil if there is none.
func (r *resolver) group(name string) *resolved {
	if g, done := r.groups[name]; done {
		return g
	}
	g := r.builtin(name)
	if g == nil {
		i, found := slices.BinarySearchFunc(r.p.Groups, name, func(g *GroupSection, name string) int { return cmp.Compare(g.Name, name) })
		if !found {
			return nil
		}
		r.path = append(r.path, name)
		g = r.section(r.p.Groups[i])
		r.path = r.path[:len(r.path)-1]
	}
	r.groups[name] = g
	return g
}

func (r *resolver) builtin(name string) *resolved {
	g := &resolved{pairs: pairs{}}
	switch name {
	case "any":
		g.pairs.add("", everything)
	case "private":
		g.pairs.add("", privateSet)
	case "host":
		g.host = true
	case "loopback":
		return g // nobody: what comes by the loopback interface is accepted anyway
	default:
		return nil
	}
	g.group = &Group{Name: name, Terms: g.pairs.terms(), Host: g.host}
	return g
}

// section resolves a group of the policy.
func (r *resolver) section(s *GroupSection) *resolved {
	g := &resolved{pairs: pairs{}, broken: s.broken}
	own := r.own(s, g)
	except := r.except(s, g)
	if g.host && len(s.Except.Items) > 0 {
		r.errorAt(s.Except.Pos, "nothing can be taken out of the host's own addresses, which change, and "+quote(s.Name)+" holds them", "put what except is for into a group without them")
		g.broken = true
	}
	for pattern, set := range g.pairs {
		g.pairs[pattern] = without(set, except)
	}
	own = without(own, except)
	patterns := patternsOf(s.Interfaces)
	if len(patterns) == 0 {
		patterns = []string{""}
	}
	for _, p := range patterns {
		g.pairs.add(p, own)
	}
	slices.Sort(g.unresolved)
	g.unresolved = slices.Compact(g.unresolved)
	r.finish(s, g)
	return g
}

// finish makes the Group, unless the group is empty.
func (r *resolver) finish(s *GroupSection, g *resolved) {
	group := &Group{Name: s.Name, Pos: s.Pos, Terms: g.pairs.terms(), Host: g.host, Unresolved: g.unresolved}
	if s.feed != nil {
		group.File = s.feed.name
	}
	switch {
	case len(group.Terms) > 0 || group.Host || len(group.Unresolved) > 0:
		g.group = group
	case g.broken || s.AllowEmpty:
	default:
		r.errorAt(s.Pos, "group "+quote(s.Name)+" is empty", emptyHint(s))
		g.broken = true
	}
}

func emptyHint(s *GroupSection) string {
	switch {
	case len(s.Interfaces) > 0 && !s.Addresses.Given():
		return `addresses = ["any"] is everyone on these interfaces`
	case s.Except.Given():
		return "except takes all of it; allow_empty = true if that may be"
	}
	return "allow_empty = true if that may be; empty means nobody"
}

// own returns the addresses of the section itself and of nested groups without
// interfaces. Nested groups with interfaces go to g.pairs.
func (r *resolver) own(s *GroupSection, g *resolved) *netipx.IPSet {
	var sets []*netipx.IPSet
	var literals netipx.IPSetBuilder
	for _, m := range s.Addresses.Items {
		switch {
		case m.Interface != "":
			r.interfaceElsewhere(m)
			g.broken = true
		case m.Group == "":
			literals.AddRange(m.Range)
		default:
			sets = append(sets, r.nested(s, g, m))
		}
	}
	for _, a := range r.lookUp(s, g) {
		literals.Add(a)
	}
	sets = append(sets, made(&literals))
	if s.feed != nil {
		sets = append(sets, s.feed.set)
	}
	return unionOf(sets)
}

func unionOf(sets []*netipx.IPSet) *netipx.IPSet {
	sets = slices.DeleteFunc(sets, isEmpty)
	if len(sets) == 1 {
		return sets[0] // perhaps a million addresses: not copied
	}
	var b netipx.IPSetBuilder
	for _, s := range sets {
		b.AddSet(s)
	}
	return made(&b)
}

// nested merges the group that m names into g; it returns the addresses that
// are bound to no interface.
func (r *resolver) nested(s *GroupSection, g *resolved, m Member) *netipx.IPSet {
	n := r.member(m)
	if n == nil {
		g.broken = true
		return nil
	}
	g.broken = g.broken || n.broken
	g.unresolved = append(g.unresolved, n.unresolved...)
	if n.host && len(s.Interfaces) > 0 {
		r.errorAt(m.Pos, "the host's own addresses cannot be bound to interfaces", "put "+quote(m.Group)+" into a group without interfaces")
		g.broken = true
	}
	g.host = g.host || n.host
	for pattern, set := range n.pairs {
		if pattern != "" {
			g.pairs.add(pattern, set)
		}
	}
	return n.pairs[""]
}

// member resolves the group that an entry names; nil, reported, if it cannot.
func (r *resolver) member(m Member) *resolved {
	if i := slices.Index(r.path, m.Group); i >= 0 {
		r.errorAt(m.Pos, "group "+quote(m.Group)+" contains itself: "+strings.Join(append(slices.Clone(r.path[i:]), m.Group), " -> "), "")
		return nil
	}
	g := r.group(m.Group)
	if g == nil && !r.p.partial {
		r.noGroup(m)
	}
	return g
}

func (r *resolver) noGroup(m Member) {
	hint := "define [group." + m.Group + "]"
	switch {
	case looksLikeInterface(m.Group) || r.host.hasInterface(m.Group):
		hint = "use in = [" + quote(m.Group) + "]"
	case r.guesses():
		hint = nearestOr(m.Group, append(groupNames(r.p.Groups), builtinGroups...), hint)
	}
	r.errorAt(m.Pos, "there is no group "+quote(m.Group), hint)
}

func groupNames(list []*GroupSection) []string {
	var out []string
	for _, g := range list {
		out = append(out, g.Name)
	}
	return out
}

func (h *Host) hasInterface(name string) bool {
	return h != nil && slices.ContainsFunc(h.Interfaces, func(i Interface) bool { return i.Name == name })
}

func (r *resolver) interfaceElsewhere(m Member) {
	r.errorAt(m.Pos, quote(m.Text)+" may stand nowhere but in to", "it means the host's own addresses on that interface; for what enters by it, use in = ["+quote(m.Interface)+"]")
}

// addrsOf returns the addresses of a DNS name.
func (h *Host) addrsOf(name string) []netip.Addr {
	var out []netip.Addr
	if h == nil {
		return nil
	}
	for _, a := range h.Names[name] {
		if a.IsValid() {
			out = append(out, a.Unmap().WithZone(""))
		}
	}
	return out
}

// lookUp returns the addresses of the section's DNS names.
func (r *resolver) lookUp(s *GroupSection, g *resolved) []netip.Addr {
	var out []netip.Addr
	for _, n := range s.Names {
		found := r.host.addrsOf(n.V)
		if len(found) == 0 {
			g.unresolved = append(g.unresolved, n.V)
			r.report(Note, n.Pos, quote(n.V)+" is not resolved: it stands for nobody until it is", "")
		}
		out = append(out, found...)
	}
	return out
}

// except returns what the section leaves out.
func (r *resolver) except(s *GroupSection, g *resolved) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, m := range s.Except.Items {
		switch {
		case m.Interface != "":
			r.interfaceElsewhere(m)
			g.broken = true
		case m.Group == "loopback":
			b.AddSet(loopbackSet)
		case m.Group == "":
			b.AddRange(m.Range)
		default:
			r.exceptGroup(&b, g, m)
		}
	}
	return made(&b)
}

// factsHint is the way out where facts are missing because none were given.
func (r *resolver) factsHint() string {
	if r.host == nil {
		return "give the facts of the host with --host"
	}
	return ""
}

func (r *resolver) exceptGroup(b *netipx.IPSetBuilder, g *resolved, m Member) {
	n := r.member(m)
	switch {
	case n == nil || n.broken:
		g.broken = true
		return
	case n.host:
		r.errorAt(m.Pos, "except cannot hold the host's own addresses, which change", "")
	case len(n.unresolved) > 0:
		r.errorAt(m.Pos, "except holds names that are not resolved ("+strings.Join(n.unresolved, ", ")+"): nobody would be left out for them", r.factsHint())
	case n.group != nil && slices.ContainsFunc(n.group.Terms, func(t Term) bool { return len(t.In) > 0 }):
		r.errorAt(m.Pos, "except cannot hold "+quote(m.Group)+", which is bound to interfaces", "name its addresses in a group without interfaces")
	default:
		if set := n.pairs[""]; set != nil {
			b.AddSet(set)
		}
		return
	}
	g.broken = true
}
