package live

import (
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/nftables"
)

// Counter is what a rule has counted.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Counter returns what the rule at a place had counted when it was read, nil if
// it does not count.
func (h *HostRules) Counter(at packet.Place) *Counter {
	for _, t := range h.Tables {
		if at.Source != "nftables" || t.Title() != at.Table {
			continue
		}
		for _, r := range t.Rules {
			if r.Handle != at.Handle {
				continue
			}
			if p, b, ok := nftables.Counter(r.Exprs); ok {
				return &Counter{p, b}
			}
		}
	}
	for _, s := range h.Saves {
		if s.source() != at.Source {
			continue
		}
		if c := s.Table(at.Table).Chain(at.Chain); c != nil && at.Number >= 1 && at.Number <= len(c.Rules) {
			r := c.Rules[at.Number-1]
			return &Counter{r.Packets, r.Bytes}
		}
	}
	return nil
}
