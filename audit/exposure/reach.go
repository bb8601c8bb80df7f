package exposure

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// host is what the host and the policy let in, in one family.
type host struct {
	Question
	is6     bool
	space   *packet.Space
	over    packet.Node // first packets from outside to this host, by the address that they come with
	in      packet.Node // of these, those that get in
	allowed packet.Node // those that the policy lets in
	outside packet.Node // those that do not come from containers whose traffic is not judged

	believed []packet.Node // from sources that make good witnesses, the best first
	// near is the same for packets to loopback addresses, which a neighbour may send; nil
	// where the kernel drops them at once: of IPv6, and on the systems of pf. Of what waits
	// for all addresses these are not told of.
	near   *host
	linked bool // it is near of another
}

// newHost builds the diagrams.
func newHost(q Question, is6 bool) (*host, error) {
	sources := q.Host.Sources(is6)
	if q.Host.PF == nil { // where pf decides the kernel drops them before
		sources = append(sources, martians(is6, q.Host.Localnet))
	}
	way := packet.Way(packet.Input, sources...)
	filters := []*packet.Filter{way}
	var policy *packet.Filter
	if q.Policy != nil {
		policy = packet.Way(packet.Input, func(h packet.Hook) *packet.Filter {
			if h != packet.Input {
				return nil
			}
			return q.Policy.Filter(h, is6)
		})
		filters = append(filters, policy)
	}
	h := &host{Question: q, is6: is6, space: packet.NewSpace(is6, q.Host.Addrs(is6), q.Budget, filters...)}
	if err := h.space.Assume(packet.During(q.Now, q.Now, filters...)); err != nil {
		return nil, err
	}
	for _, r := range examples[is6] {
		from, err := h.space.Set(packet.In{Field: packet.FieldSrc, Set: packet.Ranges{r}})
		if err != nil {
			return nil, err
		}
		h.believed = append(h.believed, from)
	}
	if err := h.fill(packet.Not{Cond: toLoopback(is6)}, way, policy); err != nil || is6 || q.Host.PF != nil {
		return h, err
	}
	near := *h
	near.linked = true
	h.near = &near
	return h, near.fill(toLoopback(is6), way, policy)
}

// fill finds the sets of packets to some addresses of the host.
func (h *host) fill(to packet.Cond, way, policy *packet.Filter) (err error) {
	local := packet.In{Field: packet.FieldDstType, Set: packet.Ranges{packet.Single(packet.Number(uint64(packet.AddrLocal)))}}
	other := packet.In{Field: packet.FieldSrcType, Set: packet.Ranges{packet.Single(packet.Number(uint64(packet.AddrOther)))}}
	if h.over, err = h.space.Set(packet.All{h.space.Frame(packet.Prerouting), packet.FirstPackets(), local, to, other, h.links(), packet.Not{Cond: packet.Any{packet.Iface{Pattern: "lo"}, answers}}}); err != nil {
		return err
	}
	if h.in, err = h.accepted(way); err != nil {
		return err
	}
	h.outside = h.over
	if policy == nil {
		return nil
	}
	if h.allowed, err = h.accepted(policy); err != nil {
		return err
	}
	if h.Policy.Published != rules.PublishedEnforce {
		return nil
	}
	inside := packet.Any{}
	for _, p := range h.Policy.ContainerInterfaces {
		inside = append(inside, packet.Iface{Pattern: p})
	}
	n, err := h.space.Set(inside)
	if err == nil {
		h.outside, err = h.space.Minus(h.over, n)
	}
	return err
}

// links are packets by the interfaces that the host has, if they are known: rules may do
// others with those that it has not.
func (h *host) links() packet.Cond {
	names := h.Host.LinkNames()
	if len(names) == 0 {
		return packet.All{}
	}
	any := packet.Any{}
	for _, n := range names {
		any = append(any, h.space.By(n))
	}
	return any
}

func toLoopback(is6 bool) packet.Cond {
	return packet.In{Field: packet.FieldDst, Set: packet.Ranges{loopback[is6]}}
}

