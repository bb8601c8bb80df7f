package iptables

import (
	"net"
	"net/netip"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Sets are sets of ipset by name.
type Sets map[string]*Set

// Set is one set and its elements. What has a timeout counts as an element.
type Set struct {
	Name     string
	kinds    []string // what its elements consist of: "ip", "net", "port", "iface", "mac", "mark"
	bitmap   bool
	is6      bool
	anyIP    bool // it is of no family
	bits     int  // of addresses that count in a set of addresses; -1: all
	elements []element
	members  []string // of a set of sets
	opaque   bool     // something in it was not understood
}

// element is what one entry of a set consists of, part by part.
type element struct {
	parts   []portion
	nomatch bool
}

// portion is one part of an element: an address, a port, a name.
type portion struct {
	values packet.Range
	length int // of the prefix; of ports the protocol
	shape  shape
	iface  string // the interface's pattern
}

// shape is which fields a portion is about.
type shape uint8

const (
	shapeAddr  shape = iota
	shapePorts       // protocol in proto, ports in values
	shapeICMP        // type and code in values
	shapeOther       // a protocol without ports
	shapeIface
	shapeMAC
	shapeMark
)

// ParseSets reads the text of "ipset save", or what was written for "ipset
// restore". A set about which a line says something else is not understood.
func ParseSets(text string, protocols Protocols) Sets {
	sets := Sets{}
	for line := range strings.Lines(text) {
		f := Words(strings.TrimSpace(line))
		if len(f) < 3 || f[0] != "create" && f[0] != "add" {
			if len(f) >= 2 && sets[f[1]] != nil {
				sets[f[1]].opaque = true
			}
			continue
		}
		if f[0] == "create" {
			sets[f[1]] = newSet(f[1], f[2], f[3:])
			continue
		}
		if s := sets[f[1]]; s != nil {
			s.add(f[2], f[3:], protocols)
		}
	}
	return sets
}

// newSet reads what is behind "create NAME".
func newSet(name, typ string, options []string) *Set {
	method, kinds, _ := strings.Cut(typ, ":")
	s := &Set{Name: name, kinds: strings.Split(kinds, ","), bits: -1, bitmap: method == "bitmap"}
	s.anyIP = method == "list" || kinds == "port" || kinds == "mac"
	s.opaque = method != "hash" && method != "bitmap" && method != "list"
	for i := 0; i+1 < len(options); i++ {
		value := options[i+1]
		switch options[i] {
		case "family":
			s.is6 = value == "inet6"
		case "netmask":
			n, ok := integer(value, 8)
			s.bits, s.opaque = int(n), s.opaque || !ok
		case "bitmask", "markmask":
			s.opaque = true
		}
	}
	return s
}

// add reads what is behind "add NAME".
func (s *Set) add(text string, options []string, protocols Protocols) {
	nomatch, wildcard, position := elementOptions(options)
	if s.kinds[0] == "set" {
		s.members = append(s.members, text)
		s.opaque = s.opaque || position
		return
	}
	words := strings.Split(text, ",")
	if len(words) != len(s.kinds) {
		s.opaque = true // "10.0.0.1" in a set of addresses and MAC addresses
		return
	}
	e := element{parts: make([]portion, len(words)), nomatch: nomatch}
	for i, w := range words {
		p, ok := s.portion(s.kinds[i], w, protocols)
		if !ok {
			s.opaque = true
			return
		}
		if wildcard && p.shape == shapeIface {
			p.iface += "*"
		}
		e.parts[i] = p
	}
	s.elements = append(s.elements, e)
	if s.bitmap && s.kinds[0] == "port" { // of TCP, and of UDP as well
		p := e.parts[0]
		p.length = int(packet.UDP)
		s.elements = append(s.elements, element{parts: []portion{p}})
	}
}

// elementOptions reads what is behind "add NAME ELEMENT". A position is in a set
// of sets.
func elementOptions(words []string) (nomatch, wildcard, position bool) {
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "timeout", "packets", "bytes", "comment", "skbmark", "skbprio", "skbqueue":
			i++
		case "nomatch":
			nomatch = true
		case "wildcard":
			wildcard = true
		case "before", "after":
			position = true
		}
	}
	return nomatch, wildcard, position
}

func (s *Set) portion(kind, text string, protocols Protocols) (portion, bool) {
	switch kind {
	case "ip", "net":
		return s.addrPortion(text)
	case "port":
		return portPortion(text, protocols)
	case "iface":
		ok := text != "" && !strings.HasSuffix(text, "*") && !strings.HasPrefix(text, "physdev:")
		return portion{shape: shapeIface, iface: text}, ok
	case "mac":
		mac, err := net.ParseMAC(text)
		return portion{shape: shapeMAC, values: packet.Single(packet.BytesValue(mac))}, err == nil && len(mac) == 6
	case "mark":
		n, ok := integer(text, 32)
		return portion{shape: shapeMark, values: packet.Single(packet.Number(n))}, ok
	}
	return portion{}, false
}

