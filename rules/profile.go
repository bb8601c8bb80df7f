package rules

import (
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"
)

// Profile is what is known of a product: its ports, and the kinds of peer that
// use them. It never says who these are.
type Profile struct {
	Name     string // the file's name without ".toml"
	Product  string
	Versions string
	Source   string // the documents it was written from
	Notes    []string

	Parameters []*Parameter
	Audiences  []*ProfileAudience
	Ports      []*ProfileRow // what is open, to which audience, and when
	Nevers     []*ProfileRow // what nobody may reach; without audience

	file   *fileText
	broken bool
}

// Parameter is a choice that the policy makes by `with`.
type Parameter struct {
	Name    string
	Pos     Pos
	Type    string   // "string", "boolean" or "integer"
	Default Text     // as text; not given: the policy must choose
	Values  []string // the only ones allowed, as text; empty: any of the type
	Doc     string

	defaultType string
	valueTypes  []string // of each of Values
}

// ProfileAudience is a kind of peer.
type ProfileAudience struct {
	Name string
	Pos  Pos
	Doc  string
}

// ProfileRow is a row of a profile.
type ProfileRow struct {
	Name        string
	Pos         Pos
	Ports       []Text // {parameter} stands for a value
	SourcePorts []Text // likewise
	Protocols   []ProtocolSpec
	To          Members
	Audience    Text
	When        []Condition // all must hold
	TLS         bool        // what answers there speaks TLS from the first byte
	Doc         string
}

// Condition is a condition on a parameter.
type Condition struct {
	Pos    Pos
	Name   string
	Values []string // one of these; for a boolean "true"
	Not    bool     // none of them

	bare bool // written without values
}

// holds reports whether the condition holds for a value of its parameter.
func (c Condition) holds(value string) bool { return slices.Contains(c.Values, value) != c.Not }

var conditionForm = form{kinds: stringKind, noun: "a condition", example: `"role=manager"`}

var profileKeys = []key[Profile]{
	{keyInfo{"product", "what it is for", text, true}, func(r *reader, p *Profile, v *node) { p.Product = r.prose("product", v) }},
	{keyInfo{"versions", "the versions it is for", text, true}, func(r *reader, p *Profile, v *node) { p.Versions = r.prose("versions", v) }},
	{keyInfo{"source", "the documents it was written from", text, true}, func(r *reader, p *Profile, v *node) { p.Source = r.prose("source", v) }},
	{keyInfo{"notes", "contradictions in the sources, and which reading was taken", names, false},
		func(r *reader, p *Profile, v *node) {
			for _, n := range v.items {
				p.Notes = append(p.Notes, r.prose("a note", n))
			}
		}},
	{keyInfo{"parameter", "the choices of the policy", sectionsOf("parameter", parameterKeys), false}, (*reader).setParameters},
	{keyInfo{"audience", "the kinds of peer", sectionsOf("audience", audienceKeys), false}, (*reader).setAudiences},
	{keyInfo{"port", "what is open, to which audience, and when", sectionsOf("port", rowKeys), false},
		func(r *reader, p *Profile, v *node) { p.Ports = profileRows(r, "port", rowKeys, v) }},
	{keyInfo{"never", "what nobody may reach", sectionsOf("never", neverKeys), false},
		func(r *reader, p *Profile, v *node) { p.Nevers = profileRows(r, "never", neverKeys, v) }},
}

// parameterValue is a value of a parameter: of one of three types.
var parameterValue = form{kinds: stringKind | booleanKind | integerKind}

var parameterKeys = []key[Parameter]{
	{keyInfo{"default", "its TOML type is the type of the parameter", parameterValue, false},
		func(r *reader, p *Parameter, v *node) {
			p.Default, p.defaultType = value(r, v, scalar(v)), typeName(v.kind)
		}},
	{keyInfo{"type", "where there is no default", oneOf("string", "boolean", "integer"), false},
		func(r *reader, p *Parameter, v *node) { p.Type = v.text }},
	{keyInfo{"values", "the only values allowed", notEmpty(listOf(parameterValue, "an array of values", "")), false},
		func(r *reader, p *Parameter, v *node) { p.setValues(r, v) }},
	{keyInfo{"doc", "what it chooses", text, false}, func(r *reader, p *Parameter, v *node) { p.Doc = r.prose("doc", v) }},
}

