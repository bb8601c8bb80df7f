package rules

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// This file is the table of every section and key of a policy. The loader
// refuses what it does not list, and the JSON Schema is written from it.

// Forms that several keys share.
var (
	memberItem   = form{kinds: stringKind, noun: "a string: an address or the name of a group", example: `"192.0.2.0/24"`}
	members      = listOf(memberItem, "an array of addresses and names of groups", `["192.0.2.0/24"]`)
	portItem     = form{kinds: stringKind, noun: "a port and its protocol", pattern: portPattern}
	portList     = listOf(portItem, "an array of ports", `["22/tcp"]`)
	protocolList = listOf(form{kinds: stringKind | integerKind, min: 0, max: 255, example: `"vrrp"`}, "an array of protocols", `["vrrp"]`)
	patternItem  = form{kinds: stringKind, pattern: interfacePattern, example: `"eth1"`}
	patterns     = listOf(patternItem, "an array of interfaces", `["eth1"]`)
	names        = listOf(form{kinds: stringKind}, "an array of strings", "")
	expiry       = form{kinds: dateKind | dateTimeKind, noun: "a date, or a date-time with offset", example: "2027-03-31"}
	audiences    = form{
		kinds: arrayKind | tableKind, noun: "an array of addresses and names of groups", example: `["192.0.2.0/24"]`,
		item: &memberItem, values: &members,
	}
	settings = form{
		kinds: tableKind, example: `{ port = 8001 }`,
		values: &form{kinds: stringKind | integerKind | booleanKind | arrayKind, item: &text},
	}
)

// whole is a file of a policy: what is in it before it is merged with others.
type whole struct {
	include  []Text
	version  Value[int64]
	defaults Defaults
	safety   Safety
}

var rootKeys = []key[whole]{
	{keyInfo{"version", "the version of the policy language: 1", form{kinds: integerKind, min: 1, max: 1, example: "1"}, false}, (*reader).setVersion},
	{keyInfo{"include", "other files of this policy, relative to this one or absolute; a glob may match nothing", listOf(form{kinds: stringKind}, "an array of paths", `["conf.d/*.toml"]`), false},
		func(r *reader, w *whole, v *node) { w.include = r.texts(v) }},
	{keyInfo{"defaults", "what happens to packets that no section speaks of", tableOf("[defaults]", defaultsKeys), false},
		func(r *reader, w *whole, v *node) { readTable(r, v, "[defaults]", defaultsKeys, &w.defaults) }},
	{keyInfo{"safety", "what protects the administrator", tableOf("[safety]", safetyKeys), false},
		func(r *reader, w *whole, v *node) { readTable(r, v, "[safety]", safetyKeys, &w.safety) }},
	{keyInfo{"pf", "what concerns pf alone", tableOf("[pf]", pfKeys), false},
		func(r *reader, _ *whole, v *node) { readTable(r, v, "[pf]", pfKeys, r.policy) }},
	{keyInfo{"group", "who: a set of addresses", sectionsOf("group", groupKeys), false}, (*reader).setGroups},
	{keyInfo{"service", "what is open, and to whom", sectionsOf("service", serviceKeys), false}, statements(Service, serviceKeys)},
	{keyInfo{"block", "what is refused, whatever the services say", sectionsOf("block", blockKeys), false}, statements(Block, blockKeys)},
	{keyInfo{"outbound", `what this host may reach where defaults.outbound is "drop" or "reject"`, sectionsOf("outbound", outboundKeys), false}, statements(Outbound, outboundKeys)},
	{keyInfo{"route", `what may pass through this host where defaults.routed is "drop"`, sectionsOf("route", routeKeys), false}, statements(Route, routeKeys)},
	{keyInfo{"accept", "an audit finding accepted with a reason", sectionsOf("accept", acceptKeys), false}, (*reader).setAccepts},
	{keyInfo{"test", "a statement about the policy that check proves", sectionsOf("test", testKeys), false}, (*reader).setTests},
}

func tableOf[T any](title string, list []key[T]) form {
	return form{kinds: tableKind, table: keysOf(title, list)}
}

func sectionsOf[T any](kind string, list []key[T]) form {
	item := tableOf(kind, list)
	return form{kinds: tableKind, values: &item, named: true}
}

