package packet

import (
	"net/netip"
	"strconv"
)

// Hook is the place in the kernel's path at which a packet is judged. The zero
// value is Input.
type Hook uint8

// The hooks, in the words of nft(8). A policy decides at the first three.
const (
	Input       Hook = iota // for this host
	Output                  // from this host
	Forward                 // through this host
	Prerouting              // arrived, before it is known for whom
	Postrouting             // about to leave
)

var hookNames = [...]string{"input", "output", "forward", "prerouting", "postrouting"}

// String returns nft's name of the hook.
func (h Hook) String() string { return nameOf(hookNames[:], uint8(h)) }

// State is what connection tracking says of a packet; each packet has exactly
// one (ct state in nft(8)). The zero value is New.
type State uint8

// The five connection states.
const (
	New State = iota
	Established
	Related
	Invalid
	Untracked
)

var stateNames = [...]string{"new", "established", "related", "invalid", "untracked"}

// String returns nft's name of the state.
func (s State) String() string { return nameOf(stateNames[:], uint8(s)) }

// Verdict is the fate of a packet. The zero value is Drop: what was not decided
// does not get in.
type Verdict uint8

// The verdicts.
const (
	Drop   Verdict = iota // thrown away, no answer
	Accept                // let through
	Reject                // thrown away; TCP gets a reset, UDP port unreachable, all else silence
)

var verdictNames = [...]string{"drop", "accept", "reject"}

// String returns nft's name of the verdict.
func (v Verdict) String() string { return nameOf(verdictNames[:], uint8(v)) }

// MarshalText writes the verdict's name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return strconv.Itoa(int(i))
}

// Flags are the control bits of a TCP header (RFC 9293, section 3.1).
type Flags uint8

// The control bits.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// Packet is one packet as the host sees it when it arrives (before any
// translation of addresses) or leaves. Fields that its protocol lacks are zero.
type Packet struct {
	Hook    Hook
	In, Out string // interface names; "" where the hook has none or none was named
	State   State
	Src     netip.Addr // never an IPv4-mapped IPv6 address
	Dst     netip.Addr // of the same family as Src
	Proto   Proto
	SrcPort uint16 // zero unless Proto.HasPorts
	DstPort uint16 // zero unless Proto.HasPorts
	Flags   Flags  // TCP only; the first packet of a flow has SYN alone
	Type    uint8  // ICMP and ICMPv6 only
	Code    uint8  // ICMP and ICMPv6 only
}

// Is6 reports whether the packet is IPv6.
func (p Packet) Is6() bool { return p.Dst.Is6() }
