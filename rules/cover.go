package rules

import (
	"math/big"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// What of a policy changes nothing, told by the meaning: for all packets, and
// never where a limit or a date decides.

// statementsOf is one kind of rules and the hooks at which they count.
type statementsOf struct {
	list  []*Rule
	hooks []packet.Hook
}

// useless warns of rules that leave everything as it is without them.
func (l *linter) useless() {
	blocked := []packet.Hook{packet.Input}
	if l.rs.Routed != RoutedIgnore {
		blocked = append(blocked, packet.Forward)
	}
	for _, k := range []statementsOf{
		{l.rs.Blocks, blocked},
		{l.rs.OutboundBlocks, []packet.Hook{packet.Output}},
		{l.rs.Services, []packet.Hook{packet.Input}},
		{l.rs.Outbounds, []packet.Hook{packet.Output}},
		{l.rs.Routes, []packet.Hook{packet.Forward}},
	} {
		if len(k.list) == 0 {
			continue
		}
		if err := l.uselessIn(k); err != nil { // the budget is spent
			l.report(Note, k.list[0].Pos, "too large to see whether every "+k.list[0].Kind.String()+" changes something: undecided", "")
		}
	}
}

func (l *linter) uselessIn(k statementsOf) error {
	c := &coverage{linter: l, rules: inOrder(k.list)}
	for _, hook := range k.hooks {
		for _, is6 := range []bool{false, true} {
			at, err := l.meaning.lane(hook, is6)
			if err != nil {
				return err
			}
			s, err := at.stage(c.rules)
			if err != nil {
				return err
			}
			c.stages = append(c.stages, s)
		}
	}
	return c.judge()
}

// inOrder returns the rules in the order of the files.
func inOrder(list []*Rule) []*Rule {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b *Rule) int { return comparePos(a.Pos, b.Pos) })
	return list
}

// stage is where one kind of rules stands at one hook, in one family.
type stage struct {
	*lane
	all     packet.Node   // the packets of the hook that begin something
	reach   packet.Node   // of these, those that no earlier stage decides
	sets    []packet.Node // what each rule decides of them, were it alone
	dropped packet.Node   // what is dropped without any of the rules
	steps   []packet.Step // the earlier stages
}

// stage looks at the filter's own steps: those before the first rule of the list
// decide before it.
func (l *lane) stage(list []*Rule) (*stage, error) {
	s := &stage{lane: l}
	mine := map[string]bool{}
	for _, r := range list {
		mine[r.ID()] = true
	}
	steps := l.filter.Base[0].Rules
	first := slices.IndexFunc(steps, func(x packet.Step) bool { return mine[x.Place.Name] })
	if first < 0 {
		first = len(steps)
	}
	s.steps = steps[:first]
	err := s.build(list, steps[first:], mine)
	return s, err
}

func (s *stage) build(list []*Rule, rest []packet.Step, mine map[string]bool) (err error) {
	// What is said of new packets is true of those without a state, too.
	// Nobody writes rules for the loopback interface, which is accepted anyway.
	lo := packet.Any{packet.Iface{Pattern: "lo"}, packet.Iface{Out: true, Pattern: "lo"}}
	if s.all, err = s.set(packet.All{states(packet.New), s.clock, packet.Not{Cond: lo}}, s.frame); err != nil {
		return err
	}
	s.reach = s.all
	for _, x := range s.steps {
		if s.reach, err = s.without(s.reach, x.Cond); err != nil {
			return err
		}
	}
	conds := map[string]packet.Cond{}
	others := &packet.Filter{Base: []*packet.Chain{{Policy: packet.OutcomeDrop}}}
	for _, x := range rest {
		if mine[x.Place.Name] {
			conds[x.Place.Name] = x.Cond
		} else {
			others.Base[0].Rules = append(others.Base[0].Rules, x)
		}
	}
	for _, r := range list {
		n, err := s.set(conds[r.ID()], s.reach)
		if err != nil {
			return err
		}
		s.sets = append(s.sets, n)
	}
	d, err := s.space.Build(others)
	if err != nil {
		return err
	}
	s.dropped, err = s.space.Where(d, packet.OutcomeDrop)
	return err
}

func (l *lane) without(n packet.Node, c packet.Cond) (packet.Node, error) {
	set, err := l.space.Set(c)
	if err != nil {
		return 0, err
	}
	return l.space.Minus(n, set)
}

// coverage is the question which rules of a list the others make useless.
type coverage struct {
	*linter
	rules  []*Rule
	stages []*stage
	useful []bool // not yet found useless
}

