package pf

import (
	"slices"
	"strconv"

	"github.com/fwctl/fwctl/packet"
)

// old reads the statements of the old grammar: scrub, nat, rdr, binat, and the
// same behind "no".
func (p *parser) old() Statement {
	line := p.tok.line
	no := p.take("no")
	kind := p.takeOne("scrub", "nat", "rdr", "binat")
	switch {
	case kind == "":
		p.refuse("%s behind no", p.tok)
	case p.config.Dialect == OpenBSD:
		p.refuse("OpenBSD has no %s rules: it has `match … scrub (…)`, nat-to and rdr-to", kind)
	case kind == "scrub":
		p.enter(partNormalization)
		return p.scrub(line, no)
	}
	p.enter(partTranslation)
	return p.translation(&Translation{Line: line, Kind: kind, No: no})
}

func (p *parser) scrub(line int, no bool) Statement {
	s := &Scrub{Line: line, No: no, Match: p.match(false)}
	p.noRoute()
	s.Options = p.scrubOptions()
	return s
}

// scrubOrder is the order in which pfctl prints the options of scrub.
var scrubOrder = []string{"no-df", "random-id", "min-ttl", "max-mss", "set-tos", "reassemble", "fragment"}

func (p *parser) scrubOptions() []string {
	var out []string
	for p.tok.kind == word {
		out = append(out, p.scrubOption())
	}
	inOrder(out, scrubOrder)
	return out
}

func (p *parser) scrubOption() string {
	name := p.tok.text
	if !slices.Contains(scrubOrder, name) {
		p.refuse("%s is no option of scrub", p.tok)
	}
	p.advance()
	switch name {
	case "min-ttl", "max-mss", "set-tos":
		return name + " " + p.raw("a number")
	case "reassemble":
		p.expect("tcp")
		return "reassemble tcp"
	case "fragment":
		return "fragment " + p.fragments()
	}
	return name
}

// fragments reads what scrub does with fragments.
func (p *parser) fragments() string {
	if p.config.Dialect == FreeBSD && p.take("no") {
		p.expect("reassemble")
		return "no reassemble"
	}
	how := p.takeOne("reassemble", "crop", "drop-ovl")
	if how == "" {
		p.refuse("%s behind fragment", p.tok)
	}
	return how
}

func (p *parser) translation(t *Translation) Statement {
	t.Pass = !t.No && p.take("pass")
	t.Match = p.match(false)
	p.noRoute()
	if t.Quick || t.Dir != Both {
		p.refuse("%s rules have no direction and no quick", t.Kind)
	}
	for p.tok.is("tag") || p.tok.is("tagged") || p.tok.is("!") {
		if p.take("tag") {
			t.Tag = p.tag()
			continue
		}
		p.matchOption(&t.Match)
	}
	if p.take("rtable") {
		t.Rtable = "rtable " + strconv.FormatUint(p.uint(65535), 10)
	}
	if !t.No {
		p.expect("->")
		p.items(func() { t.To = append(t.To, p.host()) })
		t.Port, t.Text = p.poolRest(t.Kind, t.To)
	}
	t.Family = t.firstFamily()
	switch t.Kind {
	case "rdr":
		p.consistentRdr(t)
	case "binat":
		p.consistentBinat(t)
	}
	p.consistentMatch(t.Match)
	p.consistentPool(t.Match, t.To)
	return t
}

// firstFamily is the family that the rule is for. If it says none it is that of the first
// address, whatever others stand behind it (natrule in parse.y).
func (s *Translation) firstFamily() Family {
	f := s.Family
	for _, hs := range [][]Host{s.From.Hosts, s.Match.To.Hosts, s.To} {
		if f == AnyFamily && len(hs) > 0 && hs[0].Zone == "" {
			f = hs[0].family()
		}
	}
	return f
}

// consistentBinat refuses a binat for which not one address, or a network, is another of
// the same size.
func (p *parser) consistentBinat(t *Translation) {
	from, to := t.From.Hosts, t.To
	switch {
	case t.Family == AnyFamily:
		p.refuse("binat must say its family, inet or inet6, or have an address that does")
	case len(t.From.Ports)+len(t.Match.To.Ports) > 0:
		p.refuse("binat cannot ask for ports")
	case len(from) > 1 || len(t.Match.To.Hosts) > 1 || len(to) > 1:
		p.refuse("binat takes one address each")
	case slices.ContainsFunc(slices.Concat(from, to), Host.lookedUp):
		p.refuse("binat takes one address, which a table or (em0) is not, but (em0:0)")
	case len(from) == 1 && len(to) == 1 && from[0].Kind == PrefixHost && to[0].Kind == PrefixHost && from[0].Prefix.Bits() != to[0].Prefix.Bits():
		p.refuse("the networks of binat are not of one size")
	}
}

// consistentRdr refuses ports that rdr cannot change.
func (p *parser) consistentRdr(t *Translation) {
	if slices.ContainsFunc(t.Match.To.Ports, func(o PortOp) bool { return o.Op != "" }) {
		p.refuse("rdr takes a port or a range of ports, and no other test of the destination's port")
	}
	if t.Port != nil && (len(t.Protos) == 0 || slices.ContainsFunc(t.Protos, func(x packet.Proto) bool { return !p.config.Dialect.hasPorts(x) })) {
		p.refuse("port behind -> only applies to tcp and udp: each protocol of the rule must be one of these")
	}
}
