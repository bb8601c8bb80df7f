package adopt

import (
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// mean loads and resolves a policy that is a text.
func mean(text string, profiles fs.FS, h *rules.Host) (*rules.Ruleset, rules.Problems) {
	p, ps := rules.Load(oneFile(text), policyName, rules.LoadOptions{Profiles: profiles})
	rs, more := rules.Resolve(p, h)
	ps = append(ps, more...)
	ps.Sort()
	return rs, ps
}

// Refused returns those of the connections that the policy would not let begin anew;
// the problems are those of the policy, if it cannot be used. Route returns the
// interface by which an address is reached.
func (t *Starter) Refused(s *Seen, profiles fs.FS, route func(netip.Addr) string) ([]live.TCPConnection, rules.Problems) {
	rs, ps := mean(t.Text, profiles, s.Facts)
	if ps.Err() != nil {
		return nil, ps
	}
	var out []live.TCPConnection
	asked := map[live.TCPConnection]bool{}
	for _, c := range t.Kept {
		alike := c
		alike.Remote = netip.AddrPortFrom(c.Remote.Addr(), 0) // no service asks for it
		if asked[alike] {
			continue
		}
		asked[alike] = true
		ways := t.ways[c]
		if a := c.Remote.Addr(); !a.IsLinkLocalUnicast() { // which is of any link
			ways = append([]string{route(a)}, ways...)
		}
		if !slices.ContainsFunc(ways, func(in string) bool { return accepts(rs, c, in, s.Facts.Time) }) {
			out = append(out, c)
		}
	}
	return out, nil
}

// accepts reports whether the first packet of a connection may come in by an interface.
func accepts(rs *rules.Ruleset, c live.TCPConnection, in string, now time.Time) bool {
	return rs.Decide(packet.Packet{
		Hook: packet.Input, In: in, Proto: packet.TCP, Flags: packet.SYN,
		Src: c.Remote.Addr().WithZone(""), SrcPort: c.Remote.Port(), Dst: c.Local.Addr().WithZone(""), DstPort: c.Local.Port(),
	}, now).Verdict == packet.Accept
}
