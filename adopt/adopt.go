package adopt

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Limits bound the work of an import. The zero value is DefaultNodes, and any time.
type Limits struct {
	Nodes int           // of decision diagrams, for each family
	Time  time.Duration // for each step of the work; 0: any
}

// DefaultNodes takes at most some 1.3 gigabytes.
const DefaultNodes = 20_000_000

// Result is a policy and how far it means what was imported.
type Result struct {
	Policy     string   `json:"policy"`         // the text
	Rules      int      `json:"rules"`          // rules at the input hook that decide something, or lead to others
	Translated int      `json:"translated"`     // those of them that are not in Left
	Left       []Left   `json:"not_translated"` // in the order of the text
	Own        []string `json:"own"`            // how the ruleset differs in what every policy decides by itself

	Meaning *rules.Ruleset `json:"-"` // of the policy, away from any host
	source  *Ruleset
}

// Imported is what was imported, at the input hook, for the packets that a policy has
// to decide. Limits in it are owned by the services of the policy. It is nil for a
// family that the ruleset does not speak of.
func (r *Result) Imported(is6 bool) *packet.Filter {
	f := r.source.filter(is6)
	if f == nil {
		return nil
	}
	return apart(renamed(f, is6), is6)
}

// Means is the policy, for the same packets.
func (r *Result) Means(is6 bool) *packet.Filter {
	return apart(r.Meaning.Filter(packet.Input, is6), is6)
}

// Import translates what a ruleset does at the input hook. An error is a budget that
// did not suffice, which IsSpent tells, or a mistake of this package.
func Import(r *Ruleset, lim Limits) (res *Result, err error) {
	defer guard(&err)
	lim.Nodes = cmp.Or(lim.Nodes, DefaultNodes)
	im := &importing{source: r, lim: lim}
	for _, is6 := range []bool{false, true} {
		f := r.filter(is6)
		if f == nil {
			continue
		}
		k, l := known(renamed(f, is6))
		im.left = append(im.left, l...)
		im.left = append(im.left, unreached(f, k)...)
		im.rules = append(im.rules, deciding(f)...)
		fam := newFamily(k, is6, im.source.over(is6), lim)
		im.left = append(im.left, fam.lost...)
		im.families = append(im.families, fam)
	}
	if len(im.families) == 0 {
		return nil, fmt.Errorf("%s speaks of no family", r.Name)
	}
	return im.best()
}

// importing is the work on one ruleset.
type importing struct {
	source   *Ruleset
	lim      Limits
	families []*family
	left     []Left         // by the readers, and for what no policy asks
	rules    []packet.Place // that decide or lead elsewhere
}

// best tries the default that the rules suggest, and the other one if that cannot
// say all.
func (im *importing) best() (*Result, error) {
	accept := slices.ContainsFunc(im.families, (*family).acceptsTheRest)
	one, err := im.with(accept)
	if err != nil || len(one.Left) == len(im.left)+len(im.source.Left) {
		return one, err
	}
	other, err := im.with(!accept)
	if err != nil || len(other.Left) >= len(one.Left) {
		return one, err
	}
	return other, nil
}

// acceptsTheRest reports whether packets are accepted because no rule, or the last
// one, says anything of them.
func (f *family) acceptsTheRest() bool {
	rest, returned := packet.False, packet.False
	for _, e := range f.events {
		of := f.and(e.decided, f.frame)
		switch {
		case of == packet.False:
		case e.outcome == packet.OutcomeReturn && f.within(f.frame, e.asked):
		case e.outcome == packet.OutcomeReturn:
			returned = f.or(returned, of)
		case e.outcome == packet.OutcomeAccept && (e.policy || f.within(f.frame, e.asked)):
			rest = f.or(rest, f.and(of, f.accepted))
		}
	}
	return f.less(rest, returned) != packet.False
}

