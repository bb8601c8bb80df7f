package apply

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// PublishedError is a host with translated ports under a policy that does not
// say what shall become of them: nothing was changed.
type PublishedError struct {
	Translations []live.Translation
	Closing      []live.Translation // those of them that no service names, which "enforce" would close
}

// Error says how many there are; whoever prints it lists them.
func (e *PublishedError) Error() string {
	return fmt.Sprintf("the host has %d translated ports and the policy does not say what becomes of them", len(e.Translations))
}

// published refuses a policy that does not say what becomes of translated ports.
func (c *change) published(s *live.Survey) error {
	switch {
	case len(s.Translations) == 0 || c.action == refreshing:
	case c.ruleset.Published == rules.PublishedUnset:
		e := &PublishedError{Translations: s.Translations}
		for _, t := range s.Translations {
			if !c.opens(t) {
				e.Closing = append(e.Closing, t)
			}
		}
		return e
	case c.ruleset.Published == rules.PublishedEnforce && len(c.ruleset.ContainerInterfaces) == 0:
		c.warn(`no interface is named as one of containers: containers that call a published port of this host are judged as if they came from outside; name the bridges: container_interfaces = ["docker0", "br-*"]`)
	}
	return nil
}

// opens reports whether a service names the port that clients ask for; a translation
// of which it is not known does not count as closed.
func (c *change) opens(t live.Translation) bool {
	first, last, isRange := strings.Cut(t.Ports, "-")
	if !isRange {
		last = first
	}
	lo, err1 := strconv.ParseUint(first, 10, 16)
	hi, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil {
		return true
	}
	ports := packet.Ports{{Lo: uint16(lo), Hi: uint16(hi)}}
	return slices.ContainsFunc(c.ruleset.Services, func(r *rules.Rule) bool {
		return len(r.Transports) == 0 || slices.ContainsFunc(r.Transports, func(tr rules.Transport) bool {
			return tr.Any || (t.Proto == "" || tr.Proto.String() == t.Proto) && (len(tr.Dst) == 0 || tr.Dst.Overlaps(ports))
		})
	})
}
