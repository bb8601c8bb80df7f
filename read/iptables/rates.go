package iptables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fwctl/fwctl/packet"
)

// A rate as iptables keeps it is the time that one packet takes, in whole parts
// of a second: ten thousand of them in the match limit (XT_LIMIT_SCALE), a
// million in hashlimit (XT_HASHLIMIT_SCALE_v2).
const (
	limitScale     = 10_000
	hashlimitScale = 1_000_000
)

// rateUnits are the units of a rate, the longest first.
var rateUnits = []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second}

// rate reads "10/min" as the time that a packet takes.
func rate(text string, scale uint64) (period uint64, ok bool) {
	amount, word, has := strings.Cut(text, "/")
	long := uint64(1e6)
	if has {
		if long, ok = unit(word); !ok {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(amount, 10, 32)
	if err != nil || n == 0 {
		return 0, false
	}
	period = long / 1e6 * scale / n
	return period, period > 0
}

// written is the amount and the unit in which iptables-save writes a rate: the
// longest that loses nothing much.
func written(period, scale uint64) (uint64, time.Duration) {
	best := rateUnits[0]
	for _, u := range rateUnits[1:] {
		long := uint64(u/time.Second) * scale
		if period > long || long/period < long%period {
			break
		}
		best = u
	}
	return uint64(best/time.Second) * scale / period, best
}

// limit is the match of that name: an unknown that nft's limit shares.
func (r *reader) limit(p *part, _ *rule) packet.Cond {
	text, burst := "3/hour", uint64(5) // the defaults of libxt_limit.c
	for i := range p.options {
		o := &p.options[i]
		arg, ok := o.arg()
		switch {
		case !ok || o.not:
			return nil
		case o.name == "limit":
			text = arg
		case o.name == "limit-burst":
			if burst, ok = integer(arg, 32); !ok {
				return nil
			}
		}
	}
	period, ok := rate(text, limitScale)
	if !ok {
		return nil
	}
	amount, per := written(period, limitScale)
	return r.unknown(fmt.Sprintf("fewer than %d packets in %s, burst %d", amount, per, burst), false)
}

// hashlimit is the match of that name. In the form in which fwctl writes a limit
// for each source it is that limit.
func (r *reader) hashlimit(p *part, x *rule) packet.Cond {
	text := (&part{name: p.name, options: withoutSign(p.options)}).with(option{name: "hashlimit-burst", args: []string{"5"}}).String()
	c := packet.Cond(nil)
	above := p.option("hashlimit-above")
	upto := p.option("hashlimit-upto")
	if upto == nil {
		upto = p.option("hashlimit")
	}
	if above != nil {
		c = r.perSource(p, above, x)
	} else {
		c = r.perSource(p, upto, x)
	}
	if c == nil {
		c = r.unknown(text, false)
	}
	if (above != nil && !above.not) || (above == nil && upto != nil && upto.not) {
		return packet.Not{Cond: c}
	}
	return c
}

// withoutSign returns the options as if the limit were not negated, so that a
// limit and its opposite are one unknown.
func withoutSign(options []option) []option {
	out := make([]option, len(options))
	for i, o := range options {
		switch o.name {
		case "hashlimit-above", "hashlimit-upto", "hashlimit":
			o.name, o.not = "hashlimit-upto", false
			if text, ok := o.arg(); ok {
				if period, ok := rate(text, hashlimitScale); ok {
					n, per := written(period, hashlimitScale)
					o.args = []string{fmt.Sprintf("%d/%s", n, per)}
				}
			}
		}
		out[i] = o
	}
	return out
}

// sourceBits6 is the network that counts as one source in IPv6.
const sourceBits6 = 64

// perSource is the limit that fwctl writes: as many new connections at once as in
// the whole period. The comment says whose it is.
func (r *reader) perSource(p *part, limit *option, x *rule) packet.Cond {
	text, _ := limit.arg()
	period, ok := rate(text, hashlimitScale)
	burstText, _ := p.option("hashlimit-burst").arg()
	burst, isNumber := integer(burstText, 32)
	mode, _ := p.option("hashlimit-mode").arg()
	mask, _ := p.option("hashlimit-srcmask").arg()
	whole := mask == "" || mask == "32"
	if r.is6 {
		whole = mask == strconv.Itoa(sourceBits6)
	}
	if !ok || !isNumber || mode != "srcip" || !whole || x.comment() == "" {
		return nil
	}
	for _, per := range rateUnits {
		// The time of a packet is cut to millionths of a second, and again when it
		// is printed.
		want, have := int64(per/time.Microsecond), int64(period*burst)
		if off := max(want-have, have-want); off*100 <= want {
			return packet.Unspent(x.comment(), burst, per, r.is6)
		}
	}
	return nil
}

// time is the match of that name. Dates are instants in UTC; hours and days of
// the week are unknown.
func (r *reader) time(p *part, _ *rule) packet.Cond {
	var all packet.All
	for i := range p.options {
		o := &p.options[i]
		text, _ := o.arg()
		at, ok := date(text)
		switch {
		case o.not || !ok && strings.HasPrefix(o.name, "date"):
			return r.unknown(p.String(), o.name == "datestart" || o.name == "datestop")
		case o.name == "datestart":
			all = append(all, packet.Not{Cond: packet.TimeBefore(at)})
		case o.name == "datestop":
			if at.Unix() == noDate && len(p.options) > 1 {
				continue // what stands there if nothing is asked for
			}
			all = append(all, packet.TimeBefore(at.Add(time.Second))) // the last second counts
		case o.name != "utc":
			return r.unknown(p.String(), false)
		}
	}
	return all
}

// noDate is the last date, which libxt_time.c takes if there is none.
const noDate = 1<<31 - 1

func date(text string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// recent is the match of that name. With "--set" it notes the address and always
// matches.
func recent(r *reader, p *part, _ *rule) packet.Cond {
	set := p.option("set")
	switch {
	case set == nil || p.option("rcheck") != nil || p.option("update") != nil || p.option("remove") != nil:
		all := p.with(option{name: "name", args: []string{"DEFAULT"}}, option{name: "mask", args: []string{r.wholeMask()}})
		if p.option("rdest") == nil {
			all = all.with(option{name: "rsource"})
		}
		return r.unknown(all.String(), false)
	case set.not:
		return packet.Never
	}
	return packet.All{}
}

// connlimit counts a source's connections.
func connlimit(r *reader, p *part, _ *rule) packet.Cond {
	bits := "32"
	if r.is6 {
		bits = "128"
	}
	all := p.with(option{name: "connlimit-mask", args: []string{bits}})
	if p.option("connlimit-daddr") == nil {
		all = all.with(option{name: "connlimit-saddr"})
	}
	return r.unknown(all.String(), false)
}

// with returns the part with options that are meant where they are missing.
func (p *part) with(meant ...option) *part {
	q := &part{name: p.name, target: p.target, options: slices.Clone(p.options)}
	for _, o := range meant {
		if p.option(o.name) == nil {
			q.options = append(q.options, o)
		}
	}
	return q
}

func (r *reader) wholeMask() string {
	if r.is6 {
		return "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	}
	return "255.255.255.255"
}