// martians is what the kernel does with packets for loopback addresses that come by other
// interfaces: it drops them when they are routed (ip_route_input_slow, net/ipv4/route.c),
// but by the interfaces that are told to take them. That is after rules gave them other
// destinations, which is how ports reach neighbours that an engine published on 127.0.0.1
// only.
func martians(is6 bool, taken []string) packet.Source {
	by := packet.Any{packet.Iface{Pattern: "lo"}}
	for _, name := range taken {
		if !is6 {
			by = append(by, packet.Iface{Pattern: name})
		}
	}
	drop := packet.Step{Cond: packet.All{toLoopback(is6), packet.Not{Cond: by}}, Outcome: packet.OutcomeDrop}
	f := &packet.Filter{Hook: packet.Input, Base: []*packet.Chain{{Name: "routing", Policy: packet.OutcomeAccept, Rules: []packet.Step{drop}, Priority: math.MinInt}}}
	return func(h packet.Hook) *packet.Filter {
		if h != packet.Input {
			return nil
		}
		return f
	}
}

// answers are those of DHCP servers to a client, which every host lets in: they open
// nothing (RFC 2131, section 4.1; RFC 8415, section 7.2).
var answers = packet.All{
	packet.In{Field: packet.FieldProto, Set: packet.Ranges{packet.Single(packet.Number(uint64(packet.UDP)))}},
	packet.Any{ports(67, 68), ports(547, 546)},
}

func ports(from, to uint64) packet.Cond {
	return packet.All{
		packet.In{Field: packet.FieldSrcPort, Set: packet.Ranges{packet.Single(packet.Number(from))}},
		packet.In{Field: packet.FieldDstPort, Set: packet.Ranges{packet.Single(packet.Number(to))}},
	}
}

// loopback are the addresses that no packet from outside should be for (RFC 1122, section
// 3.2.1.3; RFC 4291, section 2.5.3).
var loopback = map[bool]packet.Range{
	false: {Lo: packet.Number(0x7f000000), Hi: packet.Number(0x7fffffff)},
	true:  packet.Single(packet.Number(1)),
}

// accepted are the packets that the filter lets in, for some value of what no packet
// decides.
func (h *host) accepted(f *packet.Filter) (packet.Node, error) {
	n, err := h.space.Build(f)
	if err != nil {
		return 0, err
	}
	if n, err = h.space.Where(n, packet.OutcomeAccept); err != nil {
		return 0, err
	}
	if n, err = h.space.Ever(n); err != nil {
		return 0, err
	}
	return h.space.And(n, h.over)
}

// to are the packets to the door's port and addresses; false if it takes none of the
// family.
func (h *host) to(d *Door) (packet.Cond, bool) {
	c := packet.All{
		packet.In{Field: packet.FieldProto, Set: packet.Ranges{packet.Single(packet.Number(uint64(d.Proto)))}},
		packet.In{Field: packet.FieldDstPort, Set: packet.Ranges{packet.Single(packet.Number(uint64(d.Port)))}},
	}
	var rs []packet.Range
	all := false
	for _, a := range d.Addrs {
		if a.Is6() == h.is6 {
			all = all || a.IsUnspecified()
			rs = append(rs, packet.Single(packet.AddrValue(a)))
		}
	}
	if len(rs) == 0 {
		return nil, false
	}
	if !all {
		c = append(c, packet.In{Field: packet.FieldDst, Set: packet.NewRanges(rs...)})
	}
	if d.Interface != "" {
		c = append(c, packet.Iface{Pattern: d.Interface})
	}
	return c, true
}

// mostGroups are told of one door in words, mostSources in full.
const (
	mostGroups  = 8
	mostSources = 1000
)

