package nftables

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Text returns the table as `nft -f` reads it, for a host that does not have it.
func (p *Program) Text() string {
	var b strings.Builder
	_ = p.Write(&b) // a Builder takes everything
	return b.String()
}

// Write prints what Text returns.
func (p *Program) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "table inet %s {\n", TableName)
	for i, s := range p.Sets {
		if i > 0 {
			out.WriteString("\n")
		}
		writeSet(out, s)
	}
	for i, c := range p.Chains {
		if i > 0 || len(p.Sets) > 0 {
			out.WriteString("\n")
		}
		writeChain(out, c)
	}
	out.WriteString("}\n")
	return out.Flush()
}

var fieldTypes = [...]string{"inet_proto", "inet_service", "ipv4_addr", "ipv6_addr", "icmp_type", "icmpv6_type"}

func writeSet(w *bufio.Writer, s *Set) {
	word, data := "set", ""
	if s.Map {
		word, data = "map", " : verdict"
	}
	types := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		types[i] = fieldTypes[f]
	}
	fmt.Fprintf(w, "\t%s %s {\n\t\ttype %s%s\n", word, s.Name, strings.Join(types, " . "), data)
	if s.Dynamic {
		fmt.Fprintf(w, "\t\tsize %d\n\t\tflags dynamic,timeout\n\t\ttimeout %s\n", s.Size, duration(s.Timeout))
	}
	if s.Interval {
		w.WriteString("\t\tflags interval\n")
	}
	if s.Comment != "" {
		fmt.Fprintf(w, "\t\tcomment %q\n", s.Comment)
	}
	writeElements(w, s)
	w.WriteString("\t}\n")
}

// lineLength is how long a line of elements may be; longer lists have a line for
// each.
const lineLength = 100

func writeElements(w *bufio.Writer, s *Set) {
	if len(s.Elements) == 0 {
		return
	}
	open, sep, end := " ", ", ", " }\n"
	if !shortElements(s) {
		open, sep, end = "\n\t\t\t", ",\n\t\t\t", "\n\t\t}\n"
	}
	w.WriteString("\t\telements = {" + open)
	for i, e := range s.Elements {
		if i > 0 {
			w.WriteString(sep)
		}
		w.WriteString(e.text(s))
	}
	w.WriteString(end)
}

func shortElements(s *Set) bool {
	n := 0
	for _, e := range s.Elements {
		if n += len(e.text(s)) + 2; n > lineLength {
			return false
		}
	}
	return true
}

func (e Element) text(s *Set) string {
	t := e.key(s.Fields)
	if e.Comment != "" {
		t += fmt.Sprintf(" comment %q", e.Comment)
	}
	if s.Map {
		t += " : " + e.Verdict.text()
	}
	return t
}

func (e Element) key(fields []Field) string {
	if len(fields) == 1 {
		return e.field(fields[0])
	}
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = e.field(f)
	}
	return strings.Join(parts, " . ")
}

func (e Element) field(f Field) string {
	switch f {
	case FieldProto:
		return protoText(e.Proto)
	case FieldPort:
		return e.Ports.String()
	case FieldICMP:
		return icmpText(false, e.ICMP)
	case FieldICMP6:
		return icmpText(true, e.ICMP)
	}
	return rangeText(e.Addrs)
}

// rangeText writes a range as one address or one prefix where it is one.
func rangeText(r netipx.IPRange) string {
	if p, ok := r.Prefix(); ok {
		if p.IsSingleIP() {
			return p.Addr().String()
		}
		return p.String()
	}
	return r.From().String() + "-" + r.To().String()
}

// priority is the word for it that nft lists.
func (b *Base) priority() string {
	if b.Priority == rules.PublishedPriority {
		return "dstnat - 10"
	}
	return "filter"
}

func writeChain(w *bufio.Writer, c *Chain) {
	fmt.Fprintf(w, "\tchain %s {\n", c.Name)
	if b := c.Base; b != nil {
		fmt.Fprintf(w, "\t\ttype filter hook %s priority %s; policy %s;\n", b.Hook, b.priority(), b.Policy)
	}
	for _, r := range c.Rules {
		w.WriteString("\t\t" + r.Text() + "\n")
	}
	w.WriteString("\t}\n")
}

// Text returns the rule as nft reads it.
func (r Rule) Text() string {
	parts := make([]string, 0, len(r.Stmts)+1)
	for _, s := range r.Stmts {
		parts = append(parts, stmtText(s))
	}
	if r.Comment != "" {
		parts = append(parts, fmt.Sprintf("comment %q", r.Comment))
	}
	return strings.Join(parts, " ")
}

