//go:build !linux

package live

import (
	"context"
	"net"

	"github.com/fwctl/fwctl/rules"
)

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
