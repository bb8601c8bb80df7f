package pf

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/fwctl/fwctl/packet"
)

func (p *parser) rule() Statement {
	r := &Rule{Line: p.tok.line, addressesFirst: p.config.Dialect.modern()}
	p.action(r)
	r.Match = p.match(false)
	sent := p.route
	if sent != nil {
		r.Route = sent.String()
	}
	p.ruleOptions(r)
	if d := p.states; d != nil && r.Action == Pass && r.State == DefaultState {
		r.State, r.Options, r.Rates = KeepState, slices.Clone(d.Options), slices.Clone(d.Rates)
	}
	p.sendsTo(r, sent)
	p.consistent(r)
	if p.config.Dialect == OpenBSD {
		p.strict(r)
	}
	return r
}

// ruleOptions reads all that stands behind the addresses.
func (p *parser) ruleOptions(r *Rule) {
	p.sets = settings{}
	for p.tok.kind != newline && p.tok.kind != endOfText && !p.tok.is("{") && !p.tok.is("}") {
		p.ruleOption(r)
	}
	if p.config.Dialect == OpenBSD {
		r.hops = append(r.hops, addressesIn(r.Divert)...)
	}
	r.Effects = append(r.Effects, p.sets.texts(p.config.Dialect)...)
	inOrder(r.Unknown, conditionOrder)
	inOrder(r.Effects, effectOrder)
	if f := r.sentFamily(); r.Family == AnyFamily && (len(r.hops) > 0 || len(r.Translate) > 0 && r.Translate[0].Kind == "af-to") {
		r.Family = f
	}
}

// What a rule asks and does is kept in the order in which pfctl prints it.
var (
	conditionOrder = []string{"user", "group", "tos", "prio", "max-pkt-rate", "max-pkt-size", "probability", "once"}
	effectOrder    = []string{"set", "scrub", "ridentifier", "dnpipe", "dnqueue", "queue", "rtable"}
)

func inOrder[T any](xs []T, names []string) {
	slices.SortStableFunc(xs, func(a, b T) int {
		return slices.Index(names, firstWord(fmt.Sprint(a))) - slices.Index(names, firstWord(fmt.Sprint(b)))
	})
}

func (p *parser) action(r *Rule) {
	switch {
	case p.take("pass"):
	case p.take("match"):
		if !p.config.Dialect.modern() {
			p.refuse("%s has no match rules", p.config.Dialect.system())
		}
		r.Action = Matches
	default:
		p.expect("block")
		r.Action, r.Answer = Block, p.answer
		if a := p.takeOne("drop", "return", "return-rst", "return-icmp", "return-icmp6"); a != "" {
			r.Answer = strings.TrimPrefix(a, "drop") + p.answerCodes(a)
		}
	}
}

// answerCodes reads the codes of return-icmp, or the TTL of return-rst.
func (p *parser) answerCodes(answer string) string {
	if answer == "drop" || answer == "return" || !p.take("(") {
		return ""
	}
	if answer == "return-rst" {
		p.expect("ttl")
		n := p.uint(255)
		p.expect(")")
		return "(ttl " + strconv.FormatUint(n, 10) + ")"
	}
	var names []string
	for first := answer == "return-icmp"; ; first = false {
		codes, kind := icmpCodes, 3
		if !first {
			codes, kind = icmp6Codes, 1
		}
		code, ok := number(codes[kind], p.tok.text, 255)
		if !ok {
			p.refuse("%s is no code of an ICMP error", p.tok)
		}
		p.advance()
		names = append(names, p.config.Dialect.codeName(codes, kind, code))
		if !p.take(",") {
			break
		}
	}
	p.expect(")")
	return "(" + strings.Join(names, ", ") + ")"
}

func (p *parser) logQuick() (log string, quick bool) {
	for {
		switch {
		case log == "" && p.take("log"):
			log = "log" + p.logOptions()
		case !quick && p.take("quick"):
			quick = true
		default:
			return log, quick
		}
	}
}

// What is logged besides, in the order in which pfctl prints it.
var logged = []string{"all", "matches", "user"}

