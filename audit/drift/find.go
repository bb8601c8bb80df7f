package drift

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Question is what to hold against what.
type Question struct {
	Policy  *rules.Ruleset
	Host    *live.HostRules
	Changes func() ([]string, error) // what an apply would change in fwctl's own rules, asked while the rest is compared; nil: do not ask
	States  States
	// Route returns the interface by which an address is reached; nil: packets to
	// translated addresses may leave by any.
	Route  func(netip.Addr) string
	Known  []string  // names of managers, and of what stands beside the rules, that are meant to be there
	Now    time.Time // zero: the time of the clock
	Budget int       // nodes of a decision diagram; zero: DefaultBudget
}

// DefaultBudget is a quarter of what the engine may take: some hundred
// megabytes.
const DefaultBudget = packet.DefaultBudget / 4

// States says which packets are compared.
type States uint8

// The states.
const (
	Flows       States = iota // first packets and those of established flows
	New                       // first packets of a flow
	Established               // packets of established flows
	AnyState                  // every packet, TCP that begins in the middle and invalid ones included
)

var stateNames = [...]string{"flow", "new", "established", "any"}

// String returns the word for the command line.
func (s States) String() string { return stateNames[s] }

// ParseStates reads such a word.
func ParseStates(word string) (States, bool) {
	i := slices.Index(stateNames[:], word)
	return States(max(i, 0)), i >= 0
}

// StateNames are the words that ParseStates knows.
func StateNames() []string { return slices.Clone(stateNames[:]) }

// region is a part of all packets, with its name.
type region struct {
	name string
	cond packet.Cond
	// untranslated leaves out what translates addresses: packets of a flow go
	// where its first packet went, which was compared.
	untranslated bool
	// prefer are those of its packets that people expect; nil: all.
	prefer packet.Cond
}

func (s States) regions() []region {
	first := region{name: "new", cond: packet.FirstPackets()}
	ack := packet.Bits{Field: packet.FieldFlags, Mask: packet.Number(uint64(packet.SYN | packet.ACK | packet.RST | packet.FIN)), Value: packet.Number(uint64(packet.ACK))}
	flow := region{name: "established", untranslated: true, prefer: ack, cond: packet.All{
		packet.In{Field: packet.FieldState, Set: packet.NewRanges(packet.Single(packet.Number(uint64(packet.Established))), packet.Single(packet.Number(uint64(packet.Related))))},
		packet.In{Field: packet.FieldFragment, Set: packet.Ranges{packet.Single(packet.Value{})}},
	}}
	other := region{name: "other", untranslated: true, cond: packet.All{packet.Not{Cond: first.cond}, packet.Not{Cond: flow.cond}}}
	switch s {
	case New:
		return []region{first}
	case Established:
		return []region{flow}
	case AnyState:
		return []region{first, flow, other}
	}
	return []region{first, flow}
}

// Find compares. Its error is one of fwctl itself: a witness that the two ways
// of deciding a packet do not agree on.
func Find(q Question) (*Report, error) {
	r := &Report{Compared: []Compared{}, Findings: []Finding{}, Beside: q.Host.Beside, Managers: q.Host.Managers}
	if r.Beside == nil {
		r.Beside = []live.Beside{}
	}
	if r.Managers == nil {
		r.Managers = []live.Manager{}
	}
	if q.Route == nil {
		q.Route = func(netip.Addr) string { return "" }
	}
	if q.Now.IsZero() {
		q.Now = time.Now()
	}
	r.Temporary = q.Policy.Temporary(time.Now())
	if r.Published = []string{}; q.Budget == 0 {
		q.Budget = DefaultBudget
	}
	changes := ask(q.Changes)
	err := r.compareAll(q)
	own := <-changes
	if err := errors.Join(err, own.err); err != nil {
		return nil, err
	}
	r.doubt(q)
	r.tampered(own.changes)
	r.surroundings(q)
	r.sort()
	r.judge()
	return r, nil
}

// doubt says of what the rules that were read let in that others may refuse it. What is
// refused stays refused.
func (r *Report) doubt(q Question) {
	if len(q.Host.Unread) == 0 {
		return
	}
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Kind == Opened {
			f.Kind, f.Would = Unknown, Opened.String()
			f.Details = append(f.Details, "unless rules that were not read refuse it")
		}
	}
}

// compareAll compares all hooks, the two families at the same time.
func (r *Report) compareAll(q Question) error {
	for _, hook := range hooks(q.Policy) {
		var parts [2]Report
		var errs [2]error
		var both sync.WaitGroup
		for i, is6 := range []bool{false, true} {
			both.Go(func() { errs[i] = parts[i].compare(q, hook, is6) })
		}
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		for _, p := range parts {
			r.Compared = append(r.Compared, p.Compared...)
			r.Published = union(r.Published, p.Published)
			for _, f := range p.Findings {
				r.merge(f)
			}
		}
	}
	return nil
}

// compare adds what differs at one hook and in one family.
func (r *Report) compare(q Question, hook packet.Hook, is6 bool) error {
	c, err := newComparison(q, hook, is6)
	if err == nil {
		err = c.compare(r, q)
	}
	if errors.Is(err, packet.ErrBudget) {
		r.Findings = append(r.Findings, Finding{Kind: Undecided, Hook: hook.String(),
			Summary: fmt.Sprintf("hook %s, family %s: more than %d nodes of decision diagrams; nothing follows", hook, family(is6), q.Budget)})
		return nil
	}
	return err
}

func family(is6 bool) string {
	if is6 {
		return "ip6"
	}
	return "ip"
}

// asked is the answer of Question.Changes.
type asked struct {
	changes []string
	err     error
}

// ask asks a question in the background.
func ask(question func() ([]string, error)) <-chan asked {
	answer := make(chan asked, 1)
	if question == nil {
		answer <- asked{}
		return answer
	}
	go func() {
		changes, err := question()
		answer <- asked{changes, err}
	}()
	return answer
}

// mostDetails is how many lines a finding lists before it says that there are
// more.
const mostDetails = 10

func (r *Report) tampered(changes []string) {
	if len(changes) == 0 {
		return
	}
	var details []string
	for _, c := range changes[:min(len(changes), mostDetails)] {
		details = append(details, strings.TrimSpace(c))
	}
	if more := len(changes) - len(details); more > 0 {
		details = append(details, fmt.Sprintf("and %d more", more))
	}
	r.Findings = append(r.Findings, Finding{Kind: Tampered, Details: details,
		Summary: fmt.Sprintf("fwctl's own rules are not as they were put there; an apply would make %s", plural(len(changes), "change"))})
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// surroundings adds what acts on packets beside the rules that were compared.
func (r *Report) surroundings(q Question) {
	for _, m := range r.Managers {
		if m.Advice != "" && !slices.Contains(q.Known, m.Name) {
			r.Findings = append(r.Findings, Finding{Kind: Manager, Summary: fmt.Sprintf("%s is at work here, too (%s): %s", m.Name, m.Sign, m.Advice)})
		}
	}
	for _, b := range r.Beside {
		if !b.Refuses && !slices.Contains(q.Known, b.Name) {
			r.Findings = append(r.Findings, Finding{Kind: Unknown, Summary: b.Name + " acts on packets and is not modelled"})
		}
	}
	for _, u := range q.Host.Unread {
		r.Findings = append(r.Findings, Finding{Kind: Unknown, Summary: "not read: " + u})
	}
}
