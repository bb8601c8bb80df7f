package iptables

import "github.com/fwctl/fwctl/packet"

// rpfilter asks for a route back to the source (ipt_rpfilter.c and ip6t_rpfilter.c
// of Linux, which do not ask for one to the unspecified address). Any interface
// will do for a loose one, and --accept-local takes more than routes.
func rpfilter(r *reader, p *part, _ *rule) packet.Cond {
	var marked, not, other bool
	for i := range p.options {
		o := &p.options[i]
		if o.not || len(o.args) > 0 {
			return nil
		}
		switch o.name {
		case "validmark":
			marked = true
		case "invert":
			not = true
		default:
			other = true
		}
	}
	if other {
		return r.unknown(p.String(), false)
	}
	c := packet.ReversePath(r.is6, marked)
	if r.is6 {
		c = packet.Any{c, packet.In{Field: packet.FieldSrc, Set: packet.Ranges{{}}}}
	}
	if not {
		return packet.Not{Cond: c}
	}
	return c
}
