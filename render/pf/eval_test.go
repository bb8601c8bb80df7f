package pf

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// What pf does with the first packet of a flow and with the answer to it, read
// from the text alone: the last match decides unless a match is quick, a rule
// that keeps state lets the answer pass, a routed packet is judged twice.

type filter struct {
	dialect Dialect
	lines   []Line
	host    *rules.Host
	tables  map[string]Table
	skip    bool // set skip on the loopback interface
}

func newFilter(lines []Line, d Dialect, h *rules.Host) *filter {
	f := &filter{dialect: d, lines: lines, host: h, tables: map[string]Table{}}
	for _, l := range lines {
		switch l := l.(type) {
		case Table:
			f.tables[l.Name] = l
		case Option:
			f.skip = f.skip || l.Name == "skip"
		}
	}
	return f
}

// crossing is a packet at one interface.
type crossing struct {
	packet.Packet
	dir      Dir
	iface    string
	received string // the interface by which a packet that goes out came in
	tag      string
}

// outcome is what the rules make of a crossing.
type outcome struct {
	verdict packet.Verdict
	state   bool
	tag     string
	decided bool // a rule matched
	label   string
}

// judge is the verdict on a packet of one of the three hooks, and whether the
// answer to it would pass.
func (f *filter) judge(p packet.Packet) (v packet.Verdict, answered bool, label string) {
	switch p.Hook {
	case packet.Output:
		o := f.cross(crossing{Packet: p, dir: Out, iface: p.Out})
		return o.verdict, o.state || f.cross(crossing{Packet: answerTo(p), dir: In, iface: p.Out}).verdict == packet.Accept, o.label
	case packet.Input:
		o := f.cross(crossing{Packet: p, dir: In, iface: p.In})
		return o.verdict, o.state || f.cross(crossing{Packet: answerTo(p), dir: Out, iface: p.In}).verdict == packet.Accept, o.label
	}
	in := f.cross(crossing{Packet: p, dir: In, iface: p.In})
	if in.verdict != packet.Accept {
		return in.verdict, false, in.label
	}
	out := f.cross(crossing{Packet: p, dir: Out, iface: p.Out, received: p.In, tag: in.tag})
	back := answerTo(p)
	ok := (out.state || f.cross(crossing{Packet: back, dir: In, iface: p.Out}).verdict == packet.Accept) &&
		(in.state || f.cross(crossing{Packet: back, dir: Out, iface: p.In, received: p.Out}).verdict == packet.Accept)
	return out.verdict, ok, in.label + " " + out.label
}

func answerTo(p packet.Packet) packet.Packet {
	p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	p.In, p.Out = p.Out, p.In
	if p.Proto == packet.TCP {
		p.Flags = packet.SYN | packet.ACK
	}
	if p.Proto == packet.ICMP && p.Type == 8 {
		p.Type = 0
	}
	if p.Proto == packet.ICMPv6 && p.Type == 128 {
		p.Type = 129
	}
	return p
}

func (f *filter) cross(c crossing) outcome {
	o := outcome{verdict: packet.Accept, tag: c.tag} // nothing matches: pass, without state
	if f.skip && strings.HasPrefix(c.iface, "lo") {
		return o
	}
	for _, l := range f.lines {
		r, ok := l.(Rule)
		if !ok || !f.matches(r, c, o.tag) {
			continue
		}
		if r.Tag != "" {
			o.tag = r.Tag
		}
		if r.Action == Match {
			continue
		}
		o.verdict = [...]packet.Verdict{Pass: packet.Accept, Drop: packet.Drop, Return: packet.Reject}[r.Action]
		o.state, o.decided, o.label = r.State == KeepState, true, r.Label
		if r.Quick {
			break
		}
	}
	return o
}

// replies are the ICMP types that OpenBSD lets no rule with state match.
var replies = map[packet.Proto][]uint8{
	packet.ICMP:   {0, 9, 14, 16, 18, 34, 36},
	packet.ICMPv6: {129, 140, 200},
}

// noBeginning are those that begin no conversation: what the baseline does not accept
// of them is not compared.
var noBeginning = map[packet.Proto][]uint8{
	packet.ICMP:   {0, 9, 14, 16, 18, 34, 36},
	packet.ICMPv6: {129, 131, 132, 134, 140, 143, 200},
}

func (f *filter) matches(r Rule, c crossing, tag string) bool {
	switch {
	case r.Dir != Both && r.Dir != c.dir,
		r.Family == Inet && c.Is6(), r.Family == Inet6 && !c.Is6(),
		len(r.On) > 0 && !f.on(r.On, c.iface),
		len(r.Protos) > 0 && !slices.Contains(r.Protos, c.Proto),
		!f.endpoint(r.From, c.Src, c.SrcPort), !f.endpoint(r.To, c.Dst, c.DstPort),
		r.SYN && c.Proto == packet.TCP && c.Flags&(packet.SYN|packet.ACK) != packet.SYN,
		len(r.ICMPTypes) > 0 && !slices.Contains(r.ICMPTypes, c.Type),
		r.Tagged != "" && r.Tagged != tag,
		r.Received.On != "" && f.received(r.Received.On, c.received) == r.Received.Not:
		return false
	}
	return f.dialect != OpenBSD || r.State != KeepState || !slices.Contains(replies[c.Proto], c.Type)
}

func (f *filter) received(on, name string) bool {
	return name != "" && (on == "any" || f.on([]string{on}, name))
}

// on reports whether the interface is one of those named: on macOS by the name
// itself, elsewhere also by the group of its driver.
func (f *filter) on(names []string, iface string) bool {
	driver := strings.TrimRight(iface, "0123456789")
	return slices.Contains(names, iface) || f.dialect != MacOS && slices.Contains(names, driver)
}

func (f *filter) endpoint(e Endpoint, a netip.Addr, port uint16) bool {
	return (len(e.Hosts) == 0 || slices.ContainsFunc(e.Hosts, func(h Host) bool { return f.holds(h, a) })) &&
		(len(e.Ports) == 0 || e.Ports.Contains(port))
}

func (f *filter) holds(h Host, a netip.Addr) bool {
	switch {
	case h.Table != "":
		return f.inTable(f.tables[h.Table], a)
	case h.Dynamic == "self":
		return f.dialect != MacOS && f.host.Local(a)
	case h.Dynamic == "self:broadcast":
		return f.dialect != MacOS && a != limitedBroadcast.Prefix.Addr() && f.host.Broadcast(a)
	}
	return h.Prefix.Contains(a)
}

// inTable looks the address up by the longest prefix.
func (f *filter) inTable(t Table, a netip.Addr) bool {
	best, in := -1, t.Self && f.host.Local(a)
	for _, e := range t.Entries {
		if e.Prefix.Contains(a) && e.Prefix.Bits() > best {
			best, in = e.Prefix.Bits(), !e.Not
		}
	}
	return in
}
