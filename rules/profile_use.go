package rules

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// profile returns the profile that a statement names; nil, reported, if there
// is none that can be used.
func (l *loader) profile(s *Statement) *Profile {
	name := s.Profile.V
	if strings.ContainsAny(name, "/.") {
		file := join(l.policy.files.byName[s.Pos.File].path, name)
		return l.profileAt(l.fsys, file, ProfileSource, s.Profile.Pos)
	}
	if isName(name) && l.opt.Profiles != nil {
		if _, err := fs.Stat(l.opt.Profiles, name+".toml"); err == nil {
			return l.profileAt(l.opt.Profiles, name+".toml", BuiltinSource, s.Profile.Pos)
		}
	}
	l.errorAt(s.Profile.Pos, "there is no profile "+quote(name), nearestOr(name, l.profileNames(), `one of your own is a path: "./`+name+`.toml"`))
	return nil
}

func (l *loader) profileNames() []string {
	if l.opt.Profiles == nil {
		return nil
	}
	found, _ := fs.Glob(l.opt.Profiles, "*.toml") // the pattern is well-formed
	for i, f := range found {
		found[i] = strings.TrimSuffix(path.Base(f), ".toml")
	}
	return found
}

func (l *loader) profileAt(fsys fs.FS, name string, kind SourceKind, at Pos) *Profile {
	id := kind.String() + ":" + name
	p, read := l.profiles[id]
	if !read {
		p = l.readProfile(fsys, name, kind, at)
		l.profiles[id] = p
	}
	if p == nil || p.broken {
		return nil
	}
	return p
}

// choice is one way to set the parameters: a value for each, as text. A list of
// roles makes several.
type choice map[string]string

