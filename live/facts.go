package live

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/fwctl/fwctl/rules"
)

// Facts reads what a policy may depend on: the host's name, its interfaces with
// their addresses, the time and its zone, and of pf the anchors of others, for which root is
// needed: nobody else is told. DNS names are not resolved: see
// [Resolve]. It needs no privilege.
func Facts(ctx context.Context) (*rules.Host, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read host name: %w", err)
	}
	links, err := interfaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("read interfaces: %w", err)
	}
	zone, location := Zone()
	return &rules.Host{
		Name:       name,
		OS:         runtime.GOOS,
		Interfaces: sorted(links),
		Time:       time.Now().In(location).Truncate(time.Second),
		TimeZone:   zone,
		PFAnchors:  pfAnchors(ctx),
	}, nil
}

// sorted brings interfaces and their addresses into one order, so that the same
// host always gives the same facts.
func sorted(links []rules.Interface) []rules.Interface {
	slices.SortFunc(links, func(a, b rules.Interface) int { return cmp.Compare(a.Name, b.Name) })
	for i := range links {
		slices.SortFunc(links[i].Addrs, netip.Prefix.Compare)
		links[i].Addrs = slices.Compact(links[i].Addrs)
	}
	return links
}
