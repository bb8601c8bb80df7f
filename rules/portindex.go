package rules

import (
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// ruleIndex finds the rules that could match what another one matches, by their
// first transport: a rule within another has all its transports within it.
type ruleIndex struct {
	anyProto []*Rule                  // rules with a transport for every protocol, or none
	whole    map[packet.Proto][]*Rule // by protocol: every port, or more than fit below
	byPort   map[portOfProto][]*Rule  // rules with few ports, by each
}

type portOfProto struct {
	proto packet.Proto
	port  uint16
}

// fewPorts is the number of ports up to which a range is indexed by each.
const fewPorts = 32

func indexRules(list []*Rule) ruleIndex {
	ix := ruleIndex{whole: map[packet.Proto][]*Rule{}, byPort: map[portOfProto][]*Rule{}}
	for _, r := range list {
		if len(r.Transports) == 0 {
			ix.anyProto = append(ix.anyProto, r)
		}
		for _, t := range r.Transports {
			ix.add(r, t)
		}
	}
	return ix
}

func (ix *ruleIndex) add(r *Rule, t Transport) {
	switch {
	case t.Any:
		ix.anyProto = append(ix.anyProto, r)
	case len(t.Dst) == 0:
		ix.whole[t.Proto] = append(ix.whole[t.Proto], r)
	}
	for _, ports := range t.Dst {
		if ports.Hi-ports.Lo >= fewPorts {
			ix.whole[t.Proto] = append(ix.whole[t.Proto], r)
			continue
		}
		for p := int(ports.Lo); p <= int(ports.Hi); p++ {
			k := portOfProto{t.Proto, uint16(p)}
			ix.byPort[k] = append(ix.byPort[k], r)
		}
	}
}

// near returns the rules that may hold all that r matches.
func (ix *ruleIndex) near(r *Rule) []*Rule {
	if len(r.Transports) == 0 || r.Transports[0].Any {
		return ix.anyProto
	}
	t := r.Transports[0]
	out := slices.Concat(ix.anyProto, ix.whole[t.Proto])
	if len(t.Dst) > 0 {
		out = append(out, ix.byPort[portOfProto{t.Proto, t.Dst[0].Lo}]...)
	}
	return out
}
