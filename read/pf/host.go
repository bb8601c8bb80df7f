package pf

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/packet"
)

// hosts is a test for one of some addresses; in a list each one is a rule of its
// own, so that { !a, !b } holds for every address.
func (r *reader) hosts(hs []Host, dst bool) packet.Cond {
	if len(hs) == 0 {
		return packet.All{}
	}
	c := packet.Any{}
	for _, h := range hs {
		c = append(c, r.host(h, dst))
	}
	return c
}

func addrField(dst bool) packet.Field {
	if dst {
		return packet.FieldDst
	}
	return packet.FieldSrc
}

func side(dst bool) string {
	if dst {
		return "the destination"
	}
	return "the source"
}

// host is a test for one word. A literal address makes a rule of its family alone,
// negated or not.
func (r *reader) host(h Host, dst bool) packet.Cond {
	if f := h.family(); f == Inet && r.is6 || f == Inet6 && !r.is6 {
		return packet.Never
	}
	c := r.positive(h, dst)
	if h.Not {
		c = packet.Not{Cond: c}
	}
	if h.Zone != "" { // the rule is for that interface
		c = packet.All{c, r.iface(h.Zone, r.dir == Out)}
	}
	return c
}

func (r *reader) positive(h Host, dst bool) packet.Cond {
	switch h.Kind {
	case AnyHost:
		return packet.All{}
	case PrefixHost:
		return packet.In{Field: addrField(dst), Set: packet.NewRanges(prefixRange(h.Prefix))}
	case RangeHost:
		return packet.In{Field: addrField(dst), Set: packet.NewRanges(packet.Range{Lo: packet.AddrValue(h.Lo), Hi: packet.AddrValue(h.Hi)})}
	case TableHost:
		return r.table(h.Name, dst)
	case NamedHost, DynamicHost:
		return r.addresses(h, dst)
	}
	return r.unknown(side(dst)+" is "+Host{Kind: h.Kind, Name: h.Name}.String(), false)
}

func prefixRange(p netip.Prefix) packet.Range {
	return packet.Range{Lo: packet.AddrValue(p.Masked().Addr()), Hi: packet.AddrValue(netipx.PrefixLastIP(p))}
}

// addresses is a test for the addresses of interfaces.
func (r *reader) addresses(h Host, dst bool) packet.Cond {
	kind := packet.FieldSrcType
	if dst {
		kind = packet.FieldDstType
	}
	of := func(t packet.AddrType) packet.Cond {
		return packet.In{Field: kind, Set: packet.NewRanges(packet.Single(packet.Number(uint64(t))))}
	}
	self := h.Name == "self" && h.Bits == 0
	switch {
	case h.Name == "self" && r.Dialect == MacOS && h.Kind == DynamicHost:
		return packet.Never // XNU leaves it empty (pf_if.c)
	case self && len(h.Mods) == 0 && (!h.Not || h.Kind == DynamicHost):
		return of(packet.AddrLocal)
	case self && slices.Equal(h.Mods, []string{"broadcast"}) && (!h.Not || h.Kind == DynamicHost):
		limited := packet.In{Field: addrField(dst), Set: packet.Ranges{packet.Single(packet.Ones(32))}}
		return packet.All{of(packet.AddrBroadcast), packet.Not{Cond: limited}}
	}
	return r.interfaceAddresses(h, dst)
}

// interfaceAddresses is a test for addresses that are known with the interfaces
// alone. Without parentheses each is a literal in a rule of its own: negated, they
// are a list, and where there is none, neither is a rule.
func (r *reader) interfaceAddresses(h Host, dst bool) packet.Cond {
	rs, known := r.interfaceRanges(h)
	if !known {
		return r.unknown(side(dst)+" is "+Host{Kind: h.Kind, Name: h.Name, Mods: h.Mods, Bits: h.Bits}.String(), true)
	}
	switch {
	case h.Kind == NamedHost && h.Not && len(rs) > 1:
		return packet.Never // of which the negation is everything
	case h.Kind == NamedHost && h.Not && len(rs) == 0:
		return packet.All{} // of which the negation is nothing
	}
	return packet.In{Field: addrField(dst), Set: packet.NewRanges(rs...)}
}