// judge goes from the last rule to the first: of two that do the same the later
// one is useless. One that was found useless no longer covers others.
func (c *coverage) judge() error {
	c.useful = make([]bool, len(c.rules))
	for i := range c.useful {
		c.useful[i] = true
	}
	quiet, err := c.unions(func(*Rule) bool { return true })
	if err != nil {
		return err
	}
	logged, err := c.unions(func(r *Rule) bool { return r.Log })
	if err != nil {
		return err
	}
	for i := len(c.rules) - 1; i >= 0; i-- {
		u := quiet
		if c.rules[i].Log { // who takes over from it has to log, too
			u = logged
		}
		if err := c.judgeOne(i, u); err != nil {
			return err
		}
		for _, x := range []*unions{quiet, logged} {
			if err := x.keep(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// unions are the unions of what some rules decide: of those before each rule,
// and of the useful ones behind it.
type unions struct {
	*coverage
	counts func(*Rule) bool
	before [][]packet.Node // by rule and stage
	behind []packet.Node   // by stage
	open   []int           // rules of the same service, not yet in behind
}

func (c *coverage) unions(counts func(*Rule) bool) (*unions, error) {
	u := &unions{coverage: c, counts: counts, behind: make([]packet.Node, len(c.stages))}
	sum := make([]packet.Node, len(c.stages))
	for i, r := range c.rules {
		// The parts of one service do not make each other useless.
		if i > 0 && c.rules[i-1].Name == r.Name {
			u.before = append(u.before, u.before[i-1])
			continue
		}
		u.before = append(u.before, slices.Clone(sum))
		for j := i; j < len(c.rules) && c.rules[j].Name == r.Name; j++ {
			if !counts(c.rules[j]) {
				continue
			}
			for k, s := range c.stages {
				var err error
				if sum[k], err = s.space.Or(sum[k], s.sets[j]); err != nil {
					return nil, err
				}
			}
		}
	}
	return u, nil
}

// keep adds a rule that was judged to those behind, once all of its service are.
func (u *unions) keep(i int) error {
	if u.useful[i] && u.counts(u.rules[i]) {
		u.open = append(u.open, i)
	}
	if i > 0 && u.rules[i-1].Name == u.rules[i].Name {
		return nil
	}
	for _, j := range u.open {
		for k, s := range u.stages {
			var err error
			if u.behind[k], err = s.space.Or(u.behind[k], s.sets[j]); err != nil {
				return err
			}
		}
	}
	u.open = nil
	return nil
}

// speaks reports whether a rule is to be judged: it is in force, and it is about
// packets that are all known.
func (c *coverage) speaks(r *Rule) bool {
	unresolved := func(g *Group) bool { return len(g.Unresolved) > 0 }
	return c.holds(r) && !r.From.None() && !r.To.None() &&
		!slices.ContainsFunc(r.From.Groups, unresolved) && !slices.ContainsFunc(r.To.Groups, unresolved)
}

func (c *coverage) judgeOne(i int, u *unions) error {
	r := c.rules[i]
	if !c.speaks(r) || r.Kind != Block && c.byDefault(r) {
		return nil
	}
	dead, covered, idle := true, true, r.Kind == Block
	for k, s := range c.stages {
		left, err := s.space.Minus(s.sets[i], u.before[i][k])
		if err != nil {
			return err
		}
		if left, err = s.space.Minus(left, u.behind[k]); err != nil {
			return err
		}
		changed, err := s.space.Minus(left, s.dropped)
		if err != nil {
			return err
		}
		dead = dead && s.sets[i] == packet.False
		covered = covered && left == packet.False
		idle = idle && changed == packet.False
	}
	c.useful[i] = !dead && !covered && !idle
	switch {
	case dead:
		return c.reportDead(i)
	case covered:
		return c.reportCovered(i)
	case idle:
		c.report(Note, r.Pos, r.ID()+" refuses nothing that would get in without it", "")
	}
	return nil
}

// byDefault reports whether the default accepts what no rule does: a warning of
// its own.
func (c *coverage) byDefault(r *Rule) bool {
	switch r.Kind {
	case Outbound:
		return c.rs.Outbound == packet.Accept
	case Route:
		return c.rs.Routed != RoutedDrop
	}
	return c.rs.Inbound == packet.Accept
}

// verb is what rules of a kind do.
func (k Kind) verb() string {
	if k == Block {
		return "refuses"
	}
	return "opens"
}

// reportDead names the stages before that decide all that a rule is about.
func (c *coverage) reportDead(i int) error {
	r := c.rules[i]
	targets, candidates, err := c.earlier(r)
	if err != nil {
		return err
	}
	if isNone(targets) {
		if !slices.Equal(r.In, []string{"lo"}) { // of which the list of interfaces is told
			c.warn(r.Pos, r.ID()+" "+r.Kind.verb()+" nothing: no packet matches it", "its source and destination may be of different families, or the destination not this host's")
		}
		return nil
	}
	chosen, err := c.cover(targets, candidates)
	if err != nil {
		return err
	}
	who, verb := culprits(chosen), "refuse"
	if slices.ContainsFunc(chosen, func(x candidate) bool { return x.rule == nil }) {
		verb = "decide"
	}
	if len(chosen) == 1 {
		verb += "s"
	}
	c.warn(r.Pos, r.ID()+" "+r.Kind.verb()+" nothing: "+who+" "+verb+" all of it", "")
	return nil
}

// earlier returns what a rule is about at each stage, and the steps before it
// with what they take of that.
func (c *coverage) earlier(r *Rule) (targets []packet.Node, candidates []candidate, err error) {
	byName := map[string]*candidate{}
	for k, s := range c.stages {
		whole, err := s.set(s.f.matches(r), s.all)
		if err != nil {
			return nil, nil, err
		}
		targets = append(targets, whole)
		left := whole
		for _, x := range s.steps {
			took, err := s.set(x.Cond, left)
			if err != nil {
				return nil, nil, err
			}
			if took == packet.False {
				continue
			}
			name := x.Place.Name
			if byName[name] == nil {
				byName[name] = &candidate{name: name, rule: s.byID[name], sets: make([]packet.Node, len(c.stages))}
			}
			if byName[name].sets[k], err = s.space.Or(byName[name].sets[k], took); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, x := range byName {
		candidates = append(candidates, *x)
	}
	slices.SortFunc(candidates, func(a, b candidate) int { return strings.Compare(a.name, b.name) })
	return targets, candidates, nil
}

// reportCovered names the smallest set of rules found that does all that a rule
// does.
func (c *coverage) reportCovered(i int) error {
	r := c.rules[i]
	targets := make([]packet.Node, len(c.stages))
	for k, s := range c.stages {
		targets[k] = s.sets[i]
	}
	var candidates []candidate
	for j, o := range c.rules {
		if !c.useful[j] || o.Name == r.Name || r.Log && !o.Log {
			continue
		}
		x := candidate{name: o.ID(), rule: o, sets: make([]packet.Node, len(c.stages))}
		meets := false
		for k, s := range c.stages {
			var err error
			if x.sets[k], err = s.space.And(s.sets[j], targets[k]); err != nil {
				return err
			}
			meets = meets || x.sets[k] != packet.False
		}
		if meets {
			candidates = append(candidates, x)
		}
	}
	chosen, err := c.cover(targets, candidates)
	if err != nil {
		return err
	}
	do := " does not"
	if len(chosen) > 1 {
		do = " do not"
	}
	c.warn(r.Pos, r.ID()+" "+r.Kind.verb()+" nothing that "+culprits(chosen)+do, c.limitHint(r, chosen))
	return nil
}

func (c *coverage) limitHint(r *Rule, chosen []candidate) string {
	limited := slices.ContainsFunc(chosen, func(x candidate) bool { return x.rule.Limit.Count > 0 })
	if r.Limit.Count == 0 || limited {
		return ""
	}
	return "its limit has no effect: a packet is let in if any service accepts it"
}

// candidate is what may be named as the reason.
type candidate struct {
	name string
	rule *Rule         // nil for a stage that is no rule
	sets []packet.Node // by stage, within the targets
}

// cover chooses candidates that together hold the targets: one if one does, else
// each time the one that holds most of what is left.
func (c *coverage) cover(targets []packet.Node, candidates []candidate) ([]candidate, error) {
	left := slices.Clone(targets)
	for _, x := range candidates {
		rest, err := c.rest(left, x)
		if err != nil {
			return nil, err
		}
		if isNone(rest) {
			return []candidate{x}, nil
		}
	}
	var chosen []candidate
	for !isNone(left) {
		best, most := -1, 0.0
		for i, x := range candidates {
			w, err := c.weight(left, x)
			if err != nil {
				return nil, err
			}
			if w > most {
				best, most = i, w
			}
		}
		if best < 0 {
			break // what is left is nothing that can be counted
		}
		var err error
		if left, err = c.rest(left, candidates[best]); err != nil {
			return nil, err
		}
		chosen = append(chosen, candidates[best])
	}
	return chosen, nil
}

func isNone(sets []packet.Node) bool {
	return !slices.ContainsFunc(sets, func(n packet.Node) bool { return n != packet.False })
}

func (c *coverage) rest(left []packet.Node, x candidate) ([]packet.Node, error) {
	out := make([]packet.Node, len(left))
	for k, s := range c.stages {
		var err error
		if out[k], err = s.space.Minus(left[k], x.sets[k]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// weight is how much of what is left a candidate holds: the sum of its shares at
// the stages.
func (c *coverage) weight(left []packet.Node, x candidate) (float64, error) {
	sum := 0.0
	for k, s := range c.stages {
		both, err := s.space.And(left[k], x.sets[k])
		if err != nil {
			return 0, err
		}
		if both == packet.False {
			continue
		}
		part, err := s.space.Count(both, countedFields...)
		if err != nil {
			return 0, err
		}
		whole, err := s.space.Count(left[k], countedFields...)
		if err != nil {
			return 0, err
		}
		share, _ := new(big.Rat).SetFrac(part, whole).Float64()
		sum += share
	}
	return sum, nil
}

// mostCulprits is how many reasons a warning names.
const mostCulprits = 4

// culprits names the chosen ones: "service.web at site.toml:3:1 and block.x at …".
func culprits(chosen []candidate) string {
	var names []string
	for i, x := range chosen {
		if i == mostCulprits {
			names = append(names, count(len(chosen)-i, "other", "others"))
			break
		}
		names = append(names, x.text())
	}
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func (x candidate) text() string {
	switch {
	case x.rule != nil:
		return x.rule.ID() + " at " + x.rule.Pos.String()
	case stageOf(x.name) == ReasonBaseline:
		return "the necessary baseline (" + x.name + ")"
	}
	return x.name
}