var audienceKeys = []key[ProfileAudience]{
	{keyInfo{"doc", "who it is", text, false}, func(r *reader, a *ProfileAudience, v *node) { a.Doc = r.prose("doc", v) }},
}

var (
	rowText = listOf(form{kinds: stringKind, noun: "a port and its protocol"}, "an array of ports", `["22/tcp"]`)

	rowPorts = key[ProfileRow]{keyInfo{"ports", "destination ports; {parameter} stands for its value", notEmpty(rowText), false},
		func(r *reader, w *ProfileRow, v *node) { w.Ports = r.texts(v) }}
	rowDoc = key[ProfileRow]{keyInfo{"doc", "what answers there", text, false},
		func(r *reader, w *ProfileRow, v *node) { w.Doc = r.prose("doc", v) }}
)

var rowKeys = []key[ProfileRow]{
	rowPorts,
	{keyInfo{"source_ports", "source ports", notEmpty(rowText), false}, func(r *reader, w *ProfileRow, v *node) { w.SourcePorts = r.texts(v) }},
	{keyInfo{"protocols", "protocols without ports", notEmpty(protocolList), false}, func(r *reader, w *ProfileRow, v *node) { w.Protocols = r.protocols(v) }},
	{keyInfo{"to", "multicast groups or link-local addresses", notEmpty(members), false}, func(r *reader, w *ProfileRow, v *node) { w.To = r.rowMembers(v) }},
	{keyInfo{"audience", "who uses it", form{kinds: stringKind, example: `"clients"`}, true}, func(r *reader, w *ProfileRow, v *node) { w.Audience = r.text(v) }},
	{keyInfo{"when", "conditions on parameters, all of which must hold", notEmpty(listOf(conditionForm, "an array of conditions", `["role=manager"]`)), false},
		func(r *reader, w *ProfileRow, v *node) { w.When = r.conditions(v) }},
	{keyInfo{"tls", "true: what answers there speaks TLS from the first byte, which an audit expects", boolean, false},
		func(r *reader, w *ProfileRow, v *node) { w.TLS = v.text == "true" }},
	rowDoc,
}

var neverKeys = []key[ProfileRow]{required(rowPorts), rowDoc}

func typeName(k kind) string {
	return map[kind]string{stringKind: "string", booleanKind: "boolean", integerKind: "integer"}[k]
}

func (r *reader) setParameters(p *Profile, v *node) {
	r.sections("parameter", v, func(e entry) {
		x := &Parameter{Name: e.name, Pos: r.pos(e.val.off)}
		readTable(r, e.val, "[parameter."+e.name+"]", parameterKeys, x)
		if !r.bad {
			r.checkParameter(e.val.off, x)
		}
		p.Parameters = append(p.Parameters, x)
	})
}

func (p *Parameter) setValues(_ *reader, v *node) {
	for _, item := range v.items {
		p.Values = append(p.Values, scalar(item))
		p.valueTypes = append(p.valueTypes, typeName(item.kind))
	}
}

// checkParameter works out the type of a parameter and sees to it that what is
// said of it agrees.
func (r *reader) checkParameter(off int, x *Parameter) {
	if x.Type == "" {
		x.Type = x.defaultType
	}
	switch {
	case x.Type == "":
		r.errorAt(off, "[parameter."+x.Name+"] has neither a default nor a type", `such as default = "" or type = "string"`)
	case x.Default.Given() && x.defaultType != x.Type:
		r.errorAt(off, "the parameter "+x.Name+" is "+withArticle(x.Type)+", and its default is "+withArticle(x.defaultType), "")
	case slices.ContainsFunc(x.valueTypes, func(t string) bool { return t != x.Type }):
		r.errorAt(off, "the parameter "+x.Name+" is "+withArticle(x.Type)+", and not all of its values are", "")
	case x.Default.Given() && len(x.Values) > 0 && !slices.Contains(x.Values, x.Default.V):
		r.errorAt(off, "the default of "+x.Name+" is not among its values", "")
	}
}

