//go:build !linux

package live

import (
	"context"
	"net"

	livepf "github.com/fwctl/fwctl/live/pf"
	"github.com/fwctl/fwctl/rules"
)

// pfAnchors are the anchors of others that the main rules of pf ask.
func pfAnchors(ctx context.Context) []string {
	c, err := livepf.Open(livepf.Options{})
	if err != nil || Privilege() != nil {
		return nil
	}
	names, _ := c.Anchors(ctx) // without them no anchor is kept but the policy's
	return names
}

func interfaces(context.Context) ([]rules.Interface, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	out := make([]rules.Interface, len(links))
	for i, l := range links {
		out[i] = rules.Interface{Name: l.Name, Loopback: l.Flags&net.FlagLoopback != 0}
		addrs, err := l.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if p, ok := prefix(n); ok {
					out[i].Addrs = append(out[i].Addrs, p)
				}
			}
		}
	}
	return out, nil
}
