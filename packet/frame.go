package packet

// Frame returns the packets that can stand at a hook: those with the interfaces
// that it has, one of the connection states, a protocol's fields only where the
// protocol has them, and destinations that the routing sends there. At prerouting the outgoing interface is the one of
// [Arrival].
func (s *Space) Frame(h Hook) Cond {
	in, out := Cond(Iface{Pattern: ""}), Cond(Iface{Out: true, Pattern: ""})
	switch h {
	case Input:
		in = Not{in}
	case Output:
		out = Not{out}
	case Forward, Prerouting:
		in, out = Not{in}, Not{out}
	case Postrouting:
		in, out = All{}, Not{out}
	}
	f := All{in, out, s.named(FieldIn), s.named(FieldOut),
		In{FieldState, Ranges{{Number(0), Number(uint64(Untracked))}}}, fieldsOfProtocol()}
	kinds := func(ks ...AddrType) Cond { return In{FieldDstType, kindRanges(ks...)} }
	switch h {
	case Input:
		f = append(f, kinds(AddrLocal, AddrBroadcast, AddrMulticast))
	case Output:
		// What goes to the host itself leaves by the loopback interface.
		f = append(f, Any{kinds(AddrOther, AddrBroadcast, AddrMulticast), Iface{Out: true, Pattern: "lo"}})
	case Forward:
		f = append(f, kinds(AddrOther, AddrMulticast))
	}
	if !s.host.Known {
		f = append(f, s.kindOf(FieldDst, FieldDstType), s.kindOf(FieldSrc, FieldSrcType))
	}
	return f
}

func kindRanges(ks ...AddrType) Ranges {
	rs := make([]Range, len(ks))
	for i, k := range ks {
		rs[i] = Single(Number(uint64(k)))
	}
	return NewRanges(rs...)
}

// kindOf keeps an address and its kind together as far as they are the same on
// every host: multicast, and the broadcast address of every network.
func (s *Space) kindOf(addr, kind Field) Cond {
	multicast := In{addr, Multicast(s.is6)}
	isMulticast := In{kind, kindRanges(AddrMulticast)}
	c := All{Any{Not{multicast}, isMulticast}, Any{multicast, Not{isMulticast}}}
	broadcast := In{kind, kindRanges(AddrBroadcast)}
	if s.is6 {
		return append(c, Not{broadcast})
	}
	return append(c, Any{Not{In{addr, Ranges{Single(Ones(32))}}}, broadcast})
}

// named returns the packets whose interface is one of the classes.
func (s *Space) named(f Field) Cond {
	return In{f, Ranges{{Number(0), Number(uint64(len(s.classes) - 1))}}}
}

// protosWith returns the protocols that have ports, or ICMP types.
func protosWith(f Field) []Proto {
	if f == FieldType {
		return []Proto{ICMP, ICMPv6}
	}
	return []Proto{TCP, UDP, DCCP, SCTP, UDPLite}
}

// fieldsOfProtocol holds the fields that a packet's protocol lacks at zero, so
// that they make no two packets of one.
func fieldsOfProtocol() Cond {
	zero := func(f Field) Cond { return In{f, Ranges{Single(Value{})}} }
	var ports []Range
	for _, p := range protosWith(FieldDstPort) {
		ports = append(ports, Single(Number(uint64(p))))
	}
	proto := func(rs ...Range) Cond { return In{FieldProto, NewRanges(rs...)} }
	return All{
		Any{proto(ports...), All{zero(FieldDstPort), zero(FieldSrcPort)}},
		Any{proto(Single(Number(uint64(TCP)))), zero(FieldFlags)},
		Any{proto(Single(Number(uint64(ICMP))), Single(Number(uint64(ICMPv6)))), All{zero(FieldType), zero(FieldCode)}},
		Any{In{FieldFragment, Ranges{Single(Value{})}}, All{zero(FieldDstPort), zero(FieldSrcPort), zero(FieldFlags), zero(FieldType), zero(FieldCode)}},
	}
}

// FirstPackets is the condition of a packet that may begin a flow: state new,
// for TCP SYN without ACK, RST and FIN, and no fragment.
func FirstPackets() Cond {
	syn := Bits{FieldFlags, Number(uint64(SYN | ACK | RST | FIN)), Number(uint64(SYN))}
	return All{
		In{FieldState, Ranges{Single(Number(uint64(New)))}},
		Any{Not{In{FieldProto, Ranges{Single(Number(uint64(TCP)))}}}, syn},
		In{FieldFragment, Ranges{Single(Value{})}},
	}
}
