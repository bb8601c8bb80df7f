package pf

import (
	"net/netip"
	"slices"

	"github.com/fwctl/fwctl/packet"
)

// Dialect is one of the grammars of pf.conf. The zero value is OpenBSD.
type Dialect uint8

// The dialects.
const (
	OpenBSD    Dialect = iota // 7.6 and later
	FreeBSD                   // 15: the old grammar and much of OpenBSD's
	FreeBSDOld                // 12: the grammar of OpenBSD 4.5
	MacOS                     // the grammar of OpenBSD 4.3 with Apple's additions
)

var dialectNames = [...]string{"openbsd", "freebsd", "freebsd-old", "macos"}

// String returns the dialect's name, as `fwctl render --dialect` has it.
func (d Dialect) String() string { return dialectNames[d] }

// ParseDialect reads "openbsd", "freebsd", "freebsd-old" or "macos".
func ParseDialect(s string) (Dialect, bool) {
	i := slices.Index(dialectNames[:], s)
	return Dialect(max(i, 0)), i >= 0
}

// modern reports whether the grammar has match, received-on, nat-to, `on any`.
func (d Dialect) modern() bool { return d == OpenBSD || d == FreeBSD }

// Config is a pf.conf, or what pfctl printed, line by line. Macros are put in
// where they are used.
type Config struct {
	Dialect  Dialect
	Lines    []Statement
	Problems []Problem // what pfctl would refuse
	joined   []int     // lines of comments of which the next line is a part
}

// Problem is one thing about a text.
type Problem struct {
	Line int // from 1
	Text string
	Hint string // a way out; may be empty
}

// Statement is a *Macro, *Option, *Table, *Rule, *Translation, *Anchor, *Load,
// *Antispoof, *Scrub, *Include, *Ignored or *Unread.
type Statement interface{ statement() }

// Macro is a definition.
type Macro struct {
	Line        int
	Name, Value string
}

// Option is a `set` line: {"block-policy", "drop"}.
type Option struct {
	Line  int
	Words []string
}

// Table is a set of addresses.
type Table struct {
	Line                     int
	Name                     string
	Persist, Const, Counters bool
	Listed                   bool // has a list or a file, so that loading replaces what it held
	Entries                  []Entry
	Files                    []string
}

// Entry is an address of a table: one of Prefix and Name.
type Entry struct {
	Not    bool
	Prefix netip.Prefix
	Name   string // of a host or an interface, or "self"; with modifiers
}

// Rule is a filter rule. The zero value of each field is no test, or not written.
type Rule struct {
	Line   int
	Action Action
	Answer string // of Block: "" drops, "return", "return-rst", "return-icmp" (with its codes) answer
	Match
	State     State
	Options   []string // of the state, each as it is written
	AllowOpts bool
	Label     string
	Labels    []string // further ones, which FreeBSD takes
	Tag       string
	Rates     []Rate   // limits among the options of the state
	Effects   []string // what does not decide: queues, priorities, routing tables
	Route     string   // "route-to 10.0.0.2" and the like
	hops      []Host   // that Route names

	addressesFirst bool        // lists of addresses are multiplied out before those of ports
	Translate      []Translate // nat-to, rdr-to and the like
	Divert         string      // divert-to and the like
}

// Match is the conditions that rules of all kinds have in common.
type Match struct {
	Dir      Dir
	Log      string // "", "log" or "log (…)"
	Quick    bool
	On       []Iface
	Family   Family
	Protos   []packet.Proto
	From, To Endpoint
	Flags    *Flags
	Types    []ICMPType
	Fragment bool
	Tagged   string
	NotTag   bool // ! tagged
	Received *Iface
	Unknown  []string // conditions that no packet tells: users, probabilities
}

// Action is what a rule does. The zero value is Pass.
type Action uint8

// The actions.
const (
	Pass Action = iota
	Block
	Matches // match: sets what it says, and decides nothing
)

// Dir is the direction in which a packet crosses an interface. The zero value is
// both.
type Dir uint8

// The directions.
const (
	Both Dir = iota
	In
	Out
)

// Family is an address family. The zero value is both.
type Family uint8

// The families.
const (
	AnyFamily Family = iota
	Inet
	Inet6
)

// State says what a pass rule leaves behind. The zero value is the default: pass
// keeps state.
type State uint8

// The values of State.
const (
	DefaultState State = iota
	KeepState
	ModulateState
	SynproxyState
	NoState
)

