package apply

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// unwanted returns those of the connections that a policy would not accept if they
// began now, with the packets that would begin them. Translated ones are not judged,
// nor are those of the host with itself.
func unwanted(rs *rules.Ruleset, h *rules.Host, conns []live.Connection, listeners []live.Listener, now time.Time) (out []live.Connection, texts []string) {
	refused := func(p packet.Packet) bool { return rs.Decide(p, now).Verdict != packet.Accept }
	for _, c := range conns {
		p := opener(h, c)
		if c.Translated || p.In == "lo" || p.Out == "lo" || !refused(p) {
			continue
		}
		if p.Hook == packet.Input && p.Proto == packet.TCP && !listensTo(listeners, c) && !refused(opener(h, reversed(c))) {
			continue // begun by this host, and tracked only since the other end spoke
		}
		out = append(out, c)
		texts = append(texts, p.String())
	}
	return out, texts
}

func listensTo(listeners []live.Listener, c live.Connection) bool {
	return slices.ContainsFunc(listeners, func(l live.Listener) bool { return l.Proto == c.Proto && l.Addr.Port() == c.Dst.Port() })
}

func reversed(c live.Connection) live.Connection {
	c.Src, c.Dst = c.Dst, c.Src
	return c
}

// opener is the packet that would begin a connection.
func opener(h *rules.Host, c live.Connection) packet.Packet {
	p := packet.Packet{Src: c.Src.Addr(), Dst: c.Dst.Addr(), Proto: c.Proto}
	if c.Proto.HasPorts() {
		p.SrcPort, p.DstPort = c.Src.Port(), c.Dst.Port()
	}
	if c.Proto == packet.TCP {
		p.Flags = packet.SYN
	}
	from, to := h.Local(p.Src) || p.Src.IsLoopback(), h.Local(p.Dst) || p.Dst.IsLoopback()
	switch {
	case to && from:
		p.Hook, p.In = packet.Input, "lo"
	case to || h.Broadcast(p.Dst) || p.Dst.IsMulticast() && !from:
		p.Hook, p.In = packet.Input, live.RouteTo(p.Src)
	case from:
		p.Hook, p.Out = packet.Output, live.RouteTo(p.Dst)
	default:
		p.Hook, p.In, p.Out = packet.Forward, live.RouteTo(p.Src), live.RouteTo(p.Dst)
	}
	return p
}

// cut ends the connections that a policy does not accept, and no other. Those of the
// host's own sockets are aborted; all leave the kernel's tracking, so that a further
// packet counts as one that begins something. It returns the packets that began them.
func cut(rs *rules.Ruleset, h *rules.Host) ([]string, error) {
	conns, err := live.Connections()
	if err != nil {
		return nil, err
	}
	listeners, err := live.Listeners()
	if err != nil {
		return nil, err
	}
	out, texts := unwanted(rs, h, conns, listeners, time.Now())
	if err := errors.Join(abort(ends(h, out)), untrack(out)); err != nil {
		return nil, fmt.Errorf("cut connections: %w", err)
	}
	return texts, nil
}

// ends are the ends of TCP connections that are this host's.
func ends(h *rules.Host, conns []live.Connection) (out []live.TCPConnection) {
	for _, c := range conns {
		switch {
		case c.Proto != packet.TCP:
		case h.Local(c.Dst.Addr()):
			out = append(out, live.TCPConnection{Local: c.Dst, Remote: c.Src})
		case h.Local(c.Src.Addr()):
			out = append(out, live.TCPConnection{Local: c.Src, Remote: c.Dst})
		}
	}
	return out
}

// cutWith is cut with a stored policy.
func (s *Store) cutWith(name string) ([]string, error) {
	b, err := s.bundle(name)
	if err != nil {
		return nil, err
	}
	rs, err := b.ruleset()
	if err != nil {
		return nil, err
	}
	return cut(rs, b.Host)
}
