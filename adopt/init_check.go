package adopt

import (
	"bytes"
	"fmt"
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

// oneFile is a file system with one policy in it.
type oneFile string

const policyName = "policy.toml"

// Open opens the policy.
func (f oneFile) Open(name string) (fs.File, error) {
	if name != policyName {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return &opened{bytes.NewReader([]byte(f)), int64(len(f))}, nil
}

type opened struct {
	*bytes.Reader
	size int64
}

// Close has nothing to close.
func (*opened) Close() error { return nil }

// Stat describes the file.
func (f *opened) Stat() (fs.FileInfo, error) { return info(f.size), nil }

type info int64

// Name is that of every policy here.
func (info) Name() string { return policyName }

// Size is the length of the text in bytes.
func (i info) Size() int64 { return int64(i) }

// Mode is that of a regular file which only its owner reads.
func (info) Mode() fs.FileMode { return 0o400 }

// ModTime is not known.
func (info) ModTime() time.Time { return time.Time{} }

// IsDir is false.
func (info) IsDir() bool { return false }

// Sys is nil.
func (info) Sys() any { return nil }
