//go:build !linux

package live

import (
	"context"
	"slices"

	"github.com/fwctl/fwctl/live/pf"
	"github.com/fwctl/fwctl/packet"
)

// Connections lists the flows of which pf has a state.
func Connections() ([]Connection, error) {
	flows, err := states()
	var out []Connection
	for _, f := range flows {
		out = append(out, OfPF(f))
	}
	return out, err
}

// Established lists the TCP connections of which pf has a state.
func Established() ([]TCPConnection, error) {
	all, _, err := Connected()
	return all, err
}

// Connected tells those that this host has begun apart.
func Connected() (all, outgoing []TCPConnection, err error) {
	flows, err := states()
	for _, f := range slices.DeleteFunc(flows, func(f pf.Flow) bool { return f.Proto != packet.TCP }) {
		local, remote := f.Ends()
		all = append(all, TCPConnection{Local: local, Remote: remote})
		if f.Out {
			outgoing = append(outgoing, TCPConnection{Local: local, Remote: remote})
		}
	}
	return all, outgoing, err
}

func states() ([]pf.Flow, error) {
	c, err := pf.Open(pf.Options{})
	if err != nil {
		return nil, err
	}
	return c.States(context.Background())
}
