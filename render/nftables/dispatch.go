package nftables

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// dispatch writes the look-ups that find the rules of a packet by its protocol
// and port. Rules are a union: each look-up that does not accept goes on to the
// next. Limited rules come after all others, so that a spent limit refuses only
// for itself and nobody is counted whom another rule lets in.
func (b *builder) dispatch(c *Chain, all []*rules.Rule) {
	free, limited := newTable(b, c.Name), newTable(b, c.Name+".limited")
	for _, r := range all {
		if r.Limit.Count > 0 {
			limited.add(r)
		} else {
			free.add(r)
		}
	}
	free.write(c)
	limited.write(c)
}

// table is what one round of look-ups finds.
type table struct {
	b        *builder
	name     string
	ports    map[portKey]*targets
	ranges   map[packet.Proto][]rangeTarget
	protos   map[packet.Proto]*targets
	any      targets
	openings map[openingKey][]Element // by the set that holds them
}

type portKey struct {
	proto packet.Proto
	port  uint16
}

type rangeTarget struct {
	ports   packet.PortRange
	targets targets
}

// openingKey says which set holds an opening: a family and a prefix length.
type openingKey struct{ family, bits int }

// targets are what may accept a packet: everybody, or the chains that decide.
// Owners are the IDs of the rules behind them.
type targets struct {
	accept bool
	chains []string
	owners []string
}

func newTable(b *builder, name string) *table {
	return &table{b: b, name: name,
		ports:    map[portKey]*targets{},
		ranges:   map[packet.Proto][]rangeTarget{},
		protos:   map[packet.Proto]*targets{},
		openings: map[openingKey][]Element{}}
}

func (t *targets) merge(o targets) {
	t.accept = t.accept || o.accept
	for _, c := range o.chains {
		t.chains = insert(t.chains, c)
	}
	for _, id := range o.owners {
		t.owners = insert(t.owners, id)
	}
}

// insert puts a string into a sorted list that lacks it.
func insert(list []string, s string) []string {
	i, found := slices.BinarySearch(list, s)
	if found {
		return list
	}
	return slices.Insert(list, i, s)
}

// add enters a rule under each of its protocols and ports.
func (t *table) add(r *rules.Rule) {
	tg := targets{owners: []string{r.ID()}}
	switch {
	case r.From.None() || r.To.None():
		return
	case !plain(r):
		tg.chains = []string{t.b.ruleChain(r)}
	case r.From.Any:
		tg.accept = true
	default:
		if len(r.From.Groups) > 0 {
			tg.chains = []string{t.b.audience(r.From.Groups)}
		}
		t.addLiterals(r, &tg)
	}
	if !tg.accept && len(tg.chains) == 0 {
		return
	}
	t.enter(r.Transports, tg)
}

func (t *table) enter(ts []rules.Transport, tg targets) {
	if len(ts) == 0 {
		t.any.merge(tg)
	}
	for _, tr := range ts {
		switch {
		case tr.Any:
			t.any.merge(tg)
		case len(tr.Dst) == 0:
			at(t.protos, tr.Proto).merge(tg)
		default:
			t.enterPorts(tr, tg)
		}
	}
}

func (t *table) enterPorts(tr rules.Transport, tg targets) {
	for _, p := range tr.Dst {
		if p.Lo == p.Hi {
			at(t.ports, portKey{tr.Proto, p.Lo}).merge(tg)
			continue
		}
		t.ranges[tr.Proto] = append(t.ranges[tr.Proto], rangeTarget{p, tg})
	}
}

// at returns the targets of a key, empty ones if there are none.
func at[K comparable](m map[K]*targets, k K) *targets {
	tg, ok := m[k]
	if !ok {
		tg = &targets{}
		m[k] = tg
	}
	return tg
}

// plain reports whether protocol, port and source are all that the rule asks
// for, so that maps and sets can hold it and it needs no chain of its own.
func plain(r *rules.Rule) bool {
	return r.To.Any && !r.From.Host && len(r.In) == 0 && r.Limit.Count == 0 && r.Expires.IsZero() && !r.Log &&
		!hasSource(r.Transports) && !slices.ContainsFunc(r.From.Groups, func(g *rules.Group) bool { return g.Host })
}

