package rules

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// portProtocols are the protocols that have ports, as policies name them.
var portProtocols = []string{"tcp", "udp", "sctp", "dccp", "udplite"}

const portPattern = `^[0-9]{1,5}(-[0-9]{1,5})?/(tcp|udp|sctp|dccp|udplite)$`

// parsePort reads "22/tcp" or "9000-9010/udp".
func parsePort(s string) (PortSpec, *mistake) {
	ports, proto, ok := strings.Cut(s, "/")
	if !ok {
		return PortSpec{}, portWithoutProtocol(s)
	}
	if !slices.Contains(portProtocols, proto) {
		return PortSpec{}, wrongPortProtocol(s, ports, proto)
	}
	p, _ := packet.ParseProto(proto)
	r, wrong := parsePortRange(s, ports, "/"+proto)
	return PortSpec{Proto: p, Range: r}, wrong
}

func portWithoutProtocol(s string) *mistake {
	if _, wrong := parsePortRange(s, s, ""); wrong == nil {
		return &mistake{quote(s) + " has no protocol", "write " + quote(s+"/tcp") + " or " + quote(s+"/udp")}
	}
	return notPort(s)
}

func notPort(s string) *mistake {
	return &mistake{quote(s) + " is not a port", `a port is such as "22/tcp" or "9000-9010/udp"`}
}

func wrongPortProtocol(s, ports, proto string) *mistake {
	lower := strings.ToLower(proto)
	hint := nearest(proto, portProtocols)
	switch p, known := packet.ParseProto(lower); {
	case slices.Contains(portProtocols, lower):
		hint = "write " + quote(ports+"/"+lower)
	case strings.ContainsAny(proto, ",/"):
		hint = "write " + quote(ports+"/tcp") + ", " + quote(ports+"/udp")
	case known && !p.HasPorts():
		return &mistake{quote(s) + ": " + lower + " has no ports", "use protocols = [" + quote(lower) + "]"}
	case isDigits(proto):
		hint = "the port comes first: " + quote("22/tcp")
	}
	return &mistake{quote(s) + " names no protocol with ports (" + alternatives(portProtocols) + ")", hint}
}

// parsePortRange reads "22" or "9000-9010", a part of s; suffix is what a hint
// puts behind it.
func parsePortRange(s, ports, suffix string) (packet.PortRange, *mistake) {
	lo, hi, isRange := strings.Cut(ports, "-")
	if !isRange {
		hi = lo
	}
	if l, h, ok := strings.Cut(ports, ":"); ok && isDigits(l) && isDigits(h) {
		return packet.PortRange{}, &mistake{quote(s) + " is not a range of ports", "write " + quote(l+"-"+h+suffix)}
	}
	if strings.Contains(ports, ",") {
		return packet.PortRange{}, &mistake{quote(s) + " holds several ports", "each port is a string of its own"}
	}
	if ports == "*" || ports == "any" {
		return packet.PortRange{}, &mistake{quote(s) + " is not a port", "all ports are " + quote("1-65535"+suffix)}
	}
	if !isDigits(lo) || !isDigits(hi) {
		return packet.PortRange{}, notPort(s)
	}
	from, err1 := strconv.ParseUint(lo, 10, 16)
	to, err2 := strconv.ParseUint(hi, 10, 16)
	switch {
	case err1 != nil || err2 != nil || from == 0 || to == 0:
		return packet.PortRange{}, &mistake{quote(s) + " is not a port", "ports are from 1 to 65535"}
	case from > to:
		return packet.PortRange{}, &mistake{quote(s) + " ends before it begins", "write " + quote(hi+"-"+lo+suffix)}
	case lo[0] == '0' || hi[0] == '0':
		return packet.PortRange{}, &mistake{quote(s) + " has a leading zero", ""}
	}
	return packet.PortRange{Lo: uint16(from), Hi: uint16(to)}, nil
}

// parseProtocol reads an entry of protocols.
func parseProtocol(s string) (ProtocolSpec, *mistake) {
	if s == "any" {
		return ProtocolSpec{Any: true}, nil
	}
	p, ok := packet.ParseProto(s)
	switch {
	case !ok && isDigits(s):
		return ProtocolSpec{}, &mistake{quote(s) + " is not a protocol", "protocol numbers are from 0 to 255"}
	case !ok:
		return ProtocolSpec{}, &mistake{quote(s) + " is not a protocol that is known by name",
			nearestOr(s, append(packet.ProtoNames(), "any"), "write its number, such as "+quote("112"))}
	case p.HasPorts():
		return ProtocolSpec{}, &mistake{p.String() + " has ports", "use ports, such as ports = [" + quote("443/"+p.String()) + "]; all of them are " + quote("1-65535/"+p.String())}
	}
	return ProtocolSpec{Proto: p}, nil
}
