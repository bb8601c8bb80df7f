package iptables

import (
	"slices"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// following answers which openings have another one behind them that might take
// the same packet.
type following struct {
	open []opening
	last map[packet.Proto]*[65536]int32 // of each protocol and port, the last opening that names it, from 1
	wide map[packet.Proto]int32         // the last one that names all ports of the protocol
	any  int32                          // the last one that names no protocol
}

func followers(open []opening) *following {
	f := &following{open: open, last: map[packet.Proto]*[65536]int32{}, wide: map[packet.Proto]int32{}}
	for i, o := range open {
		f.note(o.rule.Transports, int32(i+1))
	}
	return f
}

func (f *following) note(ts []rules.Transport, n int32) {
	if len(ts) == 0 {
		f.any = n
	}
	for _, t := range ts {
		switch {
		case t.Any:
			f.any = n
		case len(t.Dst) == 0:
			f.wide[t.Proto] = n
		default:
			f.paint(t, n)
		}
	}
}

func (f *following) paint(t rules.Transport, n int32) {
	ports := f.last[t.Proto]
	if ports == nil {
		ports = new([65536]int32)
		f.last[t.Proto] = ports
	}
	for _, r := range t.Dst {
		for p := int(r.Lo); p <= int(r.Hi); p++ {
			ports[p] = n
		}
	}
}

// overlaps reports whether an opening behind the i-th might take a packet that
// the i-th lets into its chains.
func (f *following) overlaps(i int) bool {
	a := f.open[i]
	if !f.touched(a.rule.Transports, int32(i+1)) {
		return false
	}
	return slices.ContainsFunc(f.open[i+1:], func(b opening) bool {
		return shareTransport(a.rule.Transports, b.rule.Transports) && (!a.asksWhere() || shareAddress(a.rule.To, b.rule.To))
	})
}

// asksWhere reports whether only packets to the opening's destination enter its
// chains: there is one, so that it is asked for together with the ports.
func (o opening) asksWhere() bool {
	return slices.ContainsFunc(o.dims, func(d dimension) bool { return d.name == toDimension && len(d.ways) == 1 })
}

// touched is a quick look at the ports alone, for policies of many services.
func (f *following) touched(ts []rules.Transport, n int32) bool {
	if f.any > n || len(ts) == 0 {
		return true
	}
	return slices.ContainsFunc(ts, func(t rules.Transport) bool {
		if t.Any || len(t.Dst) == 0 || f.wide[t.Proto] > n {
			return true
		}
		ports := f.last[t.Proto]
		return slices.ContainsFunc(t.Dst, func(r packet.PortRange) bool {
			return slices.ContainsFunc(ports[r.Lo:int(r.Hi)+1], func(other int32) bool { return other > n })
		})
	})
}

func shareTransport(as, bs []rules.Transport) bool {
	if len(as) == 0 || len(bs) == 0 {
		return true
	}
	return slices.ContainsFunc(as, func(a rules.Transport) bool {
		return slices.ContainsFunc(bs, func(b rules.Transport) bool {
			return a.Any || b.Any || a.Proto == b.Proto && sharePort(a.Dst, b.Dst) && sharePort(a.Src, b.Src)
		})
	})
}

func sharePort(a, b packet.Ports) bool { return len(a) == 0 || len(b) == 0 || a.Overlaps(b) }

// shareAddress is exact only for literal addresses; of all others it says yes.
func shareAddress(a, b rules.Addresses) bool {
	if !literal(a) || !literal(b) {
		return true
	}
	return slices.ContainsFunc(a.Set.Ranges(), func(r netipx.IPRange) bool { return b.Set.OverlapsRange(r) })
}

func literal(a rules.Addresses) bool { return !a.Any && !a.Host && len(a.Groups) == 0 && a.Set != nil }