// reach finds who gets in by the door, and says what is wrong with that.
func (h *host) reach(r *Report, d *Door) error {
	to, takes := h.to(d)
	if !takes {
		return nil
	}
	set, err := h.space.Set(to)
	if err != nil {
		return err
	}
	over, err := h.space.And(h.over, set)
	if err != nil {
		return err
	}
	in, err := h.space.And(h.in, over)
	if err != nil {
		return err
	}
	if err := h.meant(d, over, in); err != nil || in == packet.False {
		return err
	}
	d.open[b2i(h.is6)] = true
	groups, more, err := h.space.GroupsWithin(in, over, mostSources)
	if err != nil {
		return err
	}
	d.More = d.More || more
	said := 0
	for _, g := range groups {
		if !h.real(&g) {
			continue
		}
		d.Sources = append(d.Sources, exactly(g))
		if said++; said <= mostGroups {
			d.From = append(d.From, source(g)+h.onLink())
		}
	}
	d.Others = d.Others || said > mostGroups
	if d.Packet == "" {
		if d.Packet, err = h.witness(in); err != nil {
			return err
		}
	}
	return h.against(r, d, in, over)
}

// meant remembers of a door whether there are packets to it by the family, whether the
// policy lets in any of them, and a packet of those who do not get in.
func (h *host) meant(d *Door, over, in packet.Node) (err error) {
	wanted := packet.False
	if h.Policy != nil {
		if wanted, err = h.space.And(h.allowed, over); err == nil {
			wanted, err = h.space.And(wanted, h.outside) // of others it says nothing
		}
		if err != nil {
			return err
		}
	}
	d.takes[b2i(h.is6)], d.wanted[b2i(h.is6)] = over != packet.False, wanted != packet.False
	if in != packet.False || d.refused != "" && (wanted == packet.False || d.wanted[0] && h.is6) {
		return nil
	}
	if wanted == packet.False {
		wanted = over
	}
	d.refused, err = h.witness(wanted)
	return err
}

// onLink says what senders have to be besides, since no router forwards packets for
// loopback addresses.
func (h *host) onLink() string {
	if h.linked {
		return ", if on the link"
	}
	return ""
}

// words says of packets to one port who sends them.
func (h *host) words(set, over packet.Node) (out []string, more bool, err error) {
	groups, more, err := h.space.GroupsWithin(set, over, mostGroups)
	for _, g := range groups {
		if h.real(&g) {
			out = append(out, source(g))
		}
	}
	return out, more, err
}

// real names the interfaces of the host in place of those that rules speak of, and
// reports whether there is one.
func (h *host) real(g *packet.Group) bool {
	if g.In == nil {
		return true
	}
	var in []string
	for _, name := range h.Host.LinkNames() {
		if name != "lo" && slices.Contains(g.In, h.space.Class(name)) {
			in = append(in, name)
		}
	}
	g.In = in
	return len(in) > 0
}

// source leaves out what is said already.
func source(g packet.Group) string {
	s := packet.AddrText(g.Sources, g.Is6, 4)
	if g.Sources == nil {
		s = map[bool]string{false: "any IPv4", true: "any IPv6"}[g.Is6]
	}
	if g.In != nil {
		s += " in " + strings.Join(g.In, ", ")
	}
	if g.Dst != nil {
		s += " to " + packet.AddrText(g.Dst, g.Is6, 4)
	}
	return s
}

// exactly is a group in full.
func exactly(g packet.Group) Source {
	addrs := func(rs packet.Ranges) []string {
		var out []string
		for _, r := range rs {
			out = append(out, packet.AddrText(packet.Ranges{r}, g.Is6, 1))
		}
		return out
	}
	s := Source{Family: "ip", From: addrs(g.Sources), In: g.In, To: addrs(g.Dst), group: g}
	if g.Is6 {
		s.Family = "ip6"
	}
	return s
}

// examples are sources that make good witnesses.
var examples = map[bool][]packet.Range{
	false: {single("203.0.113.9"), single("198.51.100.7"), {Lo: packet.Number(0x01000000), Hi: packet.Number(0x7effffff)}},
	true:  {single("2001:db8::9"), {Lo: packet.Value{Hi: 0x20 << 56}, Hi: packet.Value{Hi: 0x3f<<56 | 1<<56 - 1, Lo: 1<<64 - 1}}},
}

