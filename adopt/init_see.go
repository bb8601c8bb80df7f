package adopt

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Seen is what a starter policy is written from.
type Seen struct {
	Facts       *rules.Host
	Listeners   []live.Listener
	Connections []live.TCPConnection
	Published   []live.PublishedPort
	Translates  bool // a rule of the host gives packets other destinations
	Managers    []string
	Reach       live.Reach       // how whoever asks came in
	Ephemeral   packet.PortRange // ports that the kernel gives to clients
	Notes       []string         // what could not be seen, and why
}

// See looks at this host. It needs no privilege, but sees less without; the notes say
// what it missed.
func See(ctx context.Context) (*Seen, error) {
	s := &Seen{Reach: live.ReachOf(0), Ephemeral: ephemeral("/proc/sys/net/ipv4/ip_local_port_range")}
	var err error
	if s.Facts, err = live.Facts(ctx); err != nil {
		return nil, err
	}
	// Connections after listeners: one that begins in between has its listener.
	if s.Listeners, s.Notes, err = live.Listeners(ctx, live.ListenOptions{}); err != nil {
		return nil, err
	}
	if s.Connections, err = live.Established(); err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("who is connected is not known: %v", err))
	}
	s.translations(ctx)
	return s, ctx.Err()
}

// translations looks for rules that lead packets elsewhere, and whose they are.
func (s *Seen) translations(ctx context.Context) {
	if err := live.Readable(); err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("ports that are led into containers, and rules of others, are not known: %v", err))
		return
	}
	survey, err := live.Look(ctx)
	if err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("rules of others are not known: %v", err))
	} else {
		s.Translates = len(survey.Translations) > 0
		for _, m := range survey.Managers {
			s.Managers = append(s.Managers, m.Name)
		}
	}
	h, err := live.Rules(ctx)
	if err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("ports that are led into containers are not known: %v", err))
		return
	}
	containers, notes := live.Containers(ctx)
	s.Notes = append(s.Notes, notes...)
	s.Published = live.Published(h, containers)
}

// ephemeral reads the range from the kernel's file, else it is Linux's own (ip(7)).
func ephemeral(file string) packet.PortRange {
	r := packet.PortRange{Lo: 32768, Hi: 60999}
	text, err := os.ReadFile(file)
	if err != nil {
		return r
	}
	var lo, hi uint16
	if _, err := fmt.Sscan(strings.TrimSpace(string(text)), &lo, &hi); err == nil && lo <= hi {
		r = packet.PortRange{Lo: lo, Hi: hi}
	}
	return r
}
