package main

import (
	"slices"

	"github.com/fwctl/fwctl/audit/exposure"
)

// codes is the answer of explain to the code of a finding.
type codes struct {
	Changed bool            `json:"changed"`
	Codes   []exposure.Code `json:"codes"`
}

// explainCode says what findings mean: one, or all of them.
func (g *global) explainCode(code string) error {
	a := codes{Codes: exposure.Codes}
	if code != "FW" {
		i := slices.IndexFunc(exposure.Codes, func(c exposure.Code) bool { return c.Code == code })
		if i < 0 {
			return usage("there is no finding "+code, "`fwctl explain FW` lists them")
		}
		a.Codes = exposure.Codes[i : i+1]
	}
	return g.ui.answer(a, func() {
		for i, c := range a.Codes {
			if i > 0 {
				g.ui.print("\n")
			}
			g.ui.print("%s %s (%s)\n%s\nWhat to do: %s\n", c.Code, c.Name, c.Severity, c.Meaning, c.Cure)
		}
	})
}
