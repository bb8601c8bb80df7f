package adopt

import (
	"cmp"
	"strings"
)

// rich reads a rule of the rich language, in the shapes that are common: from, to,
// what, and what becomes of it.
func (z *zone) rich(e *element) {
	target, refuses := "", false
	also, ok := z.richEnds(e)
	ms := z.families(e.attrs["family"])
	switch {
	case !ok || ms == nil:
		z.left(e, "not understood")
		return
	case cmp.Or(e.attrs["priority"], "0") != "0":
		z.left(e, "a policy has no priorities")
		return
	}
	for _, c := range e.children {
		switch c.name {
		case "source", "destination", "log", "audit", "nflog":
		case "service", "port", "protocol", "source-port":
			if ms = narrowed(ms, z.matches(c, e)); ms == nil {
				return // it was named
			}
		case "icmp-type", "icmp-block":
			if ms = narrowed(ms, z.icmp(c, e)); ms == nil {
				return
			}
			if c.name == "icmp-block" {
				target, refuses = "-j REJECT", true
			}
		case "accept", "reject", "drop":
			if c.child("limit") != nil {
				z.left(e, "its limit is for all sources together; one in a policy is for each source")
				return
			}
			target = map[string]string{"accept": "-j ACCEPT", "reject": "-j REJECT", "drop": "-j DROP"}[c.name]
			refuses = c.name != "accept"
		default:
			z.left(e, "a policy translates and marks nothing: "+printable(c.name))
			return
		}
	}
	switch {
	case target == "":
		return // it logs
	case refuses:
		z.deny = append(z.deny, func() { z.write(e, also, ms, target) })
	default:
		z.allow = append(z.allow, func() { z.write(e, also, ms, target) })
	}
}

// families is the match of everything in a family.
func (z *zone) families(family string) []match {
	switch family {
	case "":
		return []match{both("")}
	case "ipv4":
		return []match{{"", true, false}}
	case "ipv6":
		return []match{{"", false, true}}
	}
	return nil
}

// narrowed returns matches as far as they are of the families of others.
func narrowed(to, ms []match) []match {
	var out []match
	for _, m := range ms {
		if m.v4, m.v6 = m.v4 && to[0].v4, m.v6 && to[0].v6; m.v4 || m.v6 {
			out = append(out, m)
		}
	}
	return out
}

// richEnds is the condition for the source and the destination of a rule.
func (z *zone) richEnds(e *element) (also string, ok bool) {
	for _, c := range e.children {
		option := map[string]string{"source": "-s ", "destination": "-d "}[c.name]
		if option == "" {
			continue
		}
		address := c.attrs["address"]
		if rest, not := strings.CutPrefix(address, "!"); not {
			address, option = strings.TrimSpace(rest), "! "+option
		} else if strings.EqualFold(c.attrs["invert"], "true") || strings.EqualFold(c.attrs["invert"], "yes") {
			option = "! " + option
		}
		if !isNetwork(address) {
			return "", false // a set of addresses, or a link-layer address
		}
		if strings.Contains(also+option, "-s") && z.entry[0] != "" && strings.HasPrefix(z.entry[0], "-s") {
			return "", false // both would have to hold
		}
		also += option + address + " "
	}
	return also, true
}
