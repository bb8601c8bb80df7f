package drift

import (
	"cmp"
	"math/big"
	"slices"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// Verdict is the answer in a word.
type Verdict uint8

// The verdicts.
const (
	InSync     Verdict = iota // proved: the host does what the policy says
	Drift                     // it does not
	CannotTell                // no difference was found, but something was not understood, not read, or too large
)

var verdictNames = [...]string{"in sync", "drift", "cannot tell"}

// String returns the verdict's words.
func (v Verdict) String() string { return verdictNames[v] }

// MarshalText writes the verdict's words.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Kind is what a finding is about. The order is that of weight, the worst first.
type Kind uint8

// The kinds of findings.
const (
	Opened    Kind = iota // the host accepts what the policy refuses
	Tampered              // fwctl's own rules are not those that fwctl would put there
	Closed                // the host refuses what the policy accepts
	Undecided             // the question was larger than the budget
	Unknown               // a difference, or none: it depends on something that was not understood or that no packet decides
	Manager               // other software manages rules here
	Answer                // both refuse, but one of them answers and the other does not
)

var kindNames = [...]string{"opened", "tampered", "closed", "undecided", "unknown", "manager", "answer"}

// String returns the kind's word.
func (k Kind) String() string { return kindNames[k] }

// MarshalText writes the kind's word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Kinds returns all kinds, the worst first.
func Kinds() []Kind { return []Kind{Opened, Tampered, Closed, Undecided, Unknown, Manager, Answer} }

// Report is the answer to a Question. Its JSON form only grows.
type Report struct {
	Verdict  Verdict        `json:"verdict"`
	Compared []Compared     `json:"compared"`
	Findings []Finding      `json:"findings"` // the worst first
	Beside   []live.Beside  `json:"beside"`   // what acts on packets and is not modelled
	Managers []live.Manager `json:"managers"` // other software that manages rules, harmless kinds included
}

// Compared is one comparison and its outcome.
type Compared struct {
	Hook   string `json:"hook"`
	Family string `json:"family"` // "ip" or "ip6"
	State  string `json:"state"`
	Equal  bool   `json:"equal"` // proved for every packet
	Nodes  int    `json:"nodes"` // of the decision diagrams, a measure of the work
}

// Finding is one way in which the host is not what the policy says.
type Finding struct {
	Kind    Kind     `json:"kind"`
	Summary string   `json:"summary"` // one line; the packets, for kinds that are about packets
	Details []string `json:"details,omitempty"`

	// Of kinds that are about packets:
	Hook     string   `json:"hook,omitempty"`
	Family   string   `json:"family,omitempty"`
	State    string   `json:"state,omitempty"`
	Would    string   `json:"would,omitempty"` // of Unknown: the kind that it is if the unknowns are so: "opened"
	Packets  []string `json:"packets,omitempty"`
	More     bool     `json:"more,omitempty"`  // there are other packets
	Count    *big.Int `json:"count,omitempty"` // of packets, told apart by protocol, type, ports and addresses
	Witness  *Witness `json:"witness,omitempty"`
	Host     *Side    `json:"host,omitempty"`
	Policy   *Side    `json:"policy,omitempty"`
	Sections []string `json:"sections,omitempty"` // of the policy that are concerned, at most a few
}

// Witness is one packet that shows a difference.
type Witness struct {
	Packet   string        `json:"packet"`       // in the notation that `fwctl explain` reads
	If       []string      `json:"if,omitempty"` // what has to hold for it
	Of       packet.Packet `json:"-"`
	Unlikely bool          `json:"-"`
}

// Side is what one side does with the witness, and why.
type Side struct {
	Verdict string `json:"verdict"`
	Source  string `json:"source,omitempty"` // "nftables", "iptables", "policy"
	Table   string `json:"table,omitempty"`
	Chain   string `json:"chain,omitempty"`
	Handle  uint64 `json:"handle,omitempty"`
	Rule    string `json:"rule,omitempty"` // its text; "policy drop" where no rule decides
	Name    string `json:"name,omitempty"` // its comment, or the section of the policy
	At      string `json:"at,omitempty"`   // "policy.toml:12:1"
}

// sort puts the worst first and keeps the order of what weighs the same.
func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.Kind, b.Kind) })
}

// Counts returns how many findings there are of each kind.
func (r *Report) Counts() map[Kind]int {
	n := map[Kind]int{}
	for _, f := range r.Findings {
		n[f.Kind]++
	}
	return n
}

// judge gives the report its verdict.
func (r *Report) judge() {
	n := r.Counts()
	switch {
	case n[Opened]+n[Tampered]+n[Closed]+n[Manager]+n[Answer] > 0:
		r.Verdict = Drift
	case n[Unknown]+n[Undecided] > 0:
		r.Verdict = CannotTell
	default:
		r.Verdict = InSync
	}
}
