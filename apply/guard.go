package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	pfread "github.com/fwctl/fwctl/read/pf"
	"github.com/fwctl/fwctl/rules"
)

// guardTime is how long the guard works on one question at most.
const guardTime = 10 * time.Second

// guardQuestion is a change, and who must not be locked out by it.
type guardQuestion struct {
	Ruleset *rules.Ruleset   // the new policy
	Before  *rules.Ruleset   // the confirmed one; nil if there is none
	Own     *live.Connection // by which the administrator works: TCP, Src is far and Dst here; nil if that is not known
	In      string           // the interface by which it comes; "" if that is not known
	Now     time.Time        // zero: the time of the clock
	Until   time.Time        // the end of the time for a confirmation: what expires before counts as over
	Budget  int              // nodes of the diagrams of one question; zero: a default
	PF      *pfread.Config   // what pf would be given; nil: another backend decides
}

// LockoutError is a packet that the new policy, together with the rules of others
// on the host, would refuse: nothing was changed.
type LockoutError struct {
	Own     bool           // the administrator's own way in; else a source of a kept service
	Service string         // ID of the kept service, "" for Own
	Packet  packet.Packet  // the first of a connection
	By      packet.Decided // who would refuse it
	Foreign bool           // that rule is not fwctl's
	At      string         // line of the policy that refuses it, or that says whom the service lets in; "" if none does
	From    time.Time      // when it would be refused, if not at once
}

// Error shows the packet and who would refuse it.
func (e *LockoutError) Error() string {
	who := "your own connection"
	if !e.Own {
		who = "a source of " + e.Service + ", which is kept"
	}
	text := fmt.Sprintf("would lock out %s: %s: %s by %s", who, e.Packet, e.By.Outcome, placeText(e.By))
	if e.At != "" && e.At != e.By.By.At {
		text += ", see " + e.At
	}
	if !e.From.IsZero() {
		text += ", from " + e.From.Format(time.RFC3339) + " on"
	}
	return text
}

// placeText names what decides.
func placeText(d packet.Decided) string {
	p := d.By
	switch {
	case d.Policy:
		return "the policy of chain " + p.Chain
	case p.Source == "policy" && p.At != "":
		return p.Name + ", " + p.At
	case p.Source == "policy":
		return p.Name
	}
	where := strings.TrimSpace(p.Source + " " + p.Table + " " + p.Chain)
	return strings.Join(slices.DeleteFunc([]string{where, cmp.Or(p.Text, p.Name)}, func(s string) bool { return s == "" }), ": ")
}

// guard proves that a change locks out neither the administrator nor, of those
// whom the confirmed policy lets in to a kept service, anybody. It changes nothing.
func guard(ctx context.Context, g guardQuestion) (warnings []string, err error) {
	if g.Own == nil && len(g.atRisk()) == 0 {
		return nil, nil
	}
	read := live.Rules
	if g.PF != nil {
		read = live.PFRules
	}
	h, err := read(ctx)
	if err != nil {
		return nil, err
	}
	return g.ask(ctx, h)
}

// changed is the new state of the host: the rules of others and the policy. Where pf
// decides they are one list, in which the last or a quick one counts.
func (a *arrivals) changed() sources {
	if a.PF != nil && a.host.PF != nil {
		return sources{host: []packet.Source{understood(a.host.PF.With(a.PF, a.is6))}}
	}
	others := a.host.Others(a.is6)
	for i, s := range others {
		others[i] = understood(s)
	}
	return sources{others, a.Ruleset}
}

