package gen

import (
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// ForPF takes out of a policy the wildcards that no interface group of pf stands
// for, and what is about Linux.
func ForPF(policy string) string {
	return strings.NewReplacer(`"eth*"`, `"eth1"`, `"docker*"`, `"docker0"`, `"e*"`, `"wg0"`, `"enforce"`, `"ignore"`).Replace(policy)
}

// PF is what one grammar of pf can say. The zero value is the poorest.
type PF struct {
	SCTPPorts bool // ports of SCTP
	Groups    bool // groups of interfaces: "wg*"
	Routed    bool // packets through the host apart from those for it
	WayOut    bool // by which interface a packet leaves, where it comes in
}

// Adapt takes out of a ruleset what the grammar refuses, so that the rest can be
// compared; that it refuses is tested elsewhere.
func (pf PF) Adapt(rs *rules.Ruleset) *rules.Ruleset {
	out := *rs
	if !pf.Routed {
		out.Routed, out.Routes = rules.RoutedIgnore, nil
	}
	for _, list := range []*[]*rules.Rule{&out.Blocks, &out.OutboundBlocks, &out.Services, &out.Outbounds, &out.Routes} {
		*list = pf.rules(*list)
	}
	return &out
}

func (pf PF) rules(list []*rules.Rule) []*rules.Rule {
	var out []*rules.Rule
	for _, r := range list {
		c := *r
		c.Transports = slices.DeleteFunc(slices.Clone(r.Transports), func(t rules.Transport) bool {
			return len(t.Src)+len(t.Dst) > 0 && t.Proto != packet.TCP && t.Proto != packet.UDP && (t.Proto != packet.SCTP || !pf.SCTPPorts)
		})
		if len(r.Transports) > 0 && len(c.Transports) == 0 || !pf.Groups && wild(r) || !pf.WayOut && r.Kind != rules.Service && bound(r.To) {
			continue
		}
		if len(c.Transports) == 0 || slices.ContainsFunc(c.Transports, func(t rules.Transport) bool { return t.Any || t.Proto != packet.TCP }) {
			c.Limit = rules.Limit{}
		}
		out = append(out, &c)
	}
	return out
}

// wild reports whether the rule names interfaces by a wildcard.
func wild(r *rules.Rule) bool {
	patterns := slices.Clone(r.In)
	for _, g := range slices.Concat(r.From.Groups, r.To.Groups) {
		for _, t := range g.Terms {
			patterns = append(patterns, t.In...)
		}
	}
	return slices.ContainsFunc(patterns, func(s string) bool { return strings.HasSuffix(s, "*") })
}

func bound(as rules.Addresses) bool {
	return slices.ContainsFunc(as.Groups, func(g *rules.Group) bool {
		return slices.ContainsFunc(g.Terms, func(t rules.Term) bool { return len(t.In) > 0 })
	})
}
