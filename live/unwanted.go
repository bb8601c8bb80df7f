package live

import (
	"net/netip"
	"slices"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Unwanted is a connection that a policy would not accept if it began now.
type Unwanted struct {
	Connection
	Packet   packet.Packet // that would begin it
	Decision rules.Decision
}

// Judge returns those of the connections that a policy would not accept if they began
// now. Translated ones are not judged, nor those of the host with itself. Outgoing are
// those that the host's own sockets began, own its addresses of a family; route returns
// the interface by which an address is reached.
func Judge(rs *rules.Ruleset, conns []Connection, outgoing []TCPConnection, own func(is6 bool) packet.HostAddrs, route func(netip.Addr) string, now time.Time) (out []Unwanted) {
	j := &judge{rs, own, route, now}
	for _, c := range conns {
		p, d := j.decide(c)
		if c.Translated || p.In == "lo" || p.Out == "lo" || d.Verdict == packet.Accept {
			continue
		}
		if p.Proto == packet.TCP && slices.Contains(outgoing, TCPConnection{Local: c.Dst, Remote: c.Src}) {
			// It is tracked only since the other end spoke.
			if _, back := j.decide(Connection{Proto: c.Proto, Src: c.Dst, Dst: c.Src}); back.Verdict == packet.Accept {
				continue
			}
		}
		out = append(out, Unwanted{c, p, d})
	}
	return out
}

// Outgoing returns those of the host's connections that lead to a port of another
// host: no socket listens where they end here.
func Outgoing(all []TCPConnection, listeners []Listener) (out []TCPConnection) {
	ports := map[uint16]bool{}
	for _, l := range listeners {
		if l.Proto == packet.TCP {
			ports[l.Port] = true
		}
	}
	for _, c := range all {
		if !ports[c.Local.Port()] {
			out = append(out, c)
		}
	}
	return out
}

type judge struct {
	rs    *rules.Ruleset
	own   func(is6 bool) packet.HostAddrs
	route func(netip.Addr) string
	now   time.Time
}

// decide says what becomes of the packet that would begin a connection.
func (j *judge) decide(c Connection) (packet.Packet, rules.Decision) {
	p := packet.Packet{Src: c.Src.Addr(), Dst: c.Dst.Addr(), Proto: c.Proto}
	if c.Proto.HasPorts() {
		p.SrcPort, p.DstPort = c.Src.Port(), c.Dst.Port()
	}
	if c.Proto == packet.TCP {
		p.Flags = packet.SYN
	}
	own := j.own(p.Is6())
	isOwn := func(a netip.Addr) bool {
		v := packet.AddrValue(a)
		return a.IsLoopback() || own.Local.Contains(v) || own.Broadcast.Contains(v)
	}
	from, to := isOwn(p.Src), isOwn(p.Dst)
	switch {
	case from && to:
		p.Hook, p.In = packet.Input, "lo"
	case to || p.Dst.IsMulticast() && !from:
		p.Hook, p.In = packet.Input, j.route(p.Src)
	case from:
		p.Hook, p.Out = packet.Output, j.route(p.Dst)
	default:
		p.Hook, p.In, p.Out = packet.Forward, j.route(p.Src), j.route(p.Dst)
	}
	return p, j.rs.Decide(p, j.now)
}
