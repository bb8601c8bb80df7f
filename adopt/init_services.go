package adopt

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// service is a section of the policy to be.
type service struct {
	name     string
	openings []*opening
	profile  *product // that it is written with; nil: by its ports
	shared   bool     // another service has one of its ports
}

// assemble makes services of openings: those of the profiles that were asked for, then
// one for each program and audience.
func (w *start) assemble(use []string) {
	taken := map[*opening]bool{}
	names := map[string]bool{}
	for _, name := range use {
		s := &service{name: name, profile: w.catalogue[name]}
		for _, o := range w.openings {
			if !taken[o] && len(o.sockets) > 0 && s.profile.audience(o.key) != "" {
				s.openings = append(s.openings, o)
				taken[o] = true
			}
		}
		w.services = append(w.services, s)
		names[name] = true
	}
	byKind := map[string]*service{}
	for _, o := range w.openings {
		if taken[o] {
			continue
		}
		k := w.kind(o)
		s := byKind[k]
		if s == nil {
			s = &service{}
			byKind[k] = s
			w.services = append(w.services, s)
		}
		s.openings = append(s.openings, o)
	}
	for _, s := range w.services {
		if s.profile == nil {
			s.name = w.baptize(s, names)
			names[s.name] = true
		}
	}
	for i, a := range w.services {
		for _, b := range w.services[:i] {
			if (a.profile != nil || b.profile != nil) && a.meets(b) {
				a.shared, b.shared = true, true
			}
		}
		a.shared = a.shared || slices.ContainsFunc(a.openings, func(o *opening) bool { return o.shared })
	}
	slices.SortFunc(w.services, compareServices)
}

// spans are the ports that a service names, by its profile or itself.
func (s *service) spans() (out []keySpan) {
	if s.profile != nil {
		for _, spans := range s.profile.ports {
			out = append(out, spans...)
		}
		return out
	}
	for _, o := range s.openings {
		out = append(out, keySpan{o.proto, packet.PortRange{Lo: o.port, Hi: o.port}})
	}
	return out
}

// meets reports whether two services name the same port.
func (s *service) meets(t *service) bool {
	return slices.ContainsFunc(s.spans(), func(a keySpan) bool {
		return slices.ContainsFunc(t.spans(), func(b keySpan) bool {
			return a.proto == b.proto && a.ports.Lo <= b.ports.Hi && b.ports.Lo <= a.ports.Hi
		})
	})
}

// compareServices puts how one logs in first, then goes by protocol and port.
func compareServices(a, b *service) int {
	rank := func(s *service) int {
		switch {
		case s.isSSH():
			return 0
		case len(s.openings) == 0:
			return 2
		}
		return 1
	}
	c := cmp.Compare(rank(a), rank(b))
	if c == 0 && len(a.openings) > 0 && len(b.openings) > 0 {
		c = a.openings[0].compare(b.openings[0].key)
	}
	return cmp.Or(c, cmp.Compare(a.name, b.name))
}

// kind is what openings must have in common to be one service.
func (w *start) kind(o *opening) string {
	var whose []string
	for _, l := range o.sockets {
		w := who(l)
		if len(l.Owners) == 0 { // nobody knows whether it is the same program
			w += fmt.Sprint(l.Proto, l.Port)
		}
		if !slices.Contains(whose, w) {
			whose = append(whose, w)
		}
	}
	slices.Sort(whose)
	if len(o.sockets) == 0 {
		whose = []string{fmt.Sprint("nobody ", o.port)}
	}
	return fmt.Sprint(whose, o.from, o.addrs, o.in, o.shared, isSSH(o))
}

// baptize finds a name for a service that none has yet.
func (w *start) baptize(s *service, used map[string]bool) string {
	o := s.openings[0]
	base := w.base(s)
	name := base
	for n := 1; used[name]; n++ {
		suffix := fmt.Sprintf("-%d", o.port)
		if n > 1 {
			suffix = fmt.Sprintf("-%d-%d", o.port, n)
		}
		name = base[:min(len(base), mostName-len(suffix))] + suffix
	}
	return name
}

// mostName is how long a name is at most, here; "-peers" has to fit behind it.
const mostName = 32

// interpreters are programs that say nothing about what they run.
var interpreters = []string{"java", "node", "perl", "php", "python", "ruby", "sh", "bash", "dotnet", "beam.smp", "systemd", "xinetd", "inetd"}

func (w *start) base(s *service) string {
	o := s.openings[0]
	switch {
	case s.isSSH():
		return "ssh"
	case len(o.sockets) == 0:
		return fmt.Sprintf("port-%d", o.port)
	}
	for _, word := range words(o.sockets[0]) {
		if n := slug(word); n != "" {
			return n
		}
	}
	if name := w.catalogue.called(o.key); name != "" {
		return name
	}
	return fmt.Sprintf("port-%d", o.port)
}

