package live

import (
	"context"
	"errors"

	livepf "github.com/fwctl/fwctl/live/pf"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/nftables"
	"github.com/fwctl/fwctl/rules"
)

// PFRules reads everything that decides on packets where pf does. It changes nothing
// and needs root.
func PFRules(ctx context.Context) (*HostRules, error) {
	if Privilege() != nil {
		return nil, errPFPrivilege
	}
	ifaces, err := interfaces(ctx)
	if err != nil {
		return nil, err
	}
	c, err := livepf.Open(livepf.Options{})
	if err != nil {
		return nil, err
	}
	h := &HostRules{Links: nftables.Links{}}
	var links []packet.Link
	for i, n := range ifaces {
		l := packet.Link{Name: linkName(n), Addrs: n.Addrs}
		links = append(links, packet.Link{Name: n.Name, Addrs: n.Addrs})
		h.Links[uint32(i)] = l
	}
	host := &rules.Host{Interfaces: ifaces}
	h.Addrs4, h.Addrs6 = host.HostAddrs(false), host.HostAddrs(true)
	if h.PF, err = c.Read(ctx, links); err != nil {
		return nil, err
	}
	h.Unread = h.PF.Unread
	return h, nil
}

var errPFPrivilege = errors.New("reading the rules of pf needs root")

// linkName is the name of an interface as a policy has it: the loopback interface is lo.
func linkName(i rules.Interface) string {
	if i.Loopback && i.Name == "lo0" {
		return "lo"
	}
	return i.Name
}
