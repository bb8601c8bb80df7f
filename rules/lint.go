package rules

import (
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// soon is how long before its end a section is said to end.
const soon = 14 * 24 * time.Hour

// Lint finds what is right in form and probably not what was meant: warnings,
// each of them true, and notes on what is worth a second look. The Ruleset is
// the one that Resolve made of the Policy; for nil there is nothing to find.
func Lint(p *Policy, rs *Ruleset, now time.Time) Problems {
	if rs == nil {
		return nil
	}
	return lint(p, rs, newMeaning(rs, now, lintBudget))
}

// Examine is Lint and Prove together, for little more than the price of one.
func Examine(p *Policy, rs *Ruleset, now time.Time) (Problems, []Proof) {
	if rs == nil {
		return nil, nil
	}
	m := newMeaning(rs, now, lintBudget)
	return lint(p, rs, m), m.proofs()
}

func lint(p *Policy, rs *Ruleset, m *meaning) Problems {
	l := &linter{p: p, rs: rs, now: m.at, meaning: m}
	l.defaults()
	l.expiries()
	l.lists()
	l.openness()
	l.porous()
	l.useless()
	l.keep()
	l.outbound()
	l.unused()
	l.vacuous()
	return l.problems.tidy()
}

type linter struct {
	p        *Policy
	rs       *Ruleset
	now      time.Time
	meaning  *meaning
	problems Problems
}

func (l *linter) report(s Severity, at Pos, summary, hint string) {
	l.problems = append(l.problems, l.p.files.problem(s, at, summary, hint))
}

func (l *linter) warn(at Pos, summary, hint string) { l.report(Warning, at, summary, hint) }

// statements returns all sections that make rules.
func (p *Policy) statements() []*Statement {
	return slices.Concat(p.Services, p.Blocks, p.Outbounds, p.Routes)
}

func (l *linter) defaults() {
	if l.rs.Inbound == packet.Accept && len(l.p.Services) > 0 {
		l.warn(l.p.Defaults.Inbound.Pos, "every packet for this host is accepted: the services restrict nothing", `inbound = "drop" closes what no service opens`)
	}
}

func (l *linter) expiries() {
	r := &resolver{zone: zoneOf(l.rs.Host)}
	for _, s := range l.p.statements() {
		l.expiry("["+s.ID()+"]", s.Expires, r.expiry(s.Expires))
	}
	for _, a := range l.p.Accepts {
		l.expiry("[accept."+a.Name+"]", a.Expires, r.expiry(a.Expires))
	}
}

func (l *linter) expiry(what string, written Value[Expiry], end time.Time) {
	switch {
	case end.IsZero():
	case !l.now.Before(end):
		l.warn(written.Pos, what+" has expired", "remove it, or give it another date")
	case end.Sub(l.now) <= soon:
		l.warn(written.Pos, what+" expires in "+days(end.Sub(l.now)), "")
	}
}

func days(d time.Duration) string {
	if d < 24*time.Hour {
		return "less than a day"
	}
	return count(int(d/(24*time.Hour)), "day", "days")
}

// lists looks into the lists of addresses, ports and interfaces.
func (l *linter) lists() {
	for _, g := range l.p.Groups {
		l.members(g.Addresses, "addresses")
		l.members(g.Except, "except")
	}
	for _, s := range l.p.statements() {
		l.members(s.From, "from")
		l.members(s.To, "to")
		for _, a := range s.Audiences {
			l.members(a.From, a.Name)
		}
		l.sources(s)
		l.ports(s.Ports)
		l.ports(s.SourcePorts)
		for _, in := range s.In {
			if in.V == "lo" {
				l.warn(in.Pos, "what enters by lo is accepted before any section is looked at", "leave it out")
			}
		}
	}
}

func (l *linter) members(m Members, name string) {
	seen := map[string]bool{}
	for _, x := range m.Items {
		if seen[x.Text] {
			l.warn(x.Pos, quote(x.Text)+" stands twice in "+name, "")
		}
		seen[x.Text] = true
	}
}

// sources warns of addresses that no packet from outside has as its source.
func (l *linter) sources(s *Statement) {
	if s.Kind == Block {
		return // refusing them is a habit, and harmless
	}
	lists := []Members{s.From}
	for _, a := range s.Audiences {
		lists = append(lists, a.From)
	}
	for _, m := range lists {
		for _, x := range m.Items {
			l.source(x)
		}
	}
}

func (l *linter) source(m Member) {
	switch {
	case m.Group != "" || m.Interface != "":
	case loopbackSet.ContainsRange(m.Range):
		l.warn(m.Pos, quote(m.Text)+" opens nothing: what enters by the loopback interface is accepted anyway", `"loopback" says that it is meant`)
	case m.Range.From().IsMulticast():
		l.warn(m.Pos, quote(m.Text)+" is a multicast group: no packet has it as its source", "")
	}
}

func (l *linter) ports(list []PortSpec) {
	seen := map[PortSpec]bool{}
	for _, p := range list {
		what := PortSpec{Proto: p.Proto, Range: p.Range}
		if seen[what] {
			l.warn(p.Pos, quote(p.Range.String()+"/"+p.Proto.String())+" stands twice", "")
		}
		seen[what] = true
	}
}

// openness notes who is everybody and who is nobody.
func (l *linter) openness() {
	for _, s := range l.p.Blocks {
		if s.From.Given() && len(s.From.Items) == 0 {
			l.warn(s.From.Pos, s.ID()+" refuses nobody", "")
		}
	}
	for _, s := range slices.Concat(l.p.Services, l.p.Routes) {
		l.openTo(s, "", s.From)
		for _, a := range s.Audiences {
			l.openTo(s, "."+a.Name, a.From)
		}
	}
}

func (l *linter) openTo(s *Statement, part string, from Members) {
	if from.Given() && len(from.Items) == 0 {
		l.report(Note, from.Pos, s.ID()+part+" is open to nobody", "")
	}
	for _, m := range from.Items {
		if m.Group == "any" {
			l.report(Note, m.Pos, s.ID()+part+" is open to everyone", "")
		}
	}
}

// holds reports whether a rule is in force now.
func (l *linter) holds(r *Rule) bool { return r.Expires.IsZero() || l.now.Before(r.Expires) }

// porous warns of blocks that leave out what a name stands for.
func (l *linter) porous() {
	if l.rs.Host == nil {
		return // names are not looked up yet
	}
	for _, b := range slices.Concat(l.rs.Blocks, l.rs.OutboundBlocks) {
		for _, g := range slices.Concat(b.From.Groups, b.To.Groups) {
			if len(g.Unresolved) > 0 {
				l.warn(b.Pos, b.ID()+" does not refuse "+strings.Join(g.Unresolved, ", ")+" of group "+quote(g.Name)+": not resolved", "")
			}
		}
	}
}

// keep warns of a promise that is empty.
func (l *linter) keep() {
	for _, k := range l.p.Safety.Keep.V {
		open := slices.ContainsFunc(l.rs.Services, func(r *Rule) bool { return r.Name == k.V && !r.From.None() && l.holds(r) })
		if !open {
			l.warn(k.Pos, "service "+quote(k.V)+" lets nobody in: there is no access to keep", "")
		}
	}
}

// outbound warns when names or the time can no longer be had.
func (l *linter) outbound() {
	if l.rs.Outbound == packet.Accept {
		return
	}
	if !l.reaches(Transport{Proto: packet.UDP, Dst: onePort(53)}, Transport{Proto: packet.TCP, Dst: onePort(853)}) {
		l.warn(l.p.Defaults.Outbound.Pos, "no [outbound.*] section reaches a DNS server", `such as [outbound.dns] with to = ["192.0.2.53"] and ports = ["53/udp", "53/tcp"]`)
	}
	if !l.reaches(Transport{Proto: packet.UDP, Dst: onePort(123)}) {
		l.warn(l.p.Defaults.Outbound.Pos, "no [outbound.*] section reaches a time server", `such as [outbound.ntp] with to = ["192.0.2.123"] and ports = ["123/udp"]`)
	}
}

func onePort(p uint16) packet.Ports { return packet.Ports{{Lo: p, Hi: p}} }

func (l *linter) reaches(any ...Transport) bool {
	return slices.ContainsFunc(l.rs.Outbounds, func(r *Rule) bool {
		return !r.To.None() && l.holds(r) && slices.ContainsFunc(any, func(t Transport) bool { return transportsWithin([]Transport{t}, r.Transports) })
	})
}

// unused notes groups of the main file that nothing names. Included files may
// well serve several hosts.
func (l *linter) unused() {
	used := map[string]bool{}
	use := func(m Members) {
		for _, x := range m.Items {
			used[x.Group] = true
		}
	}
	for _, g := range l.p.Groups {
		use(g.Addresses)
		use(g.Except)
	}
	for _, s := range l.p.statements() {
		use(s.From)
		use(s.To)
		for _, a := range s.Audiences {
			use(a.From)
		}
	}
	for _, t := range l.p.Tests {
		use(t.Except)
		used[t.shape.src.Group], used[t.shape.dst.Group] = true, true
	}
	main := l.p.Sources[0].Path
	for _, g := range l.p.Groups {
		if f := l.p.files.byName[g.Pos.File]; !used[g.Name] && f != nil && f.path == main {
			l.report(Note, g.Pos, "group "+quote(g.Name)+" is not used", "")
		}
	}
}

// vacuous warns of tests that speak of no packet.
func (l *linter) vacuous() {
	for i := range l.rs.Tests {
		if t := &l.rs.Tests[i]; l.meaning.isVacuous(t) {
			l.warn(t.Pos, "[test."+t.Name+"] speaks of no packet: "+strings.TrimSpace(t.Text), "")
		}
	}
}
