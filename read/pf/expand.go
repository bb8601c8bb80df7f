package pf

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Expand returns the filter rules as the kernel gets them, which is as pfctl -sr
// prints them: lists are multiplied out, options, tables and macros are left out,
// and what a rule leaves to the defaults is written where the system writes it.
func (c *Config) Expand() *Config {
	return &Config{Dialect: c.Dialect, Lines: c.expandLines(c.Lines)}
}

func (c *Config) expandLines(lines []Statement) []Statement {
	var out []Statement
	for _, s := range lines {
		switch s := s.(type) {
		case *Rule:
			out = append(out, c.expandRule(s)...)
		case *Antispoof, *Scrub:
			out = append(out, s)
		case *Anchor:
			if s.Keyword == "anchor" {
				a := *s
				a.Body = c.expandLines(s.Body)
				out = append(out, &a)
			}
		}
	}
	return out
}

// expandRule multiplies the lists of a rule out: interfaces, protocols, ICMP types,
// sources and destinations, the last changing first.
func (c *Config) expandRule(s *Rule) []Statement {
	var out []Statement
	for _, half := range s.binatHalves() {
		out = append(out, c.expandRule(half)...)
	}
	if out != nil {
		return out
	}
	for _, m := range s.combinations() {
		r := *s
		r.Match, r.Types = m, m.Types
		c.explicit(&r)
		out = append(out, &r)
	}
	return out
}

// combinations are the products of a rule's lists that some packet can match.
func (s *Rule) combinations() []Match {
	all := []Match{s.Match}
	all[0].Family = s.family()
	all = each(all, len(s.On), func(m *Match, i int) { m.On = s.On[i : i+1] })
	all = each(all, len(s.Protos), func(m *Match, i int) { m.Protos = s.Protos[i : i+1] })
	all = each(all, len(s.Types), func(m *Match, i int) { m.Types = s.Types[i : i+1] })
	all = each(all, len(s.From.Hosts), func(m *Match, i int) { m.From.Hosts = s.From.Hosts[i : i+1] })
	all = each(all, len(s.From.Ports), func(m *Match, i int) { m.From.Ports = s.From.Ports[i : i+1] })
	all = each(all, len(s.From.OS), func(m *Match, i int) { m.From.OS = s.From.OS[i : i+1] })
	all = each(all, len(s.To.Hosts), func(m *Match, i int) { m.To.Hosts = s.To.Hosts[i : i+1] })
	all = each(all, len(s.To.Ports), func(m *Match, i int) { m.To.Ports = s.To.Ports[i : i+1] })
	return slices.DeleteFunc(all, func(m Match) bool { return !possible(m) })
}

// each puts every one of n choices in the place of each match.
func each(ms []Match, n int, choose func(*Match, int)) []Match {
	if n == 0 {
		return ms
	}
	var out []Match
	for _, m := range ms {
		for i := range n {
			next := m
			choose(&next, i)
			out = append(out, next)
		}
	}
	return out
}

// explicit writes what the rule leaves to defaults: the family of its addresses, the
// flags, the state. OpenBSD does not write a state without options.
func (c *Config) explicit(r *Rule) {
	for _, h := range slices.Concat(r.From.Hosts, r.To.Hosts) {
		if f := h.family(); f != AnyFamily {
			r.Family = f
		}
	}
	if r.Flags != nil && len(r.Protos) > 0 && r.Protos[0] != packet.TCP {
		r.Flags = nil
	}
	if r.Action != Pass || r.State == NoState {
		return
	}
	if r.Flags == nil && !r.Fragment && (len(r.Protos) == 0 || r.Protos[0] == packet.TCP) {
		r.Flags = &Flags{Set: packet.SYN, Mask: packet.SYN | packet.ACK}
	}
	switch {
	case c.Dialect != OpenBSD && r.State == DefaultState:
		r.State = KeepState
	case c.Dialect == OpenBSD && r.State == KeepState && len(r.Options) == 0:
		r.State = DefaultState
	}
	r.Options = c.counted(r)
}

// counted adds what pfctl makes of limits: how sources are tracked, and how long,
// and shorter timeouts where there are many states.
func (c *Config) counted(r *Rule) []string {
	options := slices.Clone(r.Options)
	add := func(name, text string) {
		if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, name) }) {
			options = append(options, text)
		}
	}
	for _, rate := range r.Rates {
		if strings.HasPrefix(rate.Name, "max-src-") && !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "source-track") }) {
			options = append([]string{"source-track rule"}, options...)
		}
		if rate.Name == "max-src-conn-rate" {
			add("src.track", "src.track "+strconv.FormatUint(rate.Seconds, 10))
		}
		if rate.Name == "max" {
			add("adaptive.start", "adaptive.start "+strconv.FormatUint(rate.Count*60/100, 10))
			add("adaptive.end", "adaptive.end "+strconv.FormatUint(rate.Count*120/100, 10))
		}
	}
	return options
}
