package apply

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// What the guard says of random changes is what the kernel does after them.
func TestGuardOfRandomChanges(t *testing.T) {
	for backend, pairs := range map[string]int{NFTables: 150, IPTables: 50} {
		t.Run(backend, func(t *testing.T) {
			seed := gen.Seed(t)
			c := changes{guarded: newGuarded(t), backend: backend, r: rand.New(rand.NewPCG(seed, uint64(len(backend))))}
			for range gen.Dose(t, "FWCTL_GUARD_PAIRS", pairs) {
				c.pair()
			}
			t.Logf("%d passed, %d locked out, %d lost a kept service; %d packets sent", c.passed, c.own, c.lost, c.sent)
		})
	}
}

// changes are random changes of a host, one after the other.
type changes struct {
	*guarded
	backend                 string
	r                       *rand.Rand
	passed, own, lost, sent int
}

// others are rules that stand beside the policy's.
var others = []string{
	"true", "true",
	`nft 'table inet other { chain i { type filter hook input priority -5; ip saddr 198.51.100.0/28 drop; ip6 saddr 2001:db8:1::7 tcp dport 22 reject; }; }'`,
	`nft 'table inet other { chain i { type filter hook input priority 5; tcp dport { 80, 443 } iifname "eth1" drop; tcp sport 1-1023 drop; }; }'`,
	`nft 'table ip other { chain p { type nat hook prerouting priority dstnat; tcp dport 25 dnat to 10.20.0.99; tcp dport 443 redirect to :8443; }; }'`,
	`nft 'table inet other { chain p { type filter hook prerouting priority -300; udp dport 53 notrack; ip saddr 203.0.113.9 tcp dport 22 notrack; }; }'`,
}

func (c *changes) load(policy string) *rules.Ruleset {
	c.Helper()
	rs, ps := gen.Load(policy, gen.Host())
	if ps.Err() != nil {
		c.Fatal(ps)
	}
	return rs
}

func (c *changes) apply(rs *rules.Ruleset) {
	c.Helper()
	c.inside(func() error {
		_, _, err := applyWith(context.Background(), c.backend, rs, func() *rules.Ruleset { return nil })
		return err
	})
}

// pair makes one change.
func (c *changes) pair() {
	c.Helper()
	before, after := gen.Policy(c.r, gen.Options{}), gen.Policy(c.r, gen.Options{})
	if c.r.IntN(2) == 0 {
		after = c.edited(before)
	}
	old, rs := c.load(before), c.load(after)
	foreign := others[c.r.IntN(len(others))]
	c.run(foreign)
	defer c.run("for t in inet ip; do nft delete table $t other 2>/dev/null || true; done")
	c.apply(old)
	kept := *old
	for _, s := range old.Services {
		kept.Keep = append(kept.Keep, s.Name)
	}
	kept.Keep = slices.Compact(kept.Keep)
	slices.Sort(kept.Keep)
	about := foreign + "\n--- before\n" + before + "\n--- after\n" + after
	entering := c.sample(&kept)
	verdict := c.keptVerdict(&kept, rs, about)
	c.apply(rs)
	c.checkKept(verdict, entering, about)
	h := c.rules()
	for range 4 {
		c.ownConnection(h, rs, about)
	}
}

// edited is a policy with some lines of its services left out, or another one if
// that is none.
func (c *changes) edited(policy string) string {
	for range 20 {
		text := ""
		section := ""
		for _, line := range lines(policy) {
			if len(line) > 1 && line[0] == '[' {
				section = line
			}
			if len(section) > 8 && section[:8] == "[service" && line != section && c.r.IntN(8) == 0 {
				continue
			}
			text += line + "\n"
		}
		if _, ps := gen.Load(text, gen.Host()); ps.Err() == nil {
			return text
		}
	}
	return policy
}

// sample are packets to kept services that the policy and the kernel let in.
func (c *changes) sample(kept *rules.Ruleset) []packet.Packet {
	c.Helper()
	var ps []packet.Packet
	for _, p := range gen.Packets(kept, c.r, 300) {
		if p.Hook != packet.Input || p.In == "lo" || kept.Host.Local(p.Src) || p.State != packet.New || p.Proto == packet.TCP && (p.Flags != packet.SYN || !kept.Host.Local(p.Dst)) {
			continue
		}
		d := kept.Decide(p, time.Now())
		if d.Verdict == packet.Accept && slices.ContainsFunc(kept.Services, func(r *rules.Rule) bool { return kept.Matches(r, p, time.Now()) }) {
			ps = append(ps, p)
		}
	}
	return c.entering(ps, true)
}

