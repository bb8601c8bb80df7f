package rules

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
)

// Resolve says what a policy means on a host. Without a Host (nil) the host's
// own addresses and DNS names stay symbolic. The Ruleset is nil if a Problem of
// severity Error was found here or by Load.
func Resolve(p *Policy, h *Host) (*Ruleset, Problems) {
	r := &resolver{p: p, host: h, zone: zoneOf(h), groups: map[string]*resolved{}, weights: map[*netipx.IPSet]weight{}}
	rs := &Ruleset{Host: h}
	r.settings(rs)
	for _, g := range p.Groups {
		r.group(g.Name)
	}
	rs.Services = r.rules(p.Services, func(*Statement) bool { return true })
	rs.Blocks = r.rules(p.Blocks, func(s *Statement) bool { return !s.Outbound })
	rs.OutboundBlocks = r.rules(p.Blocks, func(s *Statement) bool { return s.Outbound })
	rs.Outbounds = r.rules(p.Outbounds, func(*Statement) bool { return true })
	rs.Routes = r.rules(p.Routes, func(*Statement) bool { return true })
	rs.Groups = groupsOf(rs.Services, rs.Blocks, rs.OutboundBlocks, rs.Outbounds, rs.Routes)
	for _, s := range p.Services {
		rs.Nevers = append(rs.Nevers, s.nevers...)
		rs.Encrypted = append(rs.Encrypted, s.encrypted...)
	}
	slices.SortStableFunc(rs.Nevers, func(a, b Never) int { return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name)) })
	slices.SortStableFunc(rs.Encrypted, func(a, b Encrypted) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
	})
	r.accepts(rs)
	r.tests(rs)
	r.overlaps(rs)
	r.problems = r.problems.tidy()
	if p.broken || len(r.problems.Of(Error)) > 0 {
		return nil, r.problems
	}
	return rs, r.problems
}

type resolver struct {
	p        *Policy
	host     *Host
	zone     *time.Location
	groups   map[string]*resolved // by name
	path     []string             // the groups that are being resolved, outermost first
	weights  map[*netipx.IPSet]weight
	guessed  int // names for which the nearest one was looked up
	problems Problems
}

// maxGuesses is for how many unknown names the nearest one is looked up: that
// takes a time that grows with the number of all names.
const maxGuesses = 100

// guesses reports whether to look up another one.
func (r *resolver) guesses() bool {
	r.guessed++
	return r.guessed <= maxGuesses
}

func (r *resolver) report(s Severity, at Pos, summary, hint string) {
	r.problems = append(r.problems, r.p.files.problem(s, at, summary, hint))
}

func (r *resolver) errorAt(at Pos, summary, hint string) { r.report(Error, at, summary, hint) }

// zoneOf returns the host's time zone, UTC where it is not known.
func zoneOf(h *Host) *time.Location {
	if h == nil {
		return time.UTC
	}
	if h.TimeZone != "" && h.TimeZone != "Local" {
		if zone, err := time.LoadLocation(h.TimeZone); err == nil {
			return zone
		}
	}
	return h.Time.Location()
}

// expiry is the first instant at which a section no longer holds.
func (r *resolver) expiry(e Value[Expiry]) time.Time {
	switch {
	case !e.Given():
		return time.Time{}
	case e.V.Date:
		y, m, d := e.V.Time.Date()
		return time.Date(y, m, d+1, 0, 0, 0, 0, r.zone).UTC().Truncate(time.Second)
	}
	return e.V.Time.UTC().Truncate(time.Second)
}