// maxOpenings bounds the elements that one rule may put into the sets of
// openings; what needs more gets a set of addresses of its own.
const maxOpenings = 64

// addLiterals enters the addresses that stand in the rule itself: few of them
// as protocol, port and network in one set, many of them through a chain.
func (t *table) addLiterals(r *rules.Rule, tg *targets) {
	if r.From.Set == nil {
		return
	}
	keys, ok := singlePorts(r.Transports)
	prefixes := prefixesUpTo(r.From.Set, maxOpenings)
	if !ok || prefixes == nil || len(keys)*len(prefixes) > maxOpenings || slices.ContainsFunc(prefixes, wholeFamily) {
		tg.chains = insert(tg.chains, t.b.literalChain(r))
		return
	}
	for _, p := range prefixes {
		for _, k := range keys {
			t.open(k, p, r.ID())
		}
	}
}

// wholeFamily reports whether the prefix is every address: a Load cannot mask
// all of its bits.
func wholeFamily(p netip.Prefix) bool { return p.Bits() == 0 }

func (t *table) open(k portKey, p netip.Prefix, id string) {
	key := openingKey{family: 4, bits: p.Bits()}
	if p.Addr().Is6() {
		key.family = 6
	}
	t.openings[key] = append(t.openings[key], Element{
		Proto: k.proto, Ports: packet.PortRange{Lo: k.port, Hi: k.port}, Addrs: single(p.Addr()), Comment: id})
}

// singlePorts returns the protocols and ports of the transports, and false if
// one of them is not a single port.
func singlePorts(ts []rules.Transport) ([]portKey, bool) {
	var keys []portKey
	for _, t := range ts {
		if t.Any || len(t.Dst) == 0 {
			return nil, false
		}
		for _, p := range t.Dst {
			if p.Lo != p.Hi {
				return nil, false
			}
			keys = append(keys, portKey{t.Proto, p.Lo})
		}
	}
	return keys, len(keys) > 0
}

// prefixesUpTo returns the prefixes of the set, nil if there are more than n.
func prefixesUpTo(set *netipx.IPSet, n int) []netip.Prefix {
	if len(set.Ranges()) > n {
		return nil
	}
	ps := set.Prefixes()
	if len(ps) > n {
		return nil
	}
	return ps
}

// audience is the chain that accepts the members of some groups.
func (b *builder) audience(groups []*rules.Group) string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Name
	}
	name := b.prefix + join("from.", names)
	if _, done := b.chains[name]; !done {
		c := b.chain(name)
		for _, g := range groups {
			for _, alt := range b.addresses(rules.Addresses{Groups: []*rules.Group{g}}, true, "") {
				c.add("group."+g.Name, append(alt.stmts, Counter{}, accept)...)
			}
		}
	}
	return name
}

// literalChain is the chain that accepts the addresses standing in a rule.
func (b *builder) literalChain(r *rules.Rule) string {
	c := b.chain(b.prefix + r.ID())
	for _, alt := range b.alternatives(r, conditions{literalsOnly: true}) {
		c.add(r.ID(), append(alt, Counter{}, accept)...)
	}
	return c.Name
}

// ruleChain is the chain of a rule with conditions of its own.
func (b *builder) ruleChain(r *rules.Rule) string {
	c := b.chain(b.prefix + r.ID())
	end := b.admit(r)
	for _, alt := range b.alternatives(r, conditions{}) {
		if end == accept {
			alt = append(alt, Counter{})
		}
		c.add(r.ID(), append(alt, end)...)
	}
	return c.Name
}

// admit returns what becomes of a packet that fits the rule: accepted, or sent
// on to be counted and logged first.
func (b *builder) admit(r *rules.Rule) Verdict {
	end := accept
	if r.Log {
		end = Verdict{Kind: Goto, Chain: r.ID() + "/log"}
		b.once(end.Chain, func(c *Chain) {
			c.add("", Log{Prefix: "fwctl " + r.ID() + ": "})
			c.add(r.ID(), Counter{}, accept)
		})
	}
	if r.Limit.Count > 0 {
		counted := Verdict{Kind: Goto, Chain: r.ID() + "/limit"}
		b.once(counted.Chain, func(c *Chain) { b.limit(c, r, end) })
		end = counted
	}
	if end != accept && b.enforced() && b.prefix == "" && r.Kind == rules.Service {
		return b.judged(r, end)
	}
	return end
}

