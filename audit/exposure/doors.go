package exposure

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// doors are the ports of one network namespace at which something waits or is published,
// each with one set of addresses. Localnet says that some packets from outside may be for
// loopback addresses.
func doors(listeners []live.Listener, published []live.PublishedPort, localnet bool) []Door {
	out := []Door{} // JSON has a list where there is nothing
	for _, l := range listeners {
		d := at(&out, l.Proto, l.Port, l.Interface, isLocal(l.Addr))
		for _, a := range addresses(l) {
			d.addr(a)
		}
		for _, w := range waiters(l) {
			if !slices.Contains(d.Waits, w) {
				d.Waits = append(d.Waits, w)
			}
		}
	}
	for _, p := range published {
		if p.Own && !leads(p, listeners, localnet) {
			continue
		}
		for _, r := range p.Ports {
			for port := r.Lo.Lo; port <= r.Hi.Lo && port-r.Lo.Lo < mostPorts; port++ {
				d := at(&out, p.Proto, uint16(port), "", onlyLoopback(p))
				for _, a := range publishedAddrs(p) {
					d.addr(a)
				}
				if to := p.String(); !slices.Contains(d.Published, to) {
					d.Published = append(d.Published, to)
				}
				if p.Own && p.ToPort != 0 {
					d.leads = append(d.leads, p.ToPort)
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Door) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port), cmp.Compare(b2i(a.Local), b2i(b.Local)), cmp.Compare(a.Interface, b.Interface))
	})
	return out
}

// leads reports whether something waits where a port of the host itself leads.
func leads(p live.PublishedPort, listeners []live.Listener, localnet bool) bool {
	return slices.ContainsFunc(listeners, func(l live.Listener) bool {
		to := packet.Single(packet.Number(uint64(l.Port)))
		there := l.Port == p.ToPort || p.ToPort == 0 && p.Ports.Contains(to.Lo)
		return l.Proto == p.Proto && there && l.Takes(p.Is6) && (!isLocal(l.Addr) || localnet && p.To == l.Addr.Unmap())
	})
}

// mostPorts of one published range are doors of their own.
const mostPorts = 1000

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// at returns the door, new if there is none.
func at(all *[]Door, p packet.Proto, port uint16, iface string, local bool) *Door {
	i := slices.IndexFunc(*all, func(d Door) bool {
		return d.Proto == p && d.Port == port && d.Interface == iface && d.Local == local
	})
	if i < 0 {
		*all = append(*all, Door{Proto: p, Protocol: p.String(), Port: port, Interface: iface, Local: local, Waits: []Waiter{}, From: []string{}, Sources: []Source{}})
		i = len(*all) - 1
	}
	return &(*all)[i]
}

func (d *Door) addr(a netip.Addr) {
	if !slices.Contains(d.Addrs, a) {
		d.Addrs = append(d.Addrs, a)
		slices.SortFunc(d.Addrs, netip.Addr.Compare)
	}
}

func isLocal(a netip.Addr) bool { return a.Unmap().IsLoopback() }

// addresses are those for which the socket waits, 0.0.0.0 for all of IPv4.
func addresses(l live.Listener) []netip.Addr {
	a := l.Addr.Unmap()
	if a == netip.IPv6Unspecified() && l.Takes(false) {
		return []netip.Addr{netip.IPv4Unspecified(), a}
	}
	return []netip.Addr{a}
}

func publishedAddrs(p live.PublishedPort) []netip.Addr {
	var out []netip.Addr
	for _, r := range p.Addrs {
		if r.Lo != r.Hi {
			out = nil
			break
		}
		out = append(out, r.Lo.Addr(p.Is6))
	}
	if out != nil {
		return out
	}
	if p.Is6 {
		return []netip.Addr{netip.IPv6Unspecified()}
	}
	return []netip.Addr{netip.IPv4Unspecified()}
}

func onlyLoopback(p live.PublishedPort) bool {
	return !slices.ContainsFunc(publishedAddrs(p), func(a netip.Addr) bool { return !a.IsLoopback() })
}

// waiters are the processes behind a socket; one of which nothing is known, if there is
// none.
func waiters(l live.Listener) []Waiter {
	proxy, uid := l.Proxy.Program, uint32(0)
	if l.User == "" {
		uid = l.UID
	}
	if len(l.Owners) == 0 {
		return []Waiter{{User: l.User, UID: uid, Unit: l.Made.Unit, Container: l.Made.Container.String(), Proxy: proxy}}
	}
	var out []Waiter
	for _, o := range l.Owners {
		container := o.Container.String()
		if proxy != "" {
			container = l.Proxy.Container.String()
		}
		w := Waiter{Process: o.Process, PID: o.PID, User: l.User, UID: uid, Unit: o.Unit, Container: container, Proxy: proxy, leader: o.Leader}
		// Processes that share a socket are one waiter.
		if !slices.ContainsFunc(out, func(x Waiter) bool { x.PID, x.leader = w.PID, w.leader; return x == w }) {
			out = append(out, w)
		}
	}
	return out
}