var defaultsKeys = []key[Defaults]{
	{keyInfo{"inbound", "packets for this host", oneOf("drop", "reject", "accept"), false},
		func(r *reader, d *Defaults, v *node) { d.Inbound = value(r, v, verdicts[v.text]) }},
	{keyInfo{"outbound", "packets from this host", oneOf("accept", "drop", "reject"), false},
		func(r *reader, d *Defaults, v *node) { d.Outbound = value(r, v, verdicts[v.text]) }},
	{keyInfo{"routed", `packets through this host; "ignore" leaves them alone`, oneOf("ignore", "drop", "accept"), false},
		func(r *reader, d *Defaults, v *node) { d.Routed = value(r, v, routedWords[v.text]) }},
	{keyInfo{"published", "whether container-published ports obey the services", oneOf("enforce", "ignore"), false},
		func(r *reader, d *Defaults, v *node) { d.Published = value(r, v, publishedWords[v.text]) }},
	{keyInfo{"container_interfaces", "interfaces of containers: what enters there is never judged as published", patterns, false},
		func(r *reader, d *Defaults, v *node) { d.ContainerInterfaces = value(r, v, r.patterns(v)) }},
	{keyInfo{"icmp", "which ICMP requests are answered", oneOf("minimal", "standard", "all"), false},
		func(r *reader, d *Defaults, v *node) { d.ICMP = value(r, v, icmpWords[v.text]) }},
	{keyInfo{"log", "whether refused packets are logged, rate limited", oneOf("none", "denied"), false},
		func(r *reader, d *Defaults, v *node) { d.Log = value(r, v, v.text == "denied") }},
}

var (
	verdicts       = map[string]packet.Verdict{"drop": packet.Drop, "reject": packet.Reject, "accept": packet.Accept}
	routedWords    = map[string]Routed{"ignore": RoutedIgnore, "drop": RoutedDrop, "accept": RoutedAccept}
	publishedWords = map[string]Published{"enforce": PublishedEnforce, "ignore": PublishedIgnore}
	icmpWords      = map[string]ICMP{"minimal": ICMPMinimal, "standard": ICMPStandard, "all": ICMPAll}
)

var safetyKeys = []key[Safety]{
	{keyInfo{"keep", "services whose present users must not lose access", listOf(form{kinds: stringKind}, "an array of names of services", `["ssh"]`), false},
		func(r *reader, s *Safety, v *node) { s.Keep = value(r, v, r.texts(v)) }},
	{keyInfo{"confirm", "how long an apply waits for its confirmation", form{kinds: stringKind, noun: "a duration in quotes", example: `"2m"`, pattern: `^([0-9]+(\.[0-9]+)?(h|m|s))+$`}, false},
		func(r *reader, s *Safety, v *node) { s.Confirm = value(r, v, r.duration(v)) }},
	{keyInfo{"cut", "whether sessions that the policy no longer accepts are ended", boolean, false},
		func(r *reader, s *Safety, v *node) { s.Cut = value(r, v, v.text == "true") }},
}

var pfKeys = []key[Policy]{
	{keyInfo{"anchors", "anchors of others to keep in a whole pf.conf", listOf(form{kinds: stringKind}, "an array of names of anchors", `["f2b/*"]`), false},
		func(r *reader, p *Policy, v *node) { p.PFAnchors = append(p.PFAnchors, r.anchors(v)...) }},
}

var groupKeys = []key[GroupSection]{
	{keyInfo{"addresses", "addresses, prefixes, ranges and other groups", members, false},
		func(r *reader, g *GroupSection, v *node) { g.Addresses = r.members(v) }},
	{keyInfo{"except", "what is taken out of the group", members, false},
		func(r *reader, g *GroupSection, v *node) { g.Except = r.members(v) }},
	{keyInfo{"file", "a file with one address, prefix or range a line", text, false},
		func(r *reader, g *GroupSection, v *node) { g.File = r.text(v) }},
	{keyInfo{"min_entries", "the least number of entries of the file", form{kinds: integerKind, min: 0, max: 1 << 40}, false},
		func(r *reader, g *GroupSection, v *node) { n, _ := integer(v.text); g.MinEntries = value(r, v, n) }},
	{keyInfo{"names", "DNS names, resolved at apply", listOf(form{kinds: stringKind}, "an array of DNS names", `["api.example.org"]`), false},
		func(r *reader, g *GroupSection, v *node) { g.Names = r.dnsNames(v) }},
	{keyInfo{"interfaces", "the interfaces on which the addresses must be seen", notEmpty(patterns), false},
		func(r *reader, g *GroupSection, v *node) { g.Interfaces = r.patterns(v) }},
	{keyInfo{"allow_empty", "whether the group may be empty", boolean, false},
		func(r *reader, g *GroupSection, v *node) { g.AllowEmpty = v.text == "true" }},
}