// Rate is a limit among the options of a state.
type Rate struct {
	Name     string // "max-src-conn-rate", "max", …
	Count    uint64
	Seconds  uint64 // of max-src-conn-rate
	Overload string // the table to which sources over it go
	Flush    string // "", "flush" or "flush global"
}

// Iface names an interface, a group of them, or "any".
type Iface struct {
	Name    string
	Not     bool
	dynamic bool // of antispoof: its addresses are looked up again when they change
}

// Endpoint is one side of a connection.
type Endpoint struct {
	Hosts []Host // nil: any
	Ports []PortOp
	OS    []string
}

// HostKind is what a Host is.
type HostKind uint8

// The kinds of hosts.
const (
	AnyHost HostKind = iota
	PrefixHost
	RangeHost
	TableHost
	NamedHost   // the name of an interface, a group, a host, or self: looked up at load
	DynamicHost // the same in parentheses: kept up to date by the kernel
	NoRoute
	URPFFailed
	RouteHost // route "label"
)

// Host is one word for addresses.
type Host struct {
	Kind     HostKind
	Not      bool
	Prefix   netip.Prefix // of PrefixHost
	Lo, Hi   netip.Addr   // of RangeHost
	Name     string       // of a table, an interface, a host, a route label
	Mods     []string     // "network", "broadcast", "peer", "0"
	Bits     int          // of a name with a mask: "(em0)/24"; 0 if it has none
	Zone     string       // of a link-local PrefixHost: the interface that its rule is for
	weighted string       // " weight 3"
}

// PortOp is a test of a port: Op is "" for a range or single port, else "!=", "<",
// "<=", ">", ">=", "<>" or "><".
type PortOp struct {
	Op     string
	Lo, Hi uint16
}

// Flags is a test of TCP's flags: of those in Mask those in Set are set. The zero
// value is `flags any`.
type Flags struct{ Set, Mask packet.Flags }

// ICMPType is a type and perhaps a code.
type ICMPType struct {
	Type uint8
	Code int // -1: any
}

// Translate is nat-to, rdr-to, binat-to or af-to of a rule.
type Translate struct {
	Kind string
	To   []Host
	Port *PortOp
	Text string // how one of several addresses is chosen; of af-to all of it
	into Family // of af-to: the one that packets get
}

// Translation is a rule of the old grammar: nat, rdr or binat.
type Translation struct {
	Line int
	Kind string // "nat", "rdr", "binat"
	No   bool   // leaves alone what it matches
	Pass bool   // what it matches is not filtered
	Match
	Tag    string
	Rtable string // "rtable 1", or ""
	To     []Host
	Port   *PortOp
	Text   string // how one of several addresses is chosen
}

// Anchor is a place at which other rules are evaluated.
type Anchor struct {
	Line    int
	Keyword string // "anchor", "nat-anchor", "rdr-anchor", "binat-anchor", "scrub-anchor", "dummynet-anchor"
	Name    string // "" for rules without a name
	Match
	Label   string
	Labels  []string // as those of a rule
	Tag     string
	Effects []string // as those of a rule
	Options []string // of scrub-anchor
	Inline  bool     // the rules are here
	Body    []Statement
	made    string // the name that pfctl makes up for rules without one
}

// Load fills an anchor from a file.
type Load struct {
	Line         int
	Anchor, File string
}

// Antispoof refuses addresses of interfaces by which they do not come.
type Antispoof struct {
	Line   int
	Log    string
	Quick  bool
	On     []Iface
	Family Family
	Label  string
}

// Scrub is normalization in the old grammar.
type Scrub struct {
	Line int
	No   bool
	Match
	Options []string
}

// Include reads another file in its place.
type Include struct {
	Line int
	File string
}

// Ignored is a statement that decides no packet: a queue.
type Ignored struct {
	Line int
	Text string
}

// Unread is a statement that could not be read.
type Unread struct {
	Line int
	Text string
}

func (*Macro) statement()       {}
func (*Option) statement()      {}
func (*Table) statement()       {}
func (*Rule) statement()        {}
func (*Translation) statement() {}
func (*Anchor) statement()      {}
func (*Load) statement()        {}
func (*Antispoof) statement()   {}
func (*Scrub) statement()       {}
func (*Include) statement()     {}
func (*Ignored) statement()     {}
func (*Unread) statement()      {}
