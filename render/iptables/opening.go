package iptables

import (
	"slices"
	"strconv"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// How many rules a statement of the policy may take in the chain that it is
// tried in, before it gets a chain of its own; and how many may lead there.
const (
	inlineRules = 2
	entryRules  = 4
)

// mostProduct is how many rules one statement may take that cannot have a chain:
// beyond, iptables-restore needs minutes.
const mostProduct = 50_000

// opening is a rule of the policy in the terms of one family and hook: a packet
// fits if it matches one Match of each dimension.
type opening struct {
	rule *rules.Rule
	dims []dimension
}

// dimension is one condition that can hold in several ways.
type dimension struct {
	name string // of the chain that it needs when it is one of several that do
	ways []Match
}

// The names of the dimensions that are spoken of.
const (
	portsDimension = "ports" // protocols and ports
	toDimension    = "to"
)

// opening splits a rule into its dimensions, in the order in which iptables
// prints them.
func (b *builder) opening(r *rules.Rule, at packet.Hook) opening {
	o := opening{rule: r, dims: []dimension{
		{portsDimension, b.transports(r)},
		{"from", b.sources(r, at)},
		{toDimension, b.destinations(r, at)},
	}}
	if until := b.before(r); until != nil {
		o.dims = append(o.dims, dimension{"until", until})
	}
	return o
}

func (o opening) product() int { return size(o.dims) }

// possible reports whether a packet of the family and hook can fit.
func (o opening) possible() bool { return o.product() > 0 }

func (o opening) limited() bool { return o.rule.Limit.Count > 0 }

// long reports whether the opening takes so many rules that those for who or
// where had better stand in a chain of their own.
func (o opening) long() bool { return o.product() > inlineRules && largest(o.dims) >= 0 }

func size(dims []dimension) int {
	n := 1
	for _, d := range dims {
		n *= len(d.ways)
	}
	return n
}

// openings writes the rules that accept, and the default behind them. Limited
// ones come last, so that nobody is counted whom another rule lets in; before
// them the long ones, so that they have little behind them.
//
// A chain is entered by goto and must decide, so only an opening whose packets
// no later one can want gets one. The others stand in the chain itself, rule by
// rule, and what they leave goes on to the next. (A chain for what is left would
// do, too, but nf_tables allows no more than 16 chains in a row.)
func (b *builder) openings(c *Chain, h hook, all []*rules.Rule) {
	open, plain := b.gather(b.possible(all, h), h)
	slices.SortStableFunc(open, func(x, y opening) int { return x.rank() - y.rank() })
	for _, m := range plain {
		c.add(m, h.setComment(), accept)
	}
	deny := Rule{Comment: h.comment, Verdict: b.refusal(h)}
	later := followers(open)
	for i, o := range open {
		nest := o.long() && !later.overlaps(i)
		if !nest && b.tooMany(o) {
			continue
		}
		if o.limited() && !nest && b.again(o.rule) {
			b.spread(c, o.dims, spreading{id: o.rule.ID(), last: fresh, hit: accept})
		}
		s := spreading{name: b.chainOf(o.rule), id: o.rule.ID(), miss: &deny, nest: nest}
		s.last, s.hit = b.hit(o, nest, deny)
		b.spread(c, o.dims, s)
	}
	c.Rules = append(c.Rules, deny)
}

// tooMany reports an opening that would be a long product of single rules, since
// without a chain of its own it has a rule for each source and destination.
func (b *builder) tooMany(o opening) bool {
	n := o.product()
	if n > mostProduct {
		b.problems.add(o.rule.Pos, rules.Error,
			o.rule.ID()+": without ipset "+b.command()+" takes "+strconv.Itoa(n)+" rules for it, since others share its ports",
			"install ipset (`fwctl render` writes sets with -o), or use the nftables backend")
	}
	return n > mostProduct
}

func (b *builder) command() string {
	if b.is6 {
		return "ip6tables"
	}
	return "iptables"
}

// setComment is the comment of the rule that looks up the plain rules' set.
func (h hook) setComment() string {
	return map[packet.Hook]string{packet.Input: "services", packet.Prerouting: "services", packet.Output: "outbounds", packet.Forward: "routes"}[h.packet]
}

func (b *builder) possible(all []*rules.Rule, h hook) []opening {
	var open []opening
	for _, r := range all {
		if o := b.opening(r, h.packet); o.possible() {
			open = append(open, o)
		}
	}
	return open
}

// rank orders openings; see openings.
func (o opening) rank() int {
	switch {
	case o.limited():
		return 2
	case o.long():
		return 1
	}
	return 0
}

// hit is what becomes of a packet that fits: the last condition, its source's
// limit, and the verdict. In nested chains the limit has one of its own, which
// spares its long text in the others.
func (b *builder) hit(o opening, nest bool, deny Rule) (Match, Verdict) {
	r, v := o.rule, accept
	if r.Log {
		name := b.chainOf(r)
		if nest {
			name += "/log"
		}
		c := b.chain(name)
		b.judged(c, r)
		c.add(logLimit, r.ID(), logTo(r.ID()))
		c.add(Match{}, r.ID(), accept)
		v = goTo(c)
	}
	switch {
	case !o.limited():
		return Match{}, v
	case !nest:
		return b.unspent(r), v
	}
	c := b.chain(b.chainOf(r) + "/limit")
	b.judged(c, r)
	c.add(b.unspent(r), r.ID(), v)
	c.Rules = append(c.Rules, deny)
	return Match{}, goTo(c)
}

// again reports whether input meets packets that prerouting has judged by the rule.
func (b *builder) again(r *rules.Rule) bool {
	return b.enforced() && b.tag == "" && r.Kind == rules.Service
}

// judged lets pass at input what prerouting has counted and logged.
func (b *builder) judged(c *Chain, r *rules.Rule) {
	if b.again(r) {
		c.add(fresh, r.ID(), accept)
	}
}

// spreading is how the packets of an opening are led to their verdict.
type spreading struct {
	name string // of the chain, should it need one
	id   string
	nest bool  // it may have chains
	last Match // the condition that must be asked after all others
	hit  Verdict
	miss *Rule // ends the chains; nil: they are entered by a jump, and return
}

// spread writes rules that lead the packets which match a way of each dimension
// to the verdict. Few ways stand in the chain itself. Else the dimension with
// the most ways gets a chain of its own, and the others lead there. The ports
// are always asked for where the packet comes from: a packet of another service
// has no business in the chain.
func (b *builder) spread(c *Chain, dims []dimension, s spreading) {
	b.spreadIn(c, dims, s, inlineRules)
}

func (b *builder) spreadIn(c *Chain, dims []dimension, s spreading, room int) {
	i := largest(dims)
	if !s.nest || size(dims) <= room || i < 0 {
		for _, m := range product(waysOf(dims)...) {
			c.add(m.and(s.last), s.id, s.hit)
		}
		return
	}
	own := b.chain(s.name)
	outer, others := s, slices.Delete(slices.Clone(dims), i, i+1)
	outer.hit, outer.last = Verdict{Target: own.Name, Goto: s.miss != nil}, Match{}
	if j := largest(others); j >= 0 {
		outer.name += "/" + others[j].name
	}
	b.spreadIn(c, others, outer, entryRules)
	for _, m := range dims[i].ways {
		own.add(m.and(s.last), s.id, s.hit)
	}
	if s.miss != nil {
		own.Rules = append(own.Rules, *s.miss)
	}
}

func waysOf(dims []dimension) [][]Match {
	ways := make([][]Match, len(dims))
	for i, d := range dims {
		ways[i] = d.ways
	}
	return ways
}

// largest is the dimension with the most ways, the last of several, of those
// that can have a chain of their own; -1 if each of them has one way.
func largest(dims []dimension) int {
	best := -1
	for i, d := range dims {
		if d.name != portsDimension && len(d.ways) > 1 && (best < 0 || len(d.ways) >= len(dims[best].ways)) {
			best = i
		}
	}
	return best
}

// A limit is kept for each source in a table of the match hashlimit. It takes
// credits of a millionth of a second, so a rate is said exactly only if a period
// divides by it; and a burst has a bound (XT_HASHLIMIT_SCALE_v2,
// XT_HASHLIMIT_BURST_MAX, libxt_hashlimit.c).
const (
	creditsPerSecond = 1_000_000
	maxBurst         = 1_000_000
	maxRateError     = 100   // a hundredth
	limitSources     = 65536 // sources that a table remembers; a full table drops
	limitBuckets     = 8192
	sourceBits6      = 64 // the IPv6 network that counts as one source
)

// unspent matches new connections of a source that has not used up its limit.
func (b *builder) unspent(r *rules.Rule) Match {
	seconds := int64(r.Limit.Per / time.Second)
	b.checkRate(r, seconds)
	rate := strconv.FormatUint(uint64(r.Limit.Count), 10) + "/" + unitText(r.Limit.Per)
	content := r.ID() + " " + rate
	words := []string{
		"-m hashlimit --hashlimit-upto", rate,
		"--hashlimit-burst", strconv.FormatUint(uint64(r.Limit.Count), 10), "--hashlimit-mode srcip",
	}
	if b.is6 {
		words = append(words, "--hashlimit-srcmask", strconv.Itoa(sourceBits6))
	}
	return ext(append(words,
		"--hashlimit-name", digestName(shortID(r), content),
		"--hashlimit-htable-size", strconv.Itoa(limitBuckets),
		"--hashlimit-htable-max", strconv.Itoa(limitSources),
		"--hashlimit-htable-expire", strconv.FormatInt(seconds*1000, 10))...)
}

// checkRate reports a limit that hashlimit cannot keep.
func (b *builder) checkRate(r *rules.Rule, seconds int64) {
	count := int64(r.Limit.Count)
	period := creditsPerSecond * seconds / count
	lost := creditsPerSecond*seconds - period*count
	switch {
	case count > maxBurst:
		b.problems.add(r.Pos, rules.Error, r.ID()+": iptables takes a burst of at most "+strconv.Itoa(maxBurst), "use a smaller limit")
	case period == 0 || lost*maxRateError > creditsPerSecond*seconds:
		b.problems.add(r.Pos, rules.Error, r.ID()+": iptables cannot keep the limit of "+strconv.FormatInt(count, 10)+"/"+unitText(r.Limit.Per)+" to a hundredth",
			"use a smaller limit, or the nftables backend")
	}
	if r.Kind == rules.Service && slices.Contains(b.rs.Keep, r.Name) {
		b.problems.add(r.Pos, rules.Note, r.ID()+": with iptables a limit drops new sources while it remembers "+strconv.Itoa(limitSources)+" others, also of a service to keep",
			"give those who must get in a shared service without limit")
	}
}

// unitText names a period as iptables-save does.
func unitText(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return "day"
	case d >= time.Hour:
		return "hour"
	case d >= time.Minute:
		return "min"
	}
	return "sec"
}
