package pf

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
	read "github.com/fwctl/fwctl/read/pf"
)

// Flow is a state of pf: a connection that passes without being judged.
type Flow struct {
	Proto      packet.Proto
	Src, Dst   netip.AddrPort // of the packet that began it
	Translated bool           // its answers come from or go to other addresses
	Out        bool           // that packet went out
	ID         string         // by which it can be ended; "" if pfctl does not tell
}

// Ends are the end of this host and the other.
func (f Flow) Ends() (local, remote netip.AddrPort) {
	if f.Out {
		return f.Src, f.Dst
	}
	return f.Dst, f.Src
}

// States lists the states with ports, of TCP and UDP.
func (c *Conn) States(ctx context.Context) ([]Flow, error) {
	args := []string{"-s", "states"}
	if c.Dialect != read.MacOS {
		args = append(args, "-v", "-v") // with their numbers
	}
	text, err := c.Run(ctx, "", args...)
	if err != nil {
		return nil, err
	}
	return parseStates(text), nil
}

// parseStates reads what pfctl -ss prints: a line for each state, and with -vv lines
// below it that are indented.
func parseStates(text string) []Flow {
	var out []Flow
	last := -1
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			if last >= 0 && len(f) > 1 && f[0] == "id:" {
				out[last].ID = f[1]
			}
			continue
		}
		last = -1
		if flow, ok := parseState(f); ok {
			last = len(out)
			out = append(out, flow)
		}
	}
	return out
}

// parseState reads the words of
//
//	all tcp 192.0.2.10:22 <- 203.0.113.9:51234 ESTABLISHED:ESTABLISHED
//	all udp 10.0.0.5:4000 (192.0.2.10:61000) -> 198.51.100.7:53 MULTIPLE:SINGLE
//
// The end of this host stands first; behind a translated one is what it is to the
// other.
func parseState(f []string) (Flow, bool) {
	if len(f) < 5 {
		return Flow{}, false
	}
	proto, ok := packet.ParseProto(f[1])
	if !ok || !proto.HasPorts() {
		return Flow{}, false
	}
	var ends []netip.AddrPort
	flow := Flow{Proto: proto}
	for _, w := range f[2:] {
		switch {
		case w == "<-" || w == "->":
			flow.Out = w == "->"
		case strings.HasPrefix(w, "("):
			flow.Translated = true
		default:
			if end, ok := parseEnd(w); ok && len(ends) < 2 {
				ends = append(ends, end)
			}
		}
	}
	if len(ends) != 2 {
		return Flow{}, false
	}
	flow.Src, flow.Dst = ends[1], ends[0]
	if flow.Out {
		flow.Src, flow.Dst = ends[0], ends[1]
	}
	return flow, true
}

// parseEnd reads "192.0.2.10:22" and "2001:db8::1[22]", as pf prints them.
func parseEnd(s string) (netip.AddrPort, bool) {
	host, port, found := strings.Cut(strings.TrimSuffix(s, "]"), "[")
	if !found {
		i := strings.LastIndexByte(s, ':')
		if i < 0 {
			return netip.AddrPort{}, false
		}
		host, port = s[:i], s[i+1:]
	}
	a, err := netip.ParseAddr(host)
	n, nerr := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a.WithZone(""), uint16(n)), err == nil && nerr == nil
}
