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
	if t.No {
		return t
	}
	p.expect("->")
	p.items(func() { t.To = append(t.To, p.host()) })
	t.Port, t.Text = p.poolRest(t.Kind, t.To)
	if t.Kind == "rdr" {
		p.consistentRdr(t)
	}
	p.consistentPool(t.Match, t.To)
	return t
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
