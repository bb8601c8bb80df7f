package pf

import "slices"

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
	if t.Pass {
		t.Log, _ = p.logQuick()
	}
	t.Match = p.match(false)
	for p.tok.is("tag") || p.tok.is("tagged") || p.tok.is("!") {
		if p.take("tag") {
			t.Tag = p.tag()
			continue
		}
		p.matchOption(&t.Match)
	}
	if t.No {
		return t
	}
	p.expect("->")
	p.items(func() { t.To = append(t.To, p.host()) })
	if p.take("port") {
		op := p.portOrStar()
		t.Port = &op
	}
	t.Text = p.pool()
	p.consistentPool(t.Match, t.To)
	return t
}
