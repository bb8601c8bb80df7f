package adopt

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// section is one section of the policy: what both families say that differs in
// addresses alone.
type section struct {
	block      bool
	name       string
	in         []string
	transports []transport
	fromHost   bool
	toHost     bool
	to, from   [2]ends // IPv4, IPv6
	bound      []bound // more sources, each seen by some interfaces
	limit      string  // "10/minute"
	expires    time.Time
	shared     bool
	places     []packet.Place
	called     string // what to call it, if no rule tells
	remark     string // what stands above it in place of rules
}

// familyIndex is the place of a family in lists of both.
func familyIndex(is6 bool) int {
	if is6 {
		return 1
	}
	return 0
}

// bound is a group of sources that is seen on interfaces.
type bound struct {
	in   []string
	from [2]ends
}

// ends are the addresses of one family in a section.
type ends struct {
	said bool          // the section says something of the family
	set  packet.Ranges // nil: any
}

// sections puts together what belongs together: both families, and rules of one
// family that differ in their sources alone.
func sections(plans []*plan) []*section {
	m := &merging{byKey: map[string][]*section{}}
	for _, p := range plans {
		for _, s := range p.said {
			for _, ts := range bySource(s.box.transports) {
				b := s.box
				b.transports = ts
				m.add(p.is6, s, b)
			}
		}
	}
	return m.united()
}

// bySource splits transports into lists that one section can say: those without
// source ports, and each other one.
func bySource(ts []transport) [][]transport {
	var open []transport
	var out [][]transport
	for _, t := range ts {
		if t.src != nil {
			out = append(out, []transport{t})
			continue
		}
		open = append(open, t)
	}
	if open != nil {
		out = append(out, open)
	}
	return out
}

type merging struct {
	all   []*section
	byKey map[string][]*section
}

func (m *merging) add(is6 bool, s said, b box) {
	limit, owner, expires := attributes(b.keys)
	key := fmt.Sprint(s.block, b.in, b.transports, b.fromHost, b.toHost, limit, owner, expires)
	i := familyIndex(is6)
	for _, old := range m.byKey[key] {
		if old.absorb(i, b, s.place) {
			return
		}
	}
	n := &section{block: s.block, in: b.in, transports: b.transports, fromHost: b.fromHost, toHost: b.toHost, limit: limit, expires: expires, called: s.name, remark: s.remark, places: []packet.Place{s.place}}
	if owner != "" {
		n.name = strings.TrimPrefix(owner, "service.")
	}
	n.to[i], n.from[i] = ends{true, b.to}, ends{true, b.from}
	m.byKey[key] = append(m.byKey[key], n)
	m.all = append(m.all, n)
}

// absorb adds a box to the section, if that says no more than both.
func (s *section) absorb(i int, b box, at packet.Place) bool {
	switch {
	case !s.to[i].said:
		s.to[i], s.from[i] = ends{true, b.to}, ends{true, b.from}
	case sameAddrs(s.to[i].set, b.to) && s.from[i].set != nil && b.from != nil:
		s.from[i].set = packet.NewRanges(slices.Concat(s.from[i].set, b.from)...)
	case sameAddrs(s.to[i].set, b.to):
		s.from[i].set = nil
	case sameAddrs(s.from[i].set, b.from) && s.to[i].set != nil && b.to != nil && !s.toHost:
		s.to[i].set = packet.NewRanges(slices.Concat(s.to[i].set, b.to)...)
	default:
		return false
	}
	if !slices.Contains(s.places, at) {
		s.places = append(s.places, at)
	}
	return true
}

// attributes reads what the unknowns of a box are in a section.
func attributes(keys []string) (limit, owner string, expires time.Time) {
	for _, k := range keys {
		if t, ok := packet.ReadTimeBefore(k); ok && (expires.IsZero() || t.Before(expires)) {
			expires = t
		}
		if o, count, per, ok := packet.ReadUnspent(k); ok {
			limit, owner = fmt.Sprintf("%d/%s", count, periods[per]), o
		}
	}
	return limit, owner, expires
}

var periods = map[time.Duration]string{time.Second: "second", time.Minute: "minute", time.Hour: "hour", 24 * time.Hour: "day"}

// share marks the services that claim one port with another, whoever they are for.
func share(all []*section) {
	type claim struct {
		s  *section
		ps packet.Ports
	}
	claims := map[packet.Proto][]claim{}
	for _, s := range all {
		if s.block {
			continue
		}
		for _, t := range s.transports {
			if t.any {
				continue
			}
			ps := t.dst
			if ps == nil {
				ps = packet.Ports{{Lo: 1, Hi: 65535}}
			}
			for _, o := range claims[t.proto] {
				if o.s != s && (!t.proto.HasPorts() || o.ps.Overlaps(ps)) {
					o.s.shared, s.shared = true, true
				}
			}
			claims[t.proto] = append(claims[t.proto], claim{s, ps})
		}
	}
}
