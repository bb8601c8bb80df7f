package iptables

import (
	"fmt"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// Options are what the text of iptables-save does not say. The zero value is a
// host without sets, on which only numbers and well-known names mean anything.
type Options struct {
	Sets      Sets      // ipset's; a test for a set that is not there is unknown
	Protocols Protocols // names of protocols
	Services  Services  // names of ports
	// Links are the interfaces whose addresses are known, for REDIRECT.
	Links []packet.Link
}

// hookChains are the chains of the hooks.
var hookChains = map[packet.Hook]string{
	packet.Input: "INPUT", packet.Output: "OUTPUT", packet.Forward: "FORWARD",
	packet.Prerouting: "PREROUTING", packet.Postrouting: "POSTROUTING",
}

// tableOrder is the order of the tables at a hook, by their priorities
// (linux/netfilter_ipv4.h): that of nat depends on what it translates.
func tableOrder(h packet.Hook) []string {
	if h == packet.Input || h == packet.Postrouting {
		return []string{"raw", "mangle", "filter", "security", "nat"}
	}
	return []string{"raw", "mangle", "nat", "filter", "security"}
}

// Filter returns what the tables do with packets of a family at a hook, as they
// arrive there: with the marks, the state and the addresses that they have by
// then. A text of iptables-save is IPv4, one of ip6tables-save IPv6.
//
// What cannot be modelled is an unknown in it, never left out. Packets that are
// too short for their headers, which some matches drop at once, are no packets
// here. Table nat sees the first packet of a flow only; the others are translated
// without being asked for, and count with the addresses that they have.
func Filter(s *Save, hook packet.Hook, is6 bool, opt Options) *packet.Filter {
	r := &reader{
		opt: opt, hook: hook, is6: is6, seen: map[string]int{}, tests: map[string]packet.Cond{},
		filter: &packet.Filter{Hook: hook, Chains: map[string]*packet.Chain{}},
	}
	for _, name := range tableOrder(hook) {
		r.table = s.Table(name)
		if c := r.table.Chain(hookChains[hook]); c != nil {
			r.filter.Base = append(r.filter.Base, r.base(c))
		}
	}
	return r.filter
}

// reader translates the tables for one hook.
type reader struct {
	opt    Options
	hook   packet.Hook
	is6    bool
	filter *packet.Filter
	table  *Table                 // the one that is being read
	seen   map[string]int         // how often each text of an unknown occurred
	tests  map[string]packet.Cond // for sets, by the words that ask for them
}

func (r *reader) base(c *Chain) *packet.Chain {
	out := r.chain(c)
	switch c.Policy {
	case "DROP":
		out.Policy = packet.OutcomeDrop
	case "ACCEPT", "-":
		out.Policy = packet.OutcomeAccept
	default:
		out.Policy = packet.OutcomeUnknown
	}
	if r.table.Name == "nat" {
		out.When = states(packet.New, packet.Related)
	}
	return out
}

// chain translates a chain and those that it leads to.
func (r *reader) chain(c *Chain) *packet.Chain {
	out := &packet.Chain{Name: r.chainName(c.Name), Policy: packet.OutcomeAccept}
	if c.Name != hookChains[r.hook] {
		r.filter.Chains[out.Name] = out
	}
	for i := range c.Rules {
		out.Rules = append(out.Rules, r.rule(c, i)...)
	}
	return out
}

// chainName is unique among all tables.
func (r *reader) chainName(name string) string { return r.table.Name + " " + name }

// lead returns the name by which rules jump to a chain, and false if the text
// does not have it.
func (r *reader) lead(name string) (string, bool) {
	c := r.table.Chain(name)
	if c == nil || builtIn(name) {
		return "", false // no rule leads to a built-in chain
	}
	full := r.chainName(name)
	if r.filter.Chains[full] == nil {
		r.chain(c)
	}
	return full, true
}

func builtIn(chain string) bool {
	for _, name := range hookChains {
		if name == chain {
			return true
		}
	}
	return false
}

// rule translates a rule: into no step, if it decides and changes nothing.
func (r *reader) rule(c *Chain, i int) []packet.Step {
	if x := r.work(c, i); x != nil {
		return x.steps
	}
	return nil
}

// work is rule with all that was found; nil if the rule is of the other family.
func (r *reader) work(c *Chain, i int) *rule {
	st := parse(Words(c.Rules[i].Text))
	if st.own.option("4") != nil && r.is6 || st.own.option("6") != nil && !r.is6 {
		return nil // iptables-restore leaves it out
	}
	source := "iptables"
	if r.is6 {
		source = "ip6tables"
	}
	x := &rule{reader: r, statement: st, place: packet.Place{
		Source: source, Table: r.table.Name, Chain: c.Name, Number: i + 1, Line: c.Rules[i].Line,
		Text: "-A " + c.Name + " " + c.Rules[i].Text, Name: st.comment(),
	}}
	x.cond = append(x.cond, r.header(&st.own)...)
	for _, m := range st.matches {
		x.cond = append(x.cond, r.match(m, x))
	}
	x.act()
	return x
}

// comment is the text of the match of that name.
func (st *statement) comment() string {
	for _, m := range st.matches {
		if text, ok := m.option("comment").arg(); ok && m.name == "comment" {
			return text
		}
	}
	return ""
}

// rule is the work on one rule.
type rule struct {
	*reader
	*statement
	place packet.Place
	cond  packet.All
	steps []packet.Step
}

// emit writes a step for packets that fulfil one more condition; nil: all that
// the rule matches.
func (x *rule) emit(o packet.Outcome, chain string, also packet.Cond, writes ...packet.Write) {
	cond := x.cond
	if also != nil {
		cond = append(slices.Clone(cond), also)
	}
	x.steps = append(x.steps, packet.Step{Cond: cond, Writes: writes, Outcome: o, Chain: chain, Place: x.place})
}

// unknown makes a condition of something that no packet decides or that was not
// understood. The same text counts as the same unknown, the second one in a
// ruleset as the second one of another.
func (r *reader) unknown(text string, unsupported bool) packet.Cond {
	return packet.Unknown{Key: r.key(text), Unsupported: unsupported}
}

func (r *reader) key(text string) string {
	if r.seen[text]++; r.seen[text] > 1 {
		return fmt.Sprintf("%s (%d)", text, r.seen[text])
	}
	return text
}

// unsupported is an unknown for an option that was not understood.
func (r *reader) unsupported(p *part, o *option) packet.Cond {
	text := o.String()
	if p.name != "" {
		text = "-m " + p.name + " " + text
	}
	return r.unknown(text, true)
}
