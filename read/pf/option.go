package pf

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// settings are what `set (…)` of a rule sets, and scrub of OpenBSD does, each "" if not.
type settings struct {
	prio, queue, tos, delay string
	scrub                   [5]string
}

// What stands in scrub (…), in the order in which pfctl prints it.
var scrubs = []string{"no-df", "random-id", "min-ttl", "reassemble", "max-mss"}

// texts are the effects as pfctl prints them.
func (s settings) texts(d Dialect) []string {
	var out []string
	given := func(words ...string) []string {
		return slices.DeleteFunc(words, func(w string) bool { return w == "" })
	}
	if set := given(s.prio, s.queue, s.tos, s.delay); len(set) > 0 {
		open, end := "set (", ")"
		if d != OpenBSD {
			open, end = "set ( ", " )"
		}
		out = append(out, open+strings.Join(set, ", ")+end)
	}
	if scrub := given(s.scrub[:]...); len(scrub) > 0 {
		out = append(out, "scrub ("+strings.Join(scrub, " ")+")")
	}
	return out
}

// effectOfOpenBSD reads what a rule does beside deciding, as OpenBSD has it; false if
// nothing of that kind stands here.
func (p *parser) effectOfOpenBSD() bool {
	switch {
	case p.take("set"):
		p.set()
	case p.tok.is("queue"):
		p.setting()
	case p.take("scrub"):
		p.scrubbed()
	default:
		return false
	}
	return true
}

// set reads one setting of a rule, or several in parentheses.
func (p *parser) set() {
	if !p.take("(") {
		p.setting()
		return
	}
	for first := true; first || !p.take(")"); first = false {
		if !first {
			p.take(",")
		}
		p.setting()
	}
}

func (p *parser) setting() {
	name := p.raw("a setting")
	s := &p.sets
	if d := p.config.Dialect; d != OpenBSD && name != "prio" && (d != FreeBSD || name != "tos") {
		p.refuse("%s does not set %s", d.system(), name)
	}
	once := func(to *string, value string) {
		if *to != "" {
			p.refuse("%s is set twice", name)
		}
		*to = value
	}
	switch name {
	case "prio":
		once(&s.prio, p.priorities())
	case "queue":
		once(&s.queue, p.queues())
	case "tos":
		once(&s.tos, "tos "+p.tos())
	case "delay":
		once(&s.delay, "delay "+strconv.FormatUint(p.uint(65535), 10))
	default:
		p.refuse("%q is no setting of a rule", name)
	}
}

// highestPriority is that of queues (IFQ_MAXPRIO).
const highestPriority = 7

func (p *parser) priorities() string {
	if !p.take("(") {
		return "prio " + strconv.FormatUint(p.uint(highestPriority), 10)
	}
	a := p.uint(highestPriority)
	p.take(",")
	b := p.uint(highestPriority)
	p.expect(")")
	if a == b {
		return fmt.Sprintf("prio %d", a)
	}
	return fmt.Sprintf("prio(%d, %d)", a, b)
}

func (p *parser) queues() string {
	if !p.take("(") {
		return "queue " + quoteName(p.str("a queue"))
	}
	s := quoteName(p.str("a queue"))
	if !p.tok.is(")") {
		p.take(",")
		s = "queue(" + s + ", " + quoteName(p.str("a queue")) + ")"
	} else {
		s = "queue " + s
	}
	p.expect(")")
	return s
}

// scrub reads what is normalized.
func (p *parser) scrubbed() {
	p.expect("(")
	for first := true; first || !p.take(")"); first = false {
		if !first {
			p.take(",")
		}
		name := p.raw("an option of scrub")
		i := slices.Index(scrubs, name)
		if i < 0 {
			p.refuse("%q is no option of scrub", name)
		}
		if p.sets.scrub[i] != "" {
			p.refuse("%s cannot be said twice", name)
		}
		p.sets.scrub[i] = name + p.scrubValue(name)
	}
}

func (p *parser) scrubValue(name string) string {
	switch name {
	case "min-ttl":
		return " " + strconv.FormatUint(p.uint(255), 10)
	case "max-mss":
		return " " + strconv.FormatUint(p.uint(65535), 10)
	case "reassemble":
		p.expect("tcp")
		return " tcp"
	}
	return ""
}

// Names of what stands in the field for the type of service.
var serviceTypes = []named{
	{"af11", 0x28}, {"af12", 0x30}, {"af13", 0x38}, {"af21", 0x48}, {"af22", 0x50}, {"af23", 0x58}, {"af31", 0x68},
	{"af32", 0x70}, {"af33", 0x78}, {"af41", 0x88}, {"af42", 0x90}, {"af43", 0x98}, {"critical", 0xa0}, {"cs0", 0},
	{"cs1", 0x20}, {"cs2", 0x40}, {"cs3", 0x60}, {"cs4", 0x80}, {"cs5", 0xa0}, {"cs6", 0xc0}, {"cs7", 0xe0},
	{"ef", 0xb8}, {"inetcontrol", 0xc0}, {"lowdelay", 0x10}, {"netcontrol", 0xe0}, {"reliability", 0x04},
	{"throughput", 0x08},
}