func single(a string) packet.Range { return packet.Single(packet.AddrValue(netip.MustParseAddr(a))) }

// witness is one of the packets, from a source that people believe if there is one, by
// an interface that the host has.
func (h *host) witness(set packet.Node) (string, error) {
	for _, from := range h.believed {
		n, err := h.space.And(set, from)
		if err != nil {
			return "", err
		}
		if n != packet.False {
			set = n
			break
		}
	}
	w, err := h.space.Witness(set)
	if err != nil || w == nil {
		return "", err
	}
	p := w.Packet
	p.Hook, p.Out = packet.Input, ""
	names := slices.DeleteFunc(h.Host.LinkNames(), func(n string) bool { return n == "lo" })
	if !slices.Contains(names, p.In) && len(names) > 0 && h.comes(set, names[0]) {
		p.In = names[0]
	}
	return p.String(), nil
}

// comes reports whether some of the packets come by an interface.
func (h *host) comes(set packet.Node, by string) bool {
	in, err := h.space.Set(h.space.By(by))
	if err != nil {
		return false
	}
	n, err := h.space.And(set, in)
	return err == nil && n != packet.False
}

// against holds who gets in against the policy.
func (h *host) against(r *Report, d *Door, in, over packet.Node) error {
	if h.Policy == nil || elsewhere(h.Policy, d) {
		return nil
	}
	outside, err := h.space.And(in, h.outside)
	if err != nil || outside == packet.False {
		return err
	}
	named := d.named
	excess := outside
	if len(named) > 0 {
		if excess, err = h.space.Minus(outside, h.allowed); err != nil || excess == packet.False {
			return err
		}
	}
	who, _, err := h.words(excess, over)
	if err != nil {
		return err
	}
	shown, err := h.witness(excess)
	if err != nil {
		return err
	}
	code, summary := "FW101", fmt.Sprintf("%s is reached, and no service names it: %s", d.Name(), d.behind())
	if len(named) > 0 {
		code, summary = "FW102", fmt.Sprintf("%s is reached by more than %s lets in", d.Name(), named[0].ID())
	}
	f := r.add(code, d, summary)
	f.Packet = shown
	for _, w := range who {
		f.Evidence = append(f.Evidence, "from "+w+h.onLink())
	}
	if d.Local {
		f.Evidence = append(f.Evidence, h.nearby(d))
	}
	if len(named) > 0 {
		f.Section, f.At = named[0].ID(), named[0].Pos.String()
	}
	r.merge()
	return nil
}

// nearby says why others reach what is for the host alone.
func (h *host) nearby(d *Door) string {
	on := addrsText(slices.DeleteFunc(slices.Clone(d.Addrs), netip.Addr.Is6))
	if len(d.Published) > 0 {
		return "it is published on " + on + " alone, but rules translate packets for it whatever link they come by"
	}
	return "it listens on " + on + " alone, but route_localnet lets packets for it come by " + strings.Join(h.Host.Localnet, ", ")
}

// merge makes one finding of the last two, if they are of the same door and kind, as
// those of the two families.
func (r *Report) merge() {
	n := len(r.Findings)
	if n < 2 || r.Findings[n-1].Code != r.Findings[n-2].Code || r.Findings[n-1].Summary != r.Findings[n-2].Summary {
		return
	}
	r.Findings[n-2].Evidence = append(r.Findings[n-2].Evidence, r.Findings[n-1].Evidence...)
	r.Findings = r.Findings[:n-1]
}

// behind says what waits there.
func (d *Door) behind() string {
	var what []string
	for _, w := range d.Waits {
		if text := w.String(); w.Proxy == "" || !slices.Contains(what, text) { // one for each family
			what = append(what, text)
		}
	}
	what = append(what, d.Published...)
	if len(what) == 0 {
		return "nothing waits there"
	}
	return strings.Join(what, ", ")
}

