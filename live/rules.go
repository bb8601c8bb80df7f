package live

import (
	"errors"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
	"github.com/fwctl/fwctl/read/nftables"
)

// HostRules is everything in the kernel that decides on packets at the hooks of
// a policy, read as one state of it. What is there but was not read, or cannot
// be modelled, is named in it.
type HostRules struct {
	Generation uint32            // of nf_tables
	Tables     []*nftables.Table // those of iptables-nft that are not in Saves included
	Saves      []Save            // of iptables, where they are not among the tables
	IPTables   iptables.Options  // what the saves refer to
	Links      nftables.Links    // interfaces by index
	Addrs4     packet.HostAddrs  // what the routing takes for the host's own
	Addrs6     packet.HostAddrs
	Beside     []Beside
	Unread     []string // what could not be read, with the reason: nothing is proved without it
	Managers   []Manager
}

// Beside is something that acts on packets and is not modelled.
type Beside struct {
	Name string `json:"name"` // "XDP program on eth0"
	// Refuses says that it can only refuse packets, so that what the rules
	// refuse stays refused.
	Refuses bool `json:"refuses_only"`
}

// errReadPrivilege is the error of a process that may not read the rules.
var errReadPrivilege = errors.New("reading the host's rules needs CAP_NET_ADMIN: run it as root")

// Readable returns an error unless this process may read the rules of its network
// namespace.
func Readable() error {
	if Privilege() != nil {
		return errReadPrivilege
	}
	return nil
}

// Addrs returns the host's own addresses of a family.
func (h *HostRules) Addrs(is6 bool) packet.HostAddrs {
	if is6 {
		return h.Addrs6
	}
	return h.Addrs4
}

// Sources returns the host's rules of a family, for packet.Arrival and
// packet.Departure.
func (h *HostRules) Sources(is6 bool) []packet.Source {
	sources := []packet.Source{remembered(nftables.Source(h.Tables, is6, h.Links))}
	for _, s := range h.Saves {
		if s.Is6 == is6 {
			sources = s.beside(sources, remembered(s.Source(h.IPTables)))
		}
	}
	return sources
}

// Filter returns what the whole host does with packets of a family at one hook.
func (h *HostRules) Filter(hook packet.Hook, is6 bool) *packet.Filter {
	return packet.At(hook, h.Sources(is6)...)
}

// remembered asks the source for each hook once.
func remembered(source packet.Source) packet.Source {
	known := map[packet.Hook]*packet.Filter{}
	return func(h packet.Hook) *packet.Filter {
		f, ok := known[h]
		if !ok {
			f = source(h)
			known[h] = f
		}
		return f
	}
}
