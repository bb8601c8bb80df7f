package pf

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// noNumber reads a string of the grammar that cannot be a number: OpenBSD's pfctl takes that
// for one.
func (p *parser) noNumber(what string) string {
	if t := p.tok; p.config.Dialect == OpenBSD && t.kind == word && strings.Trim(t.text, "0123456789") == "" {
		p.refuse("%s is a number where %s belongs: write it in quotes", t, what)
	}
	return p.str(what)
}

// tag reads the name of one.
func (p *parser) tag() string {
	s := p.noNumber("a tag")
	if len(s) > longestLabel {
		p.refuse("the tag %q is longer than %d bytes", s, longestLabel)
	}
	return s
}

// only reports whether a rule names protocols, and none but these.
func (m Match) only(protos ...packet.Proto) bool {
	return len(m.Protos) > 0 && !slices.ContainsFunc(m.Protos, func(x packet.Proto) bool { return !slices.Contains(protos, x) })
}

// strict refuses what OpenBSD's pfctl does not let rules do beside deciding
// (rule_consistent, filteropts_to_rule and expand_divertspec in parse.y).
func (p *parser) strict(r *Rule) {
	kept := r.Action == Pass && r.State != NoState
	has := func(kinds ...string) bool {
		return slices.ContainsFunc(r.Translate, func(t Translate) bool { return slices.Contains(kinds, t.Kind) })
	}
	switch {
	case r.Action == Matches && r.AllowOpts:
		p.refuse("allow-opts can only stand in pass rules")
	case r.Action == Matches && slices.Contains(r.Unknown, "once"):
		p.refuse("once cannot stand in match rules")
	case r.Action == Matches && r.Divert != "":
		p.refuse("match rules divert nothing")
	case r.Route != "" && !kept:
		p.refuse("%s is for pass rules that keep state", firstWord(r.Route))
	case r.Route != "" && r.Dir == Both && firstWord(r.Route) != "dup-to":
		p.refuse("a rule with %s must say its direction", firstWord(r.Route))
	case r.Route != "" && has("af-to"):
		p.refuse("af-to does not go with %s", firstWord(r.Route))
	case has("af-to") && (r.Dir != In || r.Action == Matches):
		p.refuse("af-to is for pass rules that say in")
	case has("nat-to", "rdr-to") && r.Dir == Both:
		p.refuse("a rule with nat-to or rdr-to must say its direction")
	case has("nat-to", "rdr-to", "binat-to") && r.Action != Matches && !kept:
		p.refuse("translations are for match rules, and pass rules that keep state")
	case cmp.Or(r.family(), r.addressFamily()) == Inet6 && slices.ContainsFunc(r.Effects, ofInet):
		p.refuse("no-df and random-id are for inet")
	}
	p.strictDivert(r)
	p.strictHops(r)
	for _, t := range r.Translate {
		p.strictPool(r, t)
	}
}

// ofInet reports whether an effect is one that IPv6 packets have no field for.
func ofInet(effect string) bool {
	return firstWord(effect) == "scrub" && (strings.Contains(effect, "no-df") || strings.Contains(effect, "random-id"))
}

func (p *parser) strictDivert(r *Rule) {
	switch kind := firstWord(r.Divert); {
	case kind == "divert-to" && r.Dir == Out:
		p.refuse("divert-to is for packets that come in")
	case kind == "divert-reply" && r.Dir == In:
		p.refuse("divert-reply is for packets that go out")
	}
}

func (p *parser) strictHops(r *Rule) {
	for _, h := range r.hops {
		if h.Kind == DynamicHost && !slices.Equal(h.Mods, []string{"peer"}) {
			p.refuse("%s where (%s:peer) belongs: packets are sent to the other end of an interface", h, h.Name)
		}
	}
}

func (p *parser) strictPool(r *Rule, t Translate) {
	for _, h := range t.To {
		if h.Not || h.Kind == NoRoute || h.Kind == URPFFailed || h.Kind == AnyHost {
			p.refuse("%s where addresses belong that a packet is given", h)
		}
	}
	if t.Kind == "binat-to" {
		p.strictBinat(r, t)
	}
}

// strictBinat refuses a binat-to for which not one address is another.
func (p *parser) strictBinat(r *Rule, t Translate) {
	if r.Dir != Both {
		p.refuse("binat-to is for both directions")
	}
	if len(r.From.Hosts) == 0 {
		p.refuse("binat-to needs a source")
	}
	if len(t.To) > 1 {
		p.refuse("binat-to takes one address")
	}
	for _, h := range slices.Concat(r.From.Hosts, t.To) {
		switch h.Kind {
		case PrefixHost, NamedHost:
		case DynamicHost:
			if !slices.Contains(h.Mods, "0") {
				p.refuse("%s where (%s:0) belongs: binat-to takes one address", h, h.Name)
			}
		default:
			p.refuse("%s is no address for binat-to", h)
		}
	}
}

// pairs refuses words of an option that are not one name and number, or several in
// braces.
func (p *parser) pairs(words []string) {
	name := words[0]
	words = words[1:]
	if n := len(words); n > 1 && words[0] == "{" && words[n-1] == "}" {
		words = slices.DeleteFunc(slices.Clone(words[1:n-1]), func(w string) bool { return w == "," })
	} else if n != 2 {
		p.refuse("set %s takes one name and a number, or several in braces", name)
	}
	if len(words) == 0 || len(words)%2 != 0 {
		p.refuse("set %s takes names and numbers", name)
	}
	for i := 1; i < len(words); i += 2 {
		if _, err := strconv.ParseUint(words[i], 10, 32); err != nil {
			p.refuse("%q is no number for set %s", words[i], name)
		}
	}
}
