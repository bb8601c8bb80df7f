package rules

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

// Many services on one port, told apart by their addresses: comparing each with
// each would take a time that grows with the square of their number. So the
// addresses are walked over once, and a claim meets only those that hold the
// same address.

// strip is a range of addresses and the claims that have it in to.
type strip struct {
	netipx.IPRange
	claims []*claim
}

func (v *rivalry) sweep(group []*claim) {
	b := board{}
	for _, s := range v.strips(group) {
		if v.done() {
			return
		}
		for _, c := range s.claims {
			v.challenge(c, b.rivals(c, s.From()))
			b.enter(c, s.IPRange)
		}
	}
}

// strips returns the strips of the claims by first address. Sets that many rules
// share, such as those of groups, are there once.
func (v *rivalry) strips(group []*claim) []strip {
	own := v.ownStandIn()
	var sets []*netipx.IPSet
	holders := map[*netipx.IPSet][]*claim{}
	for _, c := range group {
		for _, set := range targetSets(c.rule.To, own) {
			if holders[set] == nil {
				sets = append(sets, set)
			}
			holders[set] = append(holders[set], c)
		}
	}
	var out []strip
	for _, set := range sets {
		for _, rg := range set.Ranges() {
			out = append(out, strip{rg, holders[set]})
		}
	}
	slices.SortStableFunc(out, func(a, b strip) int { return a.From().Compare(b.From()) })
	return out
}

// targetSets returns sets that meet those of another rule wherever targetsMeet
// says that the two have an address in common, and perhaps elsewhere.
func targetSets(to Addresses, own *netipx.IPSet) []*netipx.IPSet {
	switch {
	case to.Any:
		return []*netipx.IPSet{everything}
	case hasHost(to):
		return append(setsOf(to), own)
	}
	return setsOf(to)
}

// ownStandIn stands for the host's own addresses: those that are known, or all
// that a host can have, and one that no host has, which makes it meet itself.
func (v *rivalry) ownStandIn() *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.Add(netip.IPv4Unspecified())
	v.host.any(func(p netip.Prefix) bool {
		if p.IsValid() {
			b.Add(p.Addr())
		}
		return false
	})
	if v.host == nil {
		b.AddSet(everything)
	}
	return made(&b)
}

// board holds claims by what tells most of them apart.
type board map[slot]*roll

// slot is one port and interface of a protocol, or one for those that have many.
type slot struct {
	port   uint32 // or one of those below
	in     string // or one of those below
	shared bool
}

// The slots for what is no single port or interface, and for everything.
const (
	manyPorts = 1<<16 + iota
	allOfPort

	manyInterfaces  = ""
	allOfInterfaces = "*"
)

// fewSlots is how many ports or interfaces of a claim get a slot each.
const fewSlots = 8

// roll is a list of claims, each until an address.
type roll struct {
	list []tenant
	full int // the length at which to look for those that have ended
}

type tenant struct {
	*claim
	until netip.Addr
}

// slots returns the ports and the interfaces by which a claim is known.
func (c *claim) slots() (ports []uint32, interfaces []string) {
	if c.ports.Hi-c.ports.Lo >= fewSlots {
		ports = []uint32{manyPorts}
	} else {
		for p := uint32(c.ports.Lo); p <= uint32(c.ports.Hi); p++ {
			ports = append(ports, p)
		}
	}
	interfaces = c.rule.In
	if len(interfaces) == 0 || len(interfaces) > fewSlots || slices.ContainsFunc(interfaces, isWild) {
		interfaces = []string{manyInterfaces}
	}
	return ports, interfaces
}

func isWild(pattern string) bool { return strings.HasSuffix(pattern, "*") }

// enter adds a claim for a range of addresses, at whose beginning the walk is.
func (b board) enter(c *claim, rg netipx.IPRange) {
	ports, interfaces := c.slots()
	for _, p := range append(ports, allOfPort) {
		for _, in := range append(slices.Clone(interfaces), allOfInterfaces) {
			k := slot{p, in, c.of.Shared}
			if b[k] == nil {
				b[k] = &roll{full: crowd}
			}
			b[k].add(tenant{c, rg.To()}, rg.From())
		}
	}
}

// add appends a claim. Whenever the roll is full, those that have ended go, so
// that it stays within twice of what is alive.
func (l *roll) add(t tenant, at netip.Addr) {
	if len(l.list) >= l.full {
		l.list = slices.DeleteFunc(l.list, func(t tenant) bool { return t.until.Less(at) })
		l.full = max(crowd, 2*len(l.list))
	}
	l.list = append(l.list, t)
}

// rivals returns the claims of other services that hold the address and perhaps a
// port and an interface of c. Two that share their ports are no rivals.
func (b board) rivals(c *claim, at netip.Addr) iter.Seq[*claim] {
	ports, interfaces := c.slots()
	if ports[0] == manyPorts {
		ports = []uint32{allOfPort}
	} else {
		ports = append(ports, manyPorts)
	}
	if interfaces[0] == manyInterfaces {
		interfaces = []string{allOfInterfaces}
	} else {
		interfaces = append(slices.Clone(interfaces), manyInterfaces)
	}
	return func(yield func(*claim) bool) {
		for _, p := range ports {
			for _, in := range interfaces {
				if !b[slot{p, in, false}].each(at, yield) || !c.of.Shared && !b[slot{p, in, true}].each(at, yield) {
					return
				}
			}
		}
	}
}

// each yields the claims of the roll that have not ended at the address, and
// reports whether more are wanted.
func (l *roll) each(at netip.Addr, yield func(*claim) bool) bool {
	if l == nil {
		return true
	}
	for _, t := range l.list {
		if !t.until.Less(at) && !yield(t.claim) {
			return false
		}
	}
	return true
}