func (p *parser) logOptions() string {
	if !p.take("(") {
		return ""
	}
	var words []string
	to := ""
	for first := true; first || !p.take(")"); first = false {
		if !first {
			p.take(",")
		}
		switch w := p.raw("an option of log"); {
		case w == "to":
			to = p.logInterface()
		case slices.Contains(logged, w) && (w != "matches" || p.config.Dialect.modern()):
			words = append(words, w)
		default:
			p.refuse("%q is no option of log", w)
		}
	}
	slices.SortFunc(words, func(a, b string) int { return slices.Index(logged, a) - slices.Index(logged, b) })
	if to != "" {
		words = append(words, to)
	}
	if words = slices.Compact(words); len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// logInterface reads the interface that is logged to, "" if it is the usual one.
func (p *parser) logInterface() string {
	name := p.str("an interface")
	unit, ok := strings.CutPrefix(name, "pflog")
	n, err := strconv.ParseUint(unit, 10, 8)
	switch {
	case !ok || err != nil:
		p.refuse("%q is no pflog interface", name)
	case n == 0:
		return ""
	}
	return "to pflog" + strconv.FormatUint(n, 10)
}

// match reads what rules of all kinds begin with: from the direction to the
// addresses.
func (p *parser) match(anchor bool) Match {
	var m Match
	switch {
	case p.take("in"):
		m.Dir = In
	case p.take("out"):
		m.Dir = Out
	}
	if anchor {
		m.Quick = p.take("quick")
	} else {
		m.Log, m.Quick = p.logQuick()
	}
	p.interfaces(&m)
	p.oldRoute()
	m.Family = p.family()
	if p.take("proto") {
		p.items(func() { m.Protos = append(m.Protos, p.proto()) })
	}
	p.hosts(&m)
	p.consistentMatch(m)
	return m
}

func (p *parser) interfaces(m *Match) {
	if !p.take("on") {
		return
	}
	p.items(func() { m.On = append(m.On, p.iface()) })
}

// domain begins the name of a routing domain, in the place of an interface's.
const domain = "rdomain "

func (p *parser) iface() Iface {
	i := Iface{Not: p.take("!")}
	if p.config.Dialect.modern() && p.take("any") {
		i.Name = "any"
		return i
	}
	if p.config.Dialect == OpenBSD && p.take("rdomain") {
		i.Name = domain + strconv.FormatUint(p.uint(255), 10)
		return i
	}
	i.Name = p.str("an interface")
	if len(i.Name) > longestInterface {
		p.refuse("the interface name %q is longer than %d bytes", i.Name, longestInterface)
	}
	return i
}

func (p *parser) family() Family {
	switch {
	case p.take("inet"):
		return Inet
	case p.take("inet6"):
		return Inet6
	}
	return AnyFamily
}

func (p *parser) proto() packet.Proto {
	n, ok := number(protocols, p.tok.text, 255)
	if !ok && p.tok.kind == word {
		if known, is := packet.ParseProto(p.tok.text); is {
			n, ok = int(known), true
		}
	}
	switch {
	case !ok:
		p.refuse("%s is no protocol", p.tok)
	case n == 0:
		p.refuse("protocol 0 cannot be used")
	}
	p.advance()
	return packet.Proto(n)
}

// nesting is how much deeper a bracket leads.
func (p *parser) nesting() int {
	switch {
	case p.tok.is("("), p.tok.is("{"):
		return 1
	case p.tok.is(")"), p.tok.is("}"):
		return -1
	}
	return 0
}

// joinSigns puts words and signs together as pfctl prints them.
func joinSigns(words []string) string {
	s := strings.Join(words, " ")
	for _, r := range [][2]string{{"( ", "("}, {" )", ")"}, {" / ", "/"}, {" ,", ","}, {"< ", "<"}, {" >", ">"}, {"! ", "!"}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return s
}

func (p *parser) hosts(m *Match) {
	if p.take("all") {
		return
	}
	if p.take("from") {
		m.From = p.endpoint()
		if p.take("os") {
			p.items(func() { m.From.OS = append(m.From.OS, p.str("an operating system")) })
		}
	}
	if p.take("to") {
		m.To = p.endpoint()
	}
	if slices.ContainsFunc(m.To.Hosts, func(h Host) bool { return h.Kind == URPFFailed }) {
		p.refuse("urpf-failed is said of sources alone")
	}
}

func (p *parser) endpoint() Endpoint {
	var e Endpoint
	switch {
	case p.tok.is("port"):
	case p.take("any"):
	default:
		p.hostList(&e)
	}
	if p.take("port") {
		p.items(func() { e.Ports = append(e.Ports, p.portOp()) })
	}
	return e
}

// hostList reads hosts, or lists of them in each other. With any in it a list is any;
// the old grammar leaves the word out.
func (p *parser) hostList(e *Endpoint) {
	var one func()
	one = func() {
		if p.tok.is("{") {
			p.items(one)
			return
		}
		e.Hosts = append(e.Hosts, p.host())
	}
	p.items(one)
	isAny := func(h Host) bool { return h.Kind == AnyHost }
	if p.config.Dialect.modern() && slices.ContainsFunc(e.Hosts, isAny) {
		e.Hosts = nil
	}
	if e.Hosts = slices.DeleteFunc(e.Hosts, isAny); len(e.Hosts) == 0 {
		e.Hosts = nil
	}
}

func (p *parser) host() Host {
	h := Host{Not: p.take("!")}
	switch {
	case !h.Not && p.take("any"):
		h.Kind = AnyHost
	case p.take("no-route"):
		h.Kind = NoRoute
	case p.take("urpf-failed"):
		h.Kind = URPFFailed
	case p.tok.is("route"):
		p.advance()
		h.Kind, h.Name = RouteHost, p.str("a route label")
	case p.tok.is("<"):
		h.Kind, h.Name = TableHost, p.tableName()
	case p.take("("):
		h.Kind = DynamicHost
		p.named(&h)
		if h.Name == "" || !unicode.IsLetter(rune(h.Name[0])) {
			p.refuse("%q is no name of an interface", h.Name)
		}
		p.expect(")")
		h.Bits = p.mask(128)
	default:
		p.literal(&h)
	}
	if p.take("weight") {
		h.weighted = " weight " + strconv.FormatUint(p.uint(65535), 10)
	}
	return h
}

// named reads the name of an interface or a host, with modifiers.
func (p *parser) named(h *Host) {
	h.Name = p.str("an address or a name")
	p.mods(h)
}

// mods splits the modifiers from a name.
func (*parser) mods(h *Host) {
	for {
		i := strings.LastIndexByte(h.Name, ':')
		if i < 0 || !slices.Contains([]string{"network", "broadcast", "peer", "0"}, h.Name[i+1:]) {
			return
		}
		h.Mods = append([]string{h.Name[i+1:]}, h.Mods...)
		h.Name = h.Name[:i]
	}
}

func (p *parser) mask(most int) int {
	if !p.take("/") {
		return 0
	}
	return int(p.uint(uint64(most)))
}

// literal reads an address, a network, a range or a name.
func (p *parser) literal(h *Host) {
	t := p.tok
	if t.kind != word && t.kind != quoted || t.kind == word && p.keyword(t.text) {
		p.refuse("%s where an address belongs", t)
	}
	a, short, ok := parseAddr(t.text)
	if !ok {
		h.Kind = NamedHost
		p.named(h)
		if !strings.ContainsFunc(h.Name, unicode.IsLetter) && !strings.Contains(h.Name, "-") {
			p.refuse("%s is no address", t)
		}
		h.Bits = p.mask(128)
		return
	}
	p.advance()
	_, h.Zone, _ = strings.Cut(t.text, "%")
	switch {
	case h.Zone != "" && p.tok.is("-"):
		p.refuse("the address %s with a zone begins no range", t.text)
	case short && !p.tok.is("/"):
		p.refuse("%q is no address; a network is written as 10/8", t.text)
	case p.take("-"):
		hi, short, ok := parseAddr(p.tok.text)
		if !ok || short || hi.BitLen() != a.BitLen() || hi.Less(a) {
			p.refuse("%s ends no range that begins with %s", p.tok, a)
		}
		p.advance()
		h.Kind, h.Lo, h.Hi = RangeHost, a, hi
	case p.tok.is("/"):
		bits := p.mask(a.BitLen())
		h.Kind, h.Prefix = PrefixHost, netip.PrefixFrom(a, bits).Masked()
	default:
		h.Kind, h.Prefix = PrefixHost, netip.PrefixFrom(a, a.BitLen())
	}
}

// parseAddr reads an address. Of an IPv4 network the zeros at its end may be
// missing, as in 10/8: it is short then.
func parseAddr(s string) (a netip.Addr, short, ok bool) {
	zone := strings.IndexByte(s, '%')
	if zone >= 0 {
		s = s[:zone]
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a, false, zone < 0 || a.Is6() // of IPv4 it is a name
	}
	parts := strings.Split(s, ".")
	if zone >= 0 || len(parts) > 3 {
		return netip.Addr{}, false, false
	}
	for len(parts) < 4 {
		parts = append(parts, "0")
	}
	a, err := netip.ParseAddr(strings.Join(parts, "."))
	return a, true, err == nil && a.Is4()
}

func (p *parser) portOp() PortOp {
	if op := p.takeOne("!=", "<=", ">=", "<", ">", "="); op != "" {
		lo, hi := p.portWord()
		if lo != hi {
			p.refuse("the operator %q takes one port", op)
		}
		return PortOp{strings.TrimPrefix(op, "="), lo, hi}
	}
	lo, hi := p.portWord()
	if op := p.takeOne("><", "<>"); op != "" {
		hi, _ = p.portWord()
		return PortOp{op, lo, hi}
	}
	return PortOp{"", lo, hi}
}

// portWord reads a port or a range of ports.
func (p *parser) portWord() (lo, hi uint16) {
	if p.tok.kind != word && p.tok.kind != quoted {
		p.refuse("%s where a port belongs", p.tok)
	}
	a, b, ranged := strings.Cut(p.tok.text, ":")
	lo = p.port(a)
	hi = lo
	if ranged {
		hi = p.port(b)
	}
	if lo > hi && p.config.Dialect.modern() {
		p.refuse("the port range %s goes backwards", p.tok)
	}
	p.advance()
	return lo, hi
}

func (p *parser) port(s string) uint16 {
	n, ok := number(services, s, 65535)
	if hex, is := strings.CutPrefix(s, "0x"); is {
		v, err := strconv.ParseUint(hex, 16, 16)
		n, ok = int(v), err == nil
	}
	if !ok {
		n, ok = service(s)
	}
	if !ok {
		p.refuse("%q is no port", s)
	}
	return uint16(n)
}

func (p *parser) label() string {
	if p.tok.kind == quoted && p.tok.text == "" { // is none
		p.advance()
		return ""
	}
	l := p.noNumber("a label")
	if len(l) > longestLabel {
		p.refuse("the label %q is longer than %d bytes", l, longestLabel)
	}
	return l
}

// matchOption reads a condition that rules of several kinds have behind the
// addresses; false if none stands here.
func (p *parser) matchOption(m *Match) bool {
	not := p.take("!")
	switch {
	case p.take("tagged"):
		m.Tagged, m.NotTag = p.tag(), not
	case p.tok.is("received-on"):
		if !p.config.Dialect.modern() {
			p.refuse("%s cannot ask by received-on", p.config.Dialect.system())
		}
		p.advance()
		i := p.iface()
		i.Not = not
		m.Received = &i
	case not:
		p.refuse("%s behind !", p.tok)
	case p.take("flags"):
		m.Flags = p.flags()
	default:
		return false
	}
	return true
}

const flagLetters = "FSRPAUEW"

func (p *parser) flags() *Flags {
	if p.take("any") {
		return &Flags{}
	}
	f := &Flags{}
	if !p.tok.is("/") {
		f.Set = p.flagWord()
	}
	p.expect("/")
	f.Mask = p.flagWord()
	if f.Set&^f.Mask != 0 {
		p.refuse("flags that are to be set must be among those that are looked at")
	}
	return f
}

func (p *parser) flagWord() packet.Flags {
	var f packet.Flags
	for _, c := range p.raw("flags of TCP") {
		i := strings.IndexRune(flagLetters, c)
		if i < 0 {
			p.refuse("%q is no flag of TCP", c)
		}
		f |= 1 << i
	}
	return f
}

// ruleOption reads one of the options behind the addresses.
func (p *parser) ruleOption(r *Rule) {
	if p.matchOption(&r.Match) {
		return
	}
	t := p.tok
	switch {
	case t.is("icmp-type"), t.is("icmp6-type"):
		p.icmp(r)
	case t.is("keep"), t.is("modulate"), t.is("synproxy"), t.is("no"):
		p.state(r)
	case p.take("fragment"):
		r.Fragment = true
	case p.take("allow-opts"):
		r.AllowOpts = true
	case p.take("label"):
		p.labelled(r)
	case p.take("tag"):
		r.Tag = p.tag()
	case t.is("user"), t.is("group"), t.is("probability"), t.is("once"), t.is("max-pkt-rate"), t.is("max-pkt-size"), t.is("tos"), t.is("prio"):
		p.ask(&r.Match)
	case p.config.Dialect == OpenBSD && p.effectOfOpenBSD():
	case p.config.Dialect == OpenBSD && (t.is("dnqueue") || t.is("dnpipe") || t.is("ridentifier")):
		p.refuse("OpenBSD has no %s", t)
	case t.is("set"), t.is("queue"), t.is("dnqueue"), t.is("dnpipe"), t.is("rtable"), t.is("scrub"), t.is("ridentifier"):
		p.effect(r)
	case t.is("route-to"), t.is("reply-to"), t.is("dup-to"):
		if p.config.Dialect != OpenBSD {
			p.refuse("%s wants %s before the family", p.config.Dialect.system(), t)
		}
		p.routeTo(r)
	case t.is("divert-to"), t.is("divert-reply"), t.is("divert-packet"):
		if r.Divert != "" {
			p.refuse("%s is too much: the rule has %s", t, r.Divert)
		}
		r.Divert = p.divert()
	case t.is("nat-to"), t.is("rdr-to"), t.is("binat-to"), t.is("af-to"):
		p.translate(r)
	default:
		p.refuse("%s in a rule where an option belongs", t)
	}
}

func (p *parser) icmp(r *Rule) {
	names, codes, want := icmpTypes, icmpCodes, Inet
	if p.tok.text == "icmp6-type" {
		names, codes, want = icmp6Types, icmp6Codes, Inet6
	}
	if r.Family == AnyFamily { // the addresses may say it
		r.Family = r.addressFamily()
	}
	if r.Family != want {
		p.refuse("a rule with %s must say its family, %s", p.tok, [...]string{Inet: "inet", Inet6: "inet6"}[want])
	}
	p.advance()
	p.items(func() {
		n, ok := number(names, p.tok.text, 255)
		if !ok {
			p.refuse("%s is no type of ICMP", p.tok)
		}
		p.advance()
		t := ICMPType{uint8(n), -1}
		if p.take("code") {
			if t.Code, ok = number(codes[n], p.tok.text, 255); !ok {
				p.refuse("%s is no code of that type", p.tok)
			}
			p.advance()
		}
		r.Types = append(r.Types, t)
	})
}

func (p *parser) state(r *Rule) {
	word := p.tok.text
	p.advance()
	p.expect("state")
	r.State = map[string]State{"keep": KeepState, "modulate": ModulateState, "synproxy": SynproxyState, "no": NoState}[word]
	if r.Action != Pass && r.State != NoState {
		p.refuse("only pass rules keep state")
	}
	if p.tok.is("probability") { // pfctl prints it before the options, where it does not read it
		p.ask(&r.Match)
	}
	if r.State == NoState || !p.take("(") {
		return
	}
	for !p.take(")") {
		if p.take(",") {
			continue
		}
		p.stateOption(r)
	}
	p.stateOptions(r)
}

// stateOption reads one of the options in the parentheses of a state.
func (p *parser) stateOption(r *Rule) {
	name := p.raw("an option of a state")
	text := name
	n := func() uint64 { return p.uint(1<<32 - 1) }
	switch name {
	case "max", "max-src-states", "max-src-nodes", "max-src-conn":
		rate := Rate{Name: name, Count: n()}
		if rate.Count == 0 && name != "max" {
			p.refuse("%s takes a number above zero", name)
		}
		r.Rates = append(r.Rates, rate)
		text += " " + strconv.FormatUint(rate.Count, 10)
	case "max-src-conn-rate":
		rate := Rate{Name: name, Count: n()}
		p.expect("/")
		rate.Seconds = n()
		if rate.Count == 0 || rate.Seconds == 0 {
			p.refuse("max-src-conn-rate takes numbers above zero")
		}
		r.Rates = append(r.Rates, rate)
		text += " " + strconv.FormatUint(rate.Count, 10) + "/" + strconv.FormatUint(rate.Seconds, 10)
	case "overload":
		text = p.overload()
	case "source-track":
		text += p.after("rule", "global")
	case "no-sync", "if-bound", "floating", "sloppy", "pflow", "allow-related":
	default:
		if !strings.Contains(name, ".") || !slices.Contains(stateOrder, name) {
			p.refuse("%q is no option of a state", name)
		}
		text += " " + strconv.FormatUint(n(), 10)
	}
	r.Options = append(r.Options, text)
}

func (p *parser) after(words ...string) string {
	if w := p.takeOne(words...); w != "" {
		return " " + w
	}
	return ""
}

func (p *parser) overload() string {
	line := p.tok.line
	table, flush := p.tableName(), ""
	if p.take("flush") {
		flush = "flush" + p.after("global")
	}
	p.seen = append(p.seen, overload{line, table})
	return strings.TrimRight("overload <"+table+"> "+flush, " ")
}

// condition reads one that no packet tells, as text.
func (p *parser) condition() string {
	name := p.tok.text
	p.advance()
	switch name {
	case "once":
		return name
	case "max-pkt-size":
		if p.config.Dialect != FreeBSD {
			p.refuse("%s cannot ask by max-pkt-size", p.config.Dialect.system())
		}
		return name + " " + strconv.FormatUint(p.uint(65535), 10)
	case "max-pkt-rate":
		n := p.uint(1<<32 - 1)
		p.expect("/")
		return name + " " + strconv.FormatUint(n, 10) + "/" + strconv.FormatUint(p.uint(1<<32-1), 10)
	}
	switch name {
	case "tos":
		return name + " " + p.tos()
	case "prio":
		return name + " " + strconv.FormatUint(p.uint(highestPriority), 10)
	case "probability":
		return name + " " + p.probability()
	}
	return name + " " + list(p.owners())
}

func (p *parser) translate(r *Rule) {
	if p.config.Dialect != OpenBSD && p.config.Dialect != FreeBSD {
		p.refuse("%s has no %s", p.config.Dialect.system(), p.tok)
	}
	t := Translate{Kind: p.tok.text}
	p.advance()
	if t.Kind == "af-to" {
		p.translateFamily(&t)
	} else {
		p.items(func() { t.To = append(t.To, p.host()) })
		t.Port, t.Text = p.poolRest(t.Kind, t.To)
	}
	r.Translate = append(r.Translate, t)
	inOrder(r.Translate, translateOrder)
}

// translateOrder is the order in which pfctl prints what a rule translates.
var translateOrder = []string{"af-to", "nat-to", "rdr-to", "binat-to"}

// translateFamily reads af-to: the family that packets get, and their addresses in it.
func (p *parser) translateFamily(t *Translate) {
	word := p.tok.text
	if t.into = p.family(); t.into == AnyFamily {
		p.refuse("%s where the family behind af-to belongs", p.tok)
	}
	p.expect("from")
	t.Text = word + " from " + p.wholePool(t.Kind)
	if p.take("to") {
		t.Text += " to " + p.wholePool(t.Kind)
	}
}

// wholePool reads addresses and what stands behind them.
func (p *parser) wholePool(kind string) string {
	var to []Host
	p.items(func() { to = append(to, p.host()) })
	port, options := p.poolRest(kind, to)
	return poolText(to, port, options)
}

// poolRest reads the port and the options of a pool.
func (p *parser) poolRest(kind string, to []Host) (port *PortOp, text string) {
	if p.take("port") {
		op := p.poolPort(kind)
		port = &op
	}
	options := p.poolOptions(len(to) > 1 || kind != "af-to" && slices.ContainsFunc(to, Host.lookedUp))
	p.consistentChoice(kind, to, port, options)
	return port, strings.Join(options, " ")
}

// poolPort reads the port behind nat-to or rdr-to. nat-to takes a range whichever end
// comes first.
func (p *parser) poolPort(kind string) PortOp {
	lo, hi, ranged := strings.Cut(p.tok.text, ":")
	if kind != "nat-to" || !ranged || hi == "*" || p.tok.kind != word {
		return p.portOrStar()
	}
	op := PortOp{"", p.port(lo), p.port(hi)}
	p.advance()
	return op
}

// portOrStar reads a port of a translation: "port 8000:*" keeps the distance.
func (p *parser) portOrStar() PortOp {
	if lo, ok := strings.CutSuffix(p.tok.text, ":*"); ok && p.tok.kind == word {
		p.advance()
		return PortOp{"*", p.port(lo), 0}
	}
	return p.portOp()
}
