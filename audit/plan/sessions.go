package plan

import (
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// sessions adds the live connections at the lane's hook that the policy would not
// accept if they began now. Limits count as unspent.
func (p *Plan) sessions(q Question, l *lane) error {
	accepted, err := l.space.Ever(l.accepts.policy)
	if err != nil {
		return err
	}
	for _, c := range q.Connections {
		f := l.opener(q, c)
		if f == nil || f.Hook != l.hook || f.In == "lo" || f.Out == "lo" {
			continue
		}
		facts := f.Facts()
		facts.SetKinds(q.Host.Addrs(l.is6))
		if l.space.Eval(accepted, facts) != packet.False {
			continue
		}
		d := q.Policy.Decide(*f, q.Now)
		s := Session{Packet: f.String(), Rule: defaultOf(l.hook)}
		if d.Rule != nil {
			s.Rule, s.At = d.Rule.ID(), d.Rule.Pos.String()
		}
		p.Sessions = append(p.Sessions, s)
	}
	return nil
}

func defaultOf(h packet.Hook) string {
	return map[packet.Hook]string{packet.Input: "defaults.inbound", packet.Output: "defaults.outbound", packet.Forward: "defaults.routed"}[h]
}

// opener returns the first packet of a connection, nil if it is of the other
// family.
func (l *lane) opener(q Question, c live.Connection) *packet.Packet {
	if c.Dst.Addr().Is6() != l.is6 {
		return nil
	}
	p := &packet.Packet{Src: c.Src.Addr(), Dst: c.Dst.Addr(), Proto: c.Proto}
	if c.Proto.HasPorts() {
		p.SrcPort, p.DstPort = c.Src.Port(), c.Dst.Port()
	}
	if c.Proto == packet.TCP {
		p.Flags = packet.SYN
	}
	own := q.Host.Addrs(l.is6)
	isOwn := func(a netip.Addr) bool {
		v := packet.AddrValue(a)
		return own.Local.Contains(v) || own.Broadcast.Contains(v)
	}
	switch {
	case isOwn(c.Dst.Addr()) || c.Dst.Addr().IsMulticast() && !isOwn(c.Src.Addr()):
		p.Hook, p.In = packet.Input, q.Route(c.Src.Addr())
	case isOwn(c.Src.Addr()):
		p.Hook, p.Out = packet.Output, q.Route(c.Dst.Addr())
	default:
		p.Hook, p.In, p.Out = packet.Forward, q.Route(c.Src.Addr()), q.Route(c.Dst.Addr())
	}
	return p
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
	for _, s := range q.Listeners {
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
// none of the family. One of all IPv6 addresses may take IPv4, too.
func (l *lane) reaches(s live.Listener) packet.Cond {
	a := s.Addr.Addr()
	if a.Is6() != l.is6 && !(a.IsUnspecified() && a.Is6()) || a.IsLoopback() {
		return nil
	}
	one := func(f packet.Field, v packet.Value) packet.Cond {
		return packet.In{Field: f, Set: packet.Ranges{packet.Single(v)}}
	}
	c := packet.All{one(packet.FieldProto, packet.Number(uint64(s.Proto))), one(packet.FieldDstPort, packet.Number(uint64(s.Addr.Port())))}
	if !a.IsUnspecified() {
		c = append(c, one(packet.FieldDst, packet.AddrValue(a)))
	}
	return c
}
