package live

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fwctl/fwctl/rules"
)

// dumpTries bounds how often an interrupted dump is read again: the kernel marks
// a listing during which something changed (NLM_F_DUMP_INTR, netlink(7)).
const dumpTries = 20

// pfAnchors: Linux has no pf.
func pfAnchors(context.Context) []string { return nil }

func interfaces(ctx context.Context) ([]rules.Interface, error) {
	for try := 1; ; try++ {
		links, err := dumpInterfaces()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == dumpTries {
			return links, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(try) * time.Millisecond):
		}
	}
}

func dumpInterfaces() ([]rules.Interface, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	byIndex := map[int][]netip.Prefix{}
	for _, a := range addrs {
		if p, ok := prefix(a.IPNet); ok {
			byIndex[a.LinkIndex] = append(byIndex[a.LinkIndex], p)
		}
	}
	out := make([]rules.Interface, len(links))
	for i, l := range links {
		at := l.Attrs()
		out[i] = rules.Interface{Name: at.Name, Loopback: at.Flags&net.FlagLoopback != 0, Addrs: byIndex[at.Index]}
	}
	return out, nil
}