// The keys that statements share.
var (
	portsKey = key[Statement]{keyInfo{"ports", "destination ports", notEmpty(portList), false},
		func(r *reader, s *Statement, v *node) { s.Ports, s.portsPos = r.ports(v), r.pos(v.off) }}
	sourcePortsKey = key[Statement]{keyInfo{"source_ports", "source ports, of the same protocols as ports", notEmpty(portList), false},
		func(r *reader, s *Statement, v *node) { s.SourcePorts, s.sourcesPos = r.ports(v), r.pos(v.off) }}
	protocolsKey = key[Statement]{keyInfo{"protocols", `protocols without ports, by IANA name or number; "any" is every packet`, notEmpty(protocolList), false},
		func(r *reader, s *Statement, v *node) { s.Protocols, s.protosPos = r.protocols(v), r.pos(v.off) }}
	toKey = key[Statement]{keyInfo{"to", "destination addresses", notEmpty(members), false},
		func(r *reader, s *Statement, v *node) { s.To = r.members(v) }}
	fromKey = key[Statement]{keyInfo{"from", `who: groups and addresses; "any" is everyone, [] is nobody`, members, true},
		func(r *reader, s *Statement, v *node) { s.From, s.fromPos = r.members(v), r.pos(v.off) }}
	inKey = key[Statement]{keyInfo{"in", "interfaces by which packets must enter", notEmpty(patterns), false},
		func(r *reader, s *Statement, v *node) { s.In = r.patterns(v) }}
	expiresKey = key[Statement]{keyInfo{"expires", "the last day on which the section holds, or the instant at which it ends", expiry, false},
		func(r *reader, s *Statement, v *node) { s.Expires = r.expiry(v) }}
	ownerKey = key[Statement]{keyInfo{"owner", "whom to ask; free text", text, false},
		func(r *reader, s *Statement, v *node) { s.Owner = r.prose("owner", v) }}
	reasonKey = key[Statement]{keyInfo{"reason", "why; free text", text, false},
		func(r *reader, s *Statement, v *node) { s.Reason = r.prose("reason", v) }}
)

func required[T any](k key[T]) key[T] {
	k.required = true
	return k
}

func optional[T any](k key[T]) key[T] {
	k.required = false
	return k
}

var serviceKeys = []key[Statement]{
	portsKey, sourcePortsKey, protocolsKey,
	{keyInfo{"profile", "the name of a profile, or the path of one", form{kinds: stringKind, example: `"omero"`}, false},
		func(r *reader, s *Statement, v *node) { s.Profile = r.text(v) }},
	{keyInfo{"with", "the parameters of the profile", settings, false},
		func(r *reader, s *Statement, v *node) { s.With = r.settings(v) }},
	{keyInfo{"from", `who: groups and addresses; "any" is everyone, [] is nobody; with a profile, each of its audiences`, audiences, true},
		(*reader).setFrom},
	toKey, inKey,
	{keyInfo{"limit", `new connections per source (IPv6: per /64), such as "10/minute"`, form{kinds: stringKind, noun: "a rate in quotes", example: `"10/minute"`, pattern: limitPattern}, false},
		func(r *reader, s *Statement, v *node) { s.Limit = r.limit(v) }},
	expiresKey,
	{keyInfo{"log", "whether new connections are logged, rate limited", boolean, false},
		func(r *reader, s *Statement, v *node) { s.Log = v.text == "true" }},
	{keyInfo{"shared", "whether another service may have the same port", boolean, false},
		func(r *reader, s *Statement, v *node) { s.Shared = v.text == "true" }},
	ownerKey, reasonKey,
	{keyInfo{"expect", "what audit expects of the listener", form{kinds: tableKind, table: keysOf("expect", expectKeys), example: `{ user = "postgres" }`}, false},
		func(r *reader, s *Statement, v *node) { readTable(r, v, "expect", expectKeys, &s.Expect) }},
}