// choices checks the settings of a statement; nil, reported, if they are wrong.
func (l *loader) choices(s *Statement, p *Profile) []choice {
	before := len(l.problems)
	all := []choice{{}}
	for _, x := range p.Parameters {
		i := slices.IndexFunc(s.With, func(w Setting) bool { return w.Name == x.Name })
		values := []string{x.Default.V}
		switch {
		case i >= 0:
			l.checkSetting(x, s.With[i])
			values = s.With[i].Values
		case !x.Default.Given():
			l.errorAt(s.Profile.Pos, "the profile "+quote(p.Name)+" needs a value for "+quote(x.Name), neededHint(x))
		}
		all = times(all, x.Name, values)
	}
	for _, w := range s.With {
		if p.parameter(w.Name) == nil {
			l.errorAt(w.Pos, "the profile "+quote(p.Name)+" has no parameter "+quote(w.Name), nearestOr(w.Name, p.parameterNames(), "it has "+listed(p.parameterNames())))
		}
	}
	if len(l.problems) > before {
		return nil
	}
	return all
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func neededHint(x *Parameter) string {
	if len(x.Values) > 0 {
		return "with = { " + x.Name + " = ... }: it is " + x.choices()
	}
	return "with = { " + x.Name + " = ... }"
}

// choices writes the values of the parameter as TOML has them.
func (p *Parameter) choices() string {
	words := slices.Clone(p.Values)
	for i := range words {
		if p.Type == "string" {
			words[i] = quote(words[i])
		}
	}
	return alternatives(words)
}

// times sets the parameter to each of the values in each of the choices.
func times(all []choice, name string, values []string) []choice {
	var out []choice
	for _, c := range all {
		for _, v := range values {
			next := choice{name: v}
			for k, old := range c {
				next[k] = old
			}
			out = append(out, next)
		}
	}
	return out
}

// manyValued is the parameter that may be a list.
const manyValued = "role"

func (l *loader) checkSetting(x *Parameter, w Setting) {
	switch {
	case w.list && x.Name != manyValued:
		l.errorAt(w.Pos, "the parameter "+quote(x.Name)+" has one value, not a list", "only role may be a list")
		return
	case w.list && len(w.Values) == 0:
		l.errorAt(w.Pos, "the list of roles is empty", "")
		return
	case typeName(w.kind) != x.Type:
		l.errorAt(w.Pos, "the parameter "+quote(x.Name)+" must be "+withArticle(x.Type)+", not "+w.kind.String(), settingHint(x, w))
		return
	}
	for _, v := range w.Values {
		if len(x.Values) > 0 && !slices.Contains(x.Values, v) {
			l.errorAt(w.Pos, "the parameter "+quote(x.Name)+" cannot be "+quote(v), nearestOr(v, x.Values, "it is "+x.choices()))
		}
	}
}

func withArticle(typ string) string {
	if typ == "integer" {
		return "an integer"
	}
	return "a " + typ
}

func settingHint(x *Parameter, w Setting) string {
	switch {
	case x.Type == "string" && len(w.Values) == 1:
		return "write " + x.Name + " = " + quote(w.Values[0])
	case x.Type == "integer" && len(w.Values) == 1 && isDigits(w.Values[0]):
		return "write " + x.Name + " = " + w.Values[0]
	case x.Type == "boolean":
		return "write " + x.Name + " = true or false"
	}
	return ""
}

// useProfile returns the parts of a statement that its profile makes.
func (l *loader) useProfile(s *Statement, p *Profile) []part {
	all := l.choices(s, p)
	if all == nil {
		return nil
	}
	rows := chosenRows(p, all)
	who := l.whoIs(s, p, rows)
	var parts []part
	for _, a := range p.Audiences {
		from, named := who[a.Name]
		if !named {
			continue
		}
		parts = append(parts, l.audienceParts(s, a.Name, from, rows)...)
	}
	l.checkPartNames(s, parts)
	l.neverParts(s, p, all)
	for _, w := range rows {
		if w.TLS {
			s.encrypted = append(s.encrypted, Encrypted{Service: s.ID(), Name: w.Name, Transports: l.rowTransports(s, w)})
		}
	}
	return parts
}

// checkPartNames refuses two parts of one name, by which alone they are known.
func (l *loader) checkPartNames(s *Statement, parts []part) {
	seen := map[string]bool{}
	for _, x := range parts {
		if seen[x.name] {
			l.errorAt(s.Profile.Pos, "the profile "+quote(s.Profile.V)+" makes two rules of the name "+quote(s.ID()+"."+x.name), "another name for the audience or the row")
		}
		seen[x.name] = true
	}
}

// filledRow is a row and a choice of parameters under which it counts.
type filledRow struct {
	*ProfileRow
	choice choice
}

func chosenRows(p *Profile, all []choice) []filledRow {
	var out []filledRow
	for _, w := range slices.SortedFunc(slices.Values(p.Ports), func(a, b *ProfileRow) int { return strings.Compare(a.Name, b.Name) }) {
		for _, c := range all {
			if !slices.ContainsFunc(w.When, func(x Condition) bool { return !x.holds(c[x.Name]) }) {
				out = append(out, filledRow{w, c})
			}
		}
	}
	return out
}

// whoIs says who each audience is that has a row; others are not in the map.
func (l *loader) whoIs(s *Statement, p *Profile, rows []filledRow) map[string]Members {
	var used []string
	for _, a := range p.Audiences {
		if slices.ContainsFunc(rows, func(w filledRow) bool { return w.Audience.V == a.Name }) {
			used = append(used, a.Name)
		}
	}
	switch {
	case len(used) == 0:
		l.errorAt(s.Profile.Pos, "the profile "+quote(p.Name)+" opens nothing with these parameters", "")
		return nil
	case !s.fromPos.given():
		return nil // reported before
	case s.From.Given() && len(used) == 1:
		return map[string]Members{used[0]: s.From}
	case s.From.Given():
		l.errorAt(s.fromPos, "the profile "+quote(p.Name)+" has several audiences: "+strings.Join(used, ", "), "name who each is: from = { "+strings.Join(used, " = [...], ")+" = [...] }")
		return nil
	}
	return l.whoAudiences(s, p, used)
}

func (l *loader) whoAudiences(s *Statement, p *Profile, used []string) map[string]Members {
	who, meant := map[string]Members{}, map[string]bool{}
	for _, a := range s.Audiences {
		switch {
		case slices.Contains(used, a.Name):
			who[a.Name] = a.From
		case p.audience(a.Name) != nil:
			l.errorAt(a.Pos, "the audience "+quote(a.Name)+" has no port with these parameters", "leave it out")
		default:
			meant[nearestWord(a.Name, used)] = true
			l.errorAt(a.Pos, "the profile "+quote(p.Name)+" has no audience "+quote(a.Name), nearestOr(a.Name, used, "it has "+listed(used)))
		}
	}
	for _, name := range used {
		if _, named := who[name]; !named && !meant[name] {
			l.errorAt(s.fromPos, "from does not say who the audience "+quote(name)+" is", name+" = [] is nobody")
		}
	}
	return who
}

// audienceParts makes the part of an audience: one, unless its rows have
// different destinations.
func (l *loader) audienceParts(s *Statement, name string, from Members, rows []filledRow) []part {
	var parts []part
	for _, w := range rows {
		if w.Audience.V != name {
			continue
		}
		to, trans := l.rowTarget(s, w), l.rowTransports(s, w)
		i := slices.IndexFunc(parts, func(x part) bool { return sameMembers(x.to, to) })
		if i < 0 {
			parts = append(parts, part{name: l.partName(name, w), from: from, to: to})
			i = len(parts) - 1
		}
		parts[i].trans = normalTransports(append(parts[i].trans, trans...))
	}
	if len(parts) == 1 {
		parts[0].name = name
	}
	return parts
}

// partName tells apart the rows of one audience that have destinations of their
// own, since each rule needs a name. Rows are in the order of their names.
func (l *loader) partName(audience string, w filledRow) string {
	if !w.To.Given() {
		return audience
	}
	name := audience + "-" + w.Name
	if len(name) > maxName {
		l.errorAt(w.Pos, "the names of this row and its audience are too long together", "at most 39 characters")
	}
	return name
}

// rowTarget returns the destination of a row: its own or the statement's.
func (l *loader) rowTarget(s *Statement, w filledRow) Members {
	switch {
	case !w.To.Given():
		return s.To
	case s.To.Given():
		l.errorAt(s.To.Pos, "the profile "+quote(s.Profile.V)+" already says to for its port "+w.Name+": "+texts(w.To), "leave to out")
	}
	return w.To
}

func texts(m Members) string {
	var out []string
	for _, x := range m.Items {
		out = append(out, x.Text)
	}
	return strings.Join(out, ", ")
}

func sameMembers(a, b Members) bool {
	return a.Given() == b.Given() && slices.EqualFunc(a.Items, b.Items, func(x, y Member) bool { return x.Text == y.Text })
}

// rowTransports reads the ports of a row with the parameters filled in.
func (l *loader) rowTransports(s *Statement, w filledRow) []Transport {
	ports, sources := l.fill(s, w.Ports, w.choice), l.fill(s, w.SourcePorts, w.choice)
	if len(w.SourcePorts) > 0 && len(ports) == len(w.Ports) && len(sources) == len(w.SourcePorts) {
		l.checkBound(ports, sources)
	}
	return transports(ports, sources, w.Protocols)
}

// replace puts its value in the place of each {parameter}, in one pass. A value is letters and
// digits: with a sign in it, one port could become a range of them.
func (c choice) replace(s string) (string, *mistake) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, _ := strings.Cut(rest, "}")
		value := c[name]
		b.WriteString(value)
		if strings.ContainsFunc(value, func(r rune) bool { return !isAlphanumeric(r) }) {
			return b.String() + after, &mistake{"the value " + quote(value) + " of " + name + " cannot stand in a port", "a value there is of letters and digits"}
		}
		s = after
	}
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// fill replaces {parameter} and reads the ports. What goes wrong is reported at
// the policy: the profile alone was right.
func (l *loader) fill(s *Statement, list []Text, c choice) []PortSpec {
	var out []PortSpec
	for _, t := range list {
		filled, wrong := c.replace(t.V)
		var port PortSpec
		if wrong == nil {
			port, wrong = parsePort(filled)
		}
		if wrong != nil {
			at := s.Profile.Pos
			if filled == t.V {
				at = t.Pos
			} else if len(s.With) > 0 {
				at = s.With[0].Pos
			}
			l.errorAt(at, "the profile "+quote(s.Profile.V)+" makes "+quote(filled)+" of "+quote(t.V)+": "+wrong.summary, wrong.hint)
			continue
		}
		port.Pos = t.Pos
		out = append(out, port)
	}
	return out
}

// neverParts notes the ports that nobody may reach.
func (l *loader) neverParts(s *Statement, p *Profile, all []choice) {
	for _, w := range p.Nevers {
		var ports []PortSpec
		for _, c := range all {
			ports = append(ports, l.fill(s, w.Ports, c)...)
		}
		s.nevers = append(s.nevers, Never{Service: s.ID(), Name: w.Name, Pos: s.Profile.Pos, Transports: transports(ports, nil, nil), Doc: w.Doc})
	}
}