// interfaceRanges are the addresses of an interface, or of those of a group.
func (r *reader) interfaceRanges(h Host) (rs []packet.Range, known bool) {
	members := []string{h.Name}
	if g, ok := r.opt.Groups[h.Name]; ok && r.Dialect != MacOS {
		members = append(members, g...)
	}
	for _, l := range r.opt.Links {
		if h.Name != "self" && !slices.Contains(members, l.Name) {
			continue
		}
		known = true
		rs = append(rs, r.linkRanges(l, h)...)
	}
	return rs, known && !slices.Contains(h.Mods, "peer")
}

func (r *reader) linkRanges(l packet.Link, h Host) []packet.Range {
	var rs []packet.Range
	has := func(m string) bool { return slices.Contains(h.Mods, m) }
	for _, p := range l.Addrs {
		if p.Addr().Is6() != r.is6 || linkLocal(p) && r.leavesOut(h) {
			continue
		}
		bits := p.Addr().BitLen()
		switch {
		case has("broadcast"):
			if !r.is6 && p.Bits() < 31 {
				rs = append(rs, packet.Single(prefixRange(p).Hi))
			}
			continue
		case has("network"):
			bits = p.Bits()
		case h.Bits > 0:
			bits = min(h.Bits, bits)
		}
		rs = append(rs, prefixRange(netip.PrefixFrom(p.Addr(), bits)))
		if has("0") {
			break
		}
	}
	return rs
}

// leavesOut reports whether the kernel has no link-local addresses of IPv6 among those
// of an interface (pfi_instance_add in pf_if.c).
func (r *reader) leavesOut(h Host) bool {
	return slices.Contains(h.Mods, "network") || slices.Contains(h.Mods, "0") && r.Dialect == FreeBSD ||
		h.Kind == DynamicHost && r.Dialect == MacOS
}

func linkLocal(p netip.Prefix) bool { return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() }

// table is a test for a table: of the anchor, else of the main rules. One that is
// filled by rules holds what the text says, and sources over their limit.
func (r *reader) table(name string, dst bool) packet.Cond {
	inTable := r.unknown(side(dst)+" is in table <"+name+">", true)
	s, filled := r.limited[r.home(r.anchor, name)+" "+name]
	if !filled {
		return r.held(name, dst, inTable)
	}
	if c, ok := r.unspent(s); ok && !dst {
		inTable = packet.Not{Cond: c}
		if r.opt.Tables != nil { // what the kernel holds now is who is over it now
			return inTable
		}
	}
	return packet.Any{inTable, r.held(name, dst, packet.Never)}
}

// home is the anchor whose table of a name the rules of an anchor ask: "" for the main
// rules.
func (r *reader) home(anchor, name string) string {
	if _, found, _ := r.tableEntries(anchor, name); found {
		return anchor
	}
	return ""
}

// held is a test for what a table holds; other is it if that is not known.
func (r *reader) held(name string, dst bool, other packet.Cond) packet.Cond {
	t := r.contents(name)
	if !t.known {
		return other
	}
	c := packet.Cond(packet.In{Field: addrField(dst), Set: t.set})
	if t.self {
		c = packet.Any{r.addresses(Host{Kind: NamedHost, Name: "self"}, dst), c}
	}
	return c
}

// contents are the addresses of a family in a table.
type contents struct {
	set   packet.Ranges
	self  bool // and the host's own
	known bool
}

func (r *reader) contents(name string) contents {
	for _, anchor := range slices.Compact([]string{r.anchor, ""}) {
		key := anchor + " " + name
		if t, ok := r.sets[key]; ok {
			return t
		}
		entries, found, known := r.tableEntries(anchor, name)
		if !found {
			continue
		}
		t := contents{}
		if known {
			t = r.longest(entries)
		}
		r.sets[key] = t
		return t
	}
	return contents{known: true} // a table that is not defined is empty
}

