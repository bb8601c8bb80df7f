package rules

import (
	"cmp"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// normalTransports sorts the transports and merges those that differ in their
// destination ports alone. One for every protocol leaves no other.
func normalTransports(ts []Transport) []Transport {
	var out []Transport
	for _, t := range ts {
		if t.Any {
			return []Transport{{Any: true}}
		}
		i := slices.IndexFunc(out, func(o Transport) bool { return o.Proto == t.Proto && o.Src.Equal(t.Src) })
		if i < 0 {
			out = append(out, t)
		} else {
			out[i].Dst = unionPorts(out[i].Dst, t.Dst)
		}
	}
	slices.SortFunc(out, func(a, b Transport) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), comparePorts(a.Src, b.Src), comparePorts(a.Dst, b.Dst))
	})
	return out
}

// unionPorts joins two sets of ports of a Transport, where none means all.
func unionPorts(a, b packet.Ports) packet.Ports {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	return packet.NewPorts(append(slices.Clone(a), b...)...)
}

func comparePorts(a, b packet.Ports) int {
	return slices.CompareFunc(a, b, func(x, y packet.PortRange) int {
		return cmp.Or(cmp.Compare(x.Lo, y.Lo), cmp.Compare(x.Hi, y.Hi))
	})
}