func (r *reader) setAudiences(p *Profile, v *node) {
	r.sections("audience", v, func(e entry) {
		a := &ProfileAudience{Name: e.name, Pos: r.pos(e.val.off)}
		readTable(r, e.val, "[audience."+e.name+"]", audienceKeys, a)
		p.Audiences = append(p.Audiences, a)
	})
}

func profileRows(r *reader, kind string, list []key[ProfileRow], v *node) []*ProfileRow {
	var out []*ProfileRow
	r.sections(kind, v, func(e entry) {
		w := &ProfileRow{Name: e.name, Pos: r.pos(e.val.off)}
		readTable(r, e.val, "["+kind+"."+e.name+"]", list, w)
		out = append(out, w)
	})
	return out
}

// rowMembers reads the addresses of a row. A profile knows no group of a policy.
func (r *reader) rowMembers(v *node) Members {
	m := r.members(v)
	m.Items = slices.DeleteFunc(m.Items, func(x Member) bool {
		switch {
		case x.Group != "" || x.Interface != "":
			r.loader.errorAt(x.Pos, "a profile knows no groups and no interfaces: "+quote(x.Text), "")
		case !isEverywhere(x.Range):
			r.loader.errorAt(x.Pos, quote(x.Text)+" is an address of some host: a profile names multicast groups, link-local addresses and 255.255.255.255", "to of a service names addresses of its host")
		default:
			return false
		}
		r.bad = true
		return true
	})
	return m
}

// isEverywhere reports whether the addresses mean the same on every host.
func isEverywhere(rg netipx.IPRange) bool {
	return slices.ContainsFunc(everywhere, func(p netip.Prefix) bool { return p.Contains(rg.From()) && p.Contains(rg.To()) })
}

