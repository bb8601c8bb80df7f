package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/live/nftables"
	"github.com/fwctl/fwctl/packet"
	read "github.com/fwctl/fwctl/read/nftables"
)

// Rules reads everything that decides on packets in this network namespace. It
// changes nothing and needs CAP_NET_ADMIN.
func Rules(ctx context.Context) (*HostRules, error) {
	if err := Readable(); err != nil {
		return nil, err
	}
	survey, err := Look(ctx)
	if err != nil {
		return nil, err
	}
	h := &HostRules{Managers: survey.Managers}
	err = h.read(ctx)
	h.groups()
	return h, err
}

// read reads what is of one network namespace, that of the thread.
func (h *HostRules) read(ctx context.Context) error {
	if err := h.tables(ctx); err != nil {
		return err
	}
	for _, part := range []func() error{h.routes, h.links, h.addresses, h.filters} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// Elsewhere reads what decides on packets in each other network namespace of this
// machine that can be found and entered, which needs CAP_SYS_ADMIN, and CAP_SYS_PTRACE
// to find those of other users' processes. The notes say what could not be told.
func Elsewhere(ctx context.Context) (all []Namespace, notes []string, err error) {
	own, err := ownNetns()
	if err != nil {
		return nil, nil, fmt.Errorf("read the rules of other network namespaces: %w", err)
	}
	notes = everyOther(ctx, own, "rules there may be missing", func(ns Netns) {
		h := &HostRules{}
		n := Namespace{Netns: ns, Rules: h}
		if err := h.read(ctx); err != nil {
			n.Rules, n.Unread = nil, err.Error()
		}
		all = append(all, n)
	})
	slices.SortFunc(all, func(a, b Namespace) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Inode, b.Inode))
	})
	return all, notes, ctx.Err()
}

// tables reads nf_tables and all variants of iptables, in one generation of the
// former.
func (h *HostRules) tables(ctx context.Context) error {
	c, err := nftables.Dial(0)
	if err != nil {
		return err
	}
	defer c.Close()
	for range generations {
		all, err := c.All(ctx, math.MaxUint32)
		if err != nil {
			return err
		}
		h.Generation, h.Tables, h.Saves, h.Unread = all.Generation, all.Tables, nil, nil
		h.saves(ctx)
		after, err := c.Generation()
		if err != nil {
			return err
		}
		if after == all.Generation {
			h.beside(all)
			return nil
		}
	}
	return fmt.Errorf("read the rules: %w", nftables.ErrUnstable)
}

// generations is how often everything is read again because others write.
const generations = 10

// beside names what nf_tables has that is not modelled.
func (h *HostRules) beside(all *nftables.All) {
	for _, o := range all.Others {
		if o.Family != "arp" { // it sees no IP packet
			h.Beside = append(h.Beside, Beside{Name: fmt.Sprintf("chain %s of table %s %s", o.Chain, o.Family, o.Table)})
		}
	}
	for _, f := range all.Flowtables {
		h.Beside = append(h.Beside, Beside{Name: "flowtable " + f})
	}
}

// routes reads which addresses the kernel takes for its own: the routes of the
// local table, which is where fib looks, too.
func (h *HostRules) routes() error {
	for _, f := range []struct {
		family int
		is6    bool
		into   *packet.HostAddrs
	}{{netlink.FAMILY_V4, false, &h.Addrs4}, {netlink.FAMILY_V6, true, &h.Addrs6}} {
		routes, err := netlink.RouteListFiltered(f.family, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return fmt.Errorf("read the local routes: %w", err)
		}
		var local, broadcast []packet.Range
		for _, r := range routes {
			p, ok := prefix(r.Dst)
			if !ok {
				continue
			}
			all := packet.Range{Lo: packet.AddrValue(p.Masked().Addr()), Hi: packet.AddrValue(netipx.PrefixLastIP(p))}
			switch r.Type {
			case unix.RTN_LOCAL:
				local = append(local, all)
			case unix.RTN_BROADCAST:
				broadcast = append(broadcast, all)
			}
		}
		if !f.is6 {
			broadcast = append(broadcast, packet.Single(packet.Number(math.MaxUint32)))
		}
		*f.into = packet.HostAddrs{Known: true, Local: packet.NewRanges(local...), Broadcast: packet.NewRanges(broadcast...)}
	}
	return nil
}

func (h *HostRules) links() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("read the interfaces: %w", err)
	}
	h.Links, h.ports = read.Links{}, map[uint32]bool{}
	leads := map[int]bool{}
	for _, l := range links {
		leads[l.Attrs().Index] = slices.Contains([]string{"bridge", "bond", "team"}, l.Type())
	}
	for _, l := range links {
		at := l.Attrs()
		h.ports[uint32(at.Index)] = leads[at.MasterIndex]
		h.Links[uint32(at.Index)] = packet.Link{Name: at.Name, Type: linkTypes[at.EncapType], Group: at.Group}
		if at.Xdp != nil && at.Xdp.Attached {
			h.Beside = append(h.Beside, Beside{Name: "XDP program on " + at.Name})
		}
	}
	return h.localnet()
}

// localnet asks for each interface whether it takes packets for loopback addresses. The
// files are those of the thread's network namespace.
func (h *HostRules) localnet() error {
	all, err := routesLocalnet("all")
	if err != nil {
		return err
	}
	for _, name := range h.LinkNames() {
		is := all
		if !all {
			is, err = routesLocalnet(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it has gone, or has no IPv4
			return err
		}
		if is && name != "lo" {
			h.Localnet = append(h.Localnet, name)
		}
	}
	return nil
}

func routesLocalnet(name string) (bool, error) {
	b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv4/conf", name, "route_localnet"))
	return strings.TrimSpace(string(b)) == "1", err
}

// linkTypes are the numbers (ARPHRD_*, linux/if_arp.h) of the names that the
// library gives to kinds of interfaces.
var linkTypes = map[string]uint16{
	"ether": 1, "loopback": 772, "ppp": 512, "ipip": 768, "tunnel6": 769, "sit": 776, "gre": 778, "none": 65534, "void": 65535,
}

// addresses reads the addresses of the interfaces.
func (h *HostRules) addresses() error {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("read the addresses of the interfaces: %w", err)
	}
	for i, l := range h.Links {
		l.Addrs = []netip.Prefix{}
		for _, a := range addrs {
			if p, ok := prefix(a.IPNet); ok && a.LinkIndex == int(i) {
				l.Addrs = append(l.Addrs, p)
			}
		}
		h.Links[i] = l
		h.IPTables.Links = append(h.IPTables.Links, l)
	}
	return nil
}
