package packet

import "slices"

// Bounds say what is known of some packets: the values that fields of theirs can
// have, and the interfaces by which they enter; none named: any.
type Bounds struct {
	Fields map[Field]Ranges
	In     []string
}

// Narrow returns a filter that decides like this one on all packets within the
// bounds, in fewer and simpler rules. It may be told only of fields that no rule
// writes before it asks for them.
func (fl *Filter) Narrow(b Bounds) *Filter {
	out := &Filter{Hook: fl.Hook, Chains: map[string]*Chain{}}
	for _, c := range fl.Base {
		when := b.cond(c.When)
		if never(when) {
			continue
		}
		c = b.chain(c)
		if c.When = when; always(when) {
			c.When = nil
		}
		out.Base = append(out.Base, c)
	}
	for name, c := range fl.Chains {
		out.Chains[name] = b.chain(c)
	}
	return out
}

func (b Bounds) chain(c *Chain) *Chain {
	out := *c
	out.Rules = b.steps(c.Rules)
	return &out
}

// steps leaves out rules that do not hold, and those behind one that decides in
// any case.
func (b Bounds) steps(steps []Step) []Step {
	var out []Step
	for _, s := range steps {
		s.Cond = b.cond(s.Cond)
		if never(s.Cond) {
			continue
		}
		if len(s.Cases) > 0 {
			if s.Cases = b.steps(s.Cases); len(s.Cases) == 0 {
				s.Outcome = OutcomeContinue
			}
		}
		out = append(out, s)
		if always(s.Cond) && s.plain() {
			break
		}
	}
	return out
}

func always(c Cond) bool {
	all, ok := c.(All)
	return c == nil || ok && len(all) == 0
}

func never(c Cond) bool {
	one, ok := c.(Any)
	return ok && len(one) == 0
}

// cond is the condition for packets within the bounds.
func (b Bounds) cond(c Cond) Cond {
	switch c := c.(type) {
	case All:
		return b.all(c)
	case Any:
		return b.any(c)
	case Not:
		return b.not(c)
	case In:
		return b.in(c)
	case Bits:
		return b.bits(c)
	case Iface:
		return b.iface(c)
	case *Tuples:
		return b.tuples(c)
	}
	return c
}

func (b Bounds) all(conds All) Cond {
	out := All{}
	for _, c := range conds {
		switch c = b.cond(c); {
		case never(c):
			return Never
		case !always(c):
			out = append(out, c)
		}
	}
	return out
}

func (b Bounds) any(conds Any) Cond {
	out := Any{}
	for _, c := range conds {
		switch c = b.cond(c); {
		case always(c):
			return All{}
		case !never(c):
			out = append(out, c)
		}
	}
	return out
}

func (b Bounds) not(n Not) Cond {
	switch c := b.cond(n.Cond); {
	case always(c):
		return Never
	case never(c):
		return All{}
	default:
		return Not{c}
	}
}

func (b Bounds) in(c In) Cond {
	known, ok := b.Fields[c.Field]
	switch {
	case !ok:
		return c
	case !slices.ContainsFunc(known, c.Set.meets):
		return Never
	case !slices.ContainsFunc(known, func(r Range) bool { return !c.Set.holds(r) }):
		return All{}
	}
	return c
}

func (b Bounds) bits(c Bits) Cond {
	known := b.Fields[c.Field]
	switch {
	case len(known) != 1 || known[0].Lo != known[0].Hi:
		return c
	case known[0].Lo.And(c.Mask) == c.Value:
		return All{}
	}
	return Never
}

func (b Bounds) iface(c Iface) Cond {
	if c.Out || len(b.In) == 0 {
		return c
	}
	fitting := 0
	for _, name := range b.In {
		if matchName(c.Pattern, name) {
			fitting++
		}
	}
	switch fitting {
	case 0:
		return Never
	case len(b.In):
		return All{}
	}
	return c
}

// tuples keeps the entries that a packet may be in.
func (b Bounds) tuples(t *Tuples) Cond {
	var kept [][]Range
	for _, e := range t.Entries {
		may, must := b.entry(t.Fields, e)
		if must {
			return All{}
		}
		if may {
			kept = append(kept, e)
		}
	}
	switch len(kept) {
	case 0:
		return Never
	case len(t.Entries):
		return t
	}
	return &Tuples{Fields: t.Fields, Entries: kept}
}

// entry reports whether a packet may be in an entry, and whether all are.
func (b Bounds) entry(fields []Field, e []Range) (may, must bool) {
	must = true
	for i, f := range fields {
		switch c := b.in(In{f, e[i : i+1]}); {
		case never(c):
			return false, false
		case !always(c):
			must = false
		}
	}
	return true, must
}

// meets reports whether a range has a value in the set.
func (rs Ranges) meets(r Range) bool {
	i := rs.reaching(r.Lo)
	return i < len(rs) && rs[i].Lo.Compare(r.Hi) <= 0
}

// holds reports whether all values of a range are in the set.
func (rs Ranges) holds(r Range) bool {
	i := rs.reaching(r.Lo)
	return i < len(rs) && rs[i].Lo.Compare(r.Lo) <= 0 && rs[i].Hi.Compare(r.Hi) >= 0
}

// reaching returns the index of the first range that does not end before a value.
func (rs Ranges) reaching(v Value) int {
	i, _ := slices.BinarySearchFunc(rs, v, func(r Range, v Value) int { return r.Hi.Compare(v) })
	return i
}
