package rules

import (
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// The checks of sections that concern several of their keys, but no other
// section.

// builtinGroups are the groups that every policy has.
var builtinGroups = []string{"any", "private", "loopback", "host"}

func isBuiltin(name string) bool { return slices.Contains(builtinGroups, name) }

func (r *reader) checkGroup(g *GroupSection) {
	if g.MinEntries.Given() && !g.File.Given() {
		r.loader.errorAt(g.MinEntries.Pos, "min_entries counts the entries of a file, and "+quote(g.Name)+" has none", "")
		g.broken = true
	}
	if g.File.Given() {
		g.feed = r.feed(join(r.file.path, g.File.V), g)
	}
}

// checkStatements checks every statement and works out its parts.
func (l *loader) checkStatements() {
	p := l.policy
	for _, s := range slices.Concat(p.Services, p.Blocks, p.Outbounds, p.Routes) {
		before := len(l.problems)
		l.checkStatement(s)
		s.broken = s.broken || len(l.problems) > before
	}
}

func (l *loader) checkStatement(s *Statement) {
	l.checkTransports(s)
	if s.Kind == Block && !s.Outbound && !s.says("from", s.fromPos) {
		l.errorAt(s.Pos, "["+s.ID()+"] has no from", `such as from = ["any"]`)
	}
	l.checkDirection(s)
	l.checkDefaults(s)
	s.parts = l.makeParts(s)
}

func (l *loader) checkTransports(s *Statement) {
	if s.Kind != Block && !s.saysWhat() && !s.says("profile", s.Profile.Pos) {
		hint := `ports = ["1-65535/tcp"] or protocols = ["any"]`
		if s.Kind == Service {
			hint = `ports = ["22/tcp"], protocols = ["vrrp"] or profile = "omero"`
		}
		l.errorAt(s.Pos, "["+s.ID()+"] names no "+map[bool]string{true: "ports, protocols or profile", false: "ports or protocols"}[s.Kind == Service], "such as "+hint)
	}
	l.checkSources(s)
}

// checkSources sees to it that source_ports bind every protocol of ports.
func (l *loader) checkSources(s *Statement) {
	if !s.sourcesPos.given() || s.broken {
		return
	}
	if len(s.Ports) == 0 {
		l.errorAt(s.sourcesPos, "source_ports narrow ports, and there are none", `all destination ports are ports = ["1-65535/`+s.SourcePorts[0].Proto.String()+`"]`)
		return
	}
	l.checkBound(s.Ports, s.SourcePorts)
}

// checkBound reports ports and source ports whose protocols are not the same: a
// port would be open to every source port.
func (l *loader) checkBound(ports, sources []PortSpec) {
	have, want := protocolsOf(sources), protocolsOf(ports)
	for _, p := range sources {
		if !slices.Contains(want, p.Proto) {
			l.errorAt(p.Pos, "a source port of "+p.Proto.String()+", but no port of it in ports", "")
		}
	}
	for _, p := range ports {
		if !slices.Contains(have, p.Proto) {
			l.errorAt(p.Pos, "source_ports say nothing of "+p.Proto.String(), "name its source ports too, or make it a section of its own")
		}
	}
}

func protocolsOf(ports []PortSpec) []packet.Proto {
	var out []packet.Proto
	for _, p := range ports {
		if !slices.Contains(out, p.Proto) {
			out = append(out, p.Proto)
		}
	}
	return out
}

func (l *loader) checkDirection(s *Statement) {
	if s.Kind != Block || !s.Outbound {
		return
	}
	if s.fromPos.given() {
		l.errorAt(s.fromPos, "an outbound block has no from: its packets are from this host", "")
	}
	if len(s.In) > 0 {
		l.errorAt(s.In[0].Pos, "an outbound block has no in: its packets enter nowhere", "")
	}
	if !s.says("to", s.To.Pos) && !s.saysWhat() {
		l.errorAt(s.Pos, "["+s.ID()+"] blocks everything: it names no to, ports or protocols", `such as to = ["169.254.169.254"]`)
	}
}

// checkDefaults refuses sections that the defaults make void.
func (l *loader) checkDefaults(s *Statement) {
	d := l.policy.Defaults
	switch {
	case l.policy.partial:
	case s.Kind == Outbound && d.Outbound.Or(packet.Accept) == packet.Accept:
		l.errorAt(s.Pos, "["+s.ID()+`] does nothing while everything outbound is accepted`, `set outbound = "drop" or "reject" in [defaults]`)
	case s.Kind == Route && d.Routed.Or(RoutedIgnore) != RoutedDrop:
		l.errorAt(s.Pos, "["+s.ID()+`] does nothing unless routed packets are dropped`, `set routed = "drop" in [defaults]`)
	}
}

func (p Pos) given() bool { return p.Line > 0 }

// says reports whether the section has the key, rightly spelt or not.
func (s *Statement) says(key string, at Pos) bool { return at.given() || s.meant[key] }

// saysWhat reports whether the section names ports or protocols.
func (s *Statement) saysWhat() bool {
	return s.says("ports", s.portsPos) || s.says("protocols", s.protosPos)
}

// part is what a statement, or one audience of its profile, opens.
type part struct {
	name  string // of the audience; "" without a profile
	from  Members
	to    Members
	trans []Transport
}

func (l *loader) makeParts(s *Statement) []part {
	var parts []part
	if trans := transports(s.Ports, s.SourcePorts, s.Protocols); len(trans) > 0 || !s.Profile.Given() {
		parts = append(parts, part{from: s.From, to: s.To, trans: trans})
	}
	if s.Profile.Given() {
		if p := l.profile(s); p != nil {
			parts = append(parts, l.useProfile(s, p)...)
		}
		return l.ownBeside(s, parts)
	}
	if len(s.With) > 0 {
		l.errorAt(s.With[0].Pos, "with sets the parameters of a profile, and there is none", "")
	}
	if len(s.Audiences) > 0 {
		names := make([]string, len(s.Audiences))
		for i, a := range s.Audiences {
			names[i] = a.Name
		}
		l.errorAt(s.fromPos, "from names audiences ("+strings.Join(names, ", ")+"), which only profiles have", `without a profile: from = ["192.0.2.0/24"]`)
	}
	return parts
}

// ownBeside checks that ports beside a profile have a from of their own.
func (l *loader) ownBeside(s *Statement, parts []part) []part {
	if len(s.Audiences) > 0 && len(s.Ports)+len(s.Protocols) > 0 && !s.broken {
		l.errorAt(s.fromPos, "from names audiences, but the service also has ports of its own, which have none", "make the ports a service of their own")
	}
	return parts
}

// transports is the union of the three lists, in normal form.
func transports(ports, sources []PortSpec, protocols []ProtocolSpec) []Transport {
	var ts []Transport
	for _, proto := range protocolsOf(ports) {
		ts = append(ts, Transport{Proto: proto, Dst: portSet(ports, proto), Src: portSet(sources, proto)})
	}
	for _, p := range protocols {
		ts = append(ts, Transport{Any: p.Any, Proto: p.Proto})
	}
	return normalTransports(ts)
}

func portSet(ports []PortSpec, proto packet.Proto) packet.Ports {
	var rs []packet.PortRange
	for _, p := range ports {
		if p.Proto == proto {
			rs = append(rs, p.Range)
		}
	}
	return packet.NewPorts(rs...)
}
