package packet

import (
	"slices"
	"strconv"
	"strings"
)

// Filter is a packet filter in one common form, whatever language it was written
// in: the chains that a packet meets at one hook. Readers make it. It has two
// meanings that are tested against each other: a Space turns it into a decision
// diagram, [Filter.Decide] follows one packet through it.
type Filter struct {
	Hook   Hook
	Base   []*Chain          // in the order in which packets meet them
	Chains map[string]*Chain // those that rules jump to, by the name that rules use
}

// Chain is a list of rules, tried in order.
type Chain struct {
	Name   string
	Policy Outcome // of a base chain that a packet reaches the end of: OutcomeAccept or OutcomeDrop
	When   Cond    // of a base chain: the packets that meet it, others go on to the next one; nil: all
	Rules  []Step

	Priority int  // of a base chain at its hook, lowest first
	NAT      bool // a base chain that translates, until one has: see Source
}

// Step is one rule: if the condition holds, the writes are done, then the
// outcome.
type Step struct {
	Cond    Cond // nil: always
	Writes  []Write
	Outcome Outcome
	Chain   string // of OutcomeJump and OutcomeGoto
	// Cases are what remains of the rule after its writes, in place of an
	// outcome: the first whose condition holds is taken, and no other is tried,
	// whatever it changes. Nothing happens if none holds.
	Cases []Step
	Place Place
}

// Place says which rule of which source a Step stands for.
type Place struct {
	Source string // "nftables", "iptables", "policy", a file's name
	Table  string
	Chain  string
	Handle uint64 // of a kernel rule; 0 if there is none
	Number int    // of the rule in its chain, from 1, where rules have no handle
	Line   int    // of a text, from 1
	Text   string // the rule as its language writes it
	Name   string // the comment, or the section of the policy
	At     string // where a file says it, "site.toml:12:1"; "" if that is not known
}

// Outcome is what a rule does with a packet.
type Outcome uint8

// The outcomes. The first three end the packet's way through a base chain.
const (
	OutcomeDrop Outcome = iota
	OutcomeAccept
	OutcomeReject
	OutcomeUnknown // something else decides: a queue, a proxy
	OutcomeContinue
	OutcomeReturn
	OutcomeJump
	OutcomeGoto
)

var outcomeNames = [...]string{"drop", "accept", "reject", "unknown", "continue", "return", "jump", "goto"}

// String returns nft's word for the outcome.
func (o Outcome) String() string { return nameOf(outcomeNames[:], uint8(o)) }

// final reports whether the outcome ends the base chain.
func (o Outcome) final() bool { return o <= OutcomeUnknown }

// Write gives a field, or the bits of it under a mask, a value: a constant, bits
// of a field, or something unknown.
type Write struct {
	Field Field
	Mask  Value // the bits that are written
	Value Value // the constant; with Copy the bits that are turned over
	// Copy says that the bits come from another field, or from other places of
	// the same: bit i is bit i+Shift of From.
	Copy  bool
	From  Field
	Shift int
	// Unknown, if not empty, says that the bits are unknown: bit i is the unknown
	// that UnknownBit names.
	Unknown string
}

// UnknownBit is the key of the unknown that a Write gives to a bit.
func UnknownBit(key string, bit uint) string { return key + ", bit " + strconv.Itoa(int(bit)) }

// UnknownName is the key of an unknown without the bit that UnknownBit adds.
func UnknownName(key string) string {
	name, bit, found := strings.Cut(key, ", bit ")
	if _, err := strconv.Atoi(bit); !found || err != nil {
		return key
	}
	return name
}

// bits calls f for each bit that is written.
func (w Write) bits(width uint, f func(i uint)) {
	for i := range width {
		if w.Mask.bit(i) {
			f(i)
		}
	}
}

// Cond is a condition on a packet: one of the types below.
type Cond interface{ cond() }

type (
	// All holds if each of its conditions does; the empty one always.
	All []Cond
	// Any holds if one of its conditions does; the empty one never.
	Any []Cond
	// Not holds if its condition does not.
	Not struct{ Cond Cond }
	// In holds if the field's value is in the set.
	In struct {
		Field Field
		Set   Ranges
	}
	// Bits holds if the field's bits under the mask have the value.
	Bits struct {
		Field       Field
		Mask, Value Value
	}
	// Iface holds if the name of the interface fits: the same name, a prefix of
	// it before a final "*", or no interface for "".
	Iface struct {
		Out     bool
		Pattern string
	}
	// Tuples holds if the values of the fields are in one of the entries, each
	// of which has a range for every field.
	Tuples struct {
		Fields  []Field
		Entries [][]Range
	}
	// Unknown holds or does not, for reasons that cannot be seen: the same key
	// is the same unknown wherever it stands.
	Unknown struct {
		Key string
		// Unsupported says that the condition was not understood, rather than
		// being one that no packet decides, like a rate.
		Unsupported bool
	}
)

func (All) cond()     {}
func (Any) cond()     {}
func (Not) cond()     {}
func (In) cond()      {}
func (Bits) cond()    {}
func (Iface) cond()   {}
func (*Tuples) cond() {}
func (Unknown) cond() {}

// Never is the condition that no packet fulfils.
var Never Cond = Any{}

// walk calls f for every condition inside c, c included.
func walk(c Cond, f func(Cond)) {
	if c == nil {
		return
	}
	f(c)
	switch c := c.(type) {
	case All:
		for _, x := range c {
			walk(x, f)
		}
	case Any:
		for _, x := range c {
			walk(x, f)
		}
	case Not:
		walk(c.Cond, f)
	}
}

// size is how many rules the filter has.
func (fl *Filter) size() int {
	n := 0
	for _, c := range fl.Base {
		n += len(c.Rules)
	}
	for _, c := range fl.Chains {
		n += len(c.Rules)
	}
	return n
}

// conditions calls f for every condition of the filter, and for every unknown
// that it writes.
func (fl *Filter) conditions(f func(Cond)) {
	for _, c := range fl.Base {
		walk(c.When, f)
	}
	fl.Steps(func(s *Step) { s.conditions(f) })
}

func (s *Step) conditions(f func(Cond)) {
	walk(s.Cond, f)
	for _, w := range s.Writes {
		if w.Unknown == "" {
			continue
		}
		w.bits(w.Field.Width(true), func(i uint) { f(Unknown{Key: UnknownBit(w.Unknown, i), Unsupported: true}) })
	}
}

// Steps calls f for every step of the filter, those among the cases of others
// included.
func (fl *Filter) Steps(f func(*Step)) {
	for _, c := range fl.Base {
		c.Steps(f)
	}
	for _, c := range fl.Chains {
		c.Steps(f)
	}
}

// Steps calls f for every step of the chain, those among the cases of others
// included.
func (c *Chain) Steps(f func(*Step)) { eachStep(c.Rules, f) }

func eachStep(steps []Step, f func(*Step)) {
	for i := range steps {
		f(&steps[i])
		eachStep(steps[i].Cases, f)
	}
}

// Unknowns returns the unknowns that the filter names, each once, with whether
// they are unsupported.
func (fl *Filter) Unknowns() map[string]bool {
	out := map[string]bool{}
	fl.conditions(func(c Cond) {
		if u, ok := c.(Unknown); ok {
			out[u.Key] = out[u.Key] || u.Unsupported
		}
	})
	return out
}

// WritesTo reports whether a rule gives the field another value.
func (fl *Filter) WritesTo(f Field) bool {
	found := false
	fl.Steps(func(s *Step) {
		found = found || slices.ContainsFunc(s.Writes, func(w Write) bool { return w.Field == f })
	})
	return found
}
