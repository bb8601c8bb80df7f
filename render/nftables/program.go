package nftables

import (
	"net/netip"
	"time"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// TableName is the name of the table, in family inet.
const TableName = "fwctl"

// Program is the table's whole content. Sets and Chains are sorted by name, base
// chains last.
type Program struct {
	Sets   []*Set
	Chains []*Chain
}

// Chain is a list of rules. A jump's target is always in the same Program.
type Chain struct {
	Name  string
	Base  *Base // nil: a chain that others jump to
	Rules []Rule
}

// Base says at which hook a base chain sits. All are of type filter.
type Base struct {
	Hook     packet.Hook
	Priority int            // 0, "filter", but at prerouting
	Policy   packet.Verdict // Accept or Drop; never changes once the chain exists
}

// Rule is a list of statements; the packet goes on to the next one while they
// match.
type Rule struct {
	Stmts   []Stmt
	Comment string // at most 120 bytes; "" for none
}

// Field is one part of a set's key.
type Field uint8

// The fields, named by the nft data type that follows each.
const (
	FieldProto Field = iota // inet_proto
	FieldPort               // inet_service
	FieldAddr4              // ipv4_addr
	FieldAddr6              // ipv6_addr
	FieldICMP               // icmp_type
	FieldICMP6              // icmpv6_type
)

// Set is a named set, or a map from keys to verdicts.
type Set struct {
	Name     string
	Fields   []Field // several: a concatenation
	Map      bool    // elements have a Verdict
	Interval bool    // elements may be ranges; only with a single field
	Dynamic  bool    // filled by the kernel; Elements is empty
	Size     uint32  // most elements of a dynamic set
	Timeout  time.Duration
	Comment  string
	Elements []Element // sorted, without overlaps
}

// Element is one key of a set. Only the parts that the set's fields name are
// used.
type Element struct {
	Proto   packet.Proto
	Ports   packet.PortRange
	Addrs   netipx.IPRange
	ICMP    uint8
	Verdict Verdict // maps only
	Comment string
}

// Stmt is a statement of a rule: one of the types below.
type Stmt interface{ stmt() }

// Load reads a field of the packet as part of a key.
type Load struct {
	Field Field
	Src   bool         // source address, else destination; ports are always the destination's
	Mask  int          // address: only the first Mask bits; 0: all
	Proto packet.Proto // port: the protocol, where the key does not hold it beside; else 0
}

type (
	// Loopback matches packets that enter (Out: leave) by the interface lo, by
	// its index, which is 1 in every network namespace.
	Loopback struct{ Out bool }
	// Iface matches the name of the interface by which a packet enters or
	// leaves; a final "*" stands for any rest.
	Iface struct {
		Out     bool
		Pattern string
	}
	// Family matches IPv4 or IPv6.
	Family struct{ Is6 bool }
	// L4Proto matches the transport protocol.
	L4Proto struct{ Proto packet.Proto }
	// Port matches a protocol with ports and a range of one of them.
	Port struct {
		Proto packet.Proto
		Src   bool
		Range packet.PortRange
	}
	// Addr matches the source or destination against one prefix.
	Addr struct {
		Src    bool
		Prefix netip.Prefix
	}
	// ICMPType matches one type of ICMP (over IPv4) or ICMPv6 (over IPv6).
	ICMPType struct {
		Is6  bool
		Type uint8
	}
	// CTState matches any of the connection states.
	CTState struct{ States []packet.State }
	// Translated matches packets of connections whose destination is translated.
	Translated struct{}
	// FibType matches the kind of the source or destination address: "local",
	// "broadcast" or "multicast".
	FibType struct {
		Src  bool
		Type string
	}
	// Before matches until the instant, which has whole seconds.
	Before struct{ Time time.Time }
	// Lookup matches keys that are in the set.
	Lookup struct {
		Key []Load
		Set string
	}
	// Vmap does what the map says for the key; a key that it lacks goes on to
	// the next rule.
	Vmap struct {
		Key []Load
		Map string
	}
	// Throttle counts new connections per source in a dynamic set. It matches
	// while the limit is unspent, with Over when it is spent. A source for which
	// the set has no room does not match.
	Throttle struct {
		Set   string
		Is6   bool
		Limit rules.Limit
		Over  bool
	}
	// Log writes to the kernel's log, at most ten times a second.
	Log struct{ Prefix string }
	// Counter counts packets and bytes.
	Counter struct{}
	// Reject refuses with an answer: a TCP reset, or port unreachable.
	Reject struct{ Reset bool }
	// Verdict ends the rule.
	Verdict struct {
		Kind  VerdictKind
		Chain string // of jump and goto
	}
)

// VerdictKind is the kind of a Verdict.
type VerdictKind uint8

// The kinds.
const (
	None VerdictKind = iota // no verdict: not a map's element
	Accept
	Drop
	Jump
	Goto
	Return
)

func (Loopback) stmt()   {}
func (Iface) stmt()      {}
func (Family) stmt()     {}
func (L4Proto) stmt()    {}
func (Port) stmt()       {}
func (Addr) stmt()       {}
func (ICMPType) stmt()   {}
func (CTState) stmt()    {}
func (Translated) stmt() {}
func (FibType) stmt()    {}
func (Before) stmt()     {}
func (Lookup) stmt()     {}
func (Vmap) stmt()       {}
func (Throttle) stmt()   {}
func (Log) stmt()        {}
func (Counter) stmt()    {}
func (Reject) stmt()     {}
func (Verdict) stmt()    {}