// entering are those of the packets that the kernel lets in, or does not.
func (c *changes) entering(ps []packet.Packet, want bool) []packet.Packet {
	c.Helper()
	sent := slices.Clone(ps)
	for i := range sent {
		sent[i].Hook, sent[i].Out = packet.Prerouting, "eth1"
	}
	fates, err := c.lab.Trace(sent)
	if err != nil {
		c.Fatal(err)
	}
	c.sent += len(ps)
	var out []packet.Packet
	for i, f := range fates {
		if (f.Hook == packet.Input && f.Verdict == packet.Accept) == want {
			out = append(out, ps[i])
		}
	}
	return out
}

func (c *changes) keptVerdict(kept, rs *rules.Ruleset, about string) *LockoutError {
	c.Helper()
	c.before = kept
	warnings, err := c.guard(guardQuestion{Ruleset: rs})
	if len(warnings) > 0 {
		c.Errorf("warnings %q\n%s", warnings, about)
	}
	var e *LockoutError
	if err != nil && !errors.As(err, &e) {
		c.Fatalf("%v\n%s", err, about)
	}
	if e != nil && c.real(e.Packet) && len(c.entering([]packet.Packet{e.Packet}, true)) == 0 {
		c.Errorf("%v: it did not get in before\n%s", e, about)
	}
	return e
}

// real reports whether the laboratory can send the packet as the first of its
// connection.
func (c *changes) real(p packet.Packet) bool {
	return gen.Deliverable(p, gen.Host()) && gen.KernelState(p) == packet.New
}

func (c *changes) checkKept(e *LockoutError, entering []packet.Packet, about string) {
	c.Helper()
	if e == nil {
		c.passed++
		for _, p := range c.entering(entering, false) {
			c.Errorf("%s is locked out\n%s", p, about)
		}
		return
	}
	c.lost++
	if c.real(e.Packet) && len(c.entering([]packet.Packet{e.Packet}, true)) > 0 {
		c.Errorf("%v: it gets in\n%s", e, about)
	}
}

// ownConnection asks of a random connection whether it would be let in, and sends
// it from some ports.
func (c *changes) ownConnection(h *live.HostRules, rs *rules.Ruleset, about string) {
	c.Helper()
	p := c.someConnection(rs)
	own := live.Connection{Proto: packet.TCP, Src: netip.AddrPortFrom(p.Src, 1), Dst: netip.AddrPortFrom(p.Dst, p.DstPort)}
	var warnings []string
	var err error
	c.inside(func() error {
		warnings, err = guardQuestion{Ruleset: rs, Own: &own, In: p.In}.ask(c.Context(), h)
		return nil
	})
	var e *LockoutError
	switch {
	case len(warnings) > 0:
		c.Errorf("%s: warnings %q\n%s", p, warnings, about)
	case errors.As(err, &e):
		c.own++
		if len(c.entering([]packet.Packet{e.Packet}, true)) > 0 && e.By.By.Chain != "p" {
			c.Errorf("%v: it gets in\n%s", e, about)
		}
	case err != nil:
		c.Fatalf("%s: %v\n%s", p, err, about)
	default:
		c.passed++
		var ps []packet.Packet
		for _, port := range []uint16{1, 22, 1023, 1024, 33000, 51234, 65535, uint16(c.r.IntN(65536))} {
			p.SrcPort = port
			ps = append(ps, p)
		}
		for _, p := range c.entering(ps, false) {
			c.Errorf("%s is locked out\n%s", p, about)
		}
	}
}

// someConnection is the first packet of a connection that the laboratory can make.
func (c *changes) someConnection(rs *rules.Ruleset) packet.Packet {
	for {
		for _, p := range gen.Packets(rs, c.r, 50) {
			p.Proto, p.Flags, p.State, p.Type, p.Code = packet.TCP, packet.SYN, packet.New, 0, 0
			if c.r.IntN(3) > 0 {
				p.DstPort = []uint16{22, 25, 80, 443}[c.r.IntN(4)]
			}
			if p.Hook == packet.Input && p.In != "lo" && !p.Dst.IsMulticast() && !gen.Host().Broadcast(p.Dst) && !gen.Host().Local(p.Src) && gen.Deliverable(p, gen.Host()) {
				return p
			}
		}
	}
}

func lines(text string) []string { return strings.Split(text, "\n") }
