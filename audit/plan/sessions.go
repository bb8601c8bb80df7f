package plan

import (
	"slices"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// sessions are the live connections that the policy would not accept if they began
// now. Limits count as unspent.
func sessions(q Question) []Session {
	out := []Session{}
	for _, u := range live.Judge(q.Policy, q.Connections, live.Outgoing(q.Sockets, q.Listeners), q.Host.Addrs, q.Route, q.Now) {
		s := Session{Packet: u.Packet.String(), Rule: defaultOf(u.Packet.Hook)}
		if d := u.Decision; d.Rule != nil {
			s.Rule, s.At = d.Rule.ID(), d.Rule.Pos.String()
		}
		out = append(out, s)
	}
	return out
}

func defaultOf(h packet.Hook) string {
	return map[packet.Hook]string{packet.Input: "defaults.inbound", packet.Output: "defaults.outbound", packet.Forward: "defaults.routed"}[h]
}

// listeners adds those that a change at the input hook is about.
func (p *Plan) listeners(q Question, l *lane, k Kind, set packet.Node) error {
	if set == packet.False {
		return nil
	}
	ever, err := l.space.Ever(set)
	if err != nil {
		return err
	}
	// Those that share a port (SO_REUSEPORT) stand side by side.
	for _, s := range slices.CompactFunc(slices.Clone(q.Listeners), alike) {
		c := l.reaches(s)
		if c == nil {
			continue
		}
		n, err := l.space.Set(c)
		if err != nil {
			return err
		}
		if n, err = l.space.And(n, ever); err != nil || n == packet.False {
			if err != nil {
				return err
			}
			continue
		}
		groups, more, err := l.space.GroupsWithin(n, l.over, mostGroups)
		if err != nil {
			return err
		}
		var texts []string
		for _, g := range groups {
			texts = append(texts, g.String())
		}
		if more {
			texts = append(texts, "and more")
		}
		p.touch(Touched{s.String(), k, texts})
	}
	return nil
}

// alike reports whether the same packets reach both.
func alike(a, b live.Listener) bool { return a.String() == b.String() && a.V6Only == b.V6Only }

// touch adds what changes for a listener; one that takes both families may be
// told of both.
func (p *Plan) touch(t Touched) {
	i := slices.IndexFunc(p.Listeners, func(o Touched) bool { return o.Listener == t.Listener && o.Kind == t.Kind })
	if i < 0 {
		p.Listeners = append(p.Listeners, t)
		return
	}
	for _, text := range t.Packets {
		if !slices.Contains(p.Listeners[i].Packets, text) {
			p.Listeners[i].Packets = append(p.Listeners[i].Packets, text)
		}
	}
}

// reaches is the condition of the packets that a listener takes, nil if it takes
// none of the family.
func (l *lane) reaches(s live.Listener) packet.Cond {
	a := s.Addr
	if !s.Takes(l.is6) || a.IsLoopback() {
		return nil
	}
	one := func(f packet.Field, v packet.Value) packet.Cond {
		return packet.In{Field: f, Set: packet.Ranges{packet.Single(v)}}
	}
	c := packet.All{one(packet.FieldProto, packet.Number(uint64(s.Proto))), one(packet.FieldDstPort, packet.Number(uint64(s.Port)))}
	if !a.IsUnspecified() {
		c = append(c, one(packet.FieldDst, packet.AddrValue(a)))
	}
	return c
}
