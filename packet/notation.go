package packet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Expr is a packet in notation whose ends may still be names:
//
//	[input | output | forward] [in IF] [out IF] PROTO SRC[:PORT] -> DST[:PORT] [TYPE[/CODE]] [STATE] [flags F,F]
//
// "to" may stand for "->". Without a hook word, "in" alone means the input hook,
// "out" alone the output hook, both the forward hook, neither the input hook.
// [ParseExpr] makes one; [Expr.Packet] makes it concrete.
type Expr struct {
	Hook     Hook
	In, Out  string // as written; a test of a policy may have patterns here; "" for any
	Proto    Proto  // zero if AnyProto
	AnyProto bool   // the protocol was written as "any"
	Src, Dst End
	Type     *uint8 // ICMP type; nil: none was written
	Code     *uint8 // ICMP code; nil: none was written
	State    State
	Flags    *Flags // nil: none were written, which means the first packet of a flow

	named bool // the protocol was written as a name
}

// End is one end of an Expr.
type End struct {
	Name   string // an address, or whatever else was written: "any", "host", a group, a prefix
	Ports  Ports  // empty: none were written
	Offset int    // where the end begins in the text, in bytes
}

// Addr returns the end's address if it is written as one.
func (e End) Addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(e.Name)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// SyntaxError says what is wrong with a packet in notation, and where.
type SyntaxError struct {
	Offset  int    // in bytes from the start of the text
	Summary string // lower case, no final period
	Hint    string // the way out; may be empty
}

// Error writes summary and hint on one line.
func (e *SyntaxError) Error() string {
	if e.Hint == "" {
		return e.Summary
	}
	return e.Summary + " (" + e.Hint + ")"
}

// EphemeralPort is the source port of a packet in which none was written: the
// first of the dynamic ports (RFC 6335, section 6).
const EphemeralPort = 49152

// Parse reads one packet in the notation of [Expr]. Both ends must be
// addresses. A destination port must be given where the protocol has ports; a
// missing source port is [EphemeralPort], a missing ICMP type an echo request.
// Errors are of type *SyntaxError.
func Parse(s string) (Packet, error) {
	e, err := ParseExpr(s)
	if err != nil {
		return Packet{}, err
	}
	return e.Packet(nil)
}

// ParseExpr reads a packet in notation without asking what its ends mean.
// Errors are of type *SyntaxError.
func ParseExpr(s string) (Expr, error) {
	p := parser{words: split(s), end: len(s)}
	e := Expr{}
	for _, step := range []func(*Expr) error{p.hook, p.proto, p.source, p.arrow, p.destination, p.tail} {
		if err := step(&e); err != nil {
			return Expr{}, err
		}
	}
	return e, nil
}

// word is one blank-separated part of the text.
type word struct {
	text   string
	offset int
}

func split(s string) []word {
	var ws []word
	for i := 0; i < len(s); {
		if isBlank(s[i]) {
			i++
			continue
		}
		j := i
		for j < len(s) && !isBlank(s[j]) {
			j++
		}
		ws = append(ws, word{s[i:j], i})
		i = j
	}
	return ws
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// parser takes the words one after the other.
type parser struct {
	words []word
	end   int // the length of the text
}

// peek returns the next word, "" at the end of the text.
func (p *parser) peek() word {
	if len(p.words) == 0 {
		return word{"", p.end}
	}
	return p.words[0]
}

func (p *parser) next() word {
	w := p.peek()
	if len(p.words) > 0 {
		p.words = p.words[1:]
	}
	return w
}

func fail(w word, hint, format string, args ...any) error {
	return &SyntaxError{Offset: w.offset, Summary: fmt.Sprintf(format, args...), Hint: hint}
}

func (p *parser) hook(e *Expr) error {
	named := true
	if i := slices.Index(hookNames[:], p.peek().text); i >= 0 {
		p.next()
		e.Hook = Hook(i)
	} else {
		named = false
	}
	for p.peek().text == "in" || p.peek().text == "out" {
		if err := p.iface(e); err != nil {
			return err
		}
	}
	if !named {
		e.Hook = hookOf(e.In, e.Out)
	}
	return nil
}

// hookOf returns the hook that is meant when interfaces are named and no hook is.
func hookOf(in, out string) Hook {
	switch {
	case out == "":
		return Input
	case in == "":
		return Output
	}
	return Forward
}

func (p *parser) iface(e *Expr) error {
	side, name := p.next(), p.next()
	to := &e.In
	if side.text == "out" {
		to = &e.Out
	}
	switch {
	case name.text == "":
		return fail(name, "", "%q needs the name of an interface", side.text)
	case *to != "":
		return fail(side, "", "%q is given twice", side.text)
	}
	*to = name.text
	return nil
}

func (p *parser) proto(e *Expr) error {
	w := p.next()
	if w.text == "any" {
		e.AnyProto = true
		return nil
	}
	name := w.text
	if name == "icmpv6" {
		name = ICMPv6.String()
	}
	proto, ok := ParseProto(name)
	if !ok {
		return protoError(w)
	}
	e.Proto, e.named = proto, name == proto.String()
	return nil
}

func protoError(w word) error {
	if w.text == "" {
		return fail(w, "write for example: tcp 203.0.113.9 -> 192.0.2.10:22", "the packet needs a protocol")
	}
	hint := ""
	if lower := strings.ToLower(w.text); lower != w.text {
		hint = "protocols are lower case: " + lower
	}
	return fail(w, hint, "unknown protocol %q", w.text)
}

func (p *parser) source(e *Expr) (err error) {
	e.Src, err = p.endpoint("source", e)
	return err
}

func (p *parser) destination(e *Expr) (err error) {
	w := p.peek()
	if e.Dst, err = p.endpoint("destination", e); err != nil {
		return err
	}
	return e.settleICMP(w)
}

func (p *parser) arrow(*Expr) error {
	w := p.next()
	switch w.text {
	case "->", "to":
		return nil
	case "-", "":
		return fail(w, quoteHint, "the packet ends before its destination")
	}
	return fail(w, "", "expected -> or to before the destination, not %q", w.text)
}

// quoteHint is for a text that the shell cut at an unquoted ">".
const quoteHint = `quote the packet, an unquoted > is the shell's; or write "to" for "->"`

func (p *parser) endpoint(side string, e *Expr) (End, error) {
	w := p.next()
	if w.text == "" || w.text == "->" || w.text == "to" {
		return End{}, fail(w, "", "the packet needs a %s", side)
	}
	name, ports, ok := cutPort(w.text)
	if name == "" {
		return End{}, fail(w, "", "the %s has no address", side)
	}
	end := End{Name: name, Offset: w.offset}
	if !ok {
		return end, nil
	}
	if !e.AnyProto && !e.Proto.HasPorts() {
		return End{}, fail(w, "", "protocol %s has no ports", e.Proto)
	}
	r, ok := parsePortRange(ports)
	if !ok {
		return End{}, fail(w, "a number from 0 to 65535, or a range such as 8000-8010", "bad port %q", ports)
	}
	end.Ports = NewPorts(r)
	return end, nil
}

// cutPort splits "host:22", "[2001:db8::1]:22" and "[2001:db8::1]"; two colons
// without brackets are an IPv6 address without a port.
func cutPort(s string) (name, port string, found bool) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		name, tail, closed := strings.Cut(rest, "]")
		switch {
		case closed && tail == "":
			return name, "", false
		case closed && tail[0] == ':':
			return name, tail[1:], true
		}
		return s, "", false
	}
	if strings.Count(s, ":") != 1 {
		return s, "", false
	}
	return strings.Cut(s, ":")
}

