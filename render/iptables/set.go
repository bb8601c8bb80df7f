package iptables

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// From how many prefixes on a group becomes a set, and how many rules a group
// may become without ipset before the policy's writer hears of it.
const (
	setFrom  = 9
	manyRows = 1000
)

// addresses is one family of a set of addresses.
type addresses struct {
	prefixes []netip.Prefix
	digest   string // of the prefixes; "" until asked for
}

// sum is a digest of the prefixes.
func (a *addresses) sum() string {
	if a.digest != "" {
		return a.digest
	}
	h := sha256.New()
	buf := make([]byte, 0, 17)
	for _, p := range a.prefixes {
		h.Write(append(append(buf, p.Addr().AsSlice()...), byte(p.Bits())))
	}
	a.digest = string(h.Sum(nil))
	return a.digest
}

// members matches the addresses of the family: through a set if they are many,
// else by a rule for each prefix.
func (b *builder) members(r *rules.Rule, owner string, set *netipx.IPSet, src bool) []Match {
	a := b.prefixes(set)
	switch n := len(a.prefixes); {
	case n > 0 && a.prefixes[0].Bits() == 0:
		return []Match{{}}
	case n >= setFrom && b.opt.IPSet:
		name := b.addressSet(owner, a)
		return []Match{side("-m set --match-set "+name+" src", "-m set --match-set "+name+" dst", src)}
	case n > manyRows:
		b.problems.add(r.Pos, rules.Warning, r.ID()+": "+strconv.Itoa(n)+" prefixes of "+owner+" become as many rules", "install ipset")
	}
	ms := make([]Match, len(a.prefixes))
	for i, p := range a.prefixes {
		if src {
			ms[i].Src = p.String()
		} else {
			ms[i].Dst = p.String()
		}
	}
	return ms
}

// addressSet makes the set of a group, once.
func (b *builder) addressSet(owner string, a *addresses) string {
	name := digestName(owner, b.familyWord()+a.sum())
	if _, done := b.sets[name]; !done {
		s := &Set{Name: name, Is6: b.is6, Elements: make([]Element, len(a.prefixes))}
		for i, p := range a.prefixes {
			s.Elements[i].Prefix = p
		}
		b.sets[name] = s
	}
	return name
}

func (b *builder) familyWord() string {
	if b.is6 {
		return "inet6"
	}
	return "inet"
}

// Plain services differ only in who and which port. Many of them share one set,
// so that a packet costs one look-up however many there are.
const (
	plainFrom  = 64  // from how many plain services on
	plainParts = 256 // elements that one plain service may take
)

// gather takes the plain openings out of the list and makes a set of them, if
// there are many. It returns the others and the condition; nil if there is none.
func (b *builder) gather(open []opening, h hook) ([]opening, []Match) {
	if !b.opt.IPSet {
		return open, nil
	}
	var rest []opening
	var elements []Element
	plain := 0
	for _, o := range open {
		es := b.elements(o.rule)
		if es == nil {
			rest = append(rest, o)
			continue
		}
		plain++
		elements = append(elements, es...)
	}
	if plain < plainFrom {
		return open, nil
	}
	name := b.portSet(h.setComment(), elements)
	return rest, []Match{ext("-m set --match-set", name, "src,dst")}
}

// elements are what a plain rule puts into the set; nil if it is not plain.
func (b *builder) elements(r *rules.Rule) []Element {
	if r.Limit.Count > 0 || r.Log || !r.Expires.IsZero() || !r.To.Any || len(r.In) > 0 {
		return nil
	}
	from, ports := b.plainSources(r.From), plainPorts(r.Transports)
	if len(from)*len(ports) == 0 || len(from)*len(ports) > plainParts {
		return nil
	}
	es := make([]Element, 0, len(from)*len(ports))
	for _, p := range from {
		for _, e := range ports {
			es = append(es, Element{Prefix: p, Proto: e.Proto, Port: e.Port, Comment: r.ID()})
		}
	}
	return es
}

// plainSources are the prefixes of sources that hang on nothing else. Every
// address is two halves, as a set cannot hold a prefix of length 0.
func (b *builder) plainSources(as rules.Addresses) []netip.Prefix {
	var out []netip.Prefix
	add := func(set *netipx.IPSet) bool {
		out = append(out, b.prefixes(set).prefixes...)
		return len(out) <= plainParts
	}
	if as.Host || slices.ContainsFunc(as.Groups, func(g *rules.Group) bool {
		return g.Host || slices.ContainsFunc(g.Terms, func(t rules.Term) bool { return len(t.In) > 0 || !add(t.Set) })
	}) {
		return nil
	}
	if as.Set != nil && !add(as.Set) {
		return nil
	}
	if as.Any || slices.ContainsFunc(out, func(p netip.Prefix) bool { return p.Bits() == 0 }) {
		return halves(b.is6)
	}
	return out
}

func halves(is6 bool) []netip.Prefix {
	if is6 {
		return []netip.Prefix{netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")}
	}
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")}
}

// plainPorts are the ports one by one, without their address; nil if there is
// another condition, or a protocol whose ports a set does not know.
func plainPorts(ts []rules.Transport) []Element {
	var out []Element
	for _, t := range mergeTransports(ts) {
		known := t.Proto == packet.TCP || t.Proto == packet.UDP || t.Proto == packet.SCTP || t.Proto == packet.UDPLite
		if t.Any || !known || len(t.Src) > 0 || len(t.Dst) == 0 {
			return nil
		}
		for _, r := range t.Dst {
			if int(r.Hi)-int(r.Lo) >= plainParts {
				return nil
			}
			for p := int(r.Lo); p <= int(r.Hi); p++ {
				out = append(out, Element{Proto: t.Proto, Port: uint16(p)})
			}
		}
	}
	return out
}

// portSet makes the set of the plain rules: what several share stands once, with
// the names of all.
func (b *builder) portSet(owner string, es []Element) string {
	slices.SortStableFunc(es, compareElements)
	out := es[:0]
	for _, e := range es {
		if n := len(out); n > 0 && compareElements(out[n-1], e) == 0 {
			out[n-1].Comment = joinComments(out[n-1].Comment, e.Comment)
			continue
		}
		out = append(out, e)
	}
	s := &Set{Is6: b.is6, Ports: true, Elements: out}
	var content strings.Builder
	for i := range out {
		content.WriteString(out[i].Text(true) + " " + out[i].Comment + "\n")
	}
	s.Name = digestName(owner, b.familyWord()+content.String())
	b.sets[s.Name] = s
	return s.Name
}

// maxComment is how long the comment of a set's element can be
// (IPSET_MAX_COMMENT_SIZE, linux/netfilter/ipset/ip_set.h).
const maxComment = 255

func joinComments(a, b string) string {
	if a == b || len(a)+len(b)+2 > maxComment {
		return a
	}
	return a + ", " + b
}

func compareElements(a, b Element) int {
	if c := a.Prefix.Compare(b.Prefix); c != 0 {
		return c
	}
	return (int(a.Proto)-int(b.Proto))<<16 + int(a.Port) - int(b.Port)
}
