package main

import (
	"strings"

	"github.com/fwctl/fwctl/render/pf"
	"github.com/fwctl/fwctl/rules"
)

// renderPF renders for pf, in one of its dialects.
func renderPF(rs *rules.Ruleset, f renderFlags) ([]text, rules.Problems, error) {
	d, ok := pf.ParseDialect(f.dialect)
	if !ok {
		return nil, nil, oneOf("dialect", f.dialect, strings.Fields(pfDialects)...)
	}
	form, name := pf.Anchor, "fwctl.anchor"
	switch f.form {
	case "file":
		form, name = pf.File, "pf.conf"
	case "anchor":
	default:
		return nil, nil, oneOf("form", f.form, "file", "anchor")
	}
	p, ps := pf.Render(rs, pf.Options{Dialect: d, Form: form})
	if ps.Err() != nil {
		return nil, ps, nil
	}
	return []text{{name, p.Text()}}, ps, nil
}

// pfDialects are the names that pf.ParseDialect knows.
const pfDialects = "openbsd freebsd freebsd-old macos"