func parsePortRange(s string) (PortRange, bool) {
	lo, hi, ranged := strings.Cut(s, "-")
	if !ranged {
		hi = lo
	}
	l, ok1 := parseUint[uint16](lo, 16)
	h, ok2 := parseUint[uint16](hi, 16)
	return PortRange{l, h}, ok1 && ok2 && l <= h
}

// tail reads what stands behind the destination, in any order.
func (p *parser) tail(e *Expr) error {
	var typed, stated bool
	for len(p.words) > 0 {
		w := p.next()
		state := State(max(0, slices.Index(stateNames[:], w.text)))
		switch {
		case w.text == "flags" && e.Flags == nil && e.Proto == TCP:
			if err := p.flags(e); err != nil {
				return err
			}
		case !stated && stateNames[state] == w.text:
			e.State, stated = state, true
		case !typed && e.Proto.IsICMP():
			if err := e.icmp(w); err != nil {
				return err
			}
			typed = true
		default:
			return fail(w, "", "unexpected %q behind the destination", w.text)
		}
	}
	return nil
}

func (p *parser) flags(e *Expr) error {
	w := p.next()
	f, ok := parseFlags(w.text)
	if !ok {
		return fail(w, "flags are fin, syn, rst, psh, ack, urg, joined by commas, or none", "bad TCP flags %q", w.text)
	}
	e.Flags = &f
	return nil
}

func (e *Expr) icmp(w word) error {
	typ, code, coded := strings.Cut(w.text, "/")
	t, ok := ParseICMPType(e.Proto, typ)
	if !ok {
		return fail(w, "a name as nft has it, such as echo-request, or a number", "unknown %s type %q", e.Proto, typ)
	}
	e.Type = &t
	if !coded {
		return nil
	}
	c, ok := parseUint[uint8](code, 8)
	if !ok {
		return fail(w, "a number from 0 to 255", "bad %s code %q", e.Proto, code)
	}
	e.Code = &c
	return nil
}

// settleICMP makes "icmp" mean ICMPv6 where an end is an IPv6 address, and
// refuses "icmpv6" where one is an IPv4 address. Written as numbers, 1 and 58
// are just protocols.
func (e *Expr) settleICMP(w word) error {
	is6, known := e.family()
	switch {
	case !known || !e.named:
	case is6 && e.Proto == ICMP:
		e.Proto = ICMPv6
	case !is6 && e.Proto == ICMPv6:
		return fail(w, "write icmp", "ICMPv6 does not go with an IPv4 address")
	}
	return nil
}

// family returns the address family of the ends, as far as they are addresses.
func (e *Expr) family() (is6, known bool) {
	for _, end := range []End{e.Src, e.Dst} {
		if a, ok := end.Addr(); ok {
			return a.Is6(), true
		}
	}
	return false, false
}
