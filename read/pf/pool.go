package pf

import (
	"slices"
	"strconv"
	"strings"
)

// poolOrder is the order in which pfctl prints how one address of several is chosen:
// the type of the pool, then what goes with it (print_pool in pfctl_parser.c).
var poolOrder = []string{
	"bitmask", "random", "source-hash", "round-robin", "least-states", "sticky-address", "endpoint-independent",
	"static-port", "map-e-portset", "prefer-ipv6-nexthop",
}

// poolTypes are those that exclude each other.
var poolTypes = poolOrder[:5]

func poolType(o string) bool { return slices.Contains(poolTypes, firstWord(o)) }

// poolOptions reads what stands behind the addresses of a pool. Where the type is not
// said, and there are several addresses, they are taken in turn.
func (p *parser) poolOptions(several bool) []string {
	var out []string
	for p.tok.kind == word && slices.Contains(poolOrder, p.tok.text) {
		out = append(out, p.poolOption(out))
	}
	if several && !slices.ContainsFunc(out, poolType) {
		out = append(out, "round-robin")
	}
	inOrder(out, poolOrder)
	return out
}

func (p *parser) poolOption(before []string) string {
	name, d := p.tok.text, p.config.Dialect
	switch name {
	case "least-states":
		if d != OpenBSD {
			p.refuse("%s has no least-states", d.system())
		}
	case "endpoint-independent", "map-e-portset", "prefer-ipv6-nexthop":
		if d != FreeBSD {
			p.refuse("%s has no %s", d.system(), name)
		}
	}
	for _, o := range before {
		if firstWord(o) == name || poolType(o) && poolType(name) {
			p.refuse("%s cannot stand with %s", name, o)
		}
	}
	p.advance()
	switch {
	case name == "map-e-portset":
		return name + " " + p.portSet()
	case name == "source-hash" && (p.tok.kind == quoted || p.tok.kind == word && !p.keyword(p.tok.text) && !slices.Contains(poolOrder, p.tok.text)):
		return name + " " + hashKey(p.str("a key"))
	}
	return name
}

// portSet reads the three numbers of map-e-portset.
func (p *parser) portSet() string {
	offset := p.number(15)
	p.expect("/")
	length := p.number(15)
	p.expect("/")
	id := p.number(65535)
	if offset == 0 || length == 0 || offset+length > 16 {
		p.refuse("map-e-portset %d/%d takes more than the 16 bits of a port, or none", offset, length)
	}
	return strconv.FormatUint(offset, 10) + "/" + strconv.FormatUint(length, 10) + "/" + strconv.FormatUint(id, 10)
}

