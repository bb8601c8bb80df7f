package rules

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strconv"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
)

// claim is one range of ports of a rule, or one protocol without ports.
type claim struct {
	rule  *Rule
	of    *Statement
	proto packet.Proto
	ports packet.PortRange // the whole range where there are none
	src   packet.Ports
	told  bool // an error was reported for it
}

var allPorts = packet.PortRange{Lo: 0, Hi: 65535}

// maxOverlaps is how many overlaps are told apart.
const maxOverlaps = 100

// rivalry looks for services that claim the same.
type rivalry struct {
	*resolver
	told   map[pair]bool
	errors int
}

// pair is two services between which a collision was told.
type pair [2]*Statement

// crowd is the number of claims up to which each is compared with each.
const crowd = 64

// overlaps reports services that claim the same port, protocol and address
// without both saying that they share it. A service for every protocol claims
// none in particular.
func (r *resolver) overlaps(rs *Ruleset) {
	v := &rivalry{resolver: r, told: map[pair]bool{}}
	for _, group := range clusters(r.claims(rs)) {
		if len(group) > crowd {
			v.sweep(group)
			continue
		}
		for i, c := range group {
			v.challenge(c, slices.Values(group[:i]))
		}
	}
}

// claims returns the claims of all services by protocol and first port.
func (r *resolver) claims(rs *Ruleset) []*claim {
	byName := map[string]*Statement{}
	for _, s := range r.p.Services {
		byName[s.Name] = s
	}
	var out []*claim
	for _, rule := range rs.Services {
		for _, t := range rule.Transports {
			dst := t.Dst
			if len(dst) == 0 {
				dst = packet.Ports{allPorts}
			}
			for _, ports := range dst {
				if !t.Any {
					out = append(out, &claim{rule: rule, of: byName[rule.Name], proto: t.Proto, ports: ports, src: t.Src})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *claim) int {
		return cmp.Or(cmp.Compare(a.proto, b.proto), cmp.Compare(a.ports.Lo, b.ports.Lo))
	})
	return out
}

// clusters splits the claims, in order, where no range of ports reaches over.
func clusters(claims []*claim) [][]*claim {
	var out [][]*claim
	var proto packet.Proto
	var end uint16
	for i, c := range claims {
		if i == 0 || c.proto != proto || c.ports.Lo > end {
			out = append(out, nil)
			proto, end = c.proto, c.ports.Hi
		}
		last := len(out) - 1
		out[last] = append(out[last], c)
		end = max(end, c.ports.Hi)
	}
	return out
}

// challenge reports a claim that collides with c, if there is one among the rivals.
func (v *rivalry) challenge(c *claim, rivals iter.Seq[*claim]) {
	if c.told || v.done() {
		return
	}
	o := v.rival(c, rivals)
	if o == nil {
		return
	}
	v.told[pair{o.of, c.of}], v.told[pair{c.of, o.of}] = true, true
	if !excused(c.of, o.of) {
		c.told = true
		v.errors++
	}
	if v.done() {
		v.errorAt(c.place(), "more services overlap than the "+strconv.Itoa(maxOverlaps)+" that are told", "")
		return
	}
	v.reportOverlap(c, o)
}

// done reports whether as many overlaps were found as are told.
func (v *rivalry) done() bool { return v.errors > maxOverlaps }

// rival returns a claim that collides with c: one that makes an error, if there
// is one, else one that makes a warning; nil if there is none.
func (v *rivalry) rival(c *claim, rivals iter.Seq[*claim]) *claim {
	var doubtful *claim
	for o := range rivals {
		if o.of == c.of || o.of.Shared && c.of.Shared || v.told[pair{o.of, c.of}] || !v.collide(c, o) {
			continue
		}
		if !excused(c.of, o.of) {
			return o
		}
		doubtful = o
	}
	return doubtful
}

// excused reports whether one of two services of the same file says that it
// shares its ports: who wrote it saw the other.
func excused(a, b *Statement) bool { return a.Shared != b.Shared && a.Pos.File == b.Pos.File }

func (r *resolver) collide(a, b *claim) bool {
	return a.ports.Lo <= b.ports.Hi && b.ports.Lo <= a.ports.Hi &&
		(len(a.src) == 0 || len(b.src) == 0 || a.src.Overlaps(b.src)) &&
		patternsMeet(a.rule.In, b.rule.In) &&
		r.targetsMeet(a.rule.To, b.rule.To)
}

// patternsMeet reports whether an interface can fit a pattern of both lists, which
// are sorted.
func patternsMeet(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	within := func(of []string) func(string) bool {
		return func(p string) bool {
			_, same := slices.BinarySearch(of, p)
			return same || coveredIn(of, p)
		}
	}
	return slices.ContainsFunc(a, within(b)) || slices.ContainsFunc(b, within(a))
}

// targetsMeet reports whether an address can be in both sets.
func (r *resolver) targetsMeet(a, b Addresses) bool {
	switch {
	case a.None() || b.None():
		return false
	case a.Any || b.Any:
		return true
	case hasHost(a) && hasHost(b):
		return true
	case hasHost(a) && r.holdsOwn(b), hasHost(b) && r.holdsOwn(a):
		return true
	}
	for _, x := range setsOf(a) {
		for _, y := range setsOf(b) {
			if meet(x, y) {
				return true
			}
		}
	}
	return false
}

func hasHost(a Addresses) bool {
	return a.Host || slices.ContainsFunc(a.Groups, func(g *Group) bool { return g.Host })
}

func setsOf(a Addresses) []*netipx.IPSet {
	var out []*netipx.IPSet
	if a.Set != nil {
		out = append(out, a.Set)
	}
	for _, g := range a.Groups {
		for _, t := range g.Terms {
			out = append(out, t.Set)
		}
	}
	return out
}

// holdsOwn reports whether the set holds an address of the host; without one,
// whether it may.
func (r *resolver) holdsOwn(a Addresses) bool {
	return slices.ContainsFunc(setsOf(a), func(s *netipx.IPSet) bool {
		if r.host == nil {
			return slices.ContainsFunc(s.Ranges(), func(rg netipx.IPRange) bool { return !rg.From().IsMulticast() })
		}
		return r.host.any(func(p netip.Prefix) bool { return s.Contains(p.Addr()) })
	})
}

// reportOverlap puts the problem where the word is missing; where it is in
// neither, at the later of the two.
func (r *resolver) reportOverlap(a, b *claim) {
	if a.of.Shared || !b.of.Shared && comparePos(a.of.Pos, b.of.Pos) < 0 {
		a, b = b, a
	}
	what := a.proto.String()
	if a.ports != allPorts {
		what = intersection(a.ports, b.ports).String() + "/" + what
	}
	severity, hint := Error, "a packet is let in if either accepts it; if that is meant, say shared = true in both"
	if b.of.Shared {
		hint = quote(b.of.Name) + " says shared = true; both must"
	}
	if excused(a.of, b.of) {
		severity, hint = Warning, quote(b.of.Name)+" says shared = true; say it here, too"
	}
	r.report(severity, a.place(), "service "+quote(a.of.Name)+" has "+what+", and so has "+quote(b.of.Name)+" at "+b.of.Pos.String(), hint)
}

func comparePos(a, b Pos) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
}

func intersection(a, b packet.PortRange) packet.PortRange {
	return packet.PortRange{Lo: max(a.Lo, b.Lo), Hi: min(a.Hi, b.Hi)}
}

// place is where the claim was written.
func (c *claim) place() Pos {
	for _, p := range c.of.Ports {
		if c.rule.Part == "" && p.Proto == c.proto && p.Range.Lo <= c.ports.Hi && p.Range.Hi >= c.ports.Lo {
			return p.Pos
		}
	}
	for _, p := range c.of.Protocols {
		if c.rule.Part == "" && p.Proto == c.proto {
			return p.Pos
		}
	}
	if c.of.Profile.Given() {
		return c.of.Profile.Pos
	}
	return c.of.Pos
}