var expectKeys = []key[Expect]{
	{keyInfo{"user", "the user it runs as", text, false}, func(r *reader, e *Expect, v *node) { e.User = r.prose("user", v) }},
	{keyInfo{"process", "the name of its program", text, false}, func(r *reader, e *Expect, v *node) { e.Process = r.prose("process", v) }},
	{keyInfo{"unit", "its systemd unit", text, false}, func(r *reader, e *Expect, v *node) { e.Unit = r.prose("unit", v) }},
	{keyInfo{"listen", "the address it listens on", text, false}, func(r *reader, e *Expect, v *node) { e.Listen = r.listen(v) }},
	{keyInfo{"tls", "whether it speaks TLS", boolean, false}, func(r *reader, e *Expect, v *node) { b := v.text == "true"; e.TLS = &b }},
}

var blockKeys = []key[Statement]{
	{keyInfo{"direction", "packets to and through this host, or from it", oneOf("inbound", "outbound"), false},
		func(r *reader, s *Statement, v *node) { s.Outbound = v.text == "outbound" }},
	optional(fromKey), toKey, inKey, portsKey, sourcePortsKey, protocolsKey, expiresKey, ownerKey, reasonKey,
}

var outboundKeys = []key[Statement]{required(toKey), portsKey, sourcePortsKey, protocolsKey, expiresKey, ownerKey, reasonKey}

var routeKeys = []key[Statement]{fromKey, required(toKey), inKey, portsKey, sourcePortsKey, protocolsKey, expiresKey, ownerKey, reasonKey}

var acceptKeys = []key[AcceptSection]{
	{keyInfo{"finding", "the code of the finding", form{kinds: stringKind, pattern: findingPattern, example: `"FW104"`}, true},
		func(r *reader, a *AcceptSection, v *node) { a.Finding = r.finding(v) }},
	{keyInfo{"match", "what the finding is about", form{kinds: stringKind, example: `"111/tcp"`}, true},
		func(r *reader, a *AcceptSection, v *node) { a.Match = r.prose("match", v) }},
	{keyInfo{"reason", "why it is accepted", form{kinds: stringKind, example: `"legacy NFS, CHG-1200"`}, true},
		func(r *reader, a *AcceptSection, v *node) { a.Reason = r.prose("reason", v) }},
	{keyInfo{"expires", "the last day on which it is accepted, or the instant at which that ends", expiry, false},
		func(r *reader, a *AcceptSection, v *node) { a.Expires = r.expiry(v) }},
}

var testKeys = []key[TestSection]{
	{keyInfo{"packet", "the shape of the packets", form{kinds: stringKind, example: `"tcp any -> host:8000"`}, true},
		func(r *reader, t *TestSection, v *node) { t.Packet, t.shape = r.text(v), r.shape(v) }},
	{keyInfo{"except", "sources that are left out", members, false},
		func(r *reader, t *TestSection, v *node) { t.Except = r.members(v) }},
	{keyInfo{"expect", "what must become of them", form{kinds: stringKind, words: []string{"drop", "reject", "accept"}, example: `"drop"`}, true},
		func(r *reader, t *TestSection, v *node) { t.Expect = verdicts[v.text] }},
}

// The readers of sections.

func value[T any](r *reader, v *node, x T) Value[T] { return Value[T]{V: x, Pos: r.pos(v.off)} }

func (r *reader) setVersion(w *whole, v *node) {
	w.version = value(r, v, int64(1)) // its form allows no other
}

// sections calls read for each named table of v.
func (r *reader) sections(kind string, v *node, read func(e entry)) {
	for _, e := range v.entries {
		switch {
		case e.val.kind == tablesKind:
			r.errorAt(e.val.off, "sections are single tables: [["+kind+"."+e.name+"]] makes an array of tables", "write ["+kind+"."+e.name+"]")
		case e.val.kind != tableKind:
			r.errorAt(e.off, "unknown key "+quote(e.name)+" in ["+kind+"]", "each "+kind+" is a section of its own with a name: ["+kind+".NAME]")
		case !isName(e.name):
			r.errorAt(e.off, quote(e.name)+" cannot be a name", nameHint(e.name))
		default:
			r.bad = false
			read(e)
		}
	}
}