// number reads one that may be hexadecimal.
func (p *parser) number(most uint64) uint64 {
	hex, is := strings.CutPrefix(p.tok.text, "0x")
	if !is {
		return p.uint(most)
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	if err != nil || n > most {
		p.refuse("%s is no number up to %d", p.tok, most)
	}
	p.advance()
	return n
}

// lookedUp reports whether the kernel finds the addresses: in a table, or of an
// interface that can have several (DYNIF_MULTIADDR in parse.y).
func (h Host) lookedUp() bool {
	last := byte(0)
	if h.Name != "" {
		last = h.Name[len(h.Name)-1]
	}
	one := slices.Contains(h.Mods, "0") && last >= '0' && last <= '9'
	return h.Kind == TableHost || h.Kind == DynamicHost && !one
}

// consistentChoice refuses what cannot stand together behind nat-to and the like, and
// behind "->".
func (p *parser) consistentChoice(kind string, to []Host, port *PortOp, options []string) {
	has := func(name string) bool {
		return slices.ContainsFunc(options, func(o string) bool { return firstWord(o) == name })
	}
	nat := strings.HasPrefix(kind, "nat")
	for _, name := range []string{"static-port", "map-e-portset"} {
		switch {
		case !has(name):
		case !nat:
			p.refuse("%s is for nat-to and nat", name)
		case port != nil:
			p.refuse("%s does not go with ports", name)
		}
	}
	i := slices.IndexFunc(options, poolType)
	switch {
	case has("static-port") && has("map-e-portset"):
		p.refuse("map-e-portset does not go with static-port")
	case has("map-e-portset") && i >= 0:
		p.refuse("map-e-portset does not go with several addresses")
	case i < 0:
	case !p.spreads(options[i]) && slices.ContainsFunc(to, Host.lookedUp):
		p.refuse("%s cannot choose from a table or the addresses of an interface", firstWord(options[i]))
	case !p.config.Dialect.modern() && len(to) > 1 && options[i] != "round-robin":
		p.refuse("of several addresses only round-robin can choose")
	}
}

// spreads reports whether a type of pool can choose from addresses that are looked up.
func (p *parser) spreads(option string) bool {
	return option == "round-robin" || p.config.Dialect.modern() && option != "bitmask"
}

// poolText writes what stands behind the word for a translation.
func poolText(to []Host, port *PortOp, options string) string {
	s := list(texts(to, Host.String))
	if port != nil {
		s += " port " + strings.TrimPrefix(port.String(), "= ")
	}
	return strings.TrimSpace(s + " " + options)
}

// route says where packets are sent instead of where the routing table sends them.
type route struct {
	kind    string // "route-to", "reply-to", "dup-to", "fastroute"
	by      []gateway
	options []string // how one of several is chosen
}

// gateway is an interface, and perhaps an address behind it.
type gateway struct {
	iface string
	next  *Host
}

// oldRoute reads where packets are sent instead, where the old grammar has it: before
// the family.
func (p *parser) oldRoute() {
	p.route = nil
	kind := ""
	if p.config.Dialect != OpenBSD {
		kind = p.takeOne("route-to", "reply-to", "dup-to", "fastroute")
	}
	switch {
	case kind == "", kind == "fastroute" && p.config.Dialect == FreeBSD: // which does nothing there
	case kind == "fastroute":
		p.route = &route{kind: kind}
	default:
		r := &route{kind: kind}
		p.items(func() { r.by = append(r.by, p.gateway()) })
		r.options = p.poolOptions(len(r.by) > 1)
		p.route = r
	}
}

// noRoute refuses a route in a statement that sends nothing.
func (p *parser) noRoute() {
	if p.route != nil {
		p.refuse("%s can only stand in filter rules", p.route.kind)
	}
}

// gateway reads an interface, and perhaps an address behind it.
func (p *parser) gateway() gateway {
	behind := p.take("(")
	g := gateway{iface: p.str("an interface")}
	if len(g.iface) > longestInterface {
		p.refuse("the interface name %q is longer than %d bytes", g.iface, longestInterface)
	}
	if behind {
		next := p.host()
		g.next = &next
		p.expect(")")
	}
	return g
}

// sendsTo notes where the rule sends packets. It is then for the family of the addresses
// there, if nothing else says one; what pfctl does not send elsewhere is refused.
func (p *parser) sendsTo(r *Rule, sent *route) {
	if sent == nil || len(sent.by) == 0 {
		return
	}
	switch {
	case r.Action == Block && p.config.Dialect == FreeBSD:
		p.refuse("%s cannot stand in block rules", sent.kind)
	case r.Dir == Both:
		p.refuse("a rule with %s must say in or out", sent.kind)
	}
	f := sent.familyOf(r)
	fits := func(g gateway) bool { return g.family() == AnyFamily || f == AnyFamily || g.family() == f }
	if !slices.ContainsFunc(sent.by, fits) && !(f == Inet && slices.Contains(sent.options, "prefer-ipv6-nexthop")) {
		p.refuse("the rule and the address behind %s are of different families", sent.kind)
	}
	for _, g := range sent.by {
		if r.Family == AnyFamily && f == AnyFamily {
			r.Family = g.family()
		}
	}
}

// familyOf is the family of the rule's packets where they are sent: behind af-to, but for
// their answers.
func (sent *route) familyOf(r *Rule) Family {
	for _, t := range r.Translate {
		if t.Kind == "af-to" && sent.kind != "reply-to" {
			return t.into
		}
	}
	return given(given(r.Family, r.From.Hosts), r.To.Hosts)
}

// family is that of the next address; any if there is none.
func (g gateway) family() Family {
	if g.next == nil {
		return AnyFamily
	}
	return g.next.family()
}

// String writes the route as a rule does.
func (sent *route) String() string {
	out := []string{sent.kind}
	if len(sent.by) > 0 {
		out = append(out, list(texts(sent.by, gateway.String)))
	}
	return strings.Join(append(out, sent.options...), " ")
}

// String writes the gateway as a rule does.
func (g gateway) String() string {
	if g.next == nil {
		return quoteName(g.iface)
	}
	return "(" + quoteName(g.iface) + " " + g.next.String() + ")"
}
