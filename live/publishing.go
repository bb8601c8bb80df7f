package live

import (
	"math"
	"regexp"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// publishing walks through rules of NAT.
type publishing struct {
	filter *packet.Filter
	is6    bool
	own    packet.HostAddrs
	found  []PublishedPort
	// redirects are the rules that send to an address of the host; which one, follows
	// from the interface, and where it does not, it is still one of them.
	redirects  map[packet.Place]bool
	redirected []PublishedPort // what they do
}

// steps goes through rules that packets come to which fit; via are the chains on the
// way there, and the last of the comments with an id.
func (w *publishing) steps(rules []packet.Step, f fits, via *way) {
	for _, s := range rules {
		g := f.and(s.Cond, w.is6)
		if g.nothing() || w.elsewhere(g) {
			continue
		}
		here := via.at(s.Place.Name)
		w.publish(s, g, here)
		w.steps(s.Cases, g, here)
		if s.Chain == "" || here.has(s.Chain) {
			continue
		}
		if c := w.filter.Chains[s.Chain]; c != nil {
			w.steps(c.Rules, g, &way{chain: s.Chain, container: here.container, up: here})
		}
	}
}

// elsewhere reports whether packets that fit are for none of the host's addresses.
func (w *publishing) elsewhere(f fits) bool {
	return w.own.Known && f.dst != nil && !overlap(f.dst, w.own.Local)
}

// way is how rules were come to.
type way struct {
	chain, container string
	up               *way
}

// commentID is how Podman's rules of iptables name the container.
var commentID = regexp.MustCompile(`\bid: ([0-9a-f]{64})$`)

// at is the way with what a rule's comment says.
func (v *way) at(comment string) *way {
	w := way{up: v}
	if v != nil {
		w.container = v.container
	}
	if m := commentID.FindStringSubmatch(comment); m != nil {
		w.container = m[1]
	}
	return &w
}

func (v *way) has(chain string) bool {
	for ; v != nil; v = v.up {
		if v.chain == chain {
			return true
		}
	}
	return false
}

// publish notes a rule that gives packets for the host another destination.
func (w *publishing) publish(s packet.Step, f fits, via *way) {
	addr, sent := written(s.Writes, packet.FieldDst, w.is6)
	if !sent {
		return
	}
	if addr != nil && w.own.Local.Contains(*addr) {
		w.redirects[s.Place] = true
	}
	p := PublishedPort{Is6: w.is6, Ports: f.ports, Addrs: f.dst, Place: s.Place, Own: w.redirects[s.Place]}
	if addr != nil {
		if to := addr.Addr(w.is6); !p.Own || to.IsLoopback() {
			p.To = to
		}
	}
	if port, _ := written(s.Writes, packet.FieldDstPort, w.is6); port != nil {
		p.ToPort = uint16(port.Lo)
	}
	if via.container != "" {
		p.Container = Container{Engine: "podman", ID: via.container}
	}
	for _, proto := range f.protocols() {
		p.Proto = proto
		if p.Own {
			w.redirected = added(w.redirected, p)
		} else {
			w.found = added(w.found, p)
		}
	}
}

// added leaves out what a rule does with packets that have no ports to change.
func added(all []PublishedPort, p PublishedPort) []PublishedPort {
	latest := all[max(0, len(all)-mostProtocols):]
	if p.ToPort == 0 && slices.ContainsFunc(latest, func(q PublishedPort) bool {
		return q.Place == p.Place && q.Proto == p.Proto && q.To == p.To && slices.Equal(q.Ports, p.Ports) && slices.Equal(q.Addrs, p.Addrs)
	}) {
		return all
	}
	return append(all, p)
}

// written returns the one value that a field is given, nil if it may be several, and
// whether it is given any.
func written(ws []packet.Write, f packet.Field, is6 bool) (v *packet.Value, sent bool) {
	for _, w := range ws {
		if w.Field != f {
			continue
		}
		sent = true
		all := packet.Ones(f.Width(is6))
		if !w.Copy && w.Unknown == "" && w.Mask.And(all) == all {
			v = &w.Value
		}
	}
	return v, sent
}

// mostProtocols is how many protocols a rule is listed for; one that asks for none is
// listed for those with ports.
const mostProtocols = 8

func (f fits) protocols() []packet.Proto {
	var out []packet.Proto
	for _, r := range f.protos {
		for n := r.Lo.Lo; n <= min(r.Hi.Lo, math.MaxUint8) && len(out) <= mostProtocols; n++ {
			out = append(out, packet.Proto(n))
		}
	}
	if f.protos == nil || len(out) > mostProtocols {
		return []packet.Proto{packet.TCP, packet.UDP, packet.SCTP, packet.DCCP, packet.UDPLite}
	}
	return out
}