// everywhere are the addresses of multicast (RFC 5771, RFC 4291), of a link
// (RFC 3927, RFC 4291) and of broadcast (RFC 919).
var everywhere = []netip.Prefix{
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("ff00::/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("255.255.255.255/32"),
}

// conditions reads "tls", "!tls", "role=a|b" and "version!=3.4".
func (r *reader) conditions(v *node) []Condition {
	var out []Condition
	for _, item := range v.items {
		c := Condition{Pos: r.pos(item.off)}
		name, values, compared := strings.Cut(item.text, "=")
		c.Values = strings.Split(values, "|")
		if name, c.Not = strings.CutSuffix(name, "!"); !compared {
			c.Values, c.bare = []string{"true"}, true
			name, c.Not = strings.CutPrefix(item.text, "!")
		}
		if c.Name = name; !isName(name) {
			r.errorAt(item.off, quote(item.text)+" is not a condition", `such as "tls", "!tls", "role=manager|queue" or "version!=3.4"`)
			continue
		}
		out = append(out, c)
	}
	return out
}

// LoadProfile reads a profile: NAME.toml of fsys. The Profile is nil if it
// cannot be read or a Problem of severity Error was found.
func LoadProfile(fsys fs.FS, name string) (*Profile, Problems) {
	l := newLoader(fsys, name, LoadOptions{Profiles: fsys})
	p := l.readProfile(fsys, name+".toml", BuiltinSource, Pos{})
	if p == nil || p.broken {
		return nil, l.problems.tidy()
	}
	return p, l.problems.tidy()
}

// readProfile reads a file as a profile; nil if it cannot be read.
func (l *loader) readProfile(fsys fs.FS, name string, kind SourceKind, at Pos) *Profile {
	f := l.fetch(fsys, name, kind, at)
	if f == nil {
		return nil
	}
	before := len(l.problems)
	p := &Profile{Name: strings.TrimSuffix(path.Base(name), ".toml"), file: f}
	r := &reader{loader: l, file: f}
	r.document(func(root *node) {
		readTable(r, root, "the profile", profileKeys, p)
		l.checkProfile(p, before)
	})
	p.broken = len(l.problems) > before
	return p
}

// checkProfile checks what the rows refer to.
func (l *loader) checkProfile(p *Profile, before int) {
	if len(l.problems) > before {
		return
	}
	for _, w := range p.Ports {
		if p.audience(w.Audience.V) == nil {
			l.errorAt(w.Audience.Pos, "there is no audience "+quote(w.Audience.V), nearest(w.Audience.V, p.audienceNames()))
		}
		if len(w.Ports)+len(w.Protocols) == 0 {
			l.errorAt(w.Pos, "[port."+w.Name+"] names no ports or protocols", "")
		}
		for _, c := range w.When {
			l.checkCondition(p, c)
		}
		for _, t := range slices.Concat(w.Ports, w.SourcePorts) {
			l.checkPlaceholders(p, t)
		}
	}
	for _, w := range p.Nevers {
		for _, t := range w.Ports {
			l.checkPlaceholders(p, t)
		}
	}
}

func (l *loader) checkCondition(p *Profile, c Condition) {
	x := p.parameter(c.Name)
	if x == nil {
		l.errorAt(c.Pos, "there is no parameter "+quote(c.Name), nearest(c.Name, p.parameterNames()))
		return
	}
	if c.bare && x.Type != "boolean" {
		l.errorAt(c.Pos, "the parameter "+quote(c.Name)+" is "+withArticle(x.Type)+", which the condition must compare", "such as "+quote(c.Name+"="+sampleValue(x)))
		return
	}
	for _, v := range c.Values {
		switch {
		case x.Type == "integer" && !isDecimal(v):
			l.errorAt(c.Pos, "the parameter "+quote(c.Name)+" is an integer, and "+quote(v)+" is none", "write it in decimal")
		case x.Type == "boolean" && v != "true" && v != "false":
			l.errorAt(c.Pos, "the parameter "+quote(c.Name)+" is a boolean", "write "+quote(c.Name)+" or "+quote("!"+c.Name))
		case x.Type != "boolean" && len(x.Values) > 0 && !slices.Contains(x.Values, v):
			l.errorAt(c.Pos, "the parameter "+quote(c.Name)+" cannot be "+quote(v), nearestOr(v, x.Values, "it is "+x.choices()))
		}
	}
}

// sampleValue returns a value that the parameter can have, for a hint.
func sampleValue(x *Parameter) string {
	switch {
	case len(x.Values) > 0:
		return x.Values[0]
	case x.Type == "integer":
		return "1"
	}
	return "x"
}

// isDecimal reports whether s is an integer as scalar writes it.
func isDecimal(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == s
}

func (l *loader) checkPlaceholders(p *Profile, t Text) {
	for rest := t.V; ; {
		_, after, found := strings.Cut(rest, "{")
		name, tail, closed := strings.Cut(after, "}")
		switch {
		case !found:
			return
		case !closed:
			l.errorAt(t.Pos, quote(t.V)+" has a { without its }", "")
			return
		case p.parameter(name) == nil:
			l.errorAt(t.Pos, "there is no parameter "+quote(name), nearest(name, p.parameterNames()))
		}
		rest = tail
	}
}

func (p *Profile) parameter(name string) *Parameter {
	if i := slices.IndexFunc(p.Parameters, func(x *Parameter) bool { return x.Name == name }); i >= 0 {
		return p.Parameters[i]
	}
	return nil
}

func (p *Profile) audience(name string) *ProfileAudience {
	if i := slices.IndexFunc(p.Audiences, func(a *ProfileAudience) bool { return a.Name == name }); i >= 0 {
		return p.Audiences[i]
	}
	return nil
}

func (p *Profile) parameterNames() []string {
	var out []string
	for _, x := range p.Parameters {
		out = append(out, x.Name)
	}
	return out
}

func (p *Profile) audienceNames() []string {
	var out []string
	for _, a := range p.Audiences {
		out = append(out, a.Name)
	}
	return out
}
