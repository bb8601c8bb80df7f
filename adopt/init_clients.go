package adopt

import (
	"slices"
	"strings"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// leftOut is a socket that no service is written for, and why.
type leftOut struct {
	live.Listener
	why string
}

// servers are programs whose UDP ports are for others to send to, though they may be
// among those that the kernel gives to clients.
var servers = []string{
	"boringtun-cli", "charon", "charon-systemd", "coturn", "mosh-server", "openvpn", "rpc.mountd", "rpc.statd", "tailscaled", "turnserver", "wireguard-go", "zerotier-one",
}

// client says why a UDP socket is that of a client, which needs no service; "" if it
// is not. TCP sockets that listen are servers, always, except where nothing can come to
// them.
func (w *start) client(l live.Listener, resolvers map[string]bool) string {
	switch {
	case l.Proxy.Program == "conmon":
		return "only held for a container, whose packets never come here"
	case strings.HasPrefix(l.Interface, "#"):
		return "bound to an interface that has gone"
	}
	if l.Proto != packet.UDP {
		return ""
	}
	unknown := len(l.Owners) == 0
	switch {
	case l.Port == 68 || l.Port == 546:
		return "DHCP; its answers are let in by every policy"
	case unknown && l.Inode == 0 || l.Proxy.Program != "" || l.Port == 5353 || slices.Contains(servers, program(l)) || w.catalogue.knows(key{l.Proto, l.Port}):
		return ""
	case !unknown && resolvers[who(l)] && l.Port >= 1024 && !l.Addr.IsMulticast():
		return "a resolver's question; the answer belongs to a connection"
	case l.Port < w.Ephemeral.Lo || l.Port > w.Ephemeral.Hi:
		return ""
	case unknown:
		return "probably a client's, by its number; which program has it could not be seen"
	}
	return "a client's, by its number; answers belong to a connection"
}

// resolversOf are the programs that answer for names, and so ask others from ports
// that nobody can foretell.
func resolversOf(all []live.Listener) map[string]bool {
	out := map[string]bool{}
	for _, l := range all {
		if l.Port == 53 && len(l.Owners) > 0 {
			out[who(l)] = true
		}
	}
	return out
}