func (r *resolver) settings(rs *Ruleset) {
	d, s := r.p.Defaults, r.p.Safety
	rs.Inbound = d.Inbound.Or(packet.Drop)
	rs.Outbound = d.Outbound.Or(packet.Accept)
	rs.Routed, rs.Published, rs.ICMP, rs.LogDenied = d.Routed.V, d.Published.V, d.ICMP.V, d.Log.V
	rs.PublishedAt = d.Published.Pos
	rs.ContainerInterfaces = patternsOf(d.ContainerInterfaces.V)
	rs.Confirm, rs.Cut = s.Confirm.V, s.Cut.V
	rs.Keep = sortedTexts(s.Keep.V)
	rs.PFAnchors = sortedTexts(r.p.PFAnchors)
	if r.host != nil {
		rs.PFAnchors = append(rs.PFAnchors, r.host.PFAnchors...)
		slices.Sort(rs.PFAnchors)
		rs.PFAnchors = slices.Compact(rs.PFAnchors)
	}
	if d.Published.V == PublishedEnforce && len(rs.ContainerInterfaces) == 0 {
		r.report(Note, d.Published.Pos, "no interface is named as one of containers: containers that call a published port of this host are judged as if they came from outside",
			`name the bridges: container_interfaces = ["docker0", "br-*"]`)
	}
	for _, k := range s.Keep.V {
		if r.p.partial || slices.ContainsFunc(r.p.Services, func(s *Statement) bool { return s.Name == k.V }) {
			continue
		}
		hint := ""
		if r.guesses() {
			hint = nearest(k.V, statementNames(r.p.Services))
		}
		r.errorAt(k.Pos, "there is no service "+quote(k.V)+" to keep", hint)
	}
}

func statementNames(list []*Statement) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.Name)
	}
	return out
}

// sortedTexts returns the strings in order, each once.
func sortedTexts(list []Text) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.V)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// patternsOf returns the patterns in order, without those that another covers.
func patternsOf(list []Text) []string {
	all := sortedTexts(list)
	return slices.DeleteFunc(slices.Clone(all), func(p string) bool { return coveredIn(all, p) })
}

// coveredIn reports whether a wider pattern than p is in the sorted list.
func coveredIn(sorted []string, p string) bool {
	for q := range wider(p) {
		if _, found := slices.BinarySearch(sorted, q); found {
			return true
		}
	}
	return false
}

// wider yields every other pattern that covers p: names are short, lists of them
// can be long.
func wider(p string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if p == "" || !yield("") {
			return
		}
		stem := strings.TrimSuffix(p, "*")
		for i := range len(stem) + 1 {
			if q := stem[:i] + "*"; q != p && !yield(q) {
				return
			}
		}
	}
}

// rules makes the rules of the statements that are chosen.
func (r *resolver) rules(list []*Statement, choose func(*Statement) bool) []*Rule {
	var out []*Rule
	for _, s := range list {
		if choose(s) {
			out = append(out, r.ruleParts(s)...)
		}
	}
	slices.SortFunc(out, func(a, b *Rule) int { return cmp.Compare(a.ID(), b.ID()) })
	return out
}

func (r *resolver) ruleParts(s *Statement) []*Rule {
	var out []*Rule
	for _, part := range s.parts {
		rule := &Rule{
			Kind: s.Kind, Name: s.Name, Part: part.name, Pos: s.Pos,
			From: r.from(s, part), To: r.to(s, part),
			In: patternsOf(s.In), Transports: part.trans,
			Limit: s.Limit.V, Expires: r.expiry(s.Expires), Log: s.Log,
			Profile: s.Profile.V, Owner: s.Owner, Reason: s.Reason, Expect: s.Expect,
		}
		if s.Kind == Block || len(rule.Transports) > 0 { // else it names nothing and opens nothing
			out = append(out, rule)
		}
	}
	return out
}

// from is who a part is for: this host where its packets are from it, else the
// addresses that are written, and nobody if none are.
func (r *resolver) from(s *Statement, p part) Addresses {
	if s.fromHost() {
		return Addresses{Any: true}
	}
	return r.addresses(p.from, source)
}

// to is where packets of a part go: anywhere if it does not say.
func (r *resolver) to(s *Statement, p part) Addresses {
	if !p.to.Given() {
		return Addresses{Any: true}
	}
	return r.addresses(p.to, destinationOf(s))
}

// groupsOf returns the groups that the rules name, sorted by name.
func groupsOf(lists ...[]*Rule) []*Group {
	byName := map[string]*Group{}
	for _, rules := range lists {
		for _, r := range rules {
			for _, g := range slices.Concat(r.From.Groups, r.To.Groups) {
				byName[g.Name] = g
			}
		}
	}
	var out []*Group
	for _, g := range byName {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *Group) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (r *resolver) accepts(rs *Ruleset) {
	for _, a := range r.p.Accepts {
		rs.Accepts = append(rs.Accepts, Accepted{
			Name: a.Name, Pos: a.Pos, Finding: a.Finding, Match: a.Match, Reason: a.Reason, Expires: r.expiry(a.Expires),
		})
	}
}