// tos reads a type of service; pfctl prints it in hexadecimal.
func (p *parser) tos() string {
	text := p.tok.text
	n, ok := number(serviceTypes, strings.ToLower(text), 255)
	if hex, is := strings.CutPrefix(text, "0x"); is {
		v, err := strconv.ParseUint(hex, 16, 8)
		n, ok = int(v), err == nil
	}
	if !ok {
		p.refuse("%s is no type of service", p.tok)
	}
	p.advance()
	return fmt.Sprintf("0x%02x", n)
}

// probability reads a part of one, or of a hundred with a "%". The kernel counts in
// parts of 2^32, which shows in what pfctl prints.
func (p *parser) probability() string {
	text := p.raw("a probability")
	digits, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if percent {
		v *= 0.01
	}
	parts := math.Floor(v*math.MaxUint32 + 0.5)
	if err != nil || !(parts >= 0 && parts <= math.MaxUint32) {
		p.refuse("%q is no probability", text)
	}
	s := strconv.FormatFloat(max(parts, 1)*100/(math.MaxUint32+1), 'f', 6, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + "%"
}

// owners reads users or groups. pfctl knows them by number; that of root is 0
// everywhere, as is the group wheel's.
func (p *parser) owners() []string {
	var out []string
	owner := func() string {
		w := p.raw("a user or a group")
		if w == "root" || w == "wheel" {
			return "0"
		}
		return quoteName(w)
	}
	p.items(func() {
		op := p.takeOne("!=", "<=", ">=", "<", ">", "=")
		w := cmp.Or(op, "=") + " " + owner()
		if between := p.takeOne("><", "<>"); between != "" {
			if op != "" {
				p.refuse("%q cannot stand with %q", between, op)
			}
			w = strings.TrimPrefix(w, "= ") + " " + between + " " + owner()
		}
		out = append(out, w)
	})
	return out
}

// ask adds a condition that no packet tells. Of users and groups each rule has one
// list, what was said last first.
func (p *parser) ask(m *Match) {
	name := p.tok.text
	i := slices.IndexFunc(m.Unknown, func(u string) bool { return firstWord(u) == name })
	if i < 0 {
		m.Unknown = append(m.Unknown, p.condition())
		return
	}
	switch name {
	case "user", "group":
		p.advance()
		before := strings.Trim(strings.TrimPrefix(m.Unknown[i], name), "{ }")
		m.Unknown[i] = name + " " + list(append(p.owners(), strings.Split(before, ", ")...))
	case "probability", "once":
		m.Unknown[i] = p.condition()
	default:
		p.refuse("%s cannot be said twice", name)
	}
}

// The options of a state in the order in which pfctl prints them.
var stateOrder = []string{
	"max", "no-sync", "source-track", "max-src-states", "max-src-conn", "max-src-conn-rate", "max-src-nodes", "overload",
	"if-bound", "floating", "sloppy", "pflow", "allow-related",
	"tcp.first", "tcp.opening", "tcp.established", "tcp.closing", "tcp.finwait", "tcp.closed", "sctp.first",
	"sctp.opening", "sctp.established", "sctp.closing", "sctp.closed", "udp.first", "udp.single", "udp.multiple",
	"icmp.first", "icmp.error", "other.first", "other.single", "other.multiple", "adaptive.start", "adaptive.end",
	"src.track", "tcp.tsdiff",
}

// stateAt is the place of an option in their order.
func stateAt(o string) int { return slices.Index(stateOrder, strings.SplitN(o, " ", 2)[0]) }

func inStateOrder(options []string) {
	slices.SortStableFunc(options, func(a, b string) int { return stateAt(a) - stateAt(b) })
}

// stateOptions puts the options that were read into their order.
func (p *parser) stateOptions(r *Rule) {
	name := func(o string) string { return strings.SplitN(o, " ", 2)[0] }
	inStateOrder(r.Options)
	slices.SortStableFunc(r.Rates, func(a, b Rate) int { return stateAt(a.Name) - stateAt(b.Name) })
	for i, o := range r.Options[:max(len(r.Options)-1, 0)] {
		if name(o) == name(r.Options[i+1]) {
			p.refuse("%s is said twice of a state", name(o))
		}
	}
	i := slices.IndexFunc(r.Options, func(o string) bool { return name(o) == "overload" })
	if i < 0 {
		return
	}
	table, flush, _ := strings.Cut(strings.TrimPrefix(r.Options[i], "overload <"), ">")
	if !slices.ContainsFunc(r.Rates, func(x Rate) bool { return strings.HasPrefix(x.Name, "max-src-conn") }) {
		p.refuse("overload needs max-src-conn or max-src-conn-rate")
	}
	for i := range r.Rates {
		r.Rates[i].Overload, r.Rates[i].Flush = table, strings.TrimSpace(flush)
	}
}

// routeTo reads where OpenBSD sends packets instead.
func (p *parser) routeTo(r *Rule) {
	kind := p.tok.text
	if r.Route != "" {
		p.refuse("%s is too much: the rule has %s", kind, r.Route)
	}
	p.advance()
	p.items(func() { r.hops = append(r.hops, p.host()) })
	options := p.poolOptions(len(r.hops) > 1 || r.hops[0].lookedUp())
	p.consistentChoice(kind, r.hops, nil, options)
	r.Route = kind + " " + poolText(r.hops, nil, strings.Join(options, " "))
}

// hashKey writes a key as pfctl does, if it is a number.
func hashKey(key string) string {
	if strings.HasPrefix(key, "0x") {
		return strings.ToLower(key)
	}
	return quoteName(key)
}
