package rules

import (
	"net/netip"
	"strings"
	"time"
)

// Host is what is known of the machine that a policy is for. It is an argument
// everywhere: this package reads no machine. Its JSON form is what `fwctl facts`
// prints and what --host reads.
type Host struct {
	Name       string                  `json:"name"`
	OS         string                  `json:"os"` // GOOS: linux, openbsd, freebsd, darwin
	Interfaces []Interface             `json:"interfaces"`
	Names      map[string][]netip.Addr `json:"names,omitempty"` // DNS names of the policy and their addresses
	Time       time.Time               `json:"time"`            // when the facts were taken, in the host's time zone
	TimeZone   string                  `json:"time_zone"`       // IANA name, "UTC" if unknown
	// PFAnchors are the anchors of others that the main rules of pf ask.
	PFAnchors []string `json:"pf_anchors,omitempty"`
}

// Interface is one network interface and its addresses.
type Interface struct {
	Name     string         `json:"name"`
	Loopback bool           `json:"loopback,omitempty"`
	Addrs    []netip.Prefix `json:"addresses"` // an address each, with the length of its network
}

// Local reports whether the address is one of the host's own.
func (h *Host) Local(a netip.Addr) bool {
	return h.any(func(p netip.Prefix) bool { return p.Addr() == a })
}

// Broadcast reports whether the address is 255.255.255.255 or the broadcast
// address of one of the host's IPv4 networks (RFC 919; none for /31 and /32,
// RFC 3021). A nil Host knows only the former.
func (h *Host) Broadcast(a netip.Addr) bool {
	if a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	return h.any(func(p netip.Prefix) bool { return p.Addr().Is4() && p.Bits() < 31 && lastAddr(p) == a })
}

func (h *Host) any(match func(netip.Prefix) bool) bool {
	if h == nil {
		return false
	}
	for _, i := range h.Interfaces {
		for _, p := range i.Addrs {
			if match(p) {
				return true
			}
		}
	}
	return false
}

// lastAddr returns the highest address of an IPv4 network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// MatchInterface reports whether an interface's name fits a pattern: the same
// name, or a prefix of it followed by a final "*". An absent interface ("")
// fits no pattern.
func MatchInterface(pattern, name string) bool {
	if name == "" {
		return false
	}
	if prefix, wild := strings.CutSuffix(pattern, "*"); wild {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}
