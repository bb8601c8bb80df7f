package pf

import (
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// outboundBlocks refuses what this host sends, whatever the default.
func (b *builder) outboundBlocks() []Line {
	var lines []Line
	for _, r := range b.rs.OutboundBlocks {
		if b.live(r) {
			lines = append(lines, b.described(r, ruled(b.outbound(r, b.block(r))))...)
		}
	}
	return lines
}

// outbounds accepts what this host may send, where the default refuses.
func (b *builder) outbounds() []Line {
	if b.rs.Outbound == packet.Accept {
		return nil
	}
	lines := b.echoes()
	for _, r := range b.rs.Outbounds {
		if !b.live(r) {
			continue
		}
		if r.Limit.Count > 0 {
			b.fail(r.Pos, "pf can limit what comes in alone", "")
		}
		rs := b.outbound(r, b.pass(r))
		for i := range rs {
			rs[i] = stateful(rs[i])
		}
		lines = append(lines, b.described(r, ruled(rs))...)
	}
	return lines
}

// outbound multiplies a policy rule out to rules for packets of this host. None
// of these came in by an interface.
func (b *builder) outbound(r *rules.Rule, base Rule) []Rule {
	if len(r.In) > 0 {
		return nil
	}
	base.Dir = Out
	base = b.fromHere(base)
	var rs []Rule
	for _, w := range b.addresses(r, r.To, "to") {
		for _, t := range b.transports(r) {
			next := t.set(base)
			next.On, next.To.Hosts = w.on, w.hosts
			if next.possible() {
				rs = append(rs, next)
			}
		}
	}
	return rs
}
