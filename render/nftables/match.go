package nftables

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// alternative is a list of statements that matches some of what a rule matches;
// a rule's alternatives together match all of it.
type alternative struct {
	family int // 4 or 6, 0 for both
	stmts  []Stmt
}

// conditions says which of a rule's conditions are still to be tested.
type conditions struct {
	transports   bool // protocol and ports; else a map has seen to them
	literalsOnly bool // only the addresses that stand in the rule itself
}

// alternatives returns the ways in which a packet can fit the rule.
func (b *builder) alternatives(r *rules.Rule, c conditions) [][]Stmt {
	from := r.From
	if c.literalsOnly {
		from.Groups = nil
	}
	alts := []alternative{{}}
	if !r.Expires.IsZero() {
		alts = []alternative{{stmts: []Stmt{Before{r.Expires}}}}
	}
	alts = product(alts, interfaces(r.In, false))
	alts = product(alts, b.addresses(from, true, r.ID()+".from"))
	alts = product(alts, b.addresses(r.To, false, r.ID()+".to"))
	if c.transports || hasSource(r.Transports) {
		alts = product(alts, transports(r.Transports))
	}
	out := make([][]Stmt, len(alts))
	for i, a := range alts {
		out[i] = a.stmts
	}
	return out
}

// product combines each of the one with each of the other, less those of two
// families.
func product(as, bs []alternative) []alternative {
	var out []alternative
	for _, x := range as {
		for _, y := range bs {
			if x.family != 0 && y.family != 0 && x.family != y.family {
				continue
			}
			out = append(out, alternative{
				family: max(x.family, y.family),
				stmts:  concat(x, y),
			})
		}
	}
	return out
}

// concat joins the statements of both. Where both test for the family, once is
// enough, and an address test does it by itself; nft would list it so.
func concat(x, y alternative) []Stmt {
	xs, ys := x.stmts, y.stmts
	if x.family != 0 && x.family == y.family {
		family := Stmt(Family{Is6: x.family == 6})
		if slices.Contains(ys, family) {
			ys = without(ys, family)
		} else {
			xs = without(xs, family)
		}
	}
	return slices.Concat(xs, ys)
}

func without(list []Stmt, s Stmt) []Stmt {
	return slices.DeleteFunc(slices.Clone(list), func(o Stmt) bool { return o == s })
}

func interfaces(patterns []string, out bool) []alternative {
	if len(patterns) == 0 {
		return []alternative{{}}
	}
	alts := make([]alternative, len(patterns))
	for i, p := range patterns {
		alts[i] = alternative{stmts: []Stmt{Iface{Out: out, Pattern: p}}}
	}
	return alts
}

// addresses returns the ways in which the source or destination can be one of
// the addresses; owner names the set of those that have no group.
func (b *builder) addresses(as rules.Addresses, src bool, owner string) []alternative {
	if as.Any {
		return []alternative{{}}
	}
	var alts []alternative
	if as.Host || slices.ContainsFunc(as.Groups, func(g *rules.Group) bool { return g.Host }) {
		alts = append(alts, alternative{stmts: []Stmt{FibType{Src: src, Type: "local"}}})
	}
	for _, g := range as.Groups {
		for i, t := range g.Terms {
			m := b.members(t.Set, src, groupSet(g.Name, i, t))
			alts = append(alts, product(interfaces(t.In, !src), m)...)
		}
	}
	if as.Set != nil {
		alts = append(alts, b.literals(as.Set, src, owner)...)
	}
	return alts
}

// groupSet is the template of the sets that hold a term of a group. The term
// that is bound to no interface has the group's name, others are numbered. The
// comment does not name the interfaces: a set that is kept keeps its comment.
func groupSet(group string, i int, t rules.Term) Set {
	name := group
	if len(t.In) > 0 {
		name += "." + strconv.Itoa(i)
	}
	return Set{Name: name, Comment: "group." + group}
}

