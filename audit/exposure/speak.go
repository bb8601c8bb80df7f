package exposure

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// asked is a listener that is asked, at one of the addresses of a door.
type asked struct {
	door    *Door
	service *rules.Rule
	addr    netip.Addr
}

// speak asks those listeners what they speak of which a service expects something, and
// holds it against that. What waits for this host alone is asked where nothing else
// waits on the port: behind a proxy it may speak plain text.
func (r *Report) speak(q Question) {
	if q.Speak == nil || q.Policy == nil {
		return
	}
	var all []asked
	var questions []live.SpeakQuestion
	for i := range r.Doors {
		d := &r.Doors[i]
		if d.Proto != packet.TCP || len(d.Waits) == 0 || d.Local && r.others(d) {
			continue
		}
		expects := func(s *rules.Rule) bool { return expectsTLS(q.Policy, s, d) != nil }
		n := slices.IndexFunc(d.named, expects)
		if n < 0 {
			continue
		}
		for _, a := range d.Addrs {
			all = append(all, asked{d, d.named[n], a})
			questions = append(questions, live.SpeakQuestion{Addr: netip.AddrPortFrom(a, d.Port), Options: live.SpeakOptions{Now: q.Now, Interface: d.Interface}})
		}
	}
	said := map[string]bool{} // by each door
	for i, a := range q.Speak(questions) {
		if answer := fmt.Sprint(all[i].door.Name(), all[i].door.Local, all[i].door.Interface, a.Spoken, a.Err); !said[answer] {
			said[answer] = true
			r.spoken(q, all[i], a)
		}
	}
}

// others reports whether somebody waits for others on the port of a door for this host
// alone.
func (r *Report) others(d *Door) bool {
	return slices.ContainsFunc(r.Doors, func(o Door) bool { return o.Proto == d.Proto && o.Port == d.Port && !o.Local })
}

// expectsTLS says what a service expects of a port: what itself says, else what its
// profile does; nil for nothing.
func expectsTLS(rs *rules.Ruleset, s *rules.Rule, d *Door) *bool {
	if s.Expect.TLS != nil {
		return s.Expect.TLS
	}
	of := s.Kind.String() + "." + s.Name
	if slices.ContainsFunc(rs.Encrypted, func(e rules.Encrypted) bool {
		return e.Service == of && slices.ContainsFunc(e.Transports, func(t rules.Transport) bool { return t.Proto == d.Proto && t.Dst.Contains(d.Port) })
	}) {
		yes := true
		return &yes
	}
	return nil
}

// soonDays is how many days before its end a certificate is spoken of.
const soonDays = 14

func (r *Report) spoken(q Question, x asked, a live.SpeakAnswer) {
	d, s := x.door, x.service
	if a.Err != nil || a.Spoken.Alert != "" {
		why := a.Spoken.String()
		if a.Err != nil {
			why = a.Err.Error()
		}
		r.Notes = append(r.Notes, fmt.Sprintf("%s: whether it speaks TLS cannot be told: %s", d.Name(), why))
		return
	}
	answer := a.Spoken.String()
	if d.Speaks != "" { // at another address something else
		d.Speaks += "; "
	}
	d.Speaks += answer
	if t := a.Spoken.TLS; t != nil && t.Leaf != nil && (d.Days == nil || t.Leaf.NotAfter.Before(d.Expires)) {
		d.Expires, d.Days = t.Leaf.NotAfter, &t.Leaf.Days
	}
	t, want := a.Spoken.TLS, *expectsTLS(q.Policy, s, d)
	on := addrsText([]netip.Addr{x.addr})
	switch {
	case want && t == nil:
		r.at(r.add("FW110", d, fmt.Sprintf("%s: %s expects TLS, and it speaks none", d.Name(), s.ID()), "on "+on+" it answers: "+answer), s)
	case !want && t != nil:
		r.at(r.add("FW110", d, fmt.Sprintf("%s: %s expects plain text, and it speaks TLS", d.Name(), s.ID()), "on "+on+": "+answer), s)
	case t != nil && t.Leaf != nil:
		r.certificate(d, s, t.Leaf, q.Now)
	}
}

func (r *Report) certificate(d *Door, s *rules.Rule, c *live.Certificate, now time.Time) {
	what := ""
	switch {
	case c.Days < 0:
		what = fmt.Sprintf("has expired %d days ago", -c.Days)
	case now.Before(c.NotBefore):
		what = "is not valid before " + c.NotBefore.UTC().Format(time.DateOnly)
	case c.Days < soonDays:
		what = fmt.Sprintf("expires in %d days", c.Days)
	case c.Untrusted != "" && !c.Trusted && !c.ByRoots:
		f := r.add("FW111", d, fmt.Sprintf("%s: nobody whom the system trusts has signed its certificate", d.Name()), c.String(), cmp.Or(c.Untrusted, "self-signed"))
		f.Severity = Note
		r.at(f, s)
		return
	default:
		return
	}
	r.at(r.add("FW111", d, fmt.Sprintf("%s: its certificate %s", d.Name(), what), c.String()), s)
}