// addrPortion reads an address, a prefix or a range.
func (s *Set) addrPortion(text string) (portion, bool) {
	from, to, isRange := strings.Cut(text, "-")
	p, ok := s.prefix(from)
	if !ok || !isRange {
		return portion{values: prefixRange(p), length: p.Bits()}, ok
	}
	last, ok := s.prefix(to)
	return portion{values: ordered(packet.Range{Lo: prefixRange(p).Lo, Hi: prefixRange(last).Hi}), length: p.Bits()}, ok
}

// ordered is a range whose ends ipset puts into order, as the kernel does.
func ordered(r packet.Range) packet.Range {
	if r.Lo.Compare(r.Hi) > 0 {
		return packet.Range{Lo: r.Hi, Hi: r.Lo}
	}
	return r
}

func (s *Set) prefix(text string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil {
			p = netip.PrefixFrom(a, a.BitLen())
		}
	}
	if s.bits >= 0 && err == nil && s.bits < p.Bits() {
		p, err = p.Addr().Prefix(s.bits)
	}
	return p, err == nil && p.Addr().Zone() == "" && p.Addr().Is6() == s.is6
}

// portPortion reads "80", "tcp:80-90", "icmp:echo-request", "vrrp:0". The
// protocols whose ports a set knows are four (ip_set_getport.c).
func portPortion(text string, protocols Protocols) (portion, bool) {
	name, value, has := strings.Cut(text, ":")
	if !has {
		name, value = "tcp", text
	}
	n, ok := integer(protocols.number(name), 8)
	p := portion{length: int(n)}
	if !ok {
		return p, false
	}
	switch packet.Proto(n) {
	case packet.TCP, packet.UDP, packet.SCTP, packet.UDPLite:
		p.shape = shapePorts
		p.values, ok = span(value, "-", 16)
		p.values = ordered(p.values)
	case packet.ICMP, packet.ICMPv6:
		p.shape = shapeICMP
		var typ uint64
		var code packet.Range
		typ, code, ok = icmpType(value, packet.Proto(n) == packet.ICMPv6)
		if code.Lo != code.Hi {
			code.Hi = code.Lo // a type alone is its code 0
		}
		p.values = packet.Single(packet.Number(typ<<8 | code.Lo.Lo))
	default:
		p.shape = shapeOther
		ok = value == "0"
	}
	return p, ok
}

// proto is the protocol of a portion with ports.
func (p portion) proto() packet.Range { return packet.Single(packet.Number(uint64(p.length))) }

// matchSet is the match "set": a packet's addresses, ports and interfaces, each
// of the side that the match names, are looked up in a set.
func (r *reader) matchSet(p *part, _ *rule) packet.Cond {
	var all packet.All
	for i := range p.options {
		o := &p.options[i]
		switch o.name {
		case "match-set", "set":
			c := r.inSet(o)
			if o.not {
				c = packet.Not{Cond: c}
			}
			all = append(all, c)
		case "update-counters", "update-subcounters":
		default: // counters of elements, and return-nomatch
			return r.unknown(p.String(), false)
		}
	}
	return all
}

func (r *reader) inSet(o *option) packet.Cond {
	plain := option{name: o.name, args: o.args}
	key := plain.String()
	if c, done := r.tests[key]; done {
		return c
	}
	c := packet.Cond(nil)
	if len(o.args) == 2 {
		c = r.members(o.args[0], strings.Split(o.args[1], ","), 0)
	}
	if c == nil {
		// One unknown, however often it is asked for: the set is the same.
		c = packet.Unknown{Key: "-m set " + key, Unsupported: true}
	}
	r.tests[key] = c
	return c
}

// maxNested bounds sets of sets; ipset allows no set of sets in another.
const maxNested = 3

// members is the condition of being in a set, nil if that is not known.
func (r *reader) members(name string, sides []string, depth int) packet.Cond {
	s := r.opt.Sets[name]
	switch {
	case s == nil || s.opaque || depth > maxNested:
		return nil
	case !s.anyIP && s.is6 != r.is6:
		return packet.Never
	case s.kinds[0] == "set":
		var any packet.Any
		for _, m := range s.members {
			c := r.members(m, sides, depth+1)
			if c == nil {
				return nil
			}
			any = append(any, c)
		}
		return any
	case len(sides) < len(s.kinds):
		return packet.Never
	}
	for _, side := range sides {
		if side != "src" && side != "dst" {
			return nil
		}
	}
	l := lookup{set: s, sides: sides, is6: r.is6, leaving: r.hook == packet.Output || r.hook == packet.Postrouting}
	return l.cond()
}