// naming are the services that name the port.
func naming(rs *rules.Ruleset, d *Door) []*rules.Rule {
	var out []*rules.Rule
	for _, r := range rs.Services {
		if slices.ContainsFunc(r.Transports, func(t rules.Transport) bool {
			return !t.Any && t.Proto == d.Proto && (len(t.Dst) == 0 || t.Dst.Contains(d.Port))
		}) {
			out = append(out, r)
		}
	}
	return out
}

// elsewhere reports whether no service names the port, but one names another port of the
// host to which it leads: that one is judged.
func elsewhere(rs *rules.Ruleset, d *Door) bool {
	return len(naming(rs, d)) == 0 && slices.ContainsFunc(d.leads, func(port uint16) bool {
		return len(naming(rs, &Door{Proto: d.Proto, Port: port})) > 0
	})
}

// opening are those of the services that open the port to somebody, unless none does. A
// profile names the ports of all its audiences, and one that is nobody has no say on a
// port that another service opens.
func opening(named []*rules.Rule, now time.Time) []*rules.Rule {
	opens := slices.DeleteFunc(slices.Clone(named), func(s *rules.Rule) bool { return s.From.None() || !inForce(s, now) })
	if len(opens) == 0 {
		return named
	}
	return opens
}

// Look answers the question.
func Look(q Question) (*Report, error) {
	if q.Budget == 0 {
		q.Budget = DefaultBudget
	}
	listeners := q.Listeners
	q.Listeners = listening(listeners, live.Netns{})
	r := &Report{Doors: doors(q.Listeners, q.Published, len(q.Host.Localnet) > 0), Findings: []Finding{}, Notes: append([]string{}, q.Notes...), held: q.Policy != nil}
	if err := r.look(q); err != nil {
		return nil, err
	}
	r.speak(q)
	if err := r.surroundings(q); err != nil {
		return nil, err
	}
	r.accept(q)
	if err := r.elsewhere(q, listeners); err != nil {
		return nil, err
	}
	r.finish()
	return r, nil
}

// look finds who gets in by the doors.
func (r *Report) look(q Question) error {
	for _, what := range q.Host.Unread {
		r.Notes = append(r.Notes, "not read: "+what)
	}
	for _, b := range q.Host.Beside {
		if !b.Refuses {
			r.Notes = append(r.Notes, b.Name+" may let packets in, and is not looked into")
		}
	}
	for i, is6 := range []bool{false, true} {
		h, err := newHost(q, is6)
		if errors.Is(err, packet.ErrBudget) {
			r.Notes = append(r.Notes, "the host's rules are larger than the budget: nothing is told of who gets in")
			continue
		}
		if err != nil {
			return err
		}
		r.both[i] = h
	}
	for i := range r.Doors {
		if err := r.door(q, &r.Doors[i]); err != nil {
			return err
		}
	}
	return nil
}

// door looks at one door.
func (r *Report) door(q Question, d *Door) error {
	if q.Policy != nil {
		named := naming(q.Policy, d)
		d.named = opening(named, q.Now)
		for _, s := range named {
			d.Services = append(d.Services, s.ID())
		}
	}
	if d.Local && len(d.Published) == 0 && len(q.Host.Localnet) == 0 {
		return nil
	}
	for i, h := range r.both {
		if d.Local && i == 1 { // which the kernel drops
			continue
		}
		if h == nil {
			d.Untold = true
			continue
		}
		if d.Local {
			if h = h.near; h == nil {
				continue
			}
		}
		if err := h.reach(r, d); errors.Is(err, packet.ErrBudget) {
			d.Untold = true
			r.Notes = append(r.Notes, d.Name()+": the question is larger than the budget")
		} else if err != nil {
			return err
		}
	}
	d.Local = d.Local && len(d.From) == 0 && !d.Untold
	if !d.Untold && !d.Local {
		r.judge(q, d)
	}
	return nil
}
