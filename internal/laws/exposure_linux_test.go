package laws

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/audit/exposure"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// Who an audit says gets in to a port is who the kernel lets in, under policies and
// rules of others: nobody more, nobody less. And it finds no port reached that its
// policy closes, as long as no rule of others opens it.
func TestExposureIsWhatGetsIn(t *testing.T) {
	for _, i := range []int{0, 2, 3} {
		t.Run(backends[i].name, func(t *testing.T) { exposureIsWhatGetsIn(t, backends[i], gen.Seed(t)+uint64(i)) })
	}
}

func exposureIsWhatGetsIn(t *testing.T, b backend, seed uint64) {
	h := gen.Host()
	lab := netlab.New(t, h)
	lab.Early = true // policies may enforce published ports
	if _, err := lab.NFT(others, "-f", "-"); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 61))
	in, out := 0, 0
	for i := range gen.Dose(t, "FWCTL_POLICIES", 20) {
		text := gen.Policy(r, gen.Options{})
		rs, _ := gen.Load(text, h)
		if err := b.load(lab, rs); err != nil {
			t.Fatalf("policy %d: %v", i, err)
		}
		ps := arriving(rs, r)
		report := look(t, lab, rs, ps)
		got, err := lab.Probe(ps)
		if err != nil {
			t.Fatal(err)
		}
		for k, p := range ps {
			said := slices.ContainsFunc(report.Doors, func(d exposure.Door) bool {
				return d.Proto == p.Proto && d.Port == p.DstPort && (d.More || slices.ContainsFunc(d.Sources, func(s exposure.Source) bool { return holds(s, p) }))
			})
			// Who gets in by one source port gets in.
			bySource := strings.Contains(text, "source_ports") && said
			if did := got[k] == packet.Accept; said != did && !bySource && !limited(rs.Decide(p, h.Time)) {
				t.Errorf("policy %d: %s: the audit says %v, the kernel %v\n%s", i, p, said, got[k], text)
			}
			if said {
				in++
			} else {
				out++
			}
		}
		for _, f := range report.Findings {
			if f.Code == "FW102" {
				t.Errorf("policy %d: %s %v %s\n%s", i, f.Summary, f.Evidence, f.Packet, text)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d packets got in, %d did not", in, out)
	if in < 200 || out < 200 {
		t.Error("too few to tell")
	}
}

// arriving are first packets from outside to ports of the host.
func arriving(rs *rules.Ruleset, r *rand.Rand) (ps []packet.Packet) {
	for _, p := range gen.Packets(rs, r, 600) {
		if p.Hook == packet.Input && p.In != "lo" && p.State == packet.New && (p.Proto == packet.TCP || p.Proto == packet.UDP) &&
			!rules.InputBaseline.Matches(p) && rs.Host.Local(p.Dst) && !rs.Host.Local(p.Src) && !p.Dst.IsLoopback() && (p.Proto == packet.UDP || p.Flags == packet.SYN) {
			ps = append(ps, p)
		}
	}
	return ps
}

// look audits the host as if something waited at every port that a packet is for.
func look(t *testing.T, lab *netlab.Lab, rs *rules.Ruleset, ps []packet.Packet) (r *exposure.Report) {
	t.Helper()
	var listeners []live.Listener
	for _, p := range ps {
		listeners = append(listeners, live.Listener{Proto: p.Proto, Addr: netip.IPv6Unspecified(), Port: p.DstPort})
	}
	err := lab.Do(func() error {
		host, err := live.Rules(context.Background())
		if err != nil {
			return err
		}
		r, err = exposure.Look(exposure.Question{Policy: rs, Host: host, Listeners: listeners, Now: rs.Host.Time})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// holds reports whether the packet is from there.
func holds(s exposure.Source, p packet.Packet) bool {
	return (s.Family == "ip6") == p.Is6() && (s.In == nil || slices.Contains(s.In, p.In)) && within(s.From, p.Src) && within(s.To, p.Dst)
}

func within(list []string, a netip.Addr) bool {
	return list == nil || slices.ContainsFunc(list, func(s string) bool {
		if s == "any" {
			return true
		}
		if first, last, ok := strings.Cut(s, "-"); ok {
			r := netipx.IPRangeFrom(netip.MustParseAddr(first), netip.MustParseAddr(last))
			return r.Contains(a)
		}
		if !strings.Contains(s, "/") {
			s = fmt.Sprintf("%s/%d", s, a.BitLen())
		}
		return netip.MustParsePrefix(s).Contains(a)
	})
}
