package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	pfapply "github.com/fwctl/fwctl/apply/pf"
	"github.com/fwctl/fwctl/live"
	livepf "github.com/fwctl/fwctl/live/pf"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// cut ends the connections that a policy does not accept, and no other. Those of the
// host's own sockets are aborted; all leave the kernel's tracking, so that a further
// packet counts as one that begins something. It returns the packets that began them.
func cut(ctx context.Context, backend string, rs *rules.Ruleset, h *rules.Host) (texts []string, err error) {
	if backend == PF {
		return cutStates(ctx, rs, h)
	}
	conns, err := live.Connections()
	if err != nil {
		return nil, err
	}
	_, outgoing, err := live.Connected()
	if err != nil {
		return nil, err
	}
	var out []live.Connection
	var own []live.TCPConnection
	for _, u := range live.Judge(rs, conns, outgoing, h.HostAddrs, live.RouteTo, time.Now()) {
		out, texts = append(out, u.Connection), append(texts, u.Packet.String())
		switch {
		case u.Proto != packet.TCP:
		case u.Packet.Hook == packet.Input:
			own = append(own, live.TCPConnection{Local: u.Dst, Remote: u.Src})
		case u.Packet.Hook == packet.Output:
			own = append(own, live.TCPConnection{Local: u.Src, Remote: u.Dst})
		}
	}
	if err := errors.Join(abort(own), untrack(out)); err != nil {
		return nil, fmt.Errorf("cut connections: %w", err)
	}
	return texts, nil
}

// cutStates is cut for pf: the states go, so that a further packet of a connection is
// judged, and refused. Its sockets are not aborted; both ends find out by themselves.
func cutStates(ctx context.Context, rs *rules.Ruleset, h *rules.Host) (texts []string, err error) {
	c, err := pfapply.Open(pfapply.Options{})
	if err != nil {
		return nil, err
	}
	flows, err := c.States(ctx)
	if err != nil {
		return nil, err
	}
	var out []livepf.Flow
	for _, f := range flows {
		for _, u := range live.Judge(rs, []live.Connection{live.OfPF(f)}, nil, h.HostAddrs, live.RouteTo, time.Now()) {
			out, texts = append(out, f), append(texts, u.Packet.String())
		}
	}
	if err := c.Kill(ctx, out); err != nil {
		return nil, fmt.Errorf("cut connections: %w", err)
	}
	return texts, nil
}

// cutWith is cut with a stored policy.
func (s *Store) cutWith(ctx context.Context, name string) ([]string, error) {
	b, err := s.bundle(name)
	if err != nil {
		return nil, err
	}
	rs, err := b.ruleset()
	if err != nil {
		return nil, err
	}
	return cut(ctx, b.Manifest.Backend, rs, b.Host)
}