// once writes a chain that is not there.
func (b *builder) once(name string, write func(*Chain)) {
	if _, done := b.chains[name]; !done {
		write(b.chain(name))
	}
}

// judged lets pass at input what prerouting has counted and logged.
func (b *builder) judged(r *rules.Rule, end Verdict) Verdict {
	c := b.chain(r.ID() + "/judged")
	c.add(r.ID(), CTState{[]packet.State{packet.New}}, FibType{Type: "local"}, Counter{}, accept)
	c.add("", end)
	return Verdict{Kind: Goto, Chain: c.Name}
}

// limitSize is how many sources a limit remembers for each family.
const limitSize = 65535

// limit writes the chain that counts new connections per source. When its set
// is full, a source that it does not hold is refused, unless the service is one
// that [safety] keeps.
func (b *builder) limit(c *Chain, r *rules.Rule, end Verdict) {
	keep := slices.Contains(b.rs.Keep, r.Name) && r.Kind == rules.Service
	for _, is6 := range []bool{false, true} {
		name := b.limitSet(r, is6)
		th := Throttle{Set: name, Is6: is6, Limit: r.Limit, Over: keep}
		switch {
		case keep:
			c.add(r.ID(), th, Counter{}, ret)
		case end == accept:
			c.add(r.ID(), th, Counter{}, end)
		default:
			c.add(r.ID(), th, end)
		}
	}
	if keep {
		c.add(r.ID(), Counter{}, end)
	}
}

func (b *builder) limitSet(r *rules.Rule, is6 bool) string {
	family := 4
	if is6 {
		family = 6
	}
	// After one period without a packet the whole burst is there again, so a
	// source that was forgotten then loses and gains nothing.
	// The rate is part of the name, because elements keep the rate they were made
	// with.
	name := fmt.Sprintf("%s.limit.%d-%s.v%d", r.ID(), r.Limit.Count, perText(r.Limit.Per), family)
	return b.set(Set{Name: name, Fields: []Field{addrField(family)},
		Dynamic: true, Size: limitSize, Timeout: r.Limit.Per, Comment: r.ID()}).Name
}

// write puts the look-ups into the chain.
func (t *table) write(c *Chain) {
	t.writePorts(c)
	t.writeRanges(c)
	t.writeOpenings(c)
	if len(t.protos) > 0 {
		m := t.b.set(Set{Name: t.name + ".protocols", Fields: []Field{FieldProto}, Map: true})
		for p, tg := range t.protos {
			m.Elements = append(m.Elements, Element{Proto: p, Verdict: t.verdict(*tg), Comment: comment(tg.owners)})
		}
		c.add("", Vmap{Key: []Load{{Field: FieldProto}}, Map: m.Name})
	}
	if t.any.accept {
		c.add(comment(t.any.owners), Counter{}, accept)
		return
	}
	for _, chain := range t.any.chains {
		c.add("", Verdict{Kind: Jump, Chain: chain})
	}
}

func (t *table) writePorts(c *Chain) {
	if len(t.ports) == 0 {
		return
	}
	m := t.b.set(Set{Name: t.name + ".ports", Fields: []Field{FieldProto, FieldPort}, Map: true})
	for k, tg := range t.ports {
		m.Elements = append(m.Elements, Element{Proto: k.proto, Ports: packet.PortRange{Lo: k.port, Hi: k.port},
			Verdict: t.verdict(*tg), Comment: comment(tg.owners)})
	}
	c.add("", Vmap{Key: []Load{{Field: FieldProto}, {Field: FieldPort}}, Map: m.Name})
}

func (t *table) writeRanges(c *Chain) {
	for _, proto := range sortedKeys(t.ranges) {
		m := t.b.set(Set{Name: t.name + "." + proto.String(), Fields: []Field{FieldPort}, Map: true, Interval: true})
		for _, r := range disjoint(t.ranges[proto]) {
			m.Elements = append(m.Elements, Element{Ports: r.ports, Verdict: t.verdict(r.targets), Comment: comment(r.targets.owners)})
		}
		c.add("", Vmap{Key: []Load{{Field: FieldPort, Proto: proto}}, Map: m.Name})
	}
}

