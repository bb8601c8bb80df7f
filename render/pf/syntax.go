package pf

import (
	"net/netip"

	"github.com/fwctl/fwctl/packet"
)

// Program is a pf.conf, or the rules of an anchor, line by line.
type Program struct {
	Dialect Dialect
	Form    Form
	Lines   []Line
}

// Form says where the text goes. The zero value is File.
type Form uint8

// The forms.
const (
	File   Form = iota // a whole pf.conf
	Anchor             // the rules of the anchor fwctl: no options, every decision quick
)

var formNames = [...]string{"file", "anchor"}

// String returns "file" or "anchor".
func (f Form) String() string { return formNames[f] }

// Line is one statement of pf.conf, or the space around it: a Comment, Blank,
// Macro, Table, Option, Scrub, AnchorPoint, Load or Rule.
type Line interface{ line() }

// Comment is a line of its own, without the sign; never with a line break or a
// backslash, which would swallow the line after it.
type Comment string

// Blank is an empty line.
type Blank struct{}

// Macro names a list of hosts. A list in a rule that is equal to it is printed
// by its name.
type Macro struct {
	Name  string // letters, digits and underscores; no keyword
	Hosts []Host
}

// Table is a set of addresses.
type Table struct {
	Name    string // at most 31 bytes
	Const   bool   // cannot be changed by hand
	Persist bool   // stays without a rule that names it
	Open    bool   // has no list: what was loaded before stays in it
	Self    bool   // holds the host's own addresses as they are at load
	Entries []Entry
}

// Option is a `set` line: "block-policy", "drop".
type Option struct{ Name, Value string }

// Scrub is `scrub in all`: the old grammar's way to put fragments together.
type Scrub struct{}

// AnchorPoint is the place at which the rules of others are evaluated.
type AnchorPoint struct {
	Keyword string // anchor, nat-anchor, rdr-anchor, scrub-anchor, dummynet-anchor
	Name    string
}

// Load fills an anchor from a file when the whole file is loaded.
type Load struct{ Anchor, File string }

// Rule is one filter rule before its lists are multiplied out. The zero value of
// each field is no test, or not written.
type Rule struct {
	Action    Action
	Dir       Dir
	Log       bool
	Quick     bool
	On        []string // interfaces or interface groups
	Family    Family
	Protos    []packet.Proto
	From, To  Endpoint
	Received  Received
	SYN       bool // flags S/SA; tested for TCP only
	ICMPTypes []uint8
	State     State
	Rate      Rate
	AllowOpts bool // packets with IP options too
	Label     string
	Tag       string // given to packets that match
	Tagged    string // only packets with this tag
}

// Action is what a rule does. The zero value is Pass.
type Action uint8

// The actions.
const (
	Pass   Action = iota
	Drop          // block drop
	Return        // block return: a reset for TCP, ICMP unreachable for the rest
	Match         // only sets the tag
)

// Dir is the direction in which a packet crosses the interface. The zero value
// is both.
type Dir uint8

// The directions.
const (
	Both Dir = iota
	In
	Out
)

// Family is an address family. The zero value is both.
type Family uint8

// The address families.
const (
	AnyFamily Family = iota
	Inet
	Inet6
)

// State says what a pass rule leaves behind. The zero value writes nothing, as
// block rules do.
type State uint8

// The values of State.
const (
	Unstated State = iota
	KeepState
	NoState
)

// Endpoint is one side of a connection.
type Endpoint struct {
	Hosts []Host // nil: any
	Ports packet.Ports
}

// Host is one word for addresses: exactly one field is set.
type Host struct {
	Prefix  netip.Prefix
	Table   string
	Dynamic string // "self", "self:broadcast": in parentheses, kept up to date by the kernel
}

// Received is a test of the interface by which a packet that goes out came in.
type Received struct {
	On  string // an interface, a group or "any"; empty: no test
	Not bool
}

// Rate is a limit on completed handshakes per source; over it, the source goes
// to the table. The zero value is none.
type Rate struct {
	Count, Seconds uint32
	Overload       string // a table
}

func (Comment) line()     {}
func (Blank) line()       {}
func (Macro) line()       {}
func (Table) line()       {}
func (Option) line()      {}
func (Scrub) line()       {}
func (AnchorPoint) line() {}
func (Load) line()        {}
func (Rule) line()        {}
