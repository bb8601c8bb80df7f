package adopt

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// inline is up to how many addresses stand in a section; more are a group.
const inline = 4

// group is a list of addresses with a name.
type group struct {
	name, comment   string
	members, except []string
	interfaces      []string
}

// grouping makes the groups of a policy, each list once.
type grouping struct {
	names  names
	byList map[string]*group
	all    []*group
	spoken string // all addresses of the only family that the ruleset speaks of; "" if of both
}

// everything is every address of a family.
var everything = [2]string{"0.0.0.0/0", "::/0"}

// list is what stands in from or to: literal addresses, the name of a group, "any";
// nil if the section need not say it.
func (g *grouping) list(es [2]ends, title string) []string {
	var lits, except []string
	any := 0
	for i, e := range es {
		if !e.said {
			continue
		}
		if e.set == nil {
			any++
		}
		l, x := addressTexts(e.set, i == 1)
		lits, except = append(lits, l...), append(except, x...)
	}
	switch {
	case any == 2:
		return []string{"any"}
	case any == 1 && len(lits) == 1 && lits[0] == g.spoken:
		return []string{g.family(lits[0])}
	case len(lits)+len(except) <= inline && len(except) == 0:
		return lits
	}
	if any > 0 || slices.Contains(everything[:], lits[0]) {
		title = "all-but-some"
	}
	return []string{g.group(lits, except, nil, title)}
}

// bound is the group of addresses that are seen on interfaces.
func (g *grouping) bound(b bound, title string) string {
	var lits, except []string
	for i, e := range b.from {
		if e.said {
			l, x := addressTexts(e.set, i == 1)
			lits, except = append(lits, l...), append(except, x...)
		}
	}
	return g.group(lits, except, b.in, title)
}

// family is the group of all addresses of the family that the ruleset speaks of: one
// place to add the other one.
func (g *grouping) family(all string) string {
	name, other := "ipv4", "IPv6"
	if all == everything[1] {
		name, other = "ipv6", "IPv4"
	}
	for _, o := range g.all {
		if slices.Equal(o.members, []string{all}) && o.except == nil {
			return o.name
		}
	}
	made := &group{name: g.names.unique(name), members: []string{all}, comment: "What was imported says nothing of " + other + ", so nothing is opened there."}
	g.all = append(g.all, made)
	return made.name
}

func (g *grouping) group(lits, except, interfaces []string, title string) string {
	key := strings.Join(lits, " ") + " but " + strings.Join(except, " ") + " on " + strings.Join(interfaces, " ")
	if old := g.byList[key]; old != nil {
		return old.name
	}
	made := &group{name: g.names.unique(title), members: lits, except: except, interfaces: interfaces}
	g.byList[key] = made
	g.all = append(g.all, made)
	return made.name
}

// addressTexts writes a set of one family; what is all but a few addresses is
// written so.
func addressTexts(rs packet.Ranges, is6 bool) (members, except []string) {
	i := familyIndex(is6)
	width := packet.FieldSrc.Width(is6)
	switch others := rs.Complement(width); {
	case rs == nil || len(others) == 0:
		return []string{everything[i]}, nil
	case 2*len(texts(others, is6)) < len(texts(rs, is6)):
		return []string{everything[i]}, texts(others, is6)
	}
	return around(rs, is6)
}

// around writes a set as it is, or, where that is no longer, as the network around
// it and what is taken out: "198.51.100.0/24" without one address reads better than
// two ranges.
func around(rs packet.Ranges, is6 bool) (members, except []string) {
	plain := texts(rs, is6)
	if len(rs) < 2 || !slices.ContainsFunc(plain, func(s string) bool { return strings.Contains(s, "-") }) {
		return plain, nil
	}
	whole := network(rs[0].Lo, rs[len(rs)-1].Hi, is6)
	var gaps packet.Ranges
	next := whole.Lo
	for _, r := range rs {
		if r.Lo != next {
			gaps = append(gaps, packet.Range{Lo: next, Hi: r.Lo.Previous()})
		}
		next = r.Hi.Next()
	}
	if last := rs[len(rs)-1].Hi; last != whole.Hi {
		gaps = append(gaps, packet.Range{Lo: last.Next(), Hi: whole.Hi})
	}
	if except = texts(gaps, is6); len(except) >= len(plain) {
		return plain, nil
	}
	return rangeTexts(whole, is6), except
}

// network is the smallest prefix around two addresses.
func network(lo, hi packet.Value, is6 bool) packet.Range {
	for n := uint(0); ; n++ {
		host := packet.Ones(n)
		from := lo.And(packet.Ones(packet.FieldSrc.Width(is6)).Xor(host))
		if to := from.Or(host); to.Compare(hi) >= 0 || n == packet.FieldSrc.Width(is6) {
			return packet.Range{Lo: from, Hi: to}
		}
	}
}

func texts(rs packet.Ranges, is6 bool) []string {
	var out []string
	for _, r := range rs {
		out = append(out, rangeTexts(r, is6)...)
	}
	return out
}

// rangeTexts writes a range as an address, a prefix, or from and to.
func rangeTexts(r packet.Range, is6 bool) []string {
	lo, hi := r.Lo.Addr(is6), r.Hi.Addr(is6)
	if lo == hi {
		return []string{lo.String()}
	}
	for bits := lo.BitLen() - 1; bits >= 0; bits-- {
		host := packet.Ones(uint(lo.BitLen() - bits))
		if r.Lo.And(host) == (packet.Value{}) && r.Lo.Or(host) == r.Hi {
			return []string{netip.PrefixFrom(lo, bits).String()}
		}
	}
	return []string{lo.String() + "-" + hi.String()}
}
