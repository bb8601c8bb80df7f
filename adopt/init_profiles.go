package adopt

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// key is a port and its protocol.
type key struct {
	proto packet.Proto
	port  uint16
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.proto, o.proto), cmp.Compare(k.port, o.port))
}

// product is what a profile opens if nothing is chosen in it.
type product struct {
	name      string
	audiences []string             // sorted
	ports     map[string][]keySpan // by audience
	narrow    bool                 // it says itself to which addresses
	profile   *rules.Profile
	choices   []*rules.Parameter // that have no default
	with      []string           // what is chosen for each
}

// keySpan is a range of ports of a profile.
type keySpan struct {
	proto packet.Proto
	ports packet.PortRange
}

func (s keySpan) holds(k key) bool {
	return s.proto == k.proto && s.ports.Lo <= k.port && k.port <= s.ports.Hi
}

// catalogue is every profile that has ports, by name.
type catalogue map[string]*product

// guests are profiles for the guests of a host, whose ports are those of other
// products, too; only who asks for them gets them.
const guests = "-guests"

// readCatalogue reads the profiles, and refuses names that are none.
func readCatalogue(profiles fs.FS, use []string) (catalogue, error) {
	files, err := fs.Glob(profiles, "*.toml")
	if err != nil {
		return nil, fmt.Errorf("list the profiles: %w", err)
	}
	all := catalogue{}
	for _, file := range files {
		p, err := readProduct(profiles, strings.TrimSuffix(file, ".toml"))
		if err != nil {
			return nil, err
		}
		all[p.name] = p
	}
	for i, name := range use {
		if all[name] == nil {
			return nil, fmt.Errorf("there is no profile %q; there are %s", name, strings.Join(all.names(), ", "))
		}
		if slices.Contains(use[:i], name) {
			return nil, fmt.Errorf("profile %q is asked for twice", name)
		}
	}
	return all, nil
}

// readProduct reads what a profile opens. Of parameters for which the policy must
// choose it takes the first value.
func readProduct(profiles fs.FS, name string) (*product, error) {
	profile, ps := rules.LoadProfile(profiles, name)
	if ps.Err() != nil {
		return nil, ps.Err()
	}
	p := &product{name: name, profile: profile}
	for _, x := range profile.Parameters {
		if !x.Default.Given() && len(x.Values) > 0 {
			p.choices = append(p.choices, x)
			p.with = append(p.with, x.Values[0])
		}
	}
	return p, p.open(profiles)
}

// open asks a policy of one service what the profile opens.
func (p *product) open(profiles fs.FS) error {
	p.audiences = nil
	for _, row := range p.profile.Ports {
		if p.active(row) && !slices.Contains(p.audiences, row.Audience.V) {
			p.audiences = append(p.audiences, row.Audience.V)
		}
	}
	slices.Sort(p.audiences)
	p.ports = map[string][]keySpan{}
	if len(p.audiences) == 0 {
		return nil // with these parameters there is nothing to open
	}
	var from []string
	for _, a := range p.audiences {
		from = append(from, a+` = ["any"]`)
	}
	text := fmt.Sprintf("version = 1\n[service.x]\nprofile = %q\nfrom = { %s }\n", p.name, strings.Join(from, ", "))
	if len(p.with) > 0 {
		text += "with = " + p.settings() + "\n"
	}
	rs, ps := mean(text, profiles, nil)
	if ps.Err() != nil {
		return fmt.Errorf("read profile %s: %w", p.name, ps.Err())
	}
	for _, r := range rs.Services {
		p.narrow = p.narrow || !r.To.Any
		part, _, _ := strings.Cut(r.Part, ".")
		part = cmp.Or(part, p.audiences[0])
		for _, t := range r.Transports {
			for _, span := range t.Dst {
				p.ports[part] = append(p.ports[part], keySpan{t.Proto, span})
			}
		}
	}
	return nil
}

// active reports whether the profile has the row, as its parameters are.
func (p *product) active(row *rules.ProfileRow) bool {
	value := map[string]string{}
	for _, x := range p.profile.Parameters {
		value[x.Name] = x.Default.V
	}
	for i, x := range p.choices {
		value[x.Name] = p.with[i]
	}
	return !slices.ContainsFunc(row.When, func(c rules.Condition) bool { return slices.Contains(c.Values, value[c.Name]) == c.Not })
}

// settings is the value of with.
func (p *product) settings() string {
	var all []string
	for i, x := range p.choices {
		all = append(all, x.Name+" = "+quoted(p.with[i]))
	}
	return "{ " + strings.Join(all, ", ") + " }"
}

// fit chooses, where the policy must, what opens most of the ports that listen, and
// least besides.
func (p *product) fit(profiles fs.FS, openings []*opening) error {
	best, most := slices.Clone(p.with), -1<<31
	var try func(i int) error
	try = func(i int) error {
		if i < len(p.choices) {
			for _, v := range p.choices[i].Values {
				p.with[i] = v
				if err := try(i + 1); err != nil {
					return err
				}
			}
			return nil
		}
		if err := p.open(profiles); err != nil {
			return err
		}
		if n := p.score(openings); n > most {
			most = n
			copy(best, p.with)
		}
		return nil
	}
	if len(p.choices) == 0 {
		return nil
	}
	if err := try(0); err != nil {
		return err
	}
	p.with = best
	return p.open(profiles)
}

// score is higher the more openings have a port of the profile, and the fewer ports it
// has.
func (p *product) score(openings []*opening) (n int) {
	if len(p.audiences) == 0 {
		return -1 << 30
	}
	for _, spans := range p.ports {
		n -= len(spans)
	}
	for _, o := range openings {
		if p.audience(o.key) != "" {
			n += 100
		}
	}
	return n
}

func (c catalogue) names() []string { return slices.Sorted(maps.Keys(c)) }

// knows reports whether a profile has the port as one of its own.
func (c catalogue) knows(k key) bool {
	for _, p := range c {
		for _, spans := range p.ports {
			if slices.ContainsFunc(spans, func(s keySpan) bool { return s.holds(k) }) {
				return true
			}
		}
	}
	return false
}

// audience returns for whom the profile has the port; "" if it has it for nobody.
func (p *product) audience(k key) string {
	for _, a := range p.audiences {
		if slices.ContainsFunc(p.ports[a], func(s keySpan) bool { return s.holds(k) }) {
			return a
		}
	}
	return ""
}

// called returns the profile that is for this port and no other, "" if there is none.
func (c catalogue) called(k key) string {
	for _, name := range c.names() {
		p := c[name]
		if strings.HasSuffix(name, guests) || len(p.audiences) != 1 {
			continue
		}
		spans := p.ports[p.audiences[0]]
		if !slices.ContainsFunc(spans, func(s keySpan) bool { return s.ports.Lo != k.port || s.ports.Hi != k.port }) && p.audience(k) != "" {
			return name
		}
	}
	return ""
}

// mostSuggested is how many profiles are named for one service.
const mostSuggested = 3

// suggest names profiles that the ports of a service make one think of: of which at
// least half of the ports are those of the service.
func (c catalogue) suggest(s *service) (out []string) {
	for _, name := range c.names() {
		p := c[name]
		if strings.HasSuffix(name, guests) || p.narrow {
			continue
		}
		spans, have := 0, 0
		for _, a := range p.audiences {
			for _, span := range p.ports[a] {
				spans++
				if slices.ContainsFunc(s.openings, func(o *opening) bool { return span.holds(o.key) }) {
					have++
				}
			}
		}
		if have > 0 && 2*have >= spans && len(out) < mostSuggested {
			out = append(out, name)
		}
	}
	return out
}
