package rules

import (
	"net/netip"
	"time"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
)

// Ruleset is a policy as meant: every name resolved, every set in normal form,
// everything sorted, nothing left to look up. Two policies that differ only in
// order or spelling have the same Ruleset but for places. [Resolve] makes it;
// nothing changes it afterwards.
type Ruleset struct {
	Inbound             packet.Verdict // the default for packets to this host
	Outbound            packet.Verdict // the default for packets from this host; never Reject to broadcast or multicast
	Routed              Routed
	Published           Published
	PublishedAt         Pos      // where the policy says so; the zero Pos if it does not
	ContainerInterfaces []string // patterns; traffic that enters here is never judged as published
	ICMP                ICMP
	LogDenied           bool // log what is refused, rate limited

	Keep    []string      // names of services whose present users must not lose access, sorted
	Confirm time.Duration // how long an interactive apply waits; zero if the policy does not say
	Cut     bool          // [safety] cut: end sessions that the policy no longer accepts

	Blocks         []*Rule // inbound and routed, sorted by ID
	OutboundBlocks []*Rule // sorted by ID
	Services       []*Rule // sorted by ID
	Outbounds      []*Rule // [outbound.*], sorted by ID; empty unless Outbound refuses
	Routes         []*Rule // [route.*], sorted by ID; empty unless Routed is RoutedDrop

	Groups    []*Group    // every group that a rule above names, sorted by name
	Nevers    []Never     // ports that the profiles in use say nobody may reach, sorted by service and name
	Encrypted []Encrypted // ports that profiles in use say speak TLS, sorted likewise
	Accepts   []Accepted
	Tests     []Test
	PFAnchors []string // others' anchors to keep in a whole-file pf.conf, sorted: those of [pf] anchors, and those that the host has

	Host *Host // the facts it was resolved with; nil if none were given
}

// Routed says what happens to packets through this host. The zero value leaves
// the forward hook alone.
type Routed uint8

// The values of defaults.routed.
const (
	RoutedIgnore Routed = iota
	RoutedDrop
	RoutedAccept
)

// Published says whether container-published ports obey the services. The zero
// value is PublishedUnset: enforce, but the policy did not say so.
type Published uint8

// The values of defaults.published.
const (
	PublishedUnset Published = iota
	PublishedEnforce
	PublishedIgnore
)

// ICMP says which ICMP requests are answered. The zero value is ICMPStandard.
type ICMP uint8

// The values of defaults.icmp.
const (
	ICMPStandard ICMP = iota // echo requests
	ICMPMinimal              // none
	ICMPAll                  // echo and all other requests
)

// Kind says which section of the policy a Rule stands for.
type Kind uint8

// The kinds, named as their sections.
const (
	Service Kind = iota
	Block
	Outbound
	Route
)

var kindNames = [...]string{"service", "block", "outbound", "route"}

// String returns the section's name in the policy.
func (k Kind) String() string { return kindNames[k] }

// Rule is one statement of the policy: packets that it matches are accepted
// (service, outbound, route) or refused (block). A service with a profile
// becomes one Rule for each audience of the profile.
type Rule struct {
	Kind Kind
	Name string // the section's name: "ssh"
	Part string // the profile's audience: "clients"; "" without one
	Pos  Pos    // of the section's header

	From       Addresses   // the source; Any for outbound and outbound blocks
	To         Addresses   // the destination; Any where the policy says nothing
	In         []string    // patterns of the interface it must enter by, sorted; empty: any
	Transports []Transport // a union, sorted by protocol; empty: every packet

	Limit   Limit     // zero: none
	Expires time.Time // the first instant at which it no longer holds, UTC, whole seconds; zero: never
	Log     bool      // new connections are logged, rate limited

	Profile string // the profile's name, "" without one
	Owner   string // free text
	Reason  string // free text
	Expect  Expect
}

// ID is the rule's identity everywhere (comment, label, finding): the path of
// its section, "service.ssh", with the audience behind it where there is one,
// "service.omero.clients". At most 96 bytes of [a-z0-9_.-].
func (r *Rule) ID() string {
	id := r.Kind.String() + "." + r.Name
	if r.Part != "" {
		id += "." + r.Part
	}
	return id
}

// Transport is one protocol and, where it has ports, which of them.
type Transport struct {
	Any   bool         // every protocol; the other fields are then zero
	Proto packet.Proto // several entries may have the same protocol
	Dst   packet.Ports // destination ports; empty: all, or the protocol has none
	Src   packet.Ports // source ports; empty: all, or the protocol has none
}

// Addresses is a set of addresses, perhaps bound to interfaces through a group.
// The zero value is nobody.
type Addresses struct {
	Any    bool          // every address of both families; all else is then zero
	Host   bool          // the host's own addresses, whatever they are when the packet comes
	Groups []*Group      // sorted by name; none is empty but an unresolved one
	Set    *netipx.IPSet // literal addresses; nil: none
}

// None reports whether the set is empty: nobody.
func (a Addresses) None() bool {
	return !a.Any && !a.Host && len(a.Groups) == 0 && a.Set == nil
}

// Group is a named set of addresses: the union of its terms.
type Group struct {
	Name       string
	Pos        Pos
	Terms      []Term   // the one without interfaces first, then by interface; no two have the same interfaces
	Host       bool     // also the host's own addresses (a nested "host")
	Unresolved []string // DNS names that the facts do not resolve, sorted; they stand for nobody until they do
	File       string   // where its addresses were read from, "" if not from a file
}

// Term is a set of addresses, seen on certain interfaces.
type Term struct {
	In  []string      // patterns, sorted; empty: any interface
	Set *netipx.IPSet // never nil, never empty
}

// Limit is a number of new connections per source (IPv6: per /64) and period.
// The zero value is no limit. The burst is Count.
type Limit struct {
	Count uint32
	Per   time.Duration // a second, minute, hour or day (24 h)
}

// Expect is what an audit expects of a service's listener. Empty fields expect
// nothing.
type Expect struct {
	User, Process, Unit string
	Listen              netip.Addr // the zero Addr expects nothing
	TLS                 *bool
}

// Never is a port of a profile that nobody may reach; an audit reports it when
// somebody can.
type Never struct {
	Service    string // the ID of the service without its part: "service.omero"
	Name       string // the row of the profile: "jmx"
	Pos        Pos    // of the profile's name in the policy
	Transports []Transport
	Doc        string
}

// Encrypted is a port of a profile on which what answers speaks TLS from the first byte,
// as an audit expects.
type Encrypted struct {
	Service    string // the ID of the service without its part
	Name       string // the row of the profile: "router-ssl"
	Transports []Transport
}

// Accepted is an audit finding that the policy accepts with a reason.
type Accepted struct {
	Name    string
	Pos     Pos
	Finding string // FWnnn
	Match   string
	Reason  string
	Expires time.Time // as in Rule
}

// Test is a statement about the policy that `fwctl check` proves.
type Test struct {
	Name   string
	Pos    Pos
	Hook   packet.Hook
	Match  Rule // the shape of the packets: From, To, In and Transports
	Except Addresses
	Type   *uint8 // ICMP type; nil: every
	Code   *uint8 // ICMP code; nil: every
	Out    string // pattern of the interface it leaves by, "" for any
	Expect packet.Verdict
	Text   string // the packet as written
}
