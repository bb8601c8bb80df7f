package adopt

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// knowing makes of a filter what a policy can ask for at all: without rules whose
// condition no policy knows, and without those that decide nothing.
type knowing struct {
	quiet   silence
	written map[packet.Field]bool // fields that rules give values to
	left    []Left
}

// known returns the filter without what a policy cannot ask for, and what that was.
func known(f *packet.Filter) (*packet.Filter, []Left) {
	k := &knowing{quiet: silentChains(f), written: map[packet.Field]bool{}}
	f.Steps(func(s *packet.Step) {
		for _, w := range s.Writes {
			k.written[w.Field] = true
		}
	})
	out := &packet.Filter{Hook: f.Hook, Chains: map[string]*packet.Chain{}}
	for _, c := range f.Base {
		base := k.chain(c)
		if c.Policy == packet.OutcomeUnknown {
			k.left = append(k.left, left(packet.Place{Chain: c.Name}, "not understood"))
			base.Policy = packet.OutcomeDrop
		}
		out.Base = append(out.Base, base)
	}
	for _, name := range sorted(f.Chains) {
		out.Chains[name] = k.chain(f.Chains[name])
	}
	return out, k.left
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (k *knowing) chain(c *packet.Chain) *packet.Chain {
	out := *c
	out.Rules = k.steps(c.Rules)
	return &out
}

func (k *knowing) steps(steps []packet.Step) []packet.Step {
	var out []packet.Step
	for _, s := range steps {
		if !k.quiet.decides(&s) {
			continue
		}
		if reason := k.obscure(s.Cond); reason != "" {
			k.left = append(k.left, left(s.Place, reason))
			continue
		}
		if s.Outcome == packet.OutcomeUnknown && len(s.Cases) == 0 {
			k.left = append(k.left, left(s.Place, "another program decides, or a target that fwctl does not know"))
			continue
		}
		s.Writes = nil
		s.Cases = k.steps(s.Cases)
		out = append(out, s)
	}
	return out
}

// obscure says why no policy can ask what a condition asks; "" if it can, as far as
// can be told from the condition alone.
func (k *knowing) obscure(c packet.Cond) string {
	reason := ""
	note := func(text string) {
		if reason == "" {
			reason = text
		}
	}
	eachCond(c, func(c packet.Cond) {
		switch c := c.(type) {
		case packet.Unknown:
			if !isKey(c.Key) {
				note(whyUnknown(c))
			}
		case packet.Iface:
			if !nameable(c.Pattern) {
				note("a policy cannot name this interface: " + printable(c.Pattern))
			}
		case packet.In:
			note(k.rewritten(c.Field))
		case packet.Bits:
			note(k.rewritten(c.Field))
		case *packet.Tuples:
			for _, f := range c.Fields {
				note(k.rewritten(f))
			}
		}
	})
	return reason
}

func (k *knowing) rewritten(f packet.Field) string {
	if k.written[f] {
		return "it asks for the " + f.String() + ", which other rules change"
	}
	return ""
}

// interfaceName is how a policy writes interfaces.
var interfaceName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}\*?$`)

func nameable(pattern string) bool {
	return pattern == "" || pattern == "*" || interfaceName.MatchString(pattern)
}

func whyUnknown(u packet.Unknown) string {
	switch {
	case u.Unsupported:
		return "not understood: " + printable(u.Key)
	case strings.Contains(u.Key, "recent"):
		return "a policy counts new connections of a source in a period from their number alone: " + printable(u.Key)
	case strings.Contains(u.Key, "fewer than"), strings.Contains(u.Key, "limit"):
		return "a limit in a policy counts new connections of each source, with the number as burst; this is another: " + printable(u.Key)
	}
	return "a policy cannot ask for this: " + printable(u.Key)
}

// eachCond calls f for every condition inside c, c included.
func eachCond(c packet.Cond, f func(packet.Cond)) {
	if c == nil {
		return
	}
	f(c)
	switch c := c.(type) {
	case packet.All:
		for _, x := range c {
			eachCond(x, f)
		}
	case packet.Any:
		for _, x := range c {
			eachCond(x, f)
		}
	case packet.Not:
		eachCond(c.Cond, f)
	}
}

// isKey reports whether an unknown is one that sections have keys for: a limit or
// an end.
func isKey(key string) bool {
	if _, ok := packet.ReadTimeBefore(key); ok {
		return true
	}
	_, _, _, ok := packet.ReadUnspent(key)
	return ok
}

// renamed returns the filter with the limits owned by the services that they
// become: whose a limit is tells two from each other, and means nothing else. Where
// no chain filters, one stands that accepts.
func renamed(f *packet.Filter, is6 bool) *packet.Filter {
	out := &packet.Filter{Hook: f.Hook, Chains: map[string]*packet.Chain{}}
	for _, c := range f.Base {
		out.Base = append(out.Base, renamedChain(c, is6))
	}
	if out.Base == nil {
		out.Base = []*packet.Chain{{Name: "input", Policy: packet.OutcomeAccept}}
	}
	for name, c := range f.Chains {
		out.Chains[name] = renamedChain(c, is6)
	}
	return out
}

func renamedChain(c *packet.Chain, is6 bool) *packet.Chain {
	out := *c
	out.Rules = renamedSteps(c.Rules, is6)
	return &out
}

func renamedSteps(steps []packet.Step, is6 bool) []packet.Step {
	out := slices.Clone(steps)
	for i := range out {
		out[i].Cond = renamedCond(out[i].Cond, is6)
		out[i].Cases = renamedSteps(out[i].Cases, is6)
	}
	return out
}

func renamedCond(c packet.Cond, is6 bool) packet.Cond {
	switch c := c.(type) {
	case packet.All:
		out := make(packet.All, len(c))
		for i, x := range c {
			out[i] = renamedCond(x, is6)
		}
		return out
	case packet.Any:
		out := make(packet.Any, len(c))
		for i, x := range c {
			out[i] = renamedCond(x, is6)
		}
		return out
	case packet.Not:
		return packet.Not{Cond: renamedCond(c.Cond, is6)}
	case packet.Unknown:
		if owner, count, per, ok := packet.ReadUnspent(c.Key); ok {
			return packet.Unspent("service."+validName(owner), count, per, is6)
		}
	}
	return c
}
