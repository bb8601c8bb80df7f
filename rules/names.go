package rules

import "slices"

// Names lists the DNS names of all groups, sorted, each once: what has to be
// resolved before the policy can be.
func (p *Policy) Names() []string {
	var names []string
	for _, g := range p.Groups {
		for _, n := range g.Names {
			names = append(names, n.V)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
