package iptables

import (
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// A module is what "-m NAME" loads.
type module struct {
	// options are its options in their usual form; nil: those that follow it.
	options []string
	// test is the condition of the match, or of one of its options; the match is
	// then the conjunction of all. Without either, what the match looks at is
	// no part of a packet as fwctl knows it, and its text is an unknown. A nil
	// condition says that it was not understood.
	whole func(r *reader, p *part, x *rule) packet.Cond
	each  func(r *reader, o *option) packet.Cond
	// always is what the match asks for whatever its options are.
	always packet.Cond
}

// modules are the matches that are understood.
var modules = map[string]module{
	"comment":   {options: []string{"comment"}, each: func(*reader, *option) packet.Cond { return packet.All{} }},
	"tcp":       {options: []string{"sport", "dport", "tcp-flags", "syn", "tcp-option"}, each: portOption, always: header(packet.TCP)},
	"udp":       {options: []string{"sport", "dport"}, each: portOption, always: header(packet.UDP)},
	"udplite":   {options: []string{"sport", "dport"}, each: portOption, always: header(packet.UDPLite)},
	"sctp":      {options: []string{"sport", "dport", "chunk-types"}, each: portOption, always: header(packet.SCTP)},
	"dccp":      {options: []string{"sport", "dport", "dccp-types", "dccp-option"}, each: portOption, always: header(packet.DCCP)},
	"multiport": {options: []string{"sports", "dports", "ports"}, each: (*reader).multiport, always: header(withPorts...)},
	"icmp":      {options: []string{"icmp-type"}, each: icmpOption, always: header(packet.ICMP)},
	"icmp6":     {options: []string{"icmpv6-type"}, each: icmpOption, always: header(packet.ICMPv6)},
	"conntrack": {options: []string{
		"ctstate", "ctproto", "ctorigsrc", "ctorigdst", "ctreplsrc", "ctrepldst", "ctorigsrcport", "ctorigdstport",
		"ctreplsrcport", "ctrepldstport", "ctstatus", "ctexpire", "ctdir",
	}, whole: (*reader).conntrack},
	"state":    {options: []string{"state"}, whole: (*reader).conntrack},
	"connmark": {options: []string{"mark"}, each: connmarkOption, always: tracked},
	"mark":     {options: []string{"mark"}, each: markOption},
	"addrtype": {options: []string{"src-type", "dst-type", "limit-iface-in", "limit-iface-out"}, whole: (*reader).addrtype},
	"iprange":  {options: []string{"src-range", "dst-range"}, each: rangeOption},
	"mac":      {options: []string{"mac-source"}, each: macOption, always: packet.Not{Cond: packet.Iface{Pattern: "lo"}}},
	"pkttype":  {options: []string{"pkt-type"}, each: packetTypeOption},
	"owner":    {options: []string{"uid-owner", "gid-owner", "socket-exists", "suppl-groups"}, whole: (*reader).owner},
	"ttl":      {options: []string{"ttl-eq", "ttl-lt", "ttl-gt"}, each: ttlOption},
	"hl":       {options: []string{"hl-eq", "hl-lt", "hl-gt"}, each: ttlOption},
	"dscp":     {options: []string{"dscp", "dscp-class"}, each: dscpOption},
	"tos":      {options: []string{"tos"}, each: tosOption},
	"length":   {options: []string{"length"}, each: lengthOption},
	"set":      {options: []string{"match-set", "set", "return-nomatch", "update-counters", "update-subcounters"}, whole: (*reader).matchSet},
	"limit":    {options: []string{"limit", "limit-burst"}, whole: (*reader).limit},
	"hashlimit": {options: []string{
		"hashlimit", "hashlimit-upto", "hashlimit-above", "hashlimit-burst", "hashlimit-mode", "hashlimit-srcmask", "hashlimit-dstmask",
		"hashlimit-name", "hashlimit-htable-size", "hashlimit-htable-max", "hashlimit-htable-expire", "hashlimit-htable-gcinterval",
		"hashlimit-rate-match", "hashlimit-rate-interval",
	}, whole: (*reader).hashlimit},
	"time": {options: []string{
		"datestart", "datestop", "timestart", "timestop", "monthdays", "weekdays", "kerneltz", "contiguous", "utc", "localtz",
	}, whole: (*reader).time},
	"rpfilter": {options: []string{"loose", "validmark", "accept-local", "invert"}, whole: rpfilter},
	"recent": {options: []string{
		"set", "rcheck", "update", "remove", "seconds", "reap", "hitcount", "rttl", "name", "rsource", "rdest", "mask",
	}, whole: recent},
	"connlimit": {options: []string{"connlimit-upto", "connlimit-above", "connlimit-mask", "connlimit-saddr", "connlimit-daddr"}, whole: connlimit},

	// What these look at is no part of a packet as fwctl knows it.
	"ah": {}, "bpf": {}, "cgroup": {}, "cluster": {}, "connbytes": {}, "connlabel": {}, "cpu": {}, "devgroup": {}, "dst": {},
	"ecn": {}, "esp": {}, "eui64": {}, "frag": {}, "hbh": {}, "helper": {}, "ipcomp": {}, "ipv6header": {}, "ipvs": {}, "l2tp": {}, "mh": {},
	"nfacct": {}, "osf": {}, "physdev": {}, "policy": {}, "quota": {}, "rateest": {}, "realm": {}, "rt": {}, "socket": {},
	"srh": {}, "statistic": {}, "string": {}, "tcpmss": {}, "u32": {},
}

// match is the condition of one match.
func (r *reader) match(p *part, x *rule) packet.Cond {
	m, ok := modules[p.name]
	switch {
	case !ok:
		return r.unknown(p.String(), true)
	case m.whole != nil:
		if c := m.whole(r, p, x); c != nil {
			return c
		}
		return r.unknown(p.String(), true)
	case m.each == nil:
		return r.unknown(p.String(), false)
	}
	var all packet.All
	if m.always != nil {
		all = append(all, m.always)
	}
	for i := range p.options {
		all = append(all, r.option(p, &p.options[i], m.each))
	}
	return all
}

// option is the condition of one option, turned over where it is negated.
func (r *reader) option(p *part, o *option, test func(*reader, *option) packet.Cond) packet.Cond {
	var c packet.Cond
	if o.known {
		c = test(r, o)
	}
	switch {
	case c == nil:
		return r.unsupported(p, o)
	case o.not:
		return packet.Not{Cond: c}
	}
	return c
}

// header is the conditions of the rule's own options.
func (r *reader) header(own *part) packet.All {
	var all packet.All
	for i := range own.options {
		if o := &own.options[i]; o.name != "c" && o.name != "4" && o.name != "6" {
			all = append(all, r.option(own, o, ownOption))
		}
	}
	return all
}

func ownOption(r *reader, o *option) packet.Cond {
	if o.name == "f" && len(o.args) == 0 && !r.is6 {
		return number(packet.FieldFragment, 1)
	}
	value, ok := o.arg()
	if !ok {
		return nil
	}
	switch o.name {
	case "p":
		return r.protocol(value)
	case "s":
		return r.addresses(packet.FieldSrc, value)
	case "d":
		return r.addresses(packet.FieldDst, value)
	case "i", "o":
		return iface(value, o.name == "o")
	}
	return nil
}

// protocol tests for a name or a number; 0 is every protocol.
func (r *reader) protocol(name string) packet.Cond {
	ps, ok := r.protocols(name)
	switch {
	case !ok:
		return nil
	case ps == nil:
		return packet.All{}
	}
	return packet.In{Field: packet.FieldProto, Set: ps}
}

// protocols reads a protocol; nil stands for all.
func (r *reader) protocols(name string) (packet.Ranges, bool) {
	name = strings.ToLower(name)
	if name == "all" {
		return nil, true
	}
	n, ok := integer(r.opt.Protocols.number(name), 8)
	if ok && n == 0 {
		return nil, true
	}
	return packet.Ranges{packet.Single(packet.Number(n))}, ok
}

// iface reads an interface's name, or the beginning of one before a "+".
func iface(name string, out bool) packet.Cond {
	switch n := len(name); {
	case name == "+":
		return packet.All{}
	case strings.HasSuffix(name, "*"):
		return nil // elsewhere that is a wildcard, here it is not
	case n > 1 && name[n-1] == '+':
		name = name[:n-1] + "*"
	}
	return packet.Iface{Out: out, Pattern: name}
}

// number is the condition that a field has one of the values.
func number(f packet.Field, ns ...uint64) packet.Cond {
	rs := make([]packet.Range, len(ns))
	for i, n := range ns {
		rs[i] = packet.Single(packet.Number(n))
	}
	return packet.In{Field: f, Set: packet.NewRanges(rs...)}
}

// between is the condition that a field is in a range; none if it is reversed.
func between(f packet.Field, r packet.Range) packet.Cond {
	if r.Lo.Compare(r.Hi) > 0 {
		return packet.Never
	}
	return packet.In{Field: f, Set: packet.Ranges{r}}
}
