package live

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
)

// Save is what one variant of iptables, or of ip6tables, holds.
type Save struct {
	Legacy bool // of the kernel's own tables, not of nf_tables
	Is6    bool
	*iptables.Save
}

// source names the program as a Place does.
func (s Save) source() string {
	name := "iptables"
	if s.Is6 {
		name = "ip6tables"
	}
	if s.Legacy {
		name += "-legacy"
	}
	return name
}

// Source returns the meaning of the rules.
func (s Save) Source(opt iptables.Options) packet.Source {
	return func(hook packet.Hook) *packet.Filter {
		f := iptables.Filter(s.Save, hook, s.Is6, opt)
		for _, c := range f.Base {
			table, _, _ := strings.Cut(c.Name, " ")
			c.Priority = tablePriority[table]
			if c.NAT = table == "nat"; c.NAT {
				c.When = nil // the way of packets knows which of them come there
			}
			s.mark(c)
		}
		chains := f.Chains
		f.Chains = map[string]*packet.Chain{}
		for _, c := range chains {
			s.mark(c)
			f.Chains[c.Name] = c
		}
		return f
	}
}

// beside adds the rules to those of others. Of chains at one priority the kernel
// asks that one first which was registered last, and no listing says which that
// was. It makes a difference where both refuse a packet and one answers.
func (s Save) beside(others []packet.Source, source packet.Source) []packet.Source {
	first := packet.Unknown{Key: s.source() + " comes before nftables where both have one priority"}
	return slices.Concat([]packet.Source{when(first, source)}, others, []packet.Source{when(packet.Not{Cond: first}, source)})
}

// when is the source for packets that fulfil a condition.
func when(c packet.Cond, source packet.Source) packet.Source {
	return func(h packet.Hook) *packet.Filter {
		f := source(h)
		if f == nil {
			return nil
		}
		out := &packet.Filter{Hook: f.Hook, Chains: f.Chains}
		for _, b := range f.Base {
			chain := *b
			if chain.When = c; b.When != nil {
				chain.When = packet.All{c, b.When}
			}
			out.Base = append(out.Base, &chain)
		}
		return out
	}
}

// tablePriority is where the tables stand at a hook
// (linux/netfilter_ipv4.h, NF_IP_PRI_*).
var tablePriority = map[string]int{"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}

// mark names the program in the chain and its rules, and makes rules that
// translate say that it is decided.
func (s Save) mark(c *packet.Chain) {
	c.Name = s.source() + " " + c.Name
	c.Steps(func(st *packet.Step) {
		st.Place.Source = s.source()
		if st.Outcome == packet.OutcomeJump || st.Outcome == packet.OutcomeGoto {
			st.Chain = s.source() + " " + st.Chain
		}
		for i, w := range st.Writes {
			if w.Field == packet.FieldCTStatus && !w.Copy && w.Unknown == "" {
				st.Writes[i] = decided(w)
			}
		}
	})
}

func decided(w packet.Write) packet.Write {
	for _, b := range [][2]uint64{{packet.DstNAT, packet.DstTranslated}, {packet.SrcNAT, packet.SrcTranslated}} {
		if w.Value.And(packet.Number(b[0])) != (packet.Value{}) {
			w.Mask, w.Value = w.Mask.Or(packet.Number(b[1])), w.Value.Or(packet.Number(b[1]))
		}
	}
	return w
}

// empty reports whether the tables let everything pass.
func (s Save) empty() bool {
	return !slices.ContainsFunc(s.Tables, func(t *iptables.Table) bool {
		return slices.ContainsFunc(t.Chains, func(c *iptables.Chain) bool { return c.Policy == "DROP" || len(c.Rules) > 0 })
	})
}

// usesSets reports whether some rule asks for a set of ipset.
func (s Save) usesSets() bool {
	return slices.ContainsFunc(s.Tables, func(t *iptables.Table) bool {
		return slices.ContainsFunc(t.Chains, func(c *iptables.Chain) bool {
			return slices.ContainsFunc(c.Rules, func(r iptables.Rule) bool { return strings.Contains(r.Text, "-set ") })
		})
	})
}

// moving is what changes in a listing by itself: counters, and the time that
// elements of sets have left.
var moving = regexp.MustCompile(`\[\d+:\d+\]|(timeout|packets|bytes) \d+`)

// steady takes out of a listing what changes by itself, and comments, which have
// the time in them.
func steady(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			b.WriteString(moving.ReplaceAllString(line, ""))
		}
	}
	return b.String()
}

// LinkNames returns the names of the interfaces by which the host sends and takes
// packets of IP, in order: not the ports of a bridge or a bond, whose packets are its own.
func (h *HostRules) LinkNames() []string {
	var names []string
	for i, l := range h.Links {
		if !h.ports[i] {
			names = append(names, l.Name)
		}
	}
	slices.Sort(names)
	return names
}