// ask is guard on a host whose rules are known.
func (g guardQuestion) ask(ctx context.Context, h *live.HostRules) (warnings []string, err error) {
	if g.Now.IsZero() {
		g.Now = time.Now()
	}
	for _, u := range h.Unread {
		warnings = append(warnings, "whether anybody is locked out by rules that were not read is not known: "+u)
	}
	var questions []*arrivals
	if g.Own != nil {
		questions = append(questions, g.ownArrivals(h))
	}
	if kept := g.atRisk(); len(kept) > 0 {
		questions = append(questions, g.keptArrivals(h, kept, false), g.keptArrivals(h, kept, true))
	}
	var all sync.WaitGroup
	errs := make([]error, len(questions))
	for i, q := range questions {
		all.Go(func() { errs[i] = q.prove(ctx) })
	}
	all.Wait()
	for i, q := range questions {
		var open *openError
		switch {
		case errors.As(errs[i], &open), errors.Is(errs[i], packet.ErrBudget), errors.Is(errs[i], packet.ErrTime):
			warnings = append(warnings, fmt.Sprintf("not proved that %s is not locked out: %v", q.who(), errs[i]))
		case errs[i] != nil:
			return warnings, errs[i]
		}
	}
	return warnings, nil
}

// kept are the services of the confirmed policy that must not lose anybody.
func (g *guardQuestion) kept() []*rules.Rule {
	if g.Before == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(g.Before.Services), func(r *rules.Rule) bool {
		_, kept := slices.BinarySearch(g.Before.Keep, r.Name)
		return !kept
	})
}

// atRisk are the kept services that may have lost somebody. Of one that the new
// policy has, too, nobody is lost if every block of the new policy was one of the
// old: whom the service let in no block refused, and none does now. The rules of
// others decide after the change as before it.
func (g *guardQuestion) atRisk() []*rules.Rule {
	kept := g.kept()
	if len(kept) == 0 {
		return nil
	}
	was := byID(g.Before.Blocks)
	for _, b := range g.Ruleset.Blocks {
		if o := was[b.ID()]; o == nil || !b.Same(o) || !b.Expires.Equal(o.Expires) {
			return kept
		}
	}
	now := byID(g.Ruleset.Services)
	return slices.DeleteFunc(kept, func(r *rules.Rule) bool {
		n := now[r.ID()]
		return n != nil && n.Same(r) && (n.Expires.IsZero() || n.Expires.Equal(r.Expires))
	})
}

func byID(rs []*rules.Rule) map[string]*rules.Rule {
	out := make(map[string]*rules.Rule, len(rs))
	for _, r := range rs {
		out[r.ID()] = r
	}
	return out
}

// openError says why it cannot be told whether somebody is locked out.
type openError struct{ why string }

// Error says why.
func (e *openError) Error() string { return e.why }

// prove returns an error if some packet is locked out, or may be.
func (a *arrivals) prove(ctx context.Context) error {
	all := a.host.Sources(a.is6)
	for i, s := range all {
		all[i] = understood(s)
	}
	a.after = a.changed()
	after := a.narrow(a.after)
	filters := []*packet.Filter{after}
	if a.kept != nil {
		filters = append(filters, a.narrow(sources{host: all}), a.narrow(sources{policy: a.Before}))
	}
	if err := a.open(ctx, filters); err != nil {
		return err
	}
	over, err := a.over(filters[1:])
	if err != nil {
		return err
	}
	if a.kept == nil && over == packet.False {
		return &openError{fmt.Sprintf("no packet from %s to %s can come by %s", a.Own.Src.Addr(), a.Own.Dst, strings.Join(a.bounds.In, ", "))}
	}
	n, err := a.space.Build(after)
	if err != nil {
		return err
	}
	accepted, err := a.space.Where(n, packet.OutcomeAccept)
	if err != nil {
		return err
	}
	return a.judge(over, accepted)
}

