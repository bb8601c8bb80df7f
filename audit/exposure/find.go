package exposure

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// judge looks at what waits at a door, beside who gets in.
func (r *Report) judge(q Question, d *Door) {
	r.families(d)
	if programs(d) > 1 {
		r.add("FW108", d, fmt.Sprintf("several programs wait on %s: %s", d.Name(), d.behind()), "on "+addrsText(d.Addrs))
	}
	if q.Policy == nil {
		return
	}
	if elsewhere(q.Policy, d) {
		return
	}
	named := d.named
	if len(named) == 0 {
		if len(d.From) == 0 && d.Proto != packet.UDP {
			r.add("FW104", d, fmt.Sprintf("%s waits for others, but no service names it and nobody reaches it: %s", d.Name(), d.behind()), "on "+addrsText(d.Addrs)).Packet = d.refused
		}
		return
	}
	if len(d.From) == 0 && (d.wanted[0] || d.wanted[1]) {
		f := r.add("FW105", d, fmt.Sprintf("%s is opened by %s, but nobody gets in", d.Name(), named[0].ID()), "on "+addrsText(d.Addrs))
		f.Packet = d.refused
		r.at(f, named[0])
	}
	for _, s := range named {
		r.expected(d, s)
	}
}

func inForce(s *rules.Rule, now time.Time) bool { return s.Expires.IsZero() || now.Before(s.Expires) }

// at says where the policy says so.
func (r *Report) at(f *Finding, s *rules.Rule) { f.Section, f.At = s.ID(), s.Pos.String() }

// families compares the two. That one is closed is but a note where the policy says so.
func (r *Report) families(d *Door) {
	has := func(is6 bool) bool {
		return d.takes[b2i(is6)] && slices.ContainsFunc(d.Addrs, func(a netip.Addr) bool { return a.Is6() == is6 && a.IsUnspecified() })
	}
	if !has(false) || !has(true) || d.open[0] == d.open[1] {
		return
	}
	open, shut := "IPv4", "IPv6"
	if d.open[1] {
		open, shut = shut, open
	}
	f := r.add("FW116", d, fmt.Sprintf("%s is open to %s and closed to %s, and what waits takes both", d.Name(), open, shut))
	for _, who := range d.From {
		f.Evidence = append(f.Evidence, "from "+who)
	}
	if len(d.named) > 0 && d.wanted == d.open {
		r.at(f, d.named[0])
		f.Severity, f.Evidence = Note, append(f.Evidence, "as the policy says")
	}
}

