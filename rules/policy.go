package rules

import (
	"time"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
)

// Policy is a policy as written: every value with its place, nothing looked up.
// [Load] makes it; nothing changes it afterwards.
type Policy struct {
	Path     string   // of the main file, in the file system it was loaded from
	Sources  []Source // every file that was read, the main one first, else in order of reading
	Includes []Text   // the patterns of every include key, as slash paths of that file system

	Defaults Defaults
	Safety   Safety

	Groups    []*GroupSection // sorted by name, as are the following
	Services  []*Statement
	Blocks    []*Statement
	Outbounds []*Statement
	Routes    []*Statement
	Accepts   []*AcceptSection
	Tests     []*TestSection
	PFAnchors []Text // sorted by text

	files   *files
	broken  bool // a Problem of severity Error was found while loading
	partial bool // a file could not be read in full: names may be missing
}

// SourceKind says what a file is to the policy. The zero value is the policy itself.
type SourceKind uint8

// The kinds of file.
const (
	PolicySource  SourceKind = iota // the file that was asked for
	IncludeSource                   // named by include
	AddressSource                   // the file of a group
	ProfileSource                   // a profile named by its path
	BuiltinSource                   // a profile of LoadOptions.Profiles; Path is its path there
)

var sourceKindNames = [...]string{"policy", "include", "addresses", "profile", "built-in profile"}

// String returns "policy", "include", "addresses", "profile" or "built-in profile".
func (k SourceKind) String() string { return sourceKindNames[k] }

// MarshalText writes the kind's name.
func (k SourceKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Source is one file that a policy is made of.
type Source struct {
	Path string // slash path in the file system it was read from
	Kind SourceKind
	Data []byte // its bytes; not to be changed
}

// Value is a value of a policy file and its place. Its zero value was not
// written; see Given.
type Value[T any] struct {
	V   T
	Pos Pos
}

// Given reports whether the policy wrote the value.
func (v Value[T]) Given() bool { return v.Pos.Line > 0 }

// Or returns the value, or another where the policy did not write it.
func (v Value[T]) Or(other T) T {
	if v.Given() {
		return v.V
	}
	return other
}

// Text is a string of a policy file.
type Text = Value[string]

// Defaults is the section [defaults], includes merged.
type Defaults struct {
	Inbound             Value[packet.Verdict]
	Outbound            Value[packet.Verdict]
	Routed              Value[Routed]
	Published           Value[Published]
	ContainerInterfaces Value[[]Text]
	ICMP                Value[ICMP]
	Log                 Value[bool]
}

// Safety is the section [safety], includes merged.
type Safety struct {
	Keep    Value[[]Text]
	Confirm Value[time.Duration]
	Cut     Value[bool]
}

// Members is a list of addresses and names of groups, as from, to, addresses
// and except hold it. The zero value was not written; an empty list has a place.
type Members struct {
	Pos   Pos
	Items []Member
}

// Given reports whether the policy wrote the list.
func (m Members) Given() bool { return m.Pos.Line > 0 }

// Member is one entry of Members. Exactly one of Group, Interface and Range is set.
type Member struct {
	Pos       Pos
	Text      string         // as written
	Group     string         // the name of a group, built in or not
	Interface string         // "@eth1" without the sign: the addresses of that interface
	Range     netipx.IPRange // an address, a prefix or a range
}

// GroupSection is a [group.*] section.
type GroupSection struct {
	Name       string
	Pos        Pos // of its header
	Addresses  Members
	Except     Members
	File       Text // as written
	MinEntries Value[int64]
	Names      []Text
	Interfaces []Text
	AllowEmpty bool

	feed   *feed // what File holds; nil without one
	broken bool  // it holds an error that was already reported
}

// PortSpec is one entry of ports: a range and its protocol.
type PortSpec struct {
	Pos   Pos
	Proto packet.Proto
	Range packet.PortRange
}

// ProtocolSpec is one entry of protocols.
type ProtocolSpec struct {
	Pos   Pos
	Any   bool // "any": every protocol
	Proto packet.Proto
}

// Expiry is the value of expires: a day, through which the section holds, or
// an instant, from which it no longer holds.
type Expiry struct {
	Date bool      // Time is a day without a zone: midnight of it in UTC
	Time time.Time // the zero Time was not written
}

// Statement is a [service.*], [block.*], [outbound.*] or [route.*] section.
type Statement struct {
	Kind     Kind
	Name     string
	Pos      Pos  // of its header
	Outbound bool // a block with direction = "outbound"

	Ports       []PortSpec
	SourcePorts []PortSpec
	Protocols   []ProtocolSpec
	Profile     Text
	With        []Setting // sorted by name

	From      Members
	Audiences []Audience // from = { clients = [...] }, sorted by name
	To        Members
	In        []Text

	Limit   Value[Limit]
	Expires Value[Expiry]
	Log     bool
	Shared  bool
	Owner   string
	Reason  string
	Expect  Expect

	meant      map[string]bool // keys that were there, but not as they should be
	fromPos    Pos             // of from, in either form
	portsPos   Pos             // of the key ports; likewise the next
	sourcesPos Pos
	protosPos  Pos
	nevers     []Never
	encrypted  []Encrypted
	parts      []part // what it opens, profile and all; made when everything is read
	broken     bool
}

// ID is the path of the section: "service.ssh".
func (s *Statement) ID() string { return s.Kind.String() + "." + s.Name }

// fromHost reports whether the section is about packets that this host sends,
// which have no from.
func (s *Statement) fromHost() bool { return s.Kind == Outbound || s.Kind == Block && s.Outbound }

// Setting is one parameter that `with` sets.
type Setting struct {
	Name   string
	Pos    Pos      // of its value
	Values []string // as text: "1", "true", "8001"; several only for a list of roles

	kind kind // of the value, or of the elements of a list
	list bool
}

// Audience is who one audience of a profile is.
type Audience struct {
	Name string
	Pos  Pos // of the name
	From Members
}

// AcceptSection is an [accept.*] section.
type AcceptSection struct {
	Name    string
	Pos     Pos // of its header
	Finding string
	Match   string
	Reason  string
	Expires Value[Expiry]

	broken bool
}

// TestSection is a [test.*] section.
type TestSection struct {
	Name   string
	Pos    Pos // of its header
	Packet Text
	Except Members
	Expect packet.Verdict

	shape  shape
	broken bool
}
