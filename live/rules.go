package live

import (
	"errors"

	livepf "github.com/fwctl/fwctl/live/pf"
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
	PF         *livepf.Held // where pf decides; the fields before Links are not used then
	// Localnet are the interfaces by which the kernel takes packets for loopback addresses
	// of IPv4, which it drops by all others (route_localnet of ip-sysctl); in order.
	Localnet []string

	ports map[uint32]bool // the Links that are ports of another one
}

// Beside is something that acts on packets and is not modelled.
type Beside struct {
	Name string `json:"name"` // "XDP program on eth0"
	// Refuses says that it can only refuse packets, so that what the rules
	// refuse stays refused.
	Refuses bool `json:"refuses_only"`
}

// Namespace is another network namespace and everything that decides on packets in it.
// Who else manages rules, and programs on control groups, are the host's: its Rules name
// none.
type Namespace struct {
	Netns
	Rules  *HostRules // nil: they could not be read
	Unread string     // why not
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
	if h.PF != nil {
		return []packet.Source{remembered(h.PF.Source(is6))}
	}
	sources := []packet.Source{remembered(nftables.Source(h.Tables, is6, h.Links))}
	for _, s := range h.Saves {
		if s.Is6 == is6 {
			sources = s.beside(sources, remembered(s.Source(h.IPTables)))
		}
	}
	return sources
}

// Others is Sources without what is fwctl's: its table of nftables, its chains of
// iptables and the jumps to them, its anchor of pf.
func (h *HostRules) Others(is6 bool) []packet.Source {
	if h.PF != nil {
		return []packet.Source{remembered(h.PF.Others(is6))}
	}
	return foreign(h.Sources(is6))
}

// Filter returns what the whole host does with packets of a family at one hook. Where
// pf decides these are the rules for packets that come in, go out, or both.
func (h *HostRules) Filter(hook packet.Hook, is6 bool) *packet.Filter {
	switch {
	case h.PF == nil:
		return packet.At(hook, h.Sources(is6)...)
	case hook == packet.Output:
		return packet.At(hook, h.PF.Source(is6))
	}
	return packet.ArrivalAt(hook, h.PF.Source(is6))
}

// Comparable are the packets for which the host's rules can be held against a policy.
func (h *HostRules) Comparable(hook packet.Hook, is6 bool) packet.Cond {
	if h.PF == nil {
		return packet.All{}
	}
	return h.PF.Comparable(hook, is6)
}

// Clockless reports whether the rules know no time: what has ended goes when they are
// loaded again.
func (h *HostRules) Clockless() bool { return h.PF != nil }

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
