package drift

import (
	"cmp"
	"math/big"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
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
	Verdict  Verdict    `json:"verdict"`
	Compared []Compared `json:"compared"`
	Findings []Finding  `json:"findings"` // the worst first
	// Published are packets that get in because the host translates their port
	// and the policy leaves such ports alone.
	Published []string       `json:"published"`
	Temporary []rules.Ending `json:"temporary"` // rules of the policy that hold for a time only
	Beside    []live.Beside  `json:"beside"`    // what acts on packets and is not modelled
	Managers  []live.Manager `json:"managers"`  // other software that manages rules, harmless kinds included
}

// Compared is one comparison and its outcome.
type Compared struct {
	Hook   string `json:"hook"`
	Family string `json:"family"` // "ip" or "ip6"
	State  string `json:"state"`
	Equal  bool   `json:"equal"` // proved for every packet
	Nodes  int    `json:"nodes"` // of the decision diagrams, a measure of the work
}

// Finding is one way in which the host is not what the policy says. One rule of
// the host makes one finding of a kind, whatever families and states it touches.
type Finding struct {
	Kind    Kind     `json:"kind"`
	Summary string   `json:"summary"` // one line; of kinds that are about packets, which
	Details []string `json:"details,omitempty"`

	// Of kinds that are about packets:
	Would    string    `json:"would,omitempty"` // of Unknown: the kind that it is if the unknowns are so
	Hook     string    `json:"hook,omitempty"`
	Packets  []string  `json:"packets,omitempty"`  // what is reached, and from where
	More     bool      `json:"more,omitempty"`     // there are other packets
	Count    *big.Int  `json:"count,omitempty"`    // of packets, told apart by protocol, type, ports and addresses
	Sections []string  `json:"sections,omitempty"` // of the policy that are concerned
	Rules    []Side    `json:"rules,omitempty"`    // the rules of the host that are to blame
	Examples []Example `json:"examples,omitempty"` // a packet for each family and state, at least one
}

// Example is one packet that shows a difference: a witness.
type Example struct {
	Packet string        `json:"packet"`       // in the notation that `fwctl explain` reads
	Family string        `json:"family"`       // "ip" or "ip6"
	State  string        `json:"state"`        // the kind of packets that was compared: "new"
	If     []string      `json:"if,omitempty"` // what has to hold for it
	Host   Side          `json:"host"`
	Policy Side          `json:"policy"`
	Of     packet.Packet `json:"-"`
}

// Side is what one side does with a packet, and why.
type Side struct {
	Verdict string `json:"verdict"`
	Source  string `json:"source,omitempty"` // "nftables", "iptables", "policy"; "" where the host has no rules at the hook
	Table   string `json:"table,omitempty"`
	Chain   string `json:"chain,omitempty"`
	Handle  uint64 `json:"handle,omitempty"`
	Number  int    `json:"number,omitempty"` // of the rule in its chain, from 1, where rules have no handle
	Rule    string `json:"rule,omitempty"`   // its text; "policy drop" where the end of a chain decides
	Name    string `json:"name,omitempty"`   // its comment, or the section of the policy
	At      string `json:"at,omitempty"`     // "policy.toml:12:1"
}

// merge adds a finding, to one that the same rule already made if there is one.
func (r *Report) merge(f Finding) {
	for i := range r.Findings {
		if g := &r.Findings[i]; g.sameAs(f) {
			g.Packets = union(g.Packets, f.Packets)
			g.Sections = union(g.Sections, f.Sections)
			g.More = g.More || f.More
			g.Count = new(big.Int).Add(g.Count, f.Count)
			g.Examples = append(g.Examples, f.Examples...)
			for _, rule := range f.Rules {
				if !slices.Contains(g.Rules, rule) {
					g.Rules = append(g.Rules, rule)
				}
			}
			return
		}
	}
	r.Findings = append(r.Findings, f)
}

// sameAs reports whether the same rule of the host is to blame for the same, or
// one of several that share a comment.
func (f *Finding) sameAs(g Finding) bool {
	if f.Kind != g.Kind || f.Would != g.Would || f.Hook != g.Hook || len(f.Examples) == 0 || len(g.Examples) == 0 {
		return false
	}
	x, y := f.Examples[0], g.Examples[0]
	block := x.Policy.Name == y.Policy.Name && strings.HasPrefix(x.Policy.Name, "block.")
	return (block || x.Host.identity() == y.Host.identity()) && slices.Equal(x.If, y.If)
}

// identity is what rules have in common that were written for the same reason.
func (s Side) identity() Side {
	if s.Name != "" {
		s.Handle, s.Number, s.Rule = 0, 0, ""
	}
	s.Verdict = ""
	return s
}

// union keeps what says that there are others at the end.
func union(a, b []string) []string {
	more := slices.Contains(a, others) || slices.Contains(b, others)
	out := []string{} // JSON has a list where there is nothing
	for _, s := range slices.Concat(a, b) {
		if s != others && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if more {
		out = append(out, others)
	}
	return out
}

// Texts replaces the text of the kernel's rules by that which nft lists: of
// returns the rules of a chain by handle, nil where that is not known.
func (r *Report) Texts(of func(table, chain string) map[uint64]string) {
	for i := range r.Findings {
		for j := range r.Findings[i].Examples {
			r.Findings[i].Examples[j].Host.Text(of)
		}
		for j := range r.Findings[i].Rules {
			r.Findings[i].Rules[j].Text(of)
		}
	}
}

// Text is Texts for one side.
func (s *Side) Text(of func(table, chain string) map[uint64]string) {
	if s.Handle == 0 {
		return
	}
	if text := of(s.Table, s.Chain)[s.Handle]; text != "" {
		s.Rule = text
	}
}

// summarize makes the one line of a finding about packets.
func (f *Finding) summarize() {
	if len(f.Packets) == 0 {
		return
	}
	const most = 2
	f.Summary = strings.Join(f.Packets[:min(len(f.Packets), most)], "; ")
	if f.More || len(f.Packets) > most {
		f.Summary += "; and more"
	}
}

// sort puts the worst first and keeps the order of what weighs the same.
func (r *Report) sort() {
	for i := range r.Findings {
		r.Findings[i].summarize()
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.Kind, b.Kind) })
}

// Scope says what was compared: "input, output; IPv4, IPv6; packets of state new"; ""
// where nothing was.
func (r *Report) Scope() string {
	var hooks, states []string
	for _, c := range r.Compared {
		if !slices.Contains(hooks, c.Hook) {
			hooks = append(hooks, c.Hook)
		}
		if !slices.Contains(states, c.State) {
			states = append(states, c.State)
		}
	}
	if len(hooks) == 0 {
		return ""
	}
	return strings.Join(hooks, ", ") + "; IPv4, IPv6; packets of state " + strings.Join(states, ", ")
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
