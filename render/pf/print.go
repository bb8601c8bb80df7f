package pf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Text writes the program for `pfctl -f`. Lists have no trailing comma, no line
// ends in a backslash, and nothing needs a name server to be read.
func (p *Program) Text() string {
	w := writer{}
	for _, l := range p.Lines {
		if m, ok := l.(Macro); ok {
			w.macros = append(w.macros, m)
		}
		w.line(l)
		w.b.WriteByte('\n')
	}
	return w.b.String()
}

// writer writes lines; macros are those that were defined so far.
type writer struct {
	b      strings.Builder
	macros []Macro
}

func (w *writer) line(l Line) {
	switch l := l.(type) {
	case Comment:
		w.b.WriteString(strings.TrimRight("# "+string(l), " "))
	case Blank:
	case Macro:
		w.b.WriteString(l.Name + ` = "` + braces(hostWords(l.Hosts)) + `"`)
	case Table:
		w.table(l)
	case Option:
		w.b.WriteString("set " + l.Name + " " + l.Value)
	case Scrub:
		w.b.WriteString("scrub in all")
	case AnchorPoint:
		w.b.WriteString(l.Keyword + ` "` + l.Name + `"`)
	case Load:
		w.b.WriteString(`load anchor "` + l.Anchor + `" from "` + l.File + `"`)
	case Rule:
		w.b.WriteString(strings.Join(w.rule(l), " "))
	}
}

// inLine is the number of table entries that still stand on the table's line;
// more have a line each, so that a difference between two files is short.
const inLine = 6

func (w *writer) table(t Table) {
	w.b.WriteString("table <" + t.Name + ">")
	if t.Const {
		w.b.WriteString(" const")
	}
	if t.Persist {
		w.b.WriteString(" persist")
	}
	switch {
	case t.Open:
	case t.Self:
		w.b.WriteString(" { self }")
	case len(t.Entries) == 0:
		w.b.WriteString(" { }")
	case len(t.Entries) <= inLine:
		w.b.WriteString(" { ")
		for i, e := range t.Entries {
			if i > 0 {
				w.b.WriteString(", ")
			}
			w.b.WriteString(e.word())
		}
		w.b.WriteString(" }")
	default:
		w.b.WriteString(" {\n")
		for _, e := range t.Entries {
			w.b.WriteString("\t" + e.word() + "\n")
		}
		w.b.WriteByte('}')
	}
}

var actionWords = [...]string{"pass", "block drop", "block return", "match"}

// rule returns the rule's words in the order that pfctl prints them in.
func (w *writer) rule(r Rule) []string {
	words := []string{actionWords[r.Action]}
	add := func(when bool, s string) {
		if when {
			words = append(words, s)
		}
	}
	add(r.Dir == In, "in")
	add(r.Dir == Out, "out")
	add(r.Log, "log")
	add(r.Quick, "quick")
	add(len(r.On) > 0, "on "+list(r.On))
	add(r.Family == Inet, "inet")
	add(r.Family == Inet6, "inet6")
	add(len(r.Protos) > 0, "proto "+list(protoWords(r.Protos)))
	words = append(words, w.hosts(r)...)
	add(r.Received.On != "" && r.Received.Not, "!")
	add(r.Received.On != "", "received-on "+r.Received.On)
	add(r.SYN, "flags S/SA")
	add(len(r.ICMPTypes) > 0, icmpWords(r))
	add(r.State == KeepState, "keep state"+rateWords(r.Rate))
	add(r.State == NoState, "no state")
	add(r.AllowOpts, "allow-opts")
	add(r.Label != "", `label "`+r.Label+`"`)
	add(r.Tag != "", "tag "+r.Tag)
	add(r.Tagged != "", "tagged "+r.Tagged)
	return words
}

func (w *writer) hosts(r Rule) []string {
	if r.From.any() && r.To.any() {
		return []string{"all"}
	}
	return []string{"from", w.endpoint(r.From), "to", w.endpoint(r.To)}
}

func (e Endpoint) any() bool { return len(e.Hosts) == 0 && len(e.Ports) == 0 }

func (w *writer) endpoint(e Endpoint) string {
	s := "any"
	if len(e.Hosts) > 0 {
		s = w.hostList(e.Hosts)
	}
	if len(e.Ports) > 0 {
		s += " port " + list(portWords(e.Ports))
	}
	return s
}

func (w *writer) hostList(hs []Host) string {
	for _, m := range w.macros {
		if slices.Equal(m.Hosts, hs) {
			return "$" + m.Name
		}
	}
	return list(hostWords(hs))
}

func rateWords(r Rate) string {
	if r.Count == 0 {
		return ""
	}
	return " (max-src-conn-rate " + decimal(r.Count) + "/" + decimal(r.Seconds) + ", overload <" + r.Overload + ">)"
}

// list writes one word as it is and several in braces.
func list(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return braces(words)
}

func braces(words []string) string { return "{ " + strings.Join(words, ", ") + " }" }

func hostWords(hs []Host) []string {
	words := make([]string, len(hs))
	for i, h := range hs {
		words[i] = h.word()
	}
	return words
}

func (h Host) word() string {
	switch {
	case h.Table != "":
		return "<" + h.Table + ">"
	case h.Dynamic != "":
		return "(" + h.Dynamic + ")"
	}
	return prefixWord(h.Prefix)
}

func (e Entry) word() string {
	if e.Not {
		return "!" + prefixWord(e.Prefix)
	}
	return prefixWord(e.Prefix)
}

func prefixWord(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func portWords(ps packet.Ports) []string {
	words := make([]string, len(ps))
	for i, r := range ps {
		words[i] = decimal(uint32(r.Lo))
		if r.Lo != r.Hi {
			words[i] += ":" + decimal(uint32(r.Hi))
		}
	}
	return words
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// protoNames are the protocols that every /etc/protocols knows by the same name;
// pfctl refuses a file with a name that it does not find there.
var protoNames = map[packet.Proto]string{
	packet.ICMP: "icmp", packet.IGMP: "igmp", packet.TCP: "tcp", packet.UDP: "udp", 47: "gre", 50: "esp", 51: "ah",
	packet.ICMPv6: "icmp6", packet.SCTP: "sctp",
}

func protoWords(ps []packet.Proto) []string {
	words := make([]string, len(ps))
	for i, p := range ps {
		name, ok := protoNames[p]
		if !ok {
			name = decimal(uint32(p))
		}
		words[i] = name
	}
	return words
}

// The names of ICMP types that all dialects know and print alike.
var (
	icmpNames = map[uint8]string{
		0: "echorep", 3: "unreach", 8: "echoreq", 9: "routeradv", 10: "routersol", 11: "timex", 12: "paramprob",
		13: "timereq", 15: "inforeq", 17: "maskreq",
	}
	icmp6Names = map[uint8]string{
		1: "unreach", 2: "toobig", 3: "timex", 4: "paramprob", 128: "echoreq", 129: "echorep", 130: "groupqry",
		131: "grouprep", 132: "groupterm", 133: "routersol", 134: "routeradv", 135: "neighbrsol", 136: "neighbradv",
		137: "redir",
	}
)

func icmpWords(r Rule) string {
	keyword, names := "icmp-type ", icmpNames
	if r.Family == Inet6 {
		keyword, names = "icmp6-type ", icmp6Names
	}
	words := make([]string, len(r.ICMPTypes))
	for i, t := range r.ICMPTypes {
		name, ok := names[t]
		if !ok {
			name = decimal(uint32(t))
		}
		words[i] = name
	}
	return keyword + list(words)
}
