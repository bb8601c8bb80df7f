package pf

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

func (p *parser) scrubOptions() []string {
	var out []string
	for p.tok.kind == word {
		switch name := p.tok.text; name {
		case "no-df", "random-id", "fragment", "reassemble", "tcp", "min-ttl", "max-mss", "set-tos", "crop", "drop-ovl":
			out = append(out, name)
			p.advance()
			if name == "min-ttl" || name == "max-mss" || name == "set-tos" {
				out = append(out, p.raw("a number"))
			}
		default:
			p.refuse("%s is no option of scrub", p.tok)
		}
	}
	return out
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
