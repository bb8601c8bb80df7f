package adopt

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// document is a policy to be written.
type document struct {
	from     string // what was imported
	inbound  string
	icmp     string
	sections []*section
	left     []Left
	groups   *grouping
	b        strings.Builder
}

// mostShown is how many rules stand above a section that came of them.
const mostShown = 4

// text names the sections and writes the policy.
func (d *document) text() string {
	services, blocks := names{}, names{}
	for _, s := range d.sections {
		if s.block {
			s.name = blocks.unique(s.proposal())
		} else {
			s.name = services.unique(s.proposal())
		}
	}
	return d.whole()
}

func (d *document) line(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }

func (d *document) head() {
	d.line("#:schema ./fwctl.schema.json")
	d.line("#")
	d.line("# Imported from %s. What a rule became stands", printable(d.from))
	d.line("# below it; what could not be said stands at the end.")
	d.line("version = 1")
	d.line("\n[defaults]")
	d.line("inbound = %q", d.inbound)
	if d.icmp != "" {
		d.line("icmp    = %q", d.icmp)
	}
}

func (d *document) tail() {
	if len(d.left) == 0 {
		return
	}
	d.line("\n# Not translated:")
	for _, l := range d.left {
		d.line("#   %s", l.Where())
		d.line("#     %s", l.Reason)
		if l.Packet != "" {
			d.line("#     for example %s", l.Packet)
		}
	}
}

// Where names a rule, by its line where that is known.
func (l Left) Where() string {
	if l.Line > 0 {
		return fmt.Sprintf("line %d: %s", l.Line, l.Rule)
	}
	return l.Rule
}

func (d *document) group(g *group) {
	d.line("")
	if g.comment != "" {
		d.line("# %s", g.comment)
	}
	d.line("[group.%s]", g.name)
	d.list("addresses", g.members, 9)
	if len(g.except) > 0 {
		d.list("except", g.except, 9)
	}
	if g.interfaces != nil {
		d.list("interfaces", g.interfaces, 9)
	}
}

// perLine is how many entries of a long list stand on a line.
const perLine = 6

func (d *document) list(key string, entries []string, width int) {
	quoted := make([]string, len(entries))
	for i, e := range entries {
		quoted[i] = fmt.Sprintf("%q", e)
	}
	if len(quoted) <= perLine {
		d.line("%-*s = [%s]", width, key, strings.Join(quoted, ", "))
		return
	}
	d.line("%-*s = [", width, key)
	for part := range slices.Chunk(quoted, perLine) {
		d.line("  %s,", strings.Join(part, ", "))
	}
	d.line("]")
}

func (d *document) section(s *section) {
	d.line("")
	rules := s.rules()
	for i, r := range rules {
		if i == mostShown {
			d.line("# and %d more rules", len(rules)-i)
			break
		}
		d.line("# %s", r)
	}
	kind := "service"
	if s.block {
		kind = "block"
	}
	d.line("[%s.%s]", kind, s.name)
	ports, sources, protocols := transportTexts(s.transports)
	if s.block && s.transports[0].any {
		protocols = nil // a block of everything names no protocol
	}
	width := s.keyWidth(sources != nil, protocols != nil)
	if ports != nil {
		d.list("ports", ports, width)
	}
	if sources != nil {
		d.list("source_ports", sources, width)
	}
	if protocols != nil {
		d.list("protocols", protocols, width)
	}
	d.ends(s, width)
	if s.limit != "" {
		d.line("%-*s = %q", width, "limit", s.limit)
	}
	if !s.expires.IsZero() {
		d.line("%-*s = %s", width, "expires", s.expires.UTC().Format(time.RFC3339))
	}
	if s.shared {
		d.line("%-*s = true", width, "shared")
	}
}

// rules are those that the section came from: a line that stands for rules of both
// families is one.
func (s *section) rules() []string {
	var out []string
	if s.remark != "" {
		return []string{s.remark}
	}
	for _, p := range s.places {
		if r := left(p, "").Where(); !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

func (d *document) ends(s *section, width int) {
	from := []string{"host"}
	if !s.fromHost {
		from = d.groups.list(s.from, s.groupName(""))
	}
	for _, b := range s.bound {
		from = append(from, d.groups.bound(b, validName(s.name+"-on-"+strings.Join(b.in, "-"))))
	}
	d.list("from", from, width)
	switch to := s.to; {
	case s.toHost:
		d.list("to", []string{"host"}, width)
	case to[0].said && to[0].set != nil || to[1].said && to[1].set != nil:
		d.list("to", d.groups.list(to, s.groupName("-to")), width)
	}
	if s.in != nil {
		d.list("in", s.in, width)
	}
}

// keyWidth is the length of the section's longest key.
func (s *section) keyWidth(sources, protocols bool) int {
	switch {
	case sources:
		return len("source_ports")
	case protocols:
		return len("protocols")
	case !s.expires.IsZero():
		return len("expires")
	case s.shared:
		return len("shared")
	case len(s.transports) > 0 && s.limit != "" || !s.transports[0].any:
		return len("ports")
	}
	return len("from")
}

var setName = regexp.MustCompile(`--match-set (\S+) (src|dst)|ip6? ([sd])addr @(\S+)`)

// groupName is what to call a group that a section needs: as the set that the rule
// asks for, else as the section.
func (s *section) groupName(suffix string) string {
	want := map[string]string{"": "s", "-to": "d"}[suffix]
	if len(s.places) == 1 {
		for _, m := range setName.FindAllStringSubmatch(s.places[0].Text, -1) {
			if strings.HasPrefix(m[2]+m[3], want) {
				return validName(m[1] + m[4])
			}
		}
	}
	return validName(s.name + suffix)
}

// transportTexts writes transports as the keys of a section.
func transportTexts(ts []transport) (ports, sources, protocols []string) {
	for _, t := range ts {
		switch {
		case t.any:
			return nil, nil, []string{"any"}
		case !t.proto.HasPorts():
			protocols = append(protocols, t.proto.String())
			continue
		}
		ports = append(ports, portTexts(t.dst, t.proto)...)
		if t.src != nil {
			sources = append(sources, portTexts(t.src, t.proto)...)
		}
	}
	return ports, sources, protocols
}

func portTexts(ps packet.Ports, p packet.Proto) []string {
	if len(ps) == 0 {
		return []string{"1-65535/" + p.String()}
	}
	var out []string
	for _, r := range ps {
		out = append(out, r.String()+"/"+p.String())
	}
	return out
}

// whole writes the policy. The sections come first, to find out which groups they
// take: those stand before them.
func (d *document) whole() string {
	d.b.Reset()
	for _, s := range d.sections {
		d.section(s)
	}
	body := d.b.String()
	d.b.Reset()
	d.head()
	for _, g := range d.groups.all {
		d.group(g)
	}
	d.b.WriteString(body)
	d.tail()
	return d.b.String()
}
