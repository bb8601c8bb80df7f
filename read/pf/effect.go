package pf

import (
	"slices"
	"strconv"
	"strings"
)

// effect reads what a rule does beside deciding, as the systems have it that took pf from
// OpenBSD.
func (p *parser) effect(r *Rule) {
	name, d := p.tok.text, p.config.Dialect
	if i := slices.IndexFunc(r.Effects, func(e string) bool { return firstWord(e) == name }); i >= 0 {
		p.refuse("%s cannot be said twice", name)
	}
	p.advance()
	switch name {
	case "set":
		if d == MacOS {
			p.refuse("%s has no set in rules", d.system())
		}
		p.set()
		return
	case "queue":
		r.Effects = append(r.Effects, p.queues())
		return
	case "scrub":
		if d != FreeBSD {
			p.refuse("%s has no scrub in rules", d.system())
		}
		if !p.tok.is("(") {
			p.expect("(")
		}
		r.Effects = append(r.Effects, joinSigns(append([]string{name}, p.parentheses(name)...)))
		return
	case "dnpipe", "dnqueue":
		r.Effects = append(r.Effects, name+p.pipes())
		return
	}
	r.Effects = append(r.Effects, name+" "+strconv.FormatUint(p.number(1<<32-1), 10))
}

// pipes reads a pipe of dummynet, or one for each direction.
func (p *parser) pipes() string {
	one := func() string { return strconv.FormatUint(p.number(65535), 10) }
	if !p.take("(") {
		return " " + one()
	}
	there := one()
	p.take(",")
	if p.take(")") {
		return " " + there
	}
	back := one()
	p.expect(")")
	return "(" + there + ", " + back + ")"
}

// parentheses reads all that stands in them.
func (p *parser) parentheses(of string) []string {
	var words []string
	for depth := 0; ; {
		depth += p.nesting()
		words = append(words, p.tok.String())
		if p.tok.kind == bad || p.tok.kind == newline || p.tok.kind == endOfText {
			p.refuse("the parenthesis behind %q is not closed", of)
		}
		p.advance()
		if depth == 0 {
			return words
		}
	}
}

// divert reads which socket gets the packets. FreeBSD knows it by its port alone, whatever
// address stands there.
func (p *parser) divert() string {
	kind, d := p.tok.text, p.config.Dialect
	if d == FreeBSD || d == FreeBSDOld {
		if kind != "divert-to" {
			p.refuse("%s has no meaning on FreeBSD", kind)
		}
		p.advance()
		if lo, ok := p.portAlone(); ok {
			return kind + " " + lo
		}
		p.str("an address or a port")
		p.expect("port")
		lo, ok := p.portAlone()
		if !ok {
			p.refuse("%s where a port belongs", p.tok)
		}
		return kind + " " + lo
	}
	words := []string{kind}
	p.advance()
	for p.tok.kind == word && (p.tok.text == "port" || !p.keyword(p.tok.text)) {
		words = append(words, p.tok.text)
		p.advance()
	}
	return strings.Join(words, " ")
}

// portAlone reads a port, not 0, that is no address.
func (p *parser) portAlone() (string, bool) {
	n, ok := number(services, p.tok.text, 65535)
	if !ok {
		n, ok = service(p.tok.text)
	}
	if !ok || n == 0 || p.tok.kind != word {
		return "", false
	}
	p.advance()
	return strconv.Itoa(n), true
}

// mostLabels is how many FreeBSD takes in a rule (PF_RULE_MAX_LABEL_COUNT).
const mostLabels = 5

// labelled reads a label; FreeBSD takes several.
func (p *parser) labelled(r *Rule) {
	l := p.label()
	switch {
	case l == "":
	case r.Label == "":
		r.Label = l
	case p.config.Dialect != FreeBSD:
		p.refuse("a rule has one label")
	case len(r.Labels) == mostLabels-1:
		p.refuse("a rule has %d labels at most", mostLabels)
	default:
		r.Labels = append(r.Labels, l)
	}
}