// open makes the space.
func (a *arrivals) open(ctx context.Context, filters []*packet.Filter) (err error) {
	names := packet.Any{}
	for _, name := range slices.Concat(a.outside(), a.bounds.In, []string{a.In}) {
		names = append(names, packet.Iface{Pattern: name})
	}
	asks := func(c packet.Cond) *packet.Filter {
		return &packet.Filter{Base: []*packet.Chain{{Rules: []packet.Step{{Cond: c}}}}}
	}
	filters = append(filters, asks(names), asks(a.which), asks(a.routes))
	a.space = packet.NewSpace(a.is6, a.host.Addrs(a.is6), cmp.Or(a.Budget, proofNodes), filters...)
	until := time.Now().Add(guardTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	a.space.Until(until)
	if a.clock, err = a.space.Set(packet.During(a.Now, a.later(), filters...)); err != nil {
		return err
	}
	if a.atOnce, err = a.space.Set(packet.During(a.Now, a.Now, filters...)); err != nil {
		return err
	}
	a.usual, err = a.space.Set(a.mostly(filters))
	return err
}

// later is the last instant that matters.
func (a *arrivals) later() time.Time {
	if a.Until.Before(a.Now) {
		return a.Now
	}
	return a.Until
}

// mostly is the condition that the unknowns are as they mostly are: limits are
// not spent. The time is not one of them, nor what was not understood.
func (a *arrivals) mostly(filters []*packet.Filter) packet.Cond {
	all := packet.All{}
	told := map[string]bool{}
	for _, c := range a.routes {
		if not, no := c.(packet.Not); no {
			c = not.Cond
		}
		told[c.(packet.Unknown).Key] = true
	}
	for _, f := range filters {
		for key, unsupported := range f.Unknowns() {
			if !unsupported && !told[key] && !strings.HasPrefix(key, "before ") {
				all = append(all, packet.Unknown{Key: key})
			}
		}
	}
	return append(all, a.routes...)
}

// entering holds for packets by one of the interfaces, or by any but loopback if
// none is named.
func entering(names []string) packet.Cond {
	if len(names) == 0 {
		return packet.Not{Cond: packet.Iface{Pattern: "lo"}}
	}
	any := packet.Any{}
	for _, name := range names {
		any = append(any, packet.Iface{Pattern: name})
	}
	return any
}

// over returns the packets that must be let in: those that are let in by all
// filters, the host as it is and the policy as it was.
func (a *arrivals) over(filters []*packet.Filter) (packet.Node, error) {
	cond := packet.All{a.space.Frame(packet.Input), a.which}
	for f, set := range a.bounds.Fields {
		cond = append(cond, packet.In{Field: f, Set: set})
	}
	cond = append(cond, entering(a.bounds.In))
	over, err := a.space.Set(cond)
	if err != nil {
		return 0, err
	}
	if over, err = a.space.And(over, a.clock); err != nil {
		return 0, err
	}
	for _, f := range filters {
		n, err := a.space.Build(f)
		if err != nil {
			return 0, err
		}
		if n, err = a.space.Where(n, packet.OutcomeAccept); err != nil {
			return 0, err
		}
		if over, err = a.space.And(over, n); err != nil {
			return 0, err
		}
	}
	return over, nil
}

// judge tells what is refused in any case from what may be refused. A packet that
// is let in for some values of what is not known is one of the latter.
func (a *arrivals) judge(over, accepted packet.Node) error {
	refused, err := a.space.Minus(over, accepted)
	if err != nil {
		return err
	}
	if refused, err = a.space.And(refused, a.usual); err != nil || refused == packet.False {
		return err
	}
	passed, err := a.space.And(over, accepted)
	if err != nil {
		return err
	}
	never, err := a.space.Minus(packet.True, passed)
	if err != nil {
		return err
	}
	if never, err = a.space.Throughout(never, a.loose...); err != nil {
		return err
	}
	surely, err := a.space.And(refused, never)
	if err != nil {
		return err
	}
	if surely == packet.False {
		return a.maybe(refused)
	}
	return a.lockout(surely)
}

// maybe says on what it depends whether packets are refused.
func (a *arrivals) maybe(refused packet.Node) error {
	w, d, err := a.witness(refused)
	if err != nil {
		return err
	}
	var on []string
	for _, u := range w.Unknowns {
		if u.Unsupported {
			on = append(on, u.Key)
		}
	}
	why := fmt.Sprintf("%s: %s by %s", w.Packet, d.Outcome, placeText(d))
	if len(on) > 0 {
		why += ", depending on what is not understood: " + strings.Join(on, "; ")
	}
	return &openError{why}
}

// lockout is the error of packets that are refused.
func (a *arrivals) lockout(refused packet.Node) error {
	w, d, err := a.witness(refused)
	if err != nil {
		return err
	}
	switch d.Outcome {
	case packet.OutcomeUnknown:
		return &openError{fmt.Sprintf("%s: it is not known what becomes of it, by %s", w.Packet, placeText(d))}
	case packet.OutcomeAccept:
		return fmt.Errorf("internal error: two ways of deciding %s do not agree: accepted by %s", w.Packet, placeText(d))
	}
	e := &LockoutError{Own: a.kept == nil, Packet: w.Packet, By: d, Foreign: d.By.Source != "policy", At: d.By.At}
	if !e.Own {
		e.Service = a.keptFor(w.Packet).ID()
	}
	if !e.Foreign && e.At == "" {
		e.At = a.heir(w.Packet)
	}
	if !e.Foreign {
		e.From = a.refusedFrom(w.Packet)
	}
	return e
}

// witness picks a packet that people believe, and who decides on it.
func (a *arrivals) witness(set packet.Node) (*packet.Witness, packet.Decided, error) {
	if n, err := a.space.And(set, a.atOnce); err != nil {
		return nil, packet.Decided{}, err
	} else if n != packet.False {
		set = n
	}
	for _, wanted := range []packet.Cond{packet.Iface{Pattern: a.In}, entering(a.outside()), packet.In{Field: packet.FieldSrcType, Set: one(uint64(packet.AddrOther))}} {
		n, err := a.space.Set(wanted)
		if err != nil {
			return nil, packet.Decided{}, err
		}
		if n, err = a.space.And(set, n); err != nil {
			return nil, packet.Decided{}, err
		}
		if n != packet.False {
			set = n
		}
	}
	w, err := a.space.Witness(set)
	if err != nil {
		return nil, packet.Decided{}, err
	}
	return w, a.decide(w.Facts), nil
}

// decide asks the rules themselves, apart from the diagrams. The new policy is to
// blame for what it refuses, even if others refuse it before; a rule that sends the
// packet elsewhere, for that.
func (a *arrivals) decide(facts *packet.Facts) packet.Decided {
	trail := a.trail(a.after, facts)
	last := trail[len(trail)-1]
	if last.By.Chain == elsewhere && last.By.Source == "" {
		return sender(trail)
	}
	policy := a.trail(sources{policy: a.Ruleset}, facts)
	if d := policy[len(policy)-1]; d.Outcome != packet.OutcomeAccept {
		return d
	}
	return last
}

// trail follows a packet through rules. Unknowns that it does not name are as they
// mostly are.
func (a *arrivals) trail(s sources, facts *packet.Facts) []packet.Decided {
	f := a.whole(s)
	for key, unsupported := range f.Unknowns() {
		if _, set := facts.Unknowns[key]; !set {
			facts.Unknowns[key] = !unsupported
		}
	}
	changed := *facts
	return f.Trail(&changed)
}

// sender is the last rule that decided on a packet before it was found to go
// elsewhere.
func sender(trail []packet.Decided) packet.Decided {
	last := trail[len(trail)-1]
	for _, d := range slices.Backward(trail[:len(trail)-1]) {
		if !d.Policy {
			last.By = d.By
			break
		}
	}
	return last
}

// keptFor is the kept service that a packet is for.
func (a *arrivals) keptFor(p packet.Packet) *rules.Rule {
	for _, r := range a.kept {
		if a.Before.Matches(r, p, a.Now) {
			return r
		}
	}
	return a.kept[0]
}

// heir is where the new policy speaks of the service by which a packet was let in
// before; "" if it does not.
func (a *arrivals) heir(p packet.Packet) string {
	if a.Before == nil {
		return ""
	}
	was := a.Before.Decide(p, a.Now).Rule
	for _, r := range a.Ruleset.Services {
		if was != nil && r.ID() == was.ID() {
			return r.Pos.String()
		}
	}
	return ""
}

// refusedFrom is when the last service expires by which the policy lets a packet
// in until then; zero if it does not.
func (a *arrivals) refusedFrom(p packet.Packet) time.Time {
	var from time.Time
	if a.Ruleset.Decide(p, a.Now).Verdict != packet.Accept {
		return from
	}
	for _, r := range a.Ruleset.Services {
		if a.Ruleset.Matches(r, p, a.Now) && from.Before(r.Expires) {
			from = r.Expires
		}
	}
	return from
}
