package apply

import (
	"errors"
	"fmt"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// cut ends the connections that a policy does not accept, and no other. Those of the
// host's own sockets are aborted; all leave the kernel's tracking, so that a further
// packet counts as one that begins something. It returns the packets that began them.
func cut(rs *rules.Ruleset, h *rules.Host) (texts []string, err error) {
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

// cutWith is cut with a stored policy.
func (s *Store) cutWith(name string) ([]string, error) {
	b, err := s.bundle(name)
	if err != nil {
		return nil, err
	}
	rs, err := b.ruleset()
	if err != nil {
		return nil, err
	}
	return cut(rs, b.Host)
}
