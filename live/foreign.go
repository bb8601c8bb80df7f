package live

import (
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// foreign returns rules of the host without those that are fwctl's.
func foreign(sources []packet.Source) []packet.Source {
	out := make([]packet.Source, len(sources))
	for i, s := range sources {
		out[i] = remembered(withoutOwnChains(s))
	}
	return out
}

func withoutOwnChains(source packet.Source) packet.Source {
	return func(h packet.Hook) *packet.Filter {
		f := source(h)
		if f == nil {
			return nil
		}
		out := *f
		out.Base, out.Chains = nil, map[string]*packet.Chain{}
		for _, c := range f.Base {
			if !isOwnName(c.Name) {
				out.Base = append(out.Base, withoutOwn(c))
			}
		}
		for name, c := range f.Chains {
			out.Chains[name] = withoutOwn(c)
		}
		return &out
	}
}

// isOwnName tells chains of fwctl's by their names, "inet fwctl input" or
// "iptables filter FWCTL-INPUT".
func isOwnName(chain string) bool {
	return strings.HasPrefix(chain, "inet fwctl ") || strings.HasPrefix(chain[strings.LastIndex(chain, " ")+1:], "FWCTL-")
}

func withoutOwn(c *packet.Chain) *packet.Chain {
	out := *c
	out.Rules = slices.DeleteFunc(slices.Clone(c.Rules), leadsToOwn)
	return &out
}

func leadsToOwn(s packet.Step) bool {
	return isOwnName(s.Chain) || slices.ContainsFunc(s.Cases, leadsToOwn)
}
