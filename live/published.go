package live

import (
	"fmt"
	"net/netip"

	"github.com/fwctl/fwctl/packet"
)

// PublishedPort is a port of the host whose packets a rule of NAT sends elsewhere, to
// a container mostly.
type PublishedPort struct {
	Proto packet.Proto
	Is6   bool
	Ports packet.Ranges // the host's; nil: all
	Addrs packet.Ranges // of the host, that the packets have to be for; nil: all
	// To is where they are sent; the zero Addr: to one of several addresses, or it is
	// not known which. ToPort is zero where the port stays, or is one of several.
	To     netip.Addr
	ToPort uint16
	// Own says that this is the host itself: see Redirected. To is known then where it is
	// an address of loopback.
	Own       bool
	Container Container    // the one that has the address; the zero Container: not known
	Place     packet.Place // of the rule that says so
}

// String writes "0.0.0.0:8080/tcp -> 172.17.0.2:80 (docker container web)".
func (p PublishedPort) String() string {
	s := p.from() + " -> " + p.to()
	if p.Container != (Container{}) {
		s += " (" + p.Container.String() + ")"
	}
	return s
}

func (p PublishedPort) from() string {
	addr, port := "0.0.0.0", "*"
	if p.Is6 {
		addr = "[::]"
	}
	switch {
	case len(p.Addrs) == 1 && p.Addrs[0].Lo == p.Addrs[0].Hi:
		a := p.Addrs[0].Lo.Addr(p.Is6)
		if addr = a.String(); p.Is6 {
			addr = "[" + addr + "]"
		}
	case p.Addrs != nil:
		addr = "several"
	}
	if p.Ports != nil {
		var ports packet.Ports
		for _, r := range p.Ports {
			ports = append(ports, packet.PortRange{Lo: uint16(r.Lo.Lo), Hi: uint16(r.Hi.Lo)})
		}
		port = ports.String()
	}
	return fmt.Sprintf("%s:%s/%s", addr, port, p.Proto)
}

func (p PublishedPort) to() string {
	switch {
	case p.Own && p.ToPort == 0:
		return "another address of this host"
	case p.Own:
		return fmt.Sprintf("port %d of this host", p.ToPort)
	case !p.To.IsValid():
		return "several"
	case p.ToPort == 0:
		return p.To.String()
	}
	return netip.AddrPortFrom(p.To, p.ToPort).String()
}

// Published lists the ports of the host that its rules send elsewhere: those of Docker
// by iptables or nftables, of Podman, of Kubernetes' nodes, and what administrators wrote
// themselves. They stand in the order in which the rules are tried: of several that a
// packet fits, the first one has it. What rules ask beside protocol, port and address
// is left out: a rule may publish for fewer packets, never for more.
//
// Left out, too, is what is not the host's own: addresses that it has not, as those of
// services in Kubernetes, ports that it redirects to itself, and tables that h.Unread
// names. Containers are those that the engines told of ([Containers]); without them only
// Podman's iptables rules tell the id.
func Published(h *HostRules, containers []Running) []PublishedPort {
	out, _ := translated(h)
	for i, p := range out {
		out[i].Container = named(containers, p.Container)
		if p.Container == (Container{}) {
			out[i].Container = at(containers, p.To)
		}
	}
	return once(out)
}

// Redirected lists the ports of the host that its rules send to other ports or addresses
// of the host itself, in the order in which the rules are tried.
func Redirected(h *HostRules) []PublishedPort {
	_, out := translated(h)
	return once(out)
}

// translated goes through the rules that change destinations: what they send elsewhere,
// and what to the host itself.
func translated(h *HostRules) (elsewhere, own []PublishedPort) {
	for _, is6 := range []bool{false, true} {
		for _, source := range h.Sources(is6) {
			f := source(packet.Prerouting)
			if f == nil {
				continue
			}
			w := publishing{filter: f, is6: is6, own: h.Addrs(is6), redirects: map[packet.Place]bool{}}
			for _, c := range f.Base {
				if c.NAT {
					w.steps(c.Rules, fits{}, nil)
				}
			}
			elsewhere, own = append(elsewhere, w.found...), append(own, w.redirected...)
		}
	}
	return elsewhere, own
}

// once leaves out what was said before: rules whose place among others is not known are
// read twice.
func once(all []PublishedPort) []PublishedPort {
	var out []PublishedPort
	seen := map[string]bool{}
	for _, p := range all {
		key := fmt.Sprint(p.String(), p.Addrs, p.Place)
		if !seen[key] {
			out = append(out, p)
		}
		seen[key] = true
	}
	return out
}