func (t *table) writeOpenings(c *Chain) {
	keys := make([]openingKey, 0, len(t.openings))
	for k := range t.openings {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b openingKey) int {
		return cmp.Or(cmp.Compare(a.family, b.family), -cmp.Compare(a.bits, b.bits))
	})
	for _, k := range keys {
		c.add("", Lookup{Key: k.load(), Set: t.openingSet(k).Name}, Counter{}, accept)
	}
}

func (k openingKey) load() []Load {
	l := Load{Field: addrField(k.family), Src: true}
	if !k.whole() {
		l.Mask = k.bits
	}
	return []Load{{Field: FieldProto}, {Field: FieldPort}, l}
}

// whole reports whether the openings are for single addresses.
func (k openingKey) whole() bool { return k.bits == 32 && k.family == 4 || k.bits == 128 }

func (t *table) openingSet(k openingKey) *Set {
	name := t.name + ".from" + strconv.Itoa(k.family)
	if !k.whole() {
		name += "." + strconv.Itoa(k.bits)
	}
	s := t.b.set(Set{Name: name, Fields: []Field{FieldProto, FieldPort, addrField(k.family)}})
	s.Elements = mergeOwners(t.openings[k])
	return s
}

// mergeOwners makes one element of those with one key, which then names all who
// put it there.
func mergeOwners(es []Element) []Element {
	type key struct {
		portKey
		addr netip.Addr
	}
	owners := map[key][]string{}
	for _, e := range es {
		k := key{portKey{e.Proto, e.Ports.Lo}, e.Addrs.From()}
		owners[k] = insert(owners[k], e.Comment)
	}
	out := make([]Element, 0, len(owners))
	for k, ids := range owners {
		out = append(out, Element{Proto: k.proto, Ports: packet.PortRange{Lo: k.port, Hi: k.port},
			Addrs: single(k.addr), Comment: comment(ids)})
	}
	return out
}

// verdict returns what a map says: accept, or the chain that decides. Several
// chains are tried one after the other by a chain named after all of them.
func (t *table) verdict(tg targets) Verdict {
	switch {
	case tg.accept:
		return accept
	case len(tg.chains) == 1:
		return Verdict{Kind: Jump, Chain: tg.chains[0]}
	}
	name := join("", tg.chains)
	if _, done := t.b.chains[name]; !done {
		c := t.b.chain(name)
		for _, chain := range tg.chains {
			c.add("", Verdict{Kind: Jump, Chain: chain})
		}
	}
	return Verdict{Kind: Jump, Chain: name}
}

// disjoint cuts overlapping ranges at each other's ends and joins the targets
// of the pieces.
func disjoint(rs []rangeTarget) []rangeTarget {
	var out []rangeTarget
	cuts := cutsOf(rs)
	slices.SortFunc(rs, func(a, b rangeTarget) int { return cmp.Compare(a.ports.Lo, b.ports.Lo) })
	first := 0
	for i := 0; i+1 < len(cuts); i++ {
		lo, hi := cuts[i], cuts[i+1]-1
		for first < len(rs) && int(rs[first].ports.Hi) < lo {
			first++
		}
		piece := rangeTarget{ports: packet.PortRange{Lo: uint16(lo), Hi: uint16(hi)}}
		for _, r := range rs[first:] {
			if int(r.ports.Lo) > lo {
				break
			}
			if int(r.ports.Hi) >= hi {
				piece.targets.merge(r.targets)
			}
		}
		if len(piece.targets.owners) > 0 {
			out = append(out, piece)
		}
	}
	return out
}

// cutsOf returns the sorted places at which a range begins or has just ended.
func cutsOf(rs []rangeTarget) []int {
	var cuts []int
	for _, r := range rs {
		cuts = append(cuts, int(r.ports.Lo), int(r.ports.Hi)+1)
	}
	slices.Sort(cuts)
	return slices.Compact(cuts)
}

func sortedKeys(m map[packet.Proto][]rangeTarget) []packet.Proto {
	keys := make([]packet.Proto, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