// tableEntries is what stands in a table.
func (r *reader) tableEntries(anchor, name string) (entries []Entry, found, known bool) {
	if r.opt.Tables != nil {
		if entries, ok := r.opt.Tables(anchor, name); ok {
			return entries, true, true
		}
	}
	t := r.tables[anchor][name]
	if t == nil {
		return nil, false, false
	}
	entries, known = slices.Clip(t.Entries), t.Listed
	for _, f := range t.Files {
		if r.opt.Files == nil {
			return nil, true, false
		}
		text, err := r.opt.Files(f)
		if err != nil {
			return nil, true, false
		}
		more, ok := ParseEntries(string(text))
		entries, known = append(entries, more...), known && ok
	}
	return entries, true, known
}

// ParseEntries reads addresses as a file for a table has them, or as `pfctl -T
// show` prints them: one or more a line, "#" begins a comment. It is false if some
// are names, which only a name server knows, or nothing at all.
func ParseEntries(text string) (entries []Entry, ok bool) {
	ok = true
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, ";")
		for _, w := range strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' || c == '\n' || c == '\r' }) {
			w, not := strings.CutPrefix(w, "!")
			p, read := parseNetwork(w)
			ok = ok && read
			if read {
				entries = append(entries, Entry{Not: not, Prefix: p})
			}
		}
	}
	return entries, ok
}

// parseNetwork reads an address or a network, of which zeros at the end may be missing.
func parseNetwork(s string) (netip.Prefix, bool) {
	host, length, masked := strings.Cut(s, "/")
	a, short, ok := parseAddr(host)
	bits := a.BitLen()
	if masked {
		n, err := strconv.ParseUint(length, 10, 8)
		ok, bits = ok && err == nil, int(n)
	}
	if !ok || short && !masked || bits > a.BitLen() || strings.Contains(host, "%") {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, bits).Masked(), true
}

// longest is the set of addresses for which the longest prefix that holds them is
// there without "!". It is not known where an entry is a name.
func (r *reader) longest(entries []Entry) contents {
	of, self, ok := r.resolved(entries)
	if !ok {
		return contents{}
	}
	// Of two entries for one network the first stays (pfr_ina_define in pf_table.c).
	slices.SortStableFunc(of, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	of = slices.CompactFunc(of, func(a, b Entry) bool { return a.Prefix == b.Prefix })
	var set netipx.IPSetBuilder
	for _, e := range of {
		if e.Not {
			set.RemovePrefix(e.Prefix)
		} else {
			set.AddPrefix(e.Prefix)
		}
	}
	all, err := set.IPSet()
	if err != nil {
		return contents{}
	}
	var rs []packet.Range
	for _, x := range all.Ranges() {
		rs = append(rs, packet.Range{Lo: packet.AddrValue(x.From()), Hi: packet.AddrValue(x.To())})
	}
	return contents{packet.NewRanges(rs...), self, true}
}

// resolved puts addresses in the place of names, and keeps those of the family. The
// host's own need no interfaces to be known: routing tells which they are.
func (r *reader) resolved(entries []Entry) (of []Entry, self, ok bool) {
	for _, e := range entries {
		switch {
		case e.Name == "self" && !e.Not:
			self = true
		case e.Name != "":
			named, known := r.namedEntry(e)
			if !known {
				return nil, false, false
			}
			of = append(of, named...)
		case e.Prefix.Addr().Is6() == r.is6:
			of = append(of, e)
		}
	}
	exceptions := slices.ContainsFunc(of, func(e Entry) bool { return e.Not && e.Prefix.IsSingleIP() })
	return of, self, !self || !exceptions
}

// namedEntry is what an interface stands for in a table: its addresses when the
// table is loaded.
func (r *reader) namedEntry(e Entry) ([]Entry, bool) {
	h := Host{Kind: NamedHost, Name: e.Name}
	(&parser{}).mods(&h)
	if r.opt.Links == nil {
		return nil, false
	}
	var out []Entry
	known := false
	for _, l := range r.opt.Links {
		if h.Name != "self" && h.Name != l.Name && !slices.Contains(r.opt.Groups[h.Name], l.Name) {
			continue
		}
		known = true
		for _, x := range r.linkRanges(l, h) {
			from, to := x.Lo.Addr(r.is6), x.Hi.Addr(r.is6)
			if p, ok := netipx.IPRangeFrom(from, to).Prefix(); ok {
				out = append(out, Entry{Not: e.Not, Prefix: p})
			}
		}
	}
	return out, known
}
