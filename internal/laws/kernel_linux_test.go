package laws

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	"github.com/fwctl/fwctl/rules"
)

// How much the ordinary run does: each backend sees every policy.
const (
	randomPolicies   = 500
	listedPolicies   = 100
	packetsPerPolicy = 400
	packetsOfExample = 3000
)

// mostMismatches is how many mismatches of one backend are reported.
const mostMismatches = 3

// What a kernel does with a packet is what the evaluator says, whichever way the
// policy was put there, and whatever policy was there before.
func TestKernelAgreesOnRandomPolicies(t *testing.T) {
	n, first := gen.Dose(t, "FWCTL_POLICIES", randomPolicies), int(gen.Seed(t))
	var probes atomic.Int64
	t.Run("backends", func(t *testing.T) {
		for _, b := range backends {
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				c := &check{T: t, backend: b, lab: netlab.New(t, gen.Host()), host: gen.Host()}
				for seed := first; seed < first+n && c.found < mostMismatches; seed++ {
					c.random(uint64(seed))
				}
				probes.Add(c.probes)
				t.Logf("%d policies, %d packets, %v in the kernel, %v to load", n, c.probes, c.probing.Round(time.Millisecond), c.loading.Round(time.Millisecond))
			})
		}
	})
	t.Logf("%d packets in all", probes.Load())
}

// The same for the policies that come with fwctl.
func TestKernelAgreesOnExamples(t *testing.T) {
	names, err := fs.Glob(policies.Examples(), "*.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no examples", err)
	}
	for _, name := range names {
		for _, b := range backends {
			t.Run(name+"/"+b.name, func(t *testing.T) {
				host := factsOf(t, name)
				c := &check{T: t, backend: b, lab: netlab.New(t, host), host: host}
				c.example(name)
			})
		}
	}
}

func factsOf(t *testing.T, policy string) *rules.Host {
	t.Helper()
	data, err := fs.ReadFile(policies.Examples(), strings.TrimSuffix(policy, path.Ext(policy))+".host.json")
	if err != nil {
		t.Fatal(err)
	}
	host := new(rules.Host)
	if err := json.Unmarshal(data, host); err != nil {
		t.Fatal(err)
	}
	return host
}

// check tries policies on one backend.
type check struct {
	*testing.T
	backend backend
	lab     *netlab.Lab
	host    *rules.Host

	probes           int64
	found            int
	loading, probing time.Duration
}

func (c *check) random(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	text := gen.Policy(r, gen.Options{})
	rs, _ := gen.Load(text, c.host)
	ps := gen.Packets(rs, r, packetsPerPolicy)
	if bad := c.mismatch(rs, ps); bad != nil {
		c.found++
		small, smallBad := c.shrink(text, bad)
		c.Errorf("policy %d, made as small as shows it:\n\n%s\n%s", seed, small, smallBad)
	}
}

func (c *check) example(name string) {
	p, problems := rules.Load(policies.Examples(), name, rules.LoadOptions{Profiles: policies.Profiles()})
	rs, more := rules.Resolve(p, c.host)
	if rs == nil {
		c.Fatal(append(problems, more...))
	}
	if bad := c.mismatch(rs, gen.Packets(rs, rand.New(rand.NewPCG(1, 1)), packetsOfExample)); bad != nil {
		c.Error(bad)
	}
}

// mismatch is a packet of which kernel and evaluator think differently, or why it
// did not come to that.
type mismatch struct {
	err    error // loading or probing failed; the rest is then zero
	packet packet.Packet
	want   rules.Decision
	got    packet.Verdict
}

func (m *mismatch) String() string {
	if m.err != nil {
		return m.err.Error()
	}
	by := m.want.Reason
	if m.want.Rule != nil {
		by = m.want.Rule.ID()
	}
	return fmt.Sprintf("%s\n  expected %s by %s\n  the kernel says %s", m.packet, m.want.Verdict, by, m.got)
}

// mismatch loads the ruleset and returns the first packet that fares otherwise
// than it should.
func (c *check) mismatch(rs *rules.Ruleset, ps []packet.Packet) *mismatch {
	start := time.Now()
	err := c.backend.load(c.lab, rs)
	c.loading += time.Since(start)
	if err != nil {
		return &mismatch{err: err}
	}
	c.lab.Early = rs.Published == rules.PublishedEnforce
	start = time.Now()
	got, err := c.lab.Probe(ps)
	c.probing += time.Since(start)
	if err != nil {
		return &mismatch{err: err}
	}
	c.probes += int64(len(ps))
	now := time.Now()
	for i, p := range ps {
		want := rs.Decide(p, now)
		if agree(p, want.Verdict, got[i]) {
			continue
		}
		// On a busy machine a probe may still have been on its way between two
		// rules when the sets were read.
		if again, err := c.lab.Probe([]packet.Packet{p}); err == nil && agree(p, want.Verdict, again[0]) {
			c.Logf("only once: %s", &mismatch{packet: p, want: want, got: got[i]})
			continue
		}
		return &mismatch{packet: p, want: want, got: got[i]}
	}
	return nil
}

// agree reports whether the kernel may do that. TCP without a flow that is no
// SYN must only not get in where its SYN would not; a reset is never answered
// (RFC 9293, section 3.5.2).
func agree(p packet.Packet, want, got packet.Verdict) bool {
	switch {
	case p.Proto != packet.TCP || p.Flags == packet.SYN:
		return want == got
	case p.State == packet.New:
		return got != packet.Accept || want == packet.Accept
	case p.Flags&packet.RST != 0 && want == packet.Reject:
		return got != packet.Accept
	}
	return want == got
}

// shrink takes sections and then lines out of the policy as long as it still shows a
// mismatch.
func (c *check) shrink(text string, bad *mismatch) (string, *mismatch) {
	for _, sep := range []string{"\n\n", "\n"} {
		parts := strings.Split(text, sep)
		for again := true; again; {
			again = false
			for i := len(parts) - 1; i >= 0; i-- {
				less := append(append([]string{}, parts[:i]...), parts[i+1:]...)
				if still := c.try(strings.Join(less, sep), bad); still != nil {
					parts, bad, again = less, still, true
				}
			}
		}
		text = strings.Join(parts, sep)
	}
	return text, bad
}

// try reports the mismatch that a smaller policy still shows; an error must
// remain one.
func (c *check) try(text string, was *mismatch) *mismatch {
	rs, _ := gen.Load(text, c.host)
	if rs == nil {
		return nil
	}
	var ps []packet.Packet
	if was.err == nil {
		ps = []packet.Packet{was.packet}
	}
	bad := c.mismatch(rs, ps)
	if bad != nil && (bad.err == nil) != (was.err == nil) {
		return nil
	}
	return bad
}
