package plan

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Question is a policy and the host that it is for.
type Question struct {
	Policy      *rules.Ruleset
	Host        *live.HostRules
	Connections []live.Connection
	Listeners   []live.Listener
	Sockets     []live.TCPConnection    // of this host
	Route       func(netip.Addr) string // the interface by which the host reaches an address, "" if by none
	// After are the host's rules with the policy in them; nil: the rules of others, and
	// the policy beside them.
	After  func(is6 bool) []packet.Source
	Now    time.Time
	Budget int // nodes of diagrams at one hook and in one family; 0: DefaultBudget
}

// DefaultBudget takes at most some six hundred megabytes.
const DefaultBudget = 10_000_000

// Plan is what an apply would change for whom.
type Plan struct {
	Exposure  []Change  `json:"exposure"`    // first packets of flows
	Sessions  []Session `json:"connections"` // live ones that the policy would not accept
	Listeners []Touched `json:"listeners"`   // those that the exposure is about
	// Temporary are the rules of the policy that hold for a time only.
	Temporary []rules.Ending `json:"temporary"`
	Undecided []string       `json:"undecided,omitempty"` // hooks and families that are too large
	Unread    []string       `json:"unread,omitempty"`    // rules of the host that could not be read
}

// Change is packets that fare otherwise, all for one reason.
type Change struct {
	Kind     Kind     `json:"change"`
	Hook     string   `json:"hook"`
	Families []string `json:"families"` // "ipv4", "ipv6"
	Packets  []string `json:"packets"`  // "8000/tcp from 10.0.0.0/8"
	More     bool     `json:"more,omitempty"`
	Count    *big.Int `json:"count"`        // told apart by protocol, ICMP type and code, ports and addresses
	Rule     string   `json:"rule"`         // of the policy that decides
	At       string   `json:"at,omitempty"` // its line
	Example  string   `json:"packet"`
	If       []string `json:"if,omitempty"` // what has to hold, or "not …", where it depends on unknowns
}

// Kind says what becomes of packets. The zero value is Opened.
type Kind uint8

// The kinds.
const (
	Opened Kind = iota // accepted, and not before
	Closed             // no longer accepted
)

// String returns "opened" or "closed".
func (k Kind) String() string { return [...]string{"opened", "closed"}[k] }

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Session is a connection that the policy would not accept if it began anew.
type Session struct {
	Packet string `json:"packet"` // its first one
	Rule   string `json:"rule"`   // of the policy that refuses it
	At     string `json:"at,omitempty"`
}

// Touched is a listener and what changes for it.
type Touched struct {
	Listener string   `json:"listener"` // "0.0.0.0:8000/tcp"
	Kind     Kind     `json:"change"`
	Packets  []string `json:"packets"`
}

// Make answers the question. Its error is one of the engine itself.
func Make(q Question) (*Plan, error) {
	if q.Budget == 0 {
		q.Budget = DefaultBudget
	}
	p := &Plan{Exposure: []Change{}, Sessions: sessions(q), Listeners: []Touched{}, Temporary: q.Policy.Temporary(q.Now), Unread: q.Host.Unread}
	for _, hook := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
		for _, is6 := range []bool{false, true} {
			err := p.add(q, hook, is6)
			switch {
			case errors.Is(err, packet.ErrBudget):
				p.Undecided = append(p.Undecided, fmt.Sprintf("%s, %s", hook, familyName(is6)))
			case err != nil:
				return nil, fmt.Errorf("plan for %s, %s: %w", hook, familyName(is6), err)
			}
		}
	}
	return p, nil
}

func familyName(is6 bool) string {
	if is6 {
		return "ipv6"
	}
	return "ipv4"
}

// add adds what changes at one hook and in one family.
func (p *Plan) add(q Question, hook packet.Hook, is6 bool) error {
	l, err := newLane(q, hook, is6)
	if err != nil {
		return err
	}
	for _, k := range []Kind{Opened, Closed} {
		set, err := l.changed(k)
		if err != nil {
			return err
		}
		if hook == packet.Input {
			if err := p.listeners(q, l, k, set); err != nil {
				return err
			}
		}
		changes, err := l.describe(k, set)
		if err != nil {
			return err
		}
		for _, c := range changes {
			p.merge(c)
		}
	}
	return nil
}

// merge adds a change; what is said of both families alike is said once.
func (p *Plan) merge(c Change) {
	for i := range p.Exposure {
		o := &p.Exposure[i]
		if o.Kind == c.Kind && o.Hook == c.Hook && o.Rule == c.Rule && !slices.Contains(o.Families, c.Families[0]) &&
			o.More == c.More && slices.Equal(o.Packets, c.Packets) && slices.Equal(o.If, c.If) {
			o.Families = append(o.Families, c.Families...)
			o.Count = new(big.Int).Add(o.Count, c.Count)
			return
		}
	}
	p.Exposure = append(p.Exposure, c)
}