// members matches addresses through a set for each family.
func (b *builder) members(set *netipx.IPSet, src bool, template Set) []alternative {
	var alts []alternative
	for _, family := range []int{4, 6} {
		ranges := rangesOf(set, family)
		switch {
		case len(ranges) == 0:
		case everything(ranges):
			alts = append(alts, alternative{family: family, stmts: []Stmt{Family{Is6: family == 6}}})
		default:
			name := b.addressSet(template, family, ranges)
			alts = append(alts, alternative{family: family, stmts: []Stmt{
				Lookup{Key: []Load{{Field: addrField(family), Src: src}}, Set: name}}})
		}
	}
	return alts
}

// literals is members, but a single prefix needs no set.
func (b *builder) literals(set *netipx.IPSet, src bool, owner string) []alternative {
	var alts []alternative
	for _, family := range []int{4, 6} {
		ranges := rangesOf(set, family)
		if len(ranges) == 1 {
			if p, ok := ranges[0].Prefix(); ok && p.Bits() > 0 {
				alts = append(alts, alternative{family: family, stmts: []Stmt{Addr{Src: src, Prefix: p}}})
				continue
			}
		}
		var only netipx.IPSetBuilder
		for _, r := range ranges {
			only.AddRange(r)
		}
		one, _ := only.IPSet() // the ranges are those of a valid set
		alts = append(alts, b.members(one, src, Set{Name: owner})...)
	}
	return alts
}

func (b *builder) addressSet(template Set, family int, ranges []netipx.IPRange) string {
	template.Name += ".v" + strconv.Itoa(family)
	template.Fields, template.Interval = []Field{addrField(family)}, true
	s := b.set(template)
	if s.Elements == nil {
		s.Elements = make([]Element, len(ranges))
		for i, r := range ranges {
			s.Elements[i].Addrs = r
		}
	}
	return s.Name
}

func addrField(family int) Field {
	if family == 6 {
		return FieldAddr6
	}
	return FieldAddr4
}

func rangesOf(set *netipx.IPSet, family int) []netipx.IPRange {
	all := set.Ranges() // sorted, IPv4 first
	i := slices.IndexFunc(all, func(r netipx.IPRange) bool { return r.From().Is6() })
	if i < 0 {
		i = len(all)
	}
	if family == 4 {
		return all[:i]
	}
	return all[i:]
}

func everything(ranges []netipx.IPRange) bool {
	p, ok := ranges[0].Prefix()
	return ok && p.Bits() == 0
}

func hasSource(ts []rules.Transport) bool {
	return slices.ContainsFunc(ts, func(t rules.Transport) bool { return len(t.Src) > 0 })
}

func transports(ts []rules.Transport) []alternative {
	if len(ts) == 0 {
		return []alternative{{}}
	}
	var alts []alternative
	for _, t := range ts {
		switch {
		case t.Any:
			return []alternative{{}}
		case len(t.Dst) == 0 && len(t.Src) == 0:
			alts = append(alts, alternative{stmts: []Stmt{L4Proto{t.Proto}}})
		default:
			alts = append(alts, product(ports(t.Proto, true, t.Src), ports(t.Proto, false, t.Dst))...)
		}
	}
	return alts
}

func ports(p packet.Proto, src bool, set packet.Ports) []alternative {
	if len(set) == 0 {
		return []alternative{{}}
	}
	alts := make([]alternative, len(set))
	for i, r := range set {
		alts[i] = alternative{stmts: []Stmt{Port{Proto: p, Src: src, Range: r}}}
	}
	return alts
}

// sort puts the elements into the order of their keys.
func (s *Set) sort() {
	slices.SortFunc(s.Elements, func(a, b Element) int {
		for _, f := range s.Fields {
			if c := compareField(f, a, b); c != 0 {
				return c
			}
		}
		return 0
	})
}

func compareField(f Field, a, b Element) int {
	switch f {
	case FieldProto:
		return cmp.Compare(a.Proto, b.Proto)
	case FieldPort:
		return cmp.Compare(a.Ports.Lo, b.Ports.Lo)
	case FieldICMP, FieldICMP6:
		return cmp.Compare(a.ICMP, b.ICMP)
	}
	return cmp.Or(a.Addrs.From().Compare(b.Addrs.From()), a.Addrs.To().Compare(b.Addrs.To()))
}

// single returns the range that is one address.
func single(a netip.Addr) netipx.IPRange { return netipx.IPRangeFrom(a, a) }
