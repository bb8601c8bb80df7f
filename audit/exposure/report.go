package exposure

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// DefaultBudget bounds the decision diagrams of one family, in nodes.
const DefaultBudget = packet.DefaultBudget

// Question is what is asked. Policy may be nil: then nothing is held against one.
type Question struct {
	Policy    *rules.Ruleset
	Host      *live.HostRules
	Listeners []live.Listener
	Published []live.PublishedPort
	Notes     []string // what could not be told of the listeners
	// Elsewhere are other network namespaces, whose listeners are among Listeners, too.
	// Nothing there is held against the policy.
	Elsewhere []Elsewhere
	// Speak asks listeners what they speak; nil: none is asked.
	Speak  func([]live.SpeakQuestion) []live.SpeakAnswer
	Now    time.Time // zero: the present
	Budget int       // zero: DefaultBudget
}

// Verdict is the answer in a word.
type Verdict uint8

// The verdicts.
const (
	Good       Verdict = iota // nothing that counts was found
	Findings                  // something was
	CannotTell                // nothing was, but not all could be told
)

var verdictNames = [...]string{"good", "findings", "cannot tell"}

// String returns the verdict's words.
func (v Verdict) String() string { return verdictNames[v] }

// MarshalText writes the verdict's words.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Report is the answer to a Question. Its JSON form only grows.
type Report struct {
	Verdict  Verdict   `json:"verdict"`
	Doors    []Door    `json:"doors"`    // by protocol and port
	Findings []Finding `json:"findings"` // the worst first, those that are accepted last
	Notes    []string  `json:"notes"`    // what could not be told
	// Namespaces are the other network namespaces of the machine, where they were asked for.
	Namespaces []Namespace `json:"namespaces,omitempty"`

	held bool     // against a policy
	both [2]*host // of IPv4, IPv6; nil: too large
}

// Door is a port of the host behind which something waits.
type Door struct {
	Proto    packet.Proto `json:"-"`
	Protocol string       `json:"protocol"`
	Port     uint16       `json:"port"`
	// Addrs are the addresses of the host for which it waits; the unspecified ones
	// stand for all.
	Addrs     []netip.Addr `json:"addresses"`
	Interface string       `json:"interface,omitempty"`          // the only one by which packets may come
	Waits     []Waiter     `json:"waits"`                        // what waits there, in the host itself
	Speaks    string       `json:"speaks,omitempty"`             // what it answered, where a service expects something
	Expires   time.Time    `json:"certificate_expires,omitzero"` // of the certificate that it showed then; of several, the first to end
	Days      *int         `json:"certificate_days,omitempty"`   // whole days until that
	Published []string     `json:"published,omitempty"`          // where packets are sent that are translated
	Local     bool         `json:"local"`                        // for this host alone, by loopback

	From     []string `json:"from"`               // who gets in now, from outside; empty: nobody
	Others   bool     `json:"others,omitempty"`   // From leaves some out
	Sources  []Source `json:"sources"`            // the same, in full
	More     bool     `json:"more,omitempty"`     // Sources leaves some out, too
	Untold   bool     `json:"untold,omitempty"`   // of a family it could not be told who gets in: see the notes
	Packet   string   `json:"packet,omitempty"`   // one that gets in
	Services []string `json:"services,omitempty"` // of the policy, that name it

	// By IPv4 and IPv6: there are packets to it; some get in; the policy lets some in.
	takes, open, wanted [2]bool
	refused             string        // a packet that does not get in where none of its family does
	named               []*rules.Rule // the services that have a say on it: see opening
	leads               []uint16      // other ports of the host, to which packets are sent
}

// Source is one part of those who get in: all that come from one of the addresses, by
// one of the interfaces, to one of the host's addresses. What is left out is any.
type Source struct {
	Family string   `json:"family"`         // "ip" or "ip6"
	From   []string `json:"from,omitempty"` // addresses, prefixes, ranges
	In     []string `json:"in,omitempty"`   // names of interfaces; "others" stands for those that no rule names
	To     []string `json:"to,omitempty"`

	group packet.Group // the same
}

// Waiter is a process that waits, or what is known of it.
type Waiter struct {
	Process   string `json:"process,omitempty"`
	PID       int    `json:"pid,omitempty"`
	User      string `json:"user,omitempty"`
	UID       uint32 `json:"uid,omitempty"` // of a user without a name
	Unit      string `json:"unit,omitempty"`
	Container string `json:"container,omitempty"`
	Proxy     string `json:"proxy,omitempty"` // the program that only carries packets into a container

	leader int // live.Owner's
}

// String writes "sshd (root, ssh.service)".
func (w Waiter) String() string {
	var about []string
	user := w.User
	if user == "" && w.UID != 0 {
		user = fmt.Sprintf("uid %d", w.UID)
	}
	for _, s := range []string{user, w.Unit, w.Container} {
		if s != "" {
			about = append(about, s)
		}
	}
	name := cmp.Or(w.Process, w.Proxy, "somebody")
	if len(about) == 0 {
		return name
	}
	return name + " (" + strings.Join(about, ", ") + ")"
}

// Name writes "8000/tcp".
func (d *Door) Name() string { return strconv.Itoa(int(d.Port)) + "/" + d.Proto.String() }

// Severity is the weight of a finding.
type Severity uint8

// The severities, the worst first.
const (
	Critical Severity = iota
	Warning
	Note // told, but does not count
)

var severityNames = [...]string{"critical", "warning", "note"}

// String returns the severity's word.
func (s Severity) String() string { return severityNames[s] }

// MarshalText writes the severity's word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is something that is not as it should be.
type Finding struct {
	Code     string   `json:"code"` // FWnnn: see Codes
	Severity Severity `json:"severity"`
	Door     string   `json:"door,omitempty"`  // "8000/tcp"
	About    string   `json:"about,omitempty"` // what it is about, where that is no door at which something waits: "ufw"
	Summary  string   `json:"summary"`
	Evidence []string `json:"evidence,omitempty"`
	Packet   string   `json:"packet,omitempty"`         // that shows it
	Section  string   `json:"section,omitempty"`        // of the policy
	At       string   `json:"at,omitempty"`             // "policy.toml:12:1"
	Accepted string   `json:"accepted,omitempty"`       // the reason for which the policy accepts it
	Until    string   `json:"accepted_until,omitempty"` // RFC 3339; empty: for good
}

// counts reports whether the finding makes the host one to look at.
func (f *Finding) counts() bool { return f.Severity != Note && f.Accepted == "" }

func (r *Report) add(code string, d *Door, summary string, evidence ...string) *Finding {
	f := Finding{Code: code, Severity: codeOf(code).Severity, Summary: summary, Evidence: evidence}
	if d != nil {
		f.Door, f.Packet = d.Name(), d.Packet
	}
	r.Findings = append(r.Findings, f)
	return &r.Findings[len(r.Findings)-1]
}

// finish sorts and judges.
func (r *Report) finish() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(len(a.Accepted), len(b.Accepted)), cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Code, b.Code))
	})
	switch {
	case slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.counts() }):
		r.Verdict = Findings
	case len(r.Notes) > 0:
		r.Verdict = CannotTell
	}
}