func stmtText(s Stmt) string {
	switch s := s.(type) {
	case Loopback:
		return choose(s.Out, "oif", "iif") + ` "lo"`
	case Iface:
		return fmt.Sprintf("%s %q", choose(s.Out, "oifname", "iifname"), s.Pattern)
	case Family:
		return "meta nfproto " + choose(s.Is6, "ipv6", "ipv4")
	case L4Proto:
		return "meta l4proto " + protoText(s.Proto)
	case Port:
		return fmt.Sprintf("%s %s %s", s.Proto, choose(s.Src, "sport", "dport"), s.Range)
	case Addr:
		return addrWord(s.Prefix.Addr().Is6(), s.Src) + " " + rangeText(netipx.RangeOfPrefix(s.Prefix))
	case ICMPType:
		return choose(s.Is6, "icmpv6", "icmp") + " type " + icmpText(s.Is6, s.Type)
	case CTState:
		return "ct state " + statesText(s.States)
	case Translated:
		return "ct status dnat"
	case FibType:
		return fmt.Sprintf("fib %s type %s", choose(s.Src, "saddr", "daddr"), s.Type)
	case Before:
		// A number, because nft reads a date in the zone of whoever loads it.
		return "meta time < " + strconv.FormatInt(s.Time.Unix(), 10)
	case Lookup:
		return keyText(s.Key) + " @" + s.Set
	case Vmap:
		return keyText(s.Key) + " vmap @" + s.Map
	}
	return actionText(s)
}

func actionText(s Stmt) string {
	switch s := s.(type) {
	case Throttle:
		return fmt.Sprintf("update @%s { %s limit rate %s%d/%s burst %d packets }", s.Set, throttleKey(s.Is6),
			choose(s.Over, "over ", ""), s.Limit.Count, perText(s.Limit.Per), s.Limit.Count)
	case Log:
		return fmt.Sprintf("limit rate %d/second burst %d packets log prefix %q", LogRate, LogBurst, s.Prefix)
	case Counter:
		return "counter"
	case Reject:
		return choose(s.Reset, "reject with tcp reset", "reject with icmpx port-unreachable")
	case Verdict:
		return s.text()
	}
	panic(fmt.Sprintf("nftables: statement %T has no text", s))
}

// Every Log statement is bounded by these: lines per second, and at once.
const (
	LogRate  = 10
	LogBurst = 20
)

func (v Verdict) text() string {
	switch v.Kind {
	case Accept:
		return "accept"
	case Drop:
		return "drop"
	case Jump:
		return "jump " + v.Chain
	case Goto:
		return "goto " + v.Chain
	}
	return "return"
}

func keyText(key []Load) string {
	parts := make([]string, len(key))
	for i, l := range key {
		parts[i] = l.text()
	}
	return strings.Join(parts, " . ")
}

func (l Load) text() string {
	switch l.Field {
	case FieldProto:
		return "meta l4proto"
	case FieldPort:
		if l.Proto != 0 {
			return l.Proto.String() + " dport"
		}
		return "th dport"
	case FieldICMP:
		return "icmp type"
	case FieldICMP6:
		return "icmpv6 type"
	}
	is6 := l.Field == FieldAddr6
	s := addrWord(is6, l.Src)
	if l.Mask > 0 {
		s += " & " + maskText(is6, l.Mask)
	}
	return s
}

func throttleKey(is6 bool) string {
	if is6 {
		return "ip6 saddr & " + maskText(true, ThrottleBits6)
	}
	return "ip saddr"
}

// ThrottleBits6 is the length of the IPv6 network that counts as one source.
const ThrottleBits6 = 64

func addrWord(is6, src bool) string {
	return choose(is6, "ip6", "ip") + " " + choose(src, "saddr", "daddr")
}

func statesText(states []packet.State) string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = s.String()
	}
	return strings.Join(names, ",")
}

func choose(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

// protoText writes the names that nft knows by itself and numbers for the rest,
// which it would look up in /etc/protocols.
func protoText(p packet.Proto) string {
	switch p {
	case packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6, packet.IGMP, packet.SCTP, packet.DCCP, packet.UDPLite:
		return p.String()
	}
	return strconv.Itoa(int(p))
}

// duration writes a whole number of seconds as nft lists it: "1h", "1m30s".
func duration(d time.Duration) string {
	var b strings.Builder
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d %= u.unit
		}
	}
	return b.String()
}

func perText(d time.Duration) string {
	switch d {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	case time.Hour:
		return "hour"
	}
	return "day"
}