// words are what a listener could be named after, the best first.
func words(l live.Listener) (out []string) {
	out = append(out, l.Proxy.Container.Name)
	if len(l.Owners) == 0 {
		return append(out, unitWord(l.Made.Unit))
	}
	o := l.Owners[0]
	out = append(out, o.Container.Name)
	p := program(l)
	plain := strings.TrimRight(p, "0123456789.")
	if !slices.Contains(interpreters, p) && !slices.Contains(interpreters, plain) {
		return append(out, p)
	}
	out = append(out, unitWord(o.UserUnit), unitWord(o.Unit))
	if o.Process != p && !strings.HasPrefix(o.Process, plain) {
		out = append(out, o.Process)
	}
	if plain == "systemd" || strings.HasSuffix(plain, "inetd") {
		return out
	}
	return append(out, plain)
}

// unitWord is the name in a unit of a service or socket: "cromwell" of
// "cromwell@1.service". Scopes and sessions say nothing.
func unitWord(unit string) string {
	name, isService := strings.CutSuffix(unit, ".service")
	if !isService {
		var isSocket bool
		if name, isSocket = strings.CutSuffix(unit, ".socket"); !isSocket {
			return ""
		}
	}
	name, _, _ = strings.Cut(name, "@")
	if name == "user" || name == "session" {
		return ""
	}
	return name
}

// slug makes a name of the language of any word; "" if nothing is left.
func slug(word string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(word) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0, r == '_' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := b.String()
	return strings.Trim(s[:min(len(s), mostName)], "-_")
}

// program is the name of the program that has the socket, by its file; "" if it could
// not be seen.
func program(l live.Listener) string {
	if len(l.Owners) == 0 {
		return ""
	}
	o := l.Owners[0]
	exe := path.Base(strings.TrimSuffix(o.Exe, " (deleted)"))
	if o.Exe == "" || exe == "." || exe == "/" {
		return o.Process
	}
	return exe
}

// who says of a socket whose it is: "sshd (ssh.service, user root)". It does not hold
// numbers that another run of the same program would not have.
func who(l live.Listener) string {
	var in []string
	name := program(l)
	place := l.Made
	switch {
	case name != "":
		place = l.Owners[0].Place
		if p := l.Owners[0].Process; p != name && !strings.HasPrefix(name, p) {
			in = append(in, "as "+p)
		}
	case l.Inode == 0:
		name = "the kernel itself"
	default:
		name = "a program that could not be seen"
	}
	if c := cmp.Or(l.Proxy.Container.String(), place.Container.String()); c != "" {
		in = append(in, c)
	} else if l.Proxy.To.IsValid() {
		in = append(in, "for "+l.Proxy.To.String())
	}
	if u := cmp.Or(place.UserUnit, place.Unit); u != "" {
		in = append(in, u)
	}
	if l.Inode != 0 {
		in = append(in, "user "+cmp.Or(l.User, fmt.Sprint(l.UID)))
	}
	if len(in) > 0 {
		name += " (" + strings.Join(in, ", ") + ")"
	}
	return name
}

// isSSH reports whether it is a way to log in. Port 22 is one unless another program
// is known to have it: systemd holds it where sshd is started by its first connection.
func isSSH(o *opening) bool {
	return o.proto == packet.TCP && slices.ContainsFunc(o.sockets, func(l live.Listener) bool {
		p := program(l)
		return p == "sshd" || p == "dropbear" || o.port == 22 && (p == "" || p == "systemd")
	})
}

func (s *service) isSSH() bool { return slices.ContainsFunc(s.openings, isSSH) }

// sockets are those of all its ports.
func (s *service) sockets() (out []live.Listener) {
	for _, o := range s.openings {
		out = append(out, o.sockets...)
	}
	return out
}

// common returns what all sockets have, "" if they differ or one has nothing.
func (s *service) common(of func(live.Listener) string) string {
	all := s.sockets()
	if len(all) == 0 {
		return ""
	}
	first := of(all[0])
	if slices.ContainsFunc(all, func(l live.Listener) bool { return of(l) != first }) {
		return ""
	}
	return first
}

// audience is whom an audience of its profile is to be; of a service without profile
// the only one.
func (w *start) audience(s *service, part string) (a audience, someone bool) {
	var peers []netip.Addr
	for _, o := range s.openings {
		if s.profile != nil && s.profile.audience(o.key) != part {
			continue
		}
		if o.from.peers == nil {
			return audience{}, true
		}
		peers = append(peers, o.peers...)
		someone = true
	}
	slices.SortFunc(peers, netip.Addr.Compare)
	return w.audienceOf(slices.Compact(peers)), someone
}
