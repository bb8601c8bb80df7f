package pf

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// live reports whether the rule has a place in the text.
func (b *builder) live(r *rules.Rule) bool {
	if r.Expires.IsZero() {
		return true
	}
	if !b.opt.At.IsZero() {
		return b.opt.At.Before(r.Expires)
	}
	if h := b.rs.Host; h != nil && !h.Time.IsZero() && !h.Time.Before(r.Expires) {
		b.say(rules.Problem{
			Pos: r.Pos, Severity: rules.Warning,
			Summary: fmt.Sprintf("%s has ended, but pf has no clock and this text still has it", r.ID()),
			Hint:    "take it out of the policy, or render with a time",
		})
		return true
	}
	b.note(r.Pos, fmt.Sprintf("pf has no clock: %s ends when the rules are loaded again after %s", r.ID(), instant(r.Expires)), "run `fwctl refresh` from cron")
	return true
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// described puts what the policy says of a rule above its lines, and says so
// where it has none.
func (b *builder) described(r *rules.Rule, lines []Line) []Line {
	if len(lines) == 0 {
		why := "matches nothing"
		if r.From.None() || r.To.None() {
			why = "nobody"
		}
		return []Line{Comment(r.ID() + ": " + why)}
	}
	words := []string{plain(r.Owner), plain(r.Reason)}
	if !r.Expires.IsZero() {
		words = append(words, "until "+instant(r.Expires))
	}
	words = slices.DeleteFunc(words, func(s string) bool { return s == "" })
	if len(words) == 0 {
		return lines
	}
	return append([]Line{Comment(r.ID() + ": " + strings.Join(words, "; "))}, lines...)
}

// plain makes a comment of free text: one line, without the backslash at its end
// that would swallow the next.
func plain(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\\':
			return '/'
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsPrint(c):
			return -1
		}
		return c
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// blocks refuses what comes in and is blocked.
func (b *builder) blocks() []Line {
	var lines []Line
	for _, r := range b.rs.Blocks {
		if !b.live(r) {
			continue
		}
		base := b.block(r)
		if b.rs.Routed == rules.RoutedIgnore {
			base = b.forHost(r, base) // routed packets must not notice
		}
		lines = append(lines, b.described(r, ruled(b.inbound(r, base)))...)
	}
	return lines
}

// forHost narrows a rule for addresses that may be others' to packets for this
// host. A rule has one destination, so a tag has to say it.
func (b *builder) forHost(r *rules.Rule, base Rule) Rule {
	if b.self && !r.To.Any && !b.thisHostOnly(r.To) {
		base.Tagged, b.tagged = inboundTag, true
	}
	return base
}

// inboundTag marks packets for this host.
const inboundTag = "FWCTL_INBOUND"

// tagging is the line that gives the tag, if a rule asks for it.
func (b *builder) tagging() []Line {
	if !b.tagged {
		return nil
	}
	r := Rule{Action: Match, Dir: In, To: Endpoint{Hosts: b.thisHost}, Tag: inboundTag}
	if !b.match {
		r.Action, r.State = Pass, NoState // what passes is decided below
	}
	return []Line{r}
}

func (b *builder) block(r *rules.Rule) Rule {
	return Rule{Action: Drop, Log: b.logs(r) || b.rs.LogDenied, Quick: true, Label: b.label(r.ID())}
}

func (b *builder) logs(r *rules.Rule) bool {
	if r.Log {
		b.note(r.Pos, "pf logs the packet that opens a connection, to pflog0 and without a rate limit", "")
	}
	return r.Log
}

func (b *builder) pass(r *rules.Rule) Rule {
	return Rule{Log: b.logs(r), Quick: true, Label: b.label(r.ID())}
}

// services accepts what comes in for a service: those without a limit first,
// because what they accept does not count for the others.
func (b *builder) services() []Line {
	var lines, limited []Line
	for _, r := range b.rs.Services {
		if !b.live(r) {
			continue
		}
		rs := b.inbound(r, b.service(r))
		rate, open := b.rate(r)
		for i := range rs {
			rs[i] = stateful(rs[i])
			rs[i].Rate = rate
		}
		if open || len(rs) == 0 {
			lines = append(lines, b.described(r, ruled(rs))...)
			continue
		}
		limited = append(limited, b.described(r, ruled(append(b.overLimit(r, rate), rs...)))...)
	}
	return append(lines, limited...)
}

// service is the base of a service's rules. Where the way out of a routed packet
// is opened by a tag, no service may take the packet from the route that gives it.
func (b *builder) service(r *rules.Rule) Rule {
	base := b.pass(r)
	if !b.receivedOn && b.rs.Routed == rules.RoutedDrop {
		base = b.forHost(r, base)
	}
	return base
}

// inbound multiplies a policy rule out to rules for packets that come in.
func (b *builder) inbound(r *rules.Rule, base Rule) []Rule {
	to, some := b.destination(r)
	if !some {
		return nil
	}
	base.Dir, base.To.Hosts = In, to
	var rs []Rule
	for _, w := range b.sources(r) {
		for _, t := range b.transports(r) {
			next := t.set(base)
			next.On, next.From.Hosts = w.on, w.hosts
			if next.possible() {
				rs = append(rs, next)
			}
		}
	}
	return rs
}

// destination is what r.To means where a packet comes in, at which it is not
// known by which interface it will leave.
func (b *builder) destination(r *rules.Rule) ([]Host, bool) {
	if r.To.Any {
		if r.Kind == rules.Block && b.rs.Routed != rules.RoutedIgnore {
			return nil, true
		}
		return b.thisHost, true
	}
	if g := boundGroup(r.To); g != nil {
		b.fail(r.Pos, "group."+g.Name+" counts on some interfaces only, which says nothing of where packets go", "")
	}
	hosts := b.freeHosts(r, r.To, "to")
	return hosts, len(hosts) > 0
}

func ruled(rs []Rule) []Line {
	lines := make([]Line, len(rs))
	for i, r := range rs {
		lines[i] = r
	}
	return lines
}

// rate is the limit of a service, zero if it has none or needs none.
func (b *builder) rate(r *rules.Rule) (rate Rate, open bool) {
	switch {
	case r.Limit.Count == 0, r.From.None():
		return Rate{}, true
	case b.rs.Inbound == packet.Accept:
		b.note(r.Pos, r.ID()+" needs no limit in pf: what is over it is accepted by default", "")
		return Rate{}, true
	case len(r.Transports) == 0 || slices.ContainsFunc(r.Transports, func(t rules.Transport) bool { return t.Any || t.Proto != packet.TCP }):
		b.fail(r.Pos, "pf can limit TCP alone, because it counts completed handshakes", "give the TCP ports a service of their own")
	}
	over := r.Name + "."
	if r.Part != "" {
		over += r.Part + "."
	}
	over = b.table("limit "+r.ID(), Table{Name: over + "over", Persist: true, Open: true}).Table
	rate = Rate{Count: r.Limit.Count, Seconds: uint32(r.Limit.Per / time.Second), Overload: over}
	b.noteLimit(r, rate)
	return rate, false
}

func (b *builder) noteLimit(r *rules.Rule, rate Rate) {
	anchor := ""
	if b.opt.Form == Anchor {
		anchor = "-a fwctl "
	}
	b.note(r.Pos, fmt.Sprintf("the limit of %s counts completed handshakes, per address, also of IPv6, and port; a source over it stays refused until it leaves the table %s",
		r.ID(), rate.Overload), fmt.Sprintf("run `pfctl %s-t %s -T expire %d` from cron", anchor, rate.Overload, rate.Seconds))
	for _, o := range b.rs.Services {
		if o.Limit.Count > 0 && o.ID() > r.ID() && overlap(r, o) {
			b.note(r.Pos, fmt.Sprintf("a source over the limit of %s is refused by it before %s is asked", r.ID(), o.ID()), "")
		}
	}
}

// overlap reports whether two services share a port.
func overlap(r, o *rules.Rule) bool {
	for _, t := range r.Transports {
		for _, u := range o.Transports {
			if t.Proto == u.Proto && (len(t.Dst) == 0 || len(u.Dst) == 0 || t.Dst.Overlaps(u.Dst)) {
				return true
			}
		}
	}
	return false
}

// overLimit refuses those who are over the limit, for the service alone.
func (b *builder) overLimit(r *rules.Rule, rate Rate) []Rule {
	over := *r
	over.From = rules.Addresses{Any: true}
	base := Rule{Action: Drop, Log: b.rs.LogDenied, Quick: true, Label: b.label(r.ID())}
	rs := b.inbound(&over, b.forHost(r, base)) // no limit counts for routed packets
	for i := range rs {
		rs[i].From.Hosts = []Host{{Table: rate.Overload}}
	}
	return rs
}
