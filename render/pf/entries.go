package pf

import (
	"net/netip"

	"go4.org/netipx"
)

// Entry is one line of a table. An address belongs to the table if the longest
// prefix that holds it is there without Not.
type Entry struct {
	Prefix netip.Prefix
	Not    bool
}

// nested is the number of prefixes up to which exceptions are looked for. A
// table with more is a list that nobody reads.
const nested = 1 << 16

// entries says a set in few lines, in order: a network less a few addresses is
// the network and the addresses with a "!", not the dozens of networks between.
func entries(set *netipx.IPSet) []Entry {
	ps := set.Prefixes()
	if len(ps) > nested {
		es := make([]Entry, len(ps))
		for i, p := range ps {
			es[i].Prefix = p
		}
		return es
	}
	var es []Entry
	for i := 0; i < len(ps); {
		j := i
		for j < len(ps) && ps[j].Addr().BitLen() == ps[i].Addr().BitLen() {
			j++
		}
		es = newSpan(ps[i:j]).entries(es, false)
		i = j
	}
	return es
}

// span is a network and what of it is in a set: all of it, or what its two parts
// say. Below a span nothing is in the set but what the parts hold.
type span struct {
	net   netip.Prefix
	parts []*span // two, or none: the whole network is in the set
	cost  [2]int  // of saying it where nothing around it is in the set, and where all is
}

// The costs of an entry and of an exception: an exception must save something.
const (
	plainCost     = 2
	exceptionCost = 3
)

// newSpan makes the tree of some sorted, disjoint prefixes of one family.
func newSpan(ps []netip.Prefix) *span {
	if len(ps) == 1 {
		return &span{net: ps[0], cost: [2]int{plainCost, 0}}
	}
	s := &span{net: around(ps[0], ps[len(ps)-1])}
	middle := 1
	for upper(s.net, ps[middle].Addr()) == upper(s.net, ps[0].Addr()) {
		middle++
	}
	s.parts = []*span{newSpan(ps[:middle]), newSpan(ps[middle:])}
	out := s.partsCost(false)
	in := s.partsCost(true)
	s.cost = [2]int{min(out, plainCost+in), min(in, exceptionCost+out)}
	return s
}

// partsCost is the cost of the parts where the rest of the network is in the set,
// or is not. Between the network and a part lie as many halves as the part is
// longer, less one, and each of them would be an exception.
func (s *span) partsCost(in bool) int {
	if !in {
		return s.parts[0].cost[0] + s.parts[1].cost[0]
	}
	n := 0
	for _, p := range s.parts {
		n += p.costWithin(s.net.Bits() + 1)
	}
	return n
}

// costWithin is the cost of the span in a network of the given length that is in
// the set: take the halves around it out one by one, or all of it at once.
func (s *span) costWithin(bits int) int {
	halves := s.net.Bits() - bits
	if halves == 0 {
		return s.cost[1]
	}
	return min(exceptionCost*halves+s.cost[1], exceptionCost+s.cost[0])
}

// entries appends the span's entries; in says whether what is around it is in
// the set.
func (s *span) entries(es []Entry, in bool) []Entry {
	if s.parts == nil {
		if !in {
			es = append(es, Entry{Prefix: s.net})
		}
		return es
	}
	switch out, all := s.partsCost(false), s.partsCost(true); {
	case !in && plainCost+all < out:
		es, in = append(es, Entry{Prefix: s.net}), true
	case in && exceptionCost+out < all:
		es, in = append(es, Entry{s.net, true}), false
	}
	for i, p := range s.parts {
		if in {
			es = p.within(es, half(s.net, i))
		} else {
			es = p.entries(es, false)
		}
	}
	return es
}

// within appends the entries of the span in a network that is in the set.
func (s *span) within(es []Entry, net netip.Prefix) []Entry {
	halves := s.net.Bits() - net.Bits()
	if halves > 0 && exceptionCost+s.cost[0] < exceptionCost*halves+s.cost[1] {
		return s.entries(append(es, Entry{net, true}), false)
	}
	for net.Bits() < s.net.Bits() {
		side := 0
		if upper(net, s.net.Addr()) {
			side = 1
		}
		es = append(es, Entry{half(net, 1-side), true})
		net = half(net, side)
	}
	return s.entries(es, true)
}

// around is the smallest network that holds both.
func around(p, q netip.Prefix) netip.Prefix {
	for bits := min(p.Bits(), q.Bits()); ; bits-- {
		net := netip.PrefixFrom(p.Addr(), bits).Masked()
		if net.Contains(q.Addr()) {
			return net
		}
	}
}

// upper reports whether the address is in the upper half of the network.
func upper(net netip.Prefix, a netip.Addr) bool {
	b := a.AsSlice()
	return b[net.Bits()/8]&(0x80>>(net.Bits()%8)) != 0
}

// half is the lower (0) or the upper (1) half of a network.
func half(net netip.Prefix, side int) netip.Prefix {
	b := net.Addr().AsSlice()
	if side == 1 {
		b[net.Bits()/8] |= 0x80 >> (net.Bits() % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, net.Bits()+1)
}
