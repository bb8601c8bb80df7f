package rules

import (
	"slices"

	"github.com/fwctl/fwctl/packet"
)

func transportsWithin(a, b []Transport) bool {
	if len(b) == 0 {
		return true
	}
	return len(a) > 0 && !slices.ContainsFunc(a, func(t Transport) bool {
		return !slices.ContainsFunc(b, func(u Transport) bool { return t.within(u) })
	})
}

func (t Transport) within(u Transport) bool {
	return u.Any || !t.Any && t.Proto == u.Proto && portsWithin(t.Dst, u.Dst) && portsWithin(t.Src, u.Src)
}

// portsWithin takes an empty set for all ports.
func portsWithin(a, b packet.Ports) bool {
	if len(b) == 0 {
		return true
	}
	return len(a) > 0 && !slices.ContainsFunc(a, func(r packet.PortRange) bool {
		return !slices.ContainsFunc(b, func(s packet.PortRange) bool { return s.Lo <= r.Lo && r.Hi <= s.Hi })
	})
}