// with makes the policy with one default.
func (im *importing) with(accept bool) (*Result, error) {
	var plans []*plan
	for _, f := range im.families {
		plans = append(plans, f.planFor(accept))
	}
	d := &document{from: im.source.Name, inbound: "accept", groups: &grouping{names: newGroupNames(), byList: map[string]*group{}}}
	if len(plans) == 1 {
		d.groups.spoken = everything[familyIndex(plans[0].is6)]
	}
	if !accept {
		d.inbound = im.refusal()
		for i, p := range plans {
			p.anyEcho = len(plans) == 2 && plans[1-i].acceptsEcho()
		}
		for _, p := range plans {
			p.pingFromSome()
		}
		d.icmp = icmpLevel(plans)
	}
	d.sections = sections(plans)
	if accept && len(plans) == 1 {
		d.sections = append(d.sections, otherFamily(!plans[0].is6))
	}
	share(d.sections)
	text := d.text()
	rs, err := meaning(text)
	if err != nil {
		return nil, fmt.Errorf("internal error: the policy that was written is not right: %w\n%s", err, text)
	}
	left, own, err := im.check(rs, plans)
	if err != nil {
		return nil, err
	}
	if d.left = left; len(left) > 0 {
		text = d.whole()
	}
	translated := len(im.rules) - countRules(left, im.rules)
	return &Result{Policy: text, Rules: len(im.rules) + len(im.source.Left), Translated: translated, Left: append([]Left{}, left...), Own: append([]string{}, own...), Meaning: rs, source: im.source}, nil
}

// otherFamily blocks the family of which nothing was said, where the default would
// accept it.
func otherFamily(is6 bool) *section {
	i, name := familyIndex(is6), "ipv4"
	if is6 {
		name = "ipv6"
	}
	s := &section{block: true, called: name, transports: []transport{{any: true}}, remark: "What was imported says nothing of IP" + name[2:] + ", so nothing is opened there."}
	s.from[i].said, s.to[i].said = true, true
	return s
}

// refusal is the default that refuses as the ruleset does: with an answer if the
// rule that decides most gives one.
func (im *importing) refusal() string {
	for _, f := range im.families {
		for _, e := range slices.Backward(f.events) {
			if refuses(e.outcome) && f.within(f.frame, e.asked) && f.and(e.decided, f.frame) != packet.False {
				return e.outcome.String()
			}
		}
	}
	return "drop"
}

// deciding returns the rules at the hook that decide something, or lead elsewhere.
func deciding(f *packet.Filter) []packet.Place {
	var out []packet.Place
	each(f, func(s *packet.Step) {
		written := s.Place.Line+s.Place.Number > 0 || s.Place.Handle > 0 // rather than what a kernel does by itself
		if written && !slices.Contains(out[max(0, len(out)-1):], s.Place) {
			out = append(out, s.Place)
		}
	})
	return out
}

// each calls f for the rules that packets can come to, chains one after the other,
// each once.
func each(f *packet.Filter, do func(*packet.Step)) {
	seen, quiet := map[string]bool{}, silentChains(f)
	var walk func(*packet.Chain)
	walk = func(c *packet.Chain) {
		if c == nil {
			return
		}
		var next []string
		c.Steps(func(s *packet.Step) {
			if !quiet.decides(s) {
				return
			}
			do(s)
			if (s.Outcome == packet.OutcomeJump || s.Outcome == packet.OutcomeGoto) && !seen[s.Chain] {
				seen[s.Chain] = true
				next = append(next, s.Chain)
			}
		})
		for _, n := range next {
			walk(f.Chains[n])
		}
	}
	for _, c := range f.Base {
		walk(c)
	}
}

// unreached returns the rules that only rules which were left out lead to.
func unreached(f, k *packet.Filter) []Left {
	have := map[packet.Place]bool{}
	each(k, func(s *packet.Step) { have[s.Place] = true })
	dropped := map[packet.Place]bool{}
	_, ls := known(f)
	for _, l := range ls {
		dropped[l.place] = true
	}
	var out []Left
	for _, p := range deciding(f) {
		if !have[p] && !dropped[p] {
			out = append(out, left(p, "only rules that were not translated lead to it"))
		}
	}
	return out
}

// countRules returns how many of the rules are left.
func countRules(ls []Left, rules []packet.Place) int {
	n := 0
	for _, p := range rules {
		if slices.ContainsFunc(ls, func(l Left) bool { return l.place == p || slices.Contains(l.also, p) }) {
			n++
		}
	}
	return n
}