// programs counts the different ones that wait at a door: a program that is started
// twice is two, one that forks is one. A proxy stands for its container.
func programs(d *Door) int {
	var out []Waiter
	for _, w := range d.Waits {
		if w.Proxy != "" || w.Process == "" || w.Process == "systemd" { // which holds the sockets of units
			continue
		}
		w = Waiter{Process: w.Process, User: w.User, UID: w.UID, Container: w.Container, leader: w.leader}
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return len(out)
}

// expected holds what waits against what the service expects.
func (r *Report) expected(d *Door, s *rules.Rule) {
	e := s.Expect
	for _, w := range d.Waits {
		for _, x := range []struct{ what, want, got string }{
			{"user", e.User, w.User}, {"process", e.Process, w.Process}, {"unit", strings.TrimSuffix(e.Unit, ".service"), strings.TrimSuffix(w.Unit, ".service")},
		} {
			if x.want != "" && x.got != "" && x.got != x.want {
				r.at(r.add("FW106", d, fmt.Sprintf("%s: %s expects %s %s, but %s waits there", d.Name(), s.ID(), x.what, x.want, w), "its "+x.what+" is "+x.got), s)
			}
		}
	}
	if e.Listen.IsValid() && len(d.Waits) > 0 && slices.ContainsFunc(d.Addrs, func(a netip.Addr) bool { return a != e.Listen }) {
		r.at(r.add("FW107", d, fmt.Sprintf("%s: %s expects it to listen on %s alone", d.Name(), s.ID(), e.Listen), "it listens on "+addrsText(d.Addrs)), s)
		return
	}
	if to := s.To; !e.Listen.IsValid() && to.Set != nil && !to.Any && !to.Host && len(to.Groups) == 0 && len(d.Waits) > 0 &&
		slices.ContainsFunc(d.Addrs, netip.Addr.IsUnspecified) && !holdsMany(to) {
		r.at(r.add("FW107", d, fmt.Sprintf("%s: %s is for one address, and what waits listens on all", d.Name(), s.ID()), "it listens on "+addrsText(d.Addrs)), s)
	}
}

// holdsMany reports whether the set is more than single addresses of a host.
func holdsMany(a rules.Addresses) bool {
	return slices.ContainsFunc(a.Set.Prefixes(), func(p netip.Prefix) bool { return !p.IsSingleIP() || p.Addr().IsMulticast() })
}

func addrsText(as []netip.Addr) string {
	out := make([]string, len(as))
	for i, a := range as {
		if out[i] = a.String(); a.IsUnspecified() {
			out[i] = map[bool]string{false: "all IPv4 addresses", true: "all IPv6 addresses"}[a.Is6()]
		}
	}
	return strings.Join(out, ", ")
}

// soon is how long before its end a rule is spoken of.
const soon = 7 * 24 * time.Hour

// surroundings adds what is about no single door.
func (r *Report) surroundings(q Question) error {
	for _, m := range q.Host.Managers {
		if m.Advice != "" {
			r.add("FW114", nil, m.Name+" manages packet rules, too: "+m.Advice, m.Sign).About = m.Name
		}
	}
	r.variants(q.Host)
	if q.Policy == nil {
		return nil
	}
	if err := r.dangling(q); err != nil {
		return err
	}
	r.nevers(q)
	r.endings(q)
	return nil
}

// variants finds both kinds of iptables.
func (r *Report) variants(h *live.HostRules) {
	var legacy, others []string
	for _, s := range h.Saves {
		text := fmt.Sprintf("IPv%s: tables %s", map[bool]string{false: "4", true: "6"}[s.Is6], tableNames(s))
		if s.Legacy {
			legacy = append(legacy, "iptables-legacy, "+text)
		} else {
			others = append(others, "iptables-nft, "+text)
		}
	}
	for _, t := range h.Tables {
		others = append(others, "nf_tables: table "+t.Title())
	}
	if len(legacy) > 0 && len(others) > 0 {
		r.add("FW115", nil, "rules of iptables-legacy and of nf_tables stand side by side", append(legacy, others...)...).About = "iptables-legacy"
	}
}

func tableNames(s live.Save) string {
	var names []string
	for _, t := range s.Tables {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}

// endings finds rules that have expired, or will soon.
func (r *Report) endings(q Question) {
	for _, s := range slices.Concat(q.Policy.Services, q.Policy.Blocks, q.Policy.Outbounds, q.Policy.Routes, q.Policy.OutboundBlocks) {
		switch {
		case s.Expires.IsZero():
		case !q.Now.Before(s.Expires):
			r.at(r.add("FW112", nil, s.ID()+" has expired at "+s.Expires.Format(time.RFC3339), whose(s)...), s)
		case s.Expires.Sub(q.Now) < soon:
			r.at(r.add("FW113", nil, s.ID()+" expires at "+s.Expires.Format(time.RFC3339), whose(s)...), s)
		}
	}
}

// whose is what the policy says of a rule beside what it does.
func whose(s *rules.Rule) []string {
	out := []string{"written at " + s.Pos.String()}
	for name, text := range map[string]string{"owner": s.Owner, "reason": s.Reason} {
		if text != "" {
			out = append(out, name+": "+text)
		}
	}
	slices.Sort(out[1:])
	return out
}

// dangling finds services for single ports behind which nothing waits.
func (r *Report) dangling(q Question) error {
	for _, s := range q.Policy.Services {
		if s.From.None() || !inForce(s, q.Now) {
			continue
		}
		for _, t := range s.Transports {
			if t.Proto != packet.TCP && t.Proto != packet.UDP {
				continue
			}
			for _, p := range t.Dst {
				if slices.ContainsFunc(r.Doors, func(d Door) bool {
					return d.Proto == t.Proto && p.Lo <= d.Port && d.Port <= p.Hi && !d.Local
				}) {
					continue
				}
				f := r.add("FW103", nil, fmt.Sprintf("%s opens %s/%s, and nothing waits there", s.ID(), p, t.Proto), "no socket and no published port")
				f.About = fmt.Sprintf("%s/%s", p, t.Proto)
				r.at(f, s)
				var err error
				if f.Packet, err = r.arriving(t.Proto, p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// arriving is a packet that the host lets in to one of the ports; "" if there is none.
func (r *Report) arriving(proto packet.Proto, p packet.PortRange) (string, error) {
	for _, h := range r.both {
		if h == nil {
			continue
		}
		n, err := h.space.Set(packet.All{
			packet.In{Field: packet.FieldProto, Set: packet.Ranges{packet.Single(packet.Number(uint64(proto)))}},
			packet.In{Field: packet.FieldDstPort, Set: packet.Ranges{{Lo: packet.Number(uint64(p.Lo)), Hi: packet.Number(uint64(p.Hi))}}},
		})
		if err == nil {
			n, err = h.space.And(n, h.in)
		}
		if errors.Is(err, packet.ErrBudget) {
			return "", nil // which is told of doors
		}
		if err != nil || n != packet.False {
			text, err := h.witness(n)
			return text, err
		}
	}
	return "", nil
}

// nevers finds ports that a profile closes and somebody reaches.
func (r *Report) nevers(q Question) {
	for i := range r.Doors {
		d := &r.Doors[i]
		if len(d.From) == 0 {
			continue
		}
		for _, n := range q.Policy.Nevers {
			if slices.ContainsFunc(n.Transports, func(t rules.Transport) bool { return t.Proto == d.Proto && t.Dst.Contains(d.Port) }) {
				f := r.add("FW109", d, fmt.Sprintf("%s is reached, and %s says that nobody may reach it (%s)", d.Name(), n.Service, n.Name), n.Doc)
				f.Section, f.At = n.Service, n.Pos.String()
			}
		}
	}
}

// accept marks what the policy accepts.
func (r *Report) accept(q Question) {
	if q.Policy == nil {
		return
	}
	for _, a := range q.Policy.Accepts {
		ended := !a.Expires.IsZero() && !q.Now.Before(a.Expires)
		matched := false
		for i := range r.Findings {
			f := &r.Findings[i]
			if f.Code != a.Finding || a.Match != f.Door && a.Match != f.Section && a.Match != f.About {
				continue
			}
			matched = true
			if !ended {
				f.Accepted, f.Until = a.Reason, until(a.Expires)
			}
		}
		switch {
		case ended && matched:
			f := r.add("FW117", nil, fmt.Sprintf("accept.%s has ended at %s, and what it accepted is still there", a.Name, a.Expires.Format(time.RFC3339)), "reason: "+a.Reason)
			f.Section, f.At = "accept."+a.Name, a.Pos.String()
		case !matched:
			f := r.add("FW117", nil, fmt.Sprintf("accept.%s matches nothing: no %s at %s", a.Name, a.Finding, a.Match), "reason: "+a.Reason)
			f.Section, f.At, f.Severity = "accept."+a.Name, a.Pos.String(), Note
		}
	}
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}
