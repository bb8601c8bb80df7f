package adopt

import (
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// manyPeers is up to how many addresses a group lists one by one.
const manyPeers = 16

// worldly are ports whose present peers do not tell who else may come: mail, names,
// the web. Nobody lists the readers of a web server.
var worldly = map[uint16]bool{
	22: true, 25: true, 53: true, 80: true, 110: true, 143: true, 443: true, 465: true, 587: true, 853: true, 993: true, 995: true,
}

// connect finds for each connection the socket that it came to.
func (w *start) connect() {
	all := slices.Clone(w.Connections)
	slices.SortFunc(all, func(a, b live.TCPConnection) int {
		if c := a.Local.Compare(b.Local); c != 0 {
			return c
		}
		return a.Remote.Compare(b.Remote)
	})
	for _, c := range all {
		if c.Local.Addr().IsLoopback() || w.Facts.Local(c.Remote.Addr()) {
			continue // never leaves the host
		}
		for _, o := range w.openings {
			if o.takes(c.Local) {
				o.join(c.Remote.Addr())
				w.ways[c] = append(w.ways[c], o.in)
			}
		}
		if len(w.ways[c]) > 0 {
			w.kept = append(w.kept, c)
		}
	}
}

// takes reports whether a connection to the host's end came to one of the sockets.
func (o *opening) takes(local netip.AddrPort) bool {
	if o.proto != packet.TCP || o.port != local.Port() {
		return false
	}
	return slices.ContainsFunc(o.sockets, func(l live.Listener) bool {
		return l.Addr == local.Addr() || l.Addr.IsUnspecified() && l.Takes(local.Addr().Is6())
	})
}

func (o *opening) join(peer netip.Addr) {
	peer = peer.WithZone("")
	if i, there := slices.BinarySearchFunc(o.peers, peer, netip.Addr.Compare); !there {
		o.peers = slices.Insert(o.peers, i, peer)
	}
}

// administrator marks the way in of whoever asks. If its listener has gone, as that of
// an sshd which is stopped and leaves its sessions, the port is kept for that address.
func (w *start) administrator() {
	if w.Reach.Kind != live.ReachConnection {
		return
	}
	remote, local := w.Reach.Remote.Addr().Unmap().WithZone(""), netip.AddrPortFrom(w.Reach.Local.Addr().Unmap().WithZone(""), w.Reach.Local.Port())
	if remote.IsLoopback() || w.Facts.Local(remote) {
		return
	}
	for _, o := range w.openings {
		if o.takes(local) {
			o.join(remote)
			o.yours = true
		}
	}
	if slices.ContainsFunc(w.openings, func(o *opening) bool { return o.yours }) {
		return
	}
	w.kept = append(w.kept, live.TCPConnection{Local: local, Remote: w.Reach.Remote})
	w.openings = append(w.openings, &opening{
		key: key{packet.TCP, local.Port()}, peers: []netip.Addr{remote}, yours: true,
	})
}

// choose decides for each opening whom it is for.
func (w *start) choose() {
	for _, o := range w.openings {
		if len(o.sockets) == 0 || w.telling(o) {
			o.from = w.audienceOf(o.peers)
		}
	}
}

// telling reports whether who is connected now tells who uses the port: peers that are
// all of private or neighbouring networks. From elsewhere others may come whom nobody
// knows; and how one logs in must never depend on who happens to be logged in.
func (w *start) telling(o *opening) bool {
	if len(o.peers) == 0 || worldly[o.port] || o.yours || isSSH(o) {
		return false
	}
	return !slices.ContainsFunc(o.peers, func(a netip.Addr) bool { return !a.IsPrivate() && !a.IsLinkLocalUnicast() && !w.neighbour(a) })
}

// neighbour reports whether the address is in a network that the host is in.
func (w *start) neighbour(a netip.Addr) bool {
	for _, i := range w.Facts.Interfaces {
		if slices.ContainsFunc(i.Addrs, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return true
		}
	}
	return false
}

// audienceOf lists the addresses, or the networks of them if they are many: /24 for
// IPv4, /64 for IPv6. An address that is alone in its network stays an address. A
// container has another address the next time it runs, so of containers and guests the
// network of their bridge is listed.
func (w *start) audienceOf(peers []netip.Addr) audience {
	var out audience
	var alone []netip.Addr
	for _, a := range peers {
		if p, ok := w.bridge(a); !ok {
			alone = append(alone, a)
		} else if out.bridged = true; !slices.Contains(out.peers, p) {
			out.peers = append(out.peers, p)
		}
	}
	for i := 0; i < len(alone); {
		bits, n := alone[i].BitLen(), 1
		if len(alone) > manyPeers {
			net := netOf(alone[i])
			for i+n < len(alone) && net.Contains(alone[i+n]) {
				n++
			}
			if n > 1 {
				bits, out.wider = net.Bits(), true
			}
		}
		p, _ := alone[i].Prefix(bits) // it has these bits
		out.peers = append(out.peers, p)
		i += n
	}
	slices.SortFunc(out.peers, netip.Prefix.Compare)
	return out
}

// bridge returns the network of containers or guests that has the address.
func (w *start) bridge(a netip.Addr) (netip.Prefix, bool) {
	for _, i := range w.Facts.Interfaces {
		if !slices.ContainsFunc(bridges, func(pattern string) bool { return rules.MatchInterface(pattern, i.Name) }) {
			continue
		}
		for _, p := range i.Addrs {
			if p.Contains(a) && !a.IsLinkLocalUnicast() {
				return p.Masked(), true
			}
		}
	}
	return netip.Prefix{}, false
}

func netOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // it has these bits
	return p
}
