package iptables

import (
	"net/netip"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Program is all that fwctl has in iptables.
type Program struct {
	Sets []*Set // sorted by name; they must exist before the families are loaded
	V4   Family
	V6   Family
}

// Family is what iptables or ip6tables holds.
type Family struct {
	Table        // filter
	Mangle Table // where published ports are enforced: what stands before translation
}

// Table is what one table holds.
type Table struct {
	Jumps  []Jump
	Chains []*Chain // in the order of a packet's path; no name twice
}

// Jump is the rule of a built-in chain that leads to a chain of ours. It stands
// first in its chain.
type Jump struct {
	From string // INPUT, FORWARD or OUTPUT; of mangle PREROUTING
	To   string
}

// Chain is a list of rules.
type Chain struct {
	Name  string // at most 28 bytes
	Rules []Rule
}

// Rule leads the packets that match to its verdict.
type Rule struct {
	Match   Match
	Comment string // a rule's ID, or the stage of the decision
	Verdict Verdict
}

// Match is the conditions of a rule, all of which must hold. The zero value
// matches every packet.
type Match struct {
	Src, Dst string   // a prefix: "192.0.2.1/32"
	In, Out  string   // an interface; a final "+" stands for any rest
	Proto    string   // -p
	Ext      []string // extensions, each with its options: "-m tcp --dport 22"
}

// Verdict is the target of a rule. The zero value is none.
type Verdict struct {
	Goto   bool   // -g: a RETURN of the target leaves this chain, too
	Target string // DROP, RETURN, REJECT, LOG or a chain
	Args   string // the target's options
}

// Set is a set of ipset. Its name carries a digest of its content: another
// content has another name, and one restore switches the rules from the one to
// the other.
type Set struct {
	Name     string // at most 31 bytes
	Is6      bool
	Ports    bool // hash:net,port instead of hash:net
	Elements []Element
}

// Element is one member of a set.
type Element struct {
	Prefix  netip.Prefix // never of length 0: hash:net cannot hold it
	Proto   packet.Proto // Proto and Port: only in a set with Ports
	Port    uint16
	Comment string // only in a set with Ports: whose it is
}

var (
	accept = Verdict{Target: "RETURN"} // on to the rules of others
	drop   = Verdict{Target: "DROP"}
)

func goTo(c *Chain) Verdict { return Verdict{Goto: true, Target: c.Name} }

func (c *Chain) add(m Match, comment string, v Verdict) {
	c.Rules = append(c.Rules, Rule{Match: m, Comment: comment, Verdict: v})
}

// and combines conditions. Where both ask for the same field the other's counts;
// the renderer never lets it come to that.
func (m Match) and(o Match) Match {
	pick := func(a, b string) string {
		if b != "" {
			return b
		}
		return a
	}
	return Match{
		Src: pick(m.Src, o.Src), Dst: pick(m.Dst, o.Dst),
		In: pick(m.In, o.In), Out: pick(m.Out, o.Out),
		Proto: pick(m.Proto, o.Proto),
		Ext:   append(m.Ext[:len(m.Ext):len(m.Ext)], o.Ext...),
	}
}

func ext(words ...string) Match { return Match{Ext: []string{strings.Join(words, " ")}} }
