package rules

import (
	"cmp"
	"net/netip"
	"slices"

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
}

var allPorts = packet.PortRange{Lo: 0, Hi: 65535}

// overlaps reports services that claim the same port, protocol and address
// without both saying that they share it. A service for every protocol claims
// none in particular.
func (r *resolver) overlaps(rs *Ruleset) {
	var active, shared []claim
	told := map[pair]bool{}
	for _, c := range r.claims(rs) {
		active, shared = live(active, c), live(shared, c)
		rivals := active
		if !c.of.Shared {
			rivals = slices.Concat(active, shared)
		}
		if other, found := r.rival(c, rivals, told); found {
			told[pair{other.of, c.of}], told[pair{c.of, other.of}] = true, true
			r.reportOverlap(c, other)
		}
		if c.of.Shared {
			shared = append(shared, c)
		} else {
			active = append(active, c)
		}
	}
}

// live drops the claims that end before c begins.
func live(claims []claim, c claim) []claim {
	return slices.DeleteFunc(claims, func(o claim) bool { return o.proto != c.proto || o.ports.Hi < c.ports.Lo })
}

// claims returns the claims of all services by protocol and first port.
func (r *resolver) claims(rs *Ruleset) []claim {
	byName := map[string]*Statement{}
	for _, s := range r.p.Services {
		byName[s.Name] = s
	}
	var out []claim
	for _, rule := range rs.Services {
		for _, t := range rule.Transports {
			dst := t.Dst
			if len(dst) == 0 {
				dst = packet.Ports{allPorts}
			}
			for _, ports := range dst {
				if !t.Any {
					out = append(out, claim{rule: rule, of: byName[rule.Name], proto: t.Proto, ports: ports, src: t.Src})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.proto, b.proto), cmp.Compare(a.ports.Lo, b.ports.Lo))
	})
	return out
}

// pair is two services between which a collision was told.
type pair [2]*Statement

// rival returns a claim that collides with c: one that makes an error, if there
// is one, else one that makes a warning.
func (r *resolver) rival(c claim, rivals []claim, told map[pair]bool) (claim, bool) {
	var doubtful claim
	for _, o := range rivals {
		if o.of == c.of || told[pair{o.of, c.of}] || !r.collide(c, o) {
			continue
		}
		if !excused(c.of, o.of) {
			return o, true
		}
		doubtful = o
	}
	return doubtful, doubtful.of != nil
}

// excused reports whether one of two services of the same file says that it
// shares its ports: who wrote it saw the other.
func excused(a, b *Statement) bool { return a.Shared != b.Shared && a.Pos.File == b.Pos.File }

func (r *resolver) collide(a, b claim) bool {
	return (len(a.src) == 0 || len(b.src) == 0 || a.src.Overlaps(b.src)) &&
		patternsMeet(a.rule.In, b.rule.In) &&
		r.targetsMeet(a.rule.To, b.rule.To)
}

// patternsMeet reports whether an interface can fit a pattern of both lists.
func patternsMeet(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	return slices.ContainsFunc(a, func(p string) bool {
		return slices.ContainsFunc(b, func(q string) bool { return covers(p, q) || covers(q, p) })
	})
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
			if x.Overlaps(y) {
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
func (r *resolver) reportOverlap(a, b claim) {
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
func (c claim) place() Pos {
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
