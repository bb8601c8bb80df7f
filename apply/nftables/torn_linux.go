package nftables

import (
	"slices"

	"github.com/fwctl/fwctl/render/nftables"
)

// torn returns the sets of the program, under the kernel's names, that the difference
// must not give other elements in place: a packet that is among the rules meanwhile
// could meet neither what was before nor what is after. Where nothing but elements
// changes, and no packet is looked up in more than one of the sets or twice, every
// packet meets one of the two.
func (d *difference) torn(p *nftables.Program) []string {
	out := slices.Clone(d.remade)
	for _, e := range d.elements {
		if !slices.Contains(d.sets, e.set) {
			out = append(out, e.set.Name)
		}
	}
	if len(d.remade) == 0 && d.onlyElements() && once(p, out) {
		return nil
	}
	return out
}

// onlyElements reports whether nothing changes but elements. Rules of chains that go
// do not count: what led to them are elements.
func (d *difference) onlyElements() bool {
	return !d.wake && len(d.sets)+len(d.chains)+len(d.policies) == 0 &&
		!slices.ContainsFunc(d.rules, func(r ruleChange) bool { return !slices.Contains(d.oldChains, r.chain) })
}

// once reports whether no packet, on its way through one hook, is looked up more than
// once in the sets.
func once(p *nftables.Program, sets []string) bool {
	for _, is6 := range []bool{false, true} {
		w := walk{chains: map[string]*nftables.Chain{}, maps: map[string]*nftables.Set{}, sets: sets, is6: is6, most: map[string]int{}}
		for _, c := range p.Chains {
			w.chains[c.Name] = c
		}
		for _, s := range p.Sets {
			w.maps[s.Name] = s
		}
		for _, c := range p.Chains {
			if c.Base != nil && w.chain(c.Name) > 1 {
				return false
			}
		}
	}
	return true
}

// walk counts look-ups of packets of one family, at most.
type walk struct {
	chains map[string]*nftables.Chain
	maps   map[string]*nftables.Set
	sets   []string
	is6    bool
	most   map[string]int // by chain
}

// chain counts those on the way through the chain and all that it leads to. A rule's
// conditions are taken to hold or not, whichever makes more.
func (w walk) chain(name string) int {
	if n, ok := w.most[name]; ok {
		return n
	}
	sofar, most := 0, 0
	for _, r := range w.chains[name].Rules {
		if w.foreign(r) {
			continue
		}
		for _, s := range r.Stmts {
			if slices.Contains(w.sets, setIn(s)) {
				sofar++
			}
			stays, leaves := w.leads(s)
			most = max(most, sofar+leaves)
			sofar += stays
		}
	}
	w.most[name] = max(most, sofar)
	return w.most[name]
}

// leads counts what a statement leads to: by jumps, which come back, and otherwise.
func (w walk) leads(s nftables.Stmt) (jumps, gotos int) {
	switch s := s.(type) {
	case nftables.Verdict:
		return w.verdict(s)
	case nftables.Vmap:
		for _, e := range w.maps[s.Map].Elements {
			j, g := w.verdict(e.Verdict)
			jumps, gotos = max(jumps, j), max(gotos, g)
		}
	}
	return jumps, gotos
}

func (w walk) verdict(v nftables.Verdict) (jumps, gotos int) {
	switch v.Kind {
	case nftables.Jump:
		return w.chain(v.Chain), 0
	case nftables.Goto:
		return 0, w.chain(v.Chain)
	}
	return 0, 0
}

// foreign reports whether the rule has a condition that only the other family meets.
func (w walk) foreign(r nftables.Rule) bool {
	return slices.ContainsFunc(r.Stmts, func(s nftables.Stmt) bool {
		switch s := s.(type) {
		case nftables.Family:
			return s.Is6 != w.is6
		case nftables.Addr:
			return s.Prefix.Addr().Is6() != w.is6
		case nftables.ICMPType:
			return s.Is6 != w.is6
		case nftables.Throttle:
			return s.Is6 != w.is6
		case nftables.Lookup:
			return w.foreignKey(s.Key)
		case nftables.Vmap:
			return w.foreignKey(s.Key)
		}
		return false
	})
}

func (w walk) foreignKey(key []nftables.Load) bool {
	return slices.ContainsFunc(key, func(l nftables.Load) bool {
		switch l.Field {
		case nftables.FieldAddr4, nftables.FieldICMP:
			return w.is6
		case nftables.FieldAddr6, nftables.FieldICMP6:
			return !w.is6
		}
		return false
	})
}
