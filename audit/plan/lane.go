package plan

import (
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// lane is the host before and after at one hook and in one family.
type lane struct {
	hook   packet.Hook
	is6    bool
	policy *packet.Filter
	after  *packet.Filter
	space  *packet.Space

	accepts struct{ before, after, policy packet.Node } // whom they let pass
	over    packet.Node                                 // first packets of flows
}

func newLane(q Question, hook packet.Hook, is6 bool) (*lane, error) {
	sources := q.Host.Sources(is6)
	l := &lane{hook: hook, is6: is6, policy: q.Policy.Filter(hook, is6)}
	before := packet.Way(hook, sources...)
	l.after = packet.Way(hook, q.after(is6)...)
	l.space = packet.NewSpace(is6, q.Host.Addrs(is6), q.Budget, before, l.after, l.policy)
	if err := l.space.Assume(packet.Clock(q.Now, before, l.after, l.policy)); err != nil {
		return nil, err
	}
	for _, x := range []struct {
		f    *packet.Filter
		into *packet.Node
	}{{before, &l.accepts.before}, {l.after, &l.accepts.after}, {l.policy, &l.accepts.policy}} {
		d, err := l.space.Build(x.f)
		if err != nil {
			return nil, err
		}
		if *x.into, err = l.space.Where(d, packet.OutcomeAccept); err != nil {
			return nil, err
		}
	}
	var err error
	l.over, err = l.space.Set(packet.All{l.space.Frame(l.begin()), l.judged(), packet.FirstPackets(), q.Host.Comparable(hook, is6)})
	return l, err
}

// after are the host's rules once the policy is applied.
func (q Question) after(is6 bool) []packet.Source {
	if q.After != nil {
		return q.After(is6)
	}
	return append(q.Host.Others(is6), policySource(q.Policy, is6))
}

// begin is the hook at which the way of packets begins.
func (l *lane) begin() packet.Hook {
	if l.hook == packet.Output {
		return packet.Output
	}
	return packet.Prerouting
}

// judged is the condition of the packets that go to the hook, by the address
// that they come with.
func (l *lane) judged() packet.Cond {
	local := packet.In{Field: packet.FieldDstType, Set: packet.Ranges{{Lo: packet.Number(uint64(packet.AddrLocal)), Hi: packet.Number(uint64(packet.AddrMulticast))}}}
	switch l.hook {
	case packet.Input:
		return local
	case packet.Forward:
		return packet.Not{Cond: local}
	}
	return packet.All{}
}

// policySource is the policy where its rendering stands.
func policySource(rs *rules.Ruleset, is6 bool) packet.Source {
	return func(h packet.Hook) *packet.Filter {
		switch h {
		case packet.Input, packet.Output, packet.Forward:
			return rs.Filter(h, is6)
		case packet.Prerouting:
			if rs.Published == rules.PublishedEnforce {
				return rs.Filter(h, is6)
			}
		}
		return nil
	}
}

// changed returns the packets that are accepted and were not, or the other way
// round, for some value of the unknowns.
func (l *lane) changed(k Kind) (packet.Node, error) {
	a, b := l.accepts.after, l.accepts.before
	if k == Closed {
		a, b = b, a
	}
	n, err := l.space.Minus(a, b)
	if err != nil {
		return 0, err
	}
	return l.space.And(n, l.over)
}
