package adopt

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// page is a policy that is being written.
type page struct{ strings.Builder }

// width is how long a line of a comment is at most.
const width = 88

// remark writes a comment, in lines.
func (p *page) remark(format string, args ...any) {
	line := "#"
	for _, word := range strings.Fields(clean(fmt.Sprintf(format, args...))) {
		if len(line)+1+len(word) > width && line != "#" {
			p.line("%s", line)
			line = "#"
		}
		line += " " + word
	}
	p.line("%s", line)
}

// item writes a line of a list in a comment.
func (p *page) item(format string, args ...any) {
	p.line("#   %s", clean(fmt.Sprintf(format, args...)))
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// clean keeps a comment to its line, whatever a program calls itself.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != ' ' {
			return '?'
		}
		return r
	}, s)
}

// quoted writes a string of TOML.
func quoted(s string) string { return strconv.Quote(clean(s)) }

func list[T any](all []T, text func(T) string) string {
	var out []string
	for _, x := range all {
		out = append(out, quoted(text(x)))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func same(s string) string { return s }

// text writes the policy.
func (w *start) text() string {
	p := &page{}
	w.head(p)
	w.defaults(p)
	for _, s := range w.services {
		w.section(p, s)
	}
	w.rest(p)
	return p.String()
}

func (w *start) head(p *page) {
	p.remark("A first policy for %s, written by `fwctl init` from what listened on it and who was connected. "+
		"Whoever was connected may connect anew; what listened for everybody is still open to everybody. "+
		"Read each place marked DECIDE, then: fwctl check, fwctl plan, fwctl apply.", w.Facts.Name)
	if len(w.Managers) > 0 {
		p.line("#")
		p.remark("%s has rules on this host. They go on deciding beside these: what they refuse stays refused, "+
			"though it is written here as open.", strings.Join(w.Managers, ", "))
	}
	for i, n := range w.Notes {
		if i == 0 {
			p.line("#")
			p.line("# Not seen:")
		}
		p.remark("- %s", n)
	}
	p.line("version = 1")
}

// bridges are the patterns of links that lead to containers and guests.
var bridges = []string{"docker0", "br-*", "podman*", "cni-podman*", "virbr*", "lxdbr*", "incusbr*"}

// bridged are those of them that this host has.
func (w *start) bridged() (out []string) {
	for _, pattern := range bridges {
		if slices.ContainsFunc(w.Facts.Interfaces, func(i rules.Interface) bool { return rules.MatchInterface(pattern, i.Name) }) {
			out = append(out, pattern)
		}
	}
	return out
}

func (w *start) defaults(p *page) {
	p.line("\n[defaults]")
	p.line(`inbound  = "drop"`)
	p.line(`outbound = "accept"`)
	p.line(`routed   = "ignore"   # what passes through this host is left to others`)
	seen := w.bridged()
	if len(seen) > 0 || len(w.Published) > 0 || w.Translates {
		w.published(p)
	}
	if len(seen) > 0 {
		p.remark("The bridges of containers and guests: what enters by them is not judged as published.")
		p.line("container_interfaces = %s", list(seen, same))
	}
	var ways []string
	for _, s := range w.services {
		if s.isSSH() {
			ways = append(ways, s.name)
		}
	}
	if len(ways) > 0 {
		p.line("\n[safety]")
		p.line("keep = %s   # an apply that would shut present users of it out is refused", list(ways, same))
	}
}

func (w *start) published(p *page) {
	p.remark(`DECIDE: ports that the rules of this host send on, to containers mostly, pass by the services below with "ignore": ` +
		`they stay as open as their engine made them. With "enforce" the services decide about them, by the port of the host, ` +
		`and those that no service names are closed.`)
	w.decisions++
	switch {
	case len(w.Published) > 0:
		for _, x := range w.Published {
			p.item("%s", x)
		}
	case w.Translates:
		p.remark("Which ports these are could not be told.")
	default:
		p.remark("None was seen when this was written.")
	}
	p.line(`published = "ignore"`)
}

// section writes a service, with its groups in front.
func (w *start) section(p *page, s *service) {
	p.line("")
	w.remarks(p, s)
	parts := []string{""}
	if s.profile != nil {
		parts = s.profile.audiences
	}
	from := map[string]string{}
	for _, part := range parts {
		from[part] = w.from(p, s, part, len(parts) > 1)
	}
	p.line("[service.%s]", s.name)
	if s.profile != nil {
		p.line("profile = %s", quoted(s.profile.name))
		if len(s.profile.with) > 0 {
			p.line("with    = %s   # DECIDE: what fits most of the ports that listen", s.profile.settings())
			w.decisions++
		}
	} else {
		p.line("ports   = %s", list(portWords(s.openings), same))
	}
	if len(parts) == 1 {
		p.line("from    = %s", from[parts[0]])
	} else {
		var all []string
		for _, part := range parts {
			all = append(all, part+" = "+from[part])
		}
		p.line("from    = { %s }", strings.Join(all, ", "))
	}
	w.conditions(p, s)
}

// conditions writes where packets have to go to and come in, and what is expected of
// the listener.
func (w *start) conditions(p *page, s *service) {
	if to := s.to(); len(to) > 0 {
		p.line("to      = %s", list(to, netip.Addr.String))
	}
	if in := w.in(s); len(in) > 0 {
		p.line("in      = %s", list(in, same))
	}
	if s.shared {
		p.line("shared  = true")
	}
	var expect []string
	if name := s.common(process); name != "" {
		expect = append(expect, "process = "+quoted(name))
	}
	if user := s.common(func(l live.Listener) string { return l.User }); user != "" && !slices.ContainsFunc(s.sockets(), func(l live.Listener) bool { return l.Inode == 0 }) {
		expect = append(expect, "user = "+quoted(user))
	}
	if len(expect) > 0 {
		p.line("expect  = { %s }", strings.Join(expect, ", "))
	}
}

// in are the interfaces by which packets of a service have to come. Guests of a host are
// those on their bridge, by whose address some of the ports are known.
func (w *start) in(s *service) (out []string) {
	ofGuests := s.profile != nil && strings.HasSuffix(s.profile.name, guests)
	for _, o := range s.openings {
		names := []string{o.in}
		if o.in == "" && ofGuests && len(o.peers) == 0 {
			names = w.holders(o.addrs)
		}
		if len(names) == 0 || names[0] == "" {
			return nil
		}
		out = append(out, names...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// holders are the interfaces that have the addresses; none if one is nowhere.
func (w *start) holders(addrs []netip.Addr) (out []string) {
	for _, a := range addrs {
		i := slices.IndexFunc(w.Facts.Interfaces, func(i rules.Interface) bool {
			return slices.ContainsFunc(i.Addrs, func(p netip.Prefix) bool { return p.Addr() == a })
		})
		if i < 0 {
			return nil
		}
		out = append(out, w.Facts.Interfaces[i].Name)
	}
	return out
}

// process is what the kernel calls the process that has the socket.
func process(l live.Listener) string {
	if len(l.Owners) == 0 {
		return ""
	}
	return l.Owners[0].Process
}

// to are the addresses that a service is bound to, all of its ports; none if one takes
// what comes to any.
func (s *service) to() (out []netip.Addr) {
	if s.profile != nil && s.profile.narrow {
		return nil
	}
	for _, o := range s.openings {
		if len(o.addrs) == 0 {
			return nil
		}
		for _, a := range o.addrs {
			if i, there := slices.BinarySearchFunc(out, a, netip.Addr.Compare); !there {
				out = slices.Insert(out, i, a)
			}
		}
	}
	return out
}

// remarks says what was seen of a service.
func (w *start) remarks(p *page, s *service) {
	said := map[string]bool{}
	for _, l := range s.sockets() {
		text := fmt.Sprintf("%s listens on %s.", who(l), where(l))
		if !said[text] {
			p.remark("%s", text)
		}
		said[text] = true
	}
	switch {
	case len(s.openings) == 0:
		p.remark("DECIDE: nothing listens on the ports of this profile; name who may come when it does. "+
			"Parameters that it takes are in its file, policies/profiles/%s.toml.", s.profile.name)
		w.decisions++
	case len(s.sockets()) == 0:
		p.remark("Nothing listens here, but you are connected to this port.")
	}
	for _, o := range s.openings {
		if o.yours {
			p.remark("You came in by port %d, from %s.", o.port, w.Reach.Remote.Addr().WithZone(""))
		}
	}
	if s.profile == nil {
		if fit := w.catalogue.suggest(s); len(fit) > 0 {
			p.remark("Profiles with ports like these: %s. `fwctl init --profile NAME` writes it so.", strings.Join(fit, ", "))
		}
	}
}

// where says of a socket which addresses it has.
func where(l live.Listener) string {
	on := l.Addr.String()
	switch {
	case l.Addr.IsUnspecified() && l.Addr.Is6() && !l.V6Only:
		on = "all addresses"
	case l.Addr.IsUnspecified() && l.Addr.Is6():
		on = "all IPv6 addresses"
	case l.Addr.IsUnspecified():
		on = "all IPv4 addresses"
	}
	if l.Interface != "" {
		on += " by " + l.Interface
	}
	return on
}

// from writes the group of an audience, if it has one, and returns the value of from.
func (w *start) from(p *page, s *service, part string, several bool) string {
	name, of := s.name+"-peers", ""
	if several {
		name, of = s.name+"-"+part, " ("+part+")"
		name = name[:min(len(name), 40)]
	}
	a, someone := w.audience(s, part)
	switch {
	case !someone:
		return "[]"
	case a.peers == nil:
		w.open(p, s, part, of)
		return `["any"]`
	}
	note := ""
	if a.wider {
		note = fmt.Sprintf(" They were more than %d, so their networks stand here, /24 and /64.", manyPeers)
	}
	if a.bridged {
		note += " Containers and guests change their addresses, so the network of their bridge stands here."
	}
	if len(s.sockets()) > 0 {
		p.remark("DECIDE: who was connected%s when this was written; who else uses it is not known, and shut out.%s", of, note)
		w.decisions++
	}
	p.line("[group.%s]", name)
	p.line("addresses = %s", list(a.peers, prefix))
	return "[" + quoted(name) + "]"
}

func prefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// mostNamed is how many peers a comment names.
const mostNamed = 8

// open says that an audience is everybody, and who of them was there.
func (w *start) open(p *page, s *service, part, of string) {
	var peers []netip.Addr
	for _, o := range s.openings {
		if s.profile == nil || s.profile.audience(o.key) == part {
			peers = append(peers, o.peers...)
		}
	}
	slices.SortFunc(peers, netip.Addr.Compare)
	peers = slices.Compact(peers)
	var names []string
	for _, a := range peers[:min(len(peers), mostNamed)] {
		names = append(names, a.String())
	}
	now := "nobody was connected"
	if len(names) > 0 {
		now = "connected were " + strings.Join(names, ", ")
		if more := len(peers) - len(names); more > 0 {
			now += fmt.Sprintf(" and %d more", more)
		}
	} else if !slices.ContainsFunc(s.openings, func(o *opening) bool { return o.proto == packet.TCP }) {
		now = "who sends to it cannot be seen"
	}
	whom := "the world"
	switch {
	case len(s.to()) > 0:
		whom = "whoever reaches that address"
	case len(w.in(s)) > 0:
		whom = "whoever comes by " + strings.Join(w.in(s), ", ")
	}
	p.remark("DECIDE: open to %s%s, as it is today; %s.", whom, of, now)
	w.decisions++
}

// portWords writes the ports of openings, neighbours together.
func portWords(all []*opening) (out []string) {
	keys := []key{}
	for _, o := range all {
		keys = append(keys, o.key)
	}
	slices.SortFunc(keys, key.compare)
	keys = slices.Compact(keys)
	for i := 0; i < len(keys); {
		n := 1
		for i+n < len(keys) && keys[i+n].proto == keys[i].proto && int(keys[i+n].port) == int(keys[i].port)+n {
			n++
		}
		if n < 3 { // two are plainer as two
			n = 1
		}
		r := packet.PortRange{Lo: keys[i].port, Hi: keys[i+n-1].port}
		out = append(out, fmt.Sprintf("%s/%s", r, keys[i].proto))
		i += n
	}
	return out
}

// rest lists what no service was written for.
func (w *start) rest(p *page) {
	if len(w.local) > 0 {
		p.line("")
		p.remark("Only this host itself reaches these; no service is needed:")
		for _, l := range w.local {
			p.item("%s  %s", l, who(l))
		}
	}
	if len(w.clients) > 0 {
		p.line("")
		p.remark("No service was written for these:")
		for _, l := range w.clients {
			p.item("%s  %s: %s", l.Listener, who(l.Listener), l.why)
		}
	}
}