func nameHint(s string) string {
	if lower := strings.ToLower(s); isName(lower) {
		return "names are in lower case: " + quote(lower)
	}
	return "a name is a letter from a to z, then up to 39 of a-z, 0-9, _ and -"
}

func (r *reader) setGroups(_ *whole, v *node) {
	r.sections("group", v, func(e entry) {
		g := &GroupSection{Name: e.name, Pos: r.pos(e.val.off)}
		readTable(r, e.val, "[group."+e.name+"]", groupKeys, g)
		r.addGroup(g)
	})
}

func statements(k Kind, list []key[Statement]) func(*reader, *whole, *node) {
	return func(r *reader, _ *whole, v *node) {
		r.sections(k.String(), v, func(e entry) {
			s := &Statement{Kind: k, Name: e.name, Pos: r.pos(e.val.off)}
			s.meant = readTable(r, e.val, "["+s.ID()+"]", list, s)
			r.addStatement(s)
		})
	}
}

func (r *reader) setAccepts(_ *whole, v *node) {
	r.sections("accept", v, func(e entry) {
		a := &AcceptSection{Name: e.name, Pos: r.pos(e.val.off)}
		readTable(r, e.val, "[accept."+e.name+"]", acceptKeys, a)
		a.broken = r.bad
		if r.define("accept."+e.name, a.Pos) {
			r.policy.Accepts = append(r.policy.Accepts, a)
		}
	})
}

func (r *reader) setTests(_ *whole, v *node) {
	r.sections("test", v, func(e entry) {
		t := &TestSection{Name: e.name, Pos: r.pos(e.val.off)}
		readTable(r, e.val, "[test."+e.name+"]", testKeys, t)
		t.broken = r.bad
		if r.define("test."+e.name, t.Pos) {
			r.policy.Tests = append(r.policy.Tests, t)
		}
	})
}

// setFrom reads from, which with a profile may be a table of audiences.
func (r *reader) setFrom(s *Statement, v *node) {
	if v.kind == tableKind && len(v.entries) == 0 {
		r.errorAt(v.off, "from names no audience", `nobody is from = []; with a profile, name each audience: from = { clients = ["192.0.2.0/24"] }`)
		return
	}
	s.fromPos = r.pos(v.off)
	if v.kind == arrayKind {
		s.From = r.members(v)
		return
	}
	for _, e := range v.entries {
		if list := r.conform("from."+e.name, members, e.val); list != nil {
			s.Audiences = append(s.Audiences, Audience{Name: e.name, Pos: r.pos(e.off), From: r.members(list)})
		}
	}
	slices.SortFunc(s.Audiences, func(a, b Audience) int { return strings.Compare(a.Name, b.Name) })
}

func (r *reader) settings(v *node) []Setting {
	var out []Setting
	for _, e := range v.entries {
		val := r.conform("with."+e.name, *settings.values, e.val)
		if val == nil {
			continue
		}
		out = append(out, r.setting(e.name, val))
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (r *reader) setting(name string, v *node) Setting {
	s := Setting{Name: name, Pos: r.pos(v.off), kind: v.kind}
	if v.kind != arrayKind {
		s.Values = []string{scalar(v)}
		return s
	}
	s.list, s.kind = true, stringKind
	for _, item := range v.items {
		s.Values = append(s.Values, item.text)
	}
	return s
}

// scalar returns the text of a string, a boolean or an integer, the last in decimal.
func scalar(v *node) string {
	if v.kind != integerKind {
		return v.text
	}
	n, _ := integer(v.text)
	return strconv.FormatInt(n, 10)
}

// minConfirm is the shortest wait for a confirmation in which somebody can log in
// and give it, maxConfirm the longest that is taken for serious.
const (
	minConfirm = 10 * time.Second
	maxConfirm = 24 * time.Hour
)

func (r *reader) duration(v *node) time.Duration {
	d, err := time.ParseDuration(v.text)
	switch {
	case err != nil:
		r.errorAt(v.off, quote(v.text)+" is not a duration", `such as "90s", "2m" or "1h"`)
	case d < minConfirm || d > maxConfirm:
		r.errorAt(v.off, "confirm must be from 10s to 24h", `such as "2m"`)
	}
	return d
}
