package laws

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	readiptables "github.com/fwctl/fwctl/read/iptables"
	"github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// What compare says of two policies the kernel says, too: the example of every
// difference fares on it as compare tells, with either policy loaded.
func TestComparedPacketsFareSo(t *testing.T) {
	h := gen.Host()
	// What compare calls an interface that no policy names.
	for _, name := range []string{"eth2", "ens0", "lan0"} {
		h.Interfaces = append(h.Interfaces, rules.Interface{Name: name})
	}
	lab := netlab.New(t, h)
	lab.Early = true // policies may enforce published ports
	r := rand.New(rand.NewPCG(gen.Seed(t), 12))
	tried, skipped := 0, map[string]int{}
	for i := range gen.Dose(t, "FWCTL_POLICIES", 150) {
		a := gen.Policy(r, gen.Options{})
		b := lessOne(r, a, h)
		rsA, _ := gen.Load(a, h)
		rsB, _ := gen.Load(b, h)
		c, err := compare.Compare(policySide("a", rsA), policySide("b", rsB), compare.Question{Addrs: h.HostAddrs, Now: h.Time})
		if err != nil {
			t.Fatalf("pair %d: %v\n%s", i, err, a)
		}
		var ps []packet.Packet
		var examples []*compare.Example
		for _, p := range c.Parts {
			if p.Example == nil {
				continue
			}
			if why := unlikely(p, h); why != "" {
				skipped[why]++
				continue
			}
			ps, examples = append(ps, p.Example.Packet), append(examples, p.Example)
		}
		if len(ps) == 0 {
			continue
		}
		backend := backends[i%2]
		for k, rs := range []*rules.Ruleset{rsA, rsB} {
			if err := backend.load(lab, rs); err != nil {
				t.Fatalf("pair %d: %v", i, err)
			}
			got, err := lab.Probe(ps)
			if err != nil {
				t.Fatalf("pair %d: %v", i, err)
			}
			for j, x := range examples {
				tried++
				if want := [2]compare.Decision{x.A, x.B}[k]; got[j].String() != want.Verdict {
					t.Errorf("pair %d, side %d, %s: compare says %s, the kernel %s\n%s\n--- b:\n%s", i, k, x.Text, want, got[j], a, b)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d verdicts replayed; not: %v", tried, skipped)
	if tried < 100 {
		t.Errorf("only %d verdicts", tried)
	}
}

func policySide(name string, rs *rules.Ruleset) compare.Side {
	return compare.Side{Name: name, V4: true, V6: true, Filter: rs.Filter}
}

// lessOne takes a section out of a policy, or writes it anew with another port.
func lessOne(r *rand.Rand, text string, h *rules.Host) string {
	parts := strings.Split(text, "\n\n")
	for range 100 {
		i := 1 + r.IntN(len(parts)-1)
		less := slices.Delete(slices.Clone(parts), i, i+1)
		if r.IntN(3) == 0 {
			less = append(slices.Clone(parts), fmt.Sprintf("[service.more]\nports = [\"%d/tcp\"]\nfrom = [\"any\"]\nshared = true\n", 1+r.IntN(65000)))
		}
		b := strings.Join(less, "\n\n")
		if _, ps := gen.Load(b, h); ps.Err() == nil {
			return b
		}
	}
	return text
}

// unlikely says why the laboratory cannot show what becomes of an example.
func unlikely(p compare.Part, h *rules.Host) string {
	x := p.Example.Packet
	named := func(name string) bool {
		return name == "" || slices.ContainsFunc(h.Interfaces, func(i rules.Interface) bool { return i.Name == name })
	}
	flow := x.Proto == packet.TCP || x.Proto == packet.UDP
	switch {
	case slices.ContainsFunc(p.Example.If, func(s string) bool { return strings.HasPrefix(s, "not ") }):
		return "spent limits, or another time"
	case slices.Contains(p.Example.If, compare.Translated):
		return "translated"
	case x.State == packet.Untracked && (x.Hook == packet.Output || x.Proto.IsICMP() && gen.KernelState(x) != x.State), x.State == packet.Related, x.State == packet.Established && !flow,
		(x.State == packet.New || x.State == packet.Invalid) && gen.KernelState(x) != x.State:
		return "state that no packet of the laboratory has"
	case !named(x.In) || !named(x.Out):
		return "interface " + x.In + x.Out
	case x.In == "lo" || x.Out == "lo":
		return "loopback"
	case !x.Proto.HasPorts() && !x.Proto.IsICMP():
		return "odd protocol"
	case !gen.Deliverable(x, h):
		return "odd address"
	}
	return ""
}

// The renderings of every example mean the same, as texts: what nft loads, what
// iptables-restore and ip6tables-restore load, and the policy.
func TestExamplesCompareEqual(t *testing.T) {
	names, err := fs.Glob(policies.Examples(), "*.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no examples", err)
	}
	for _, name := range names {
		host := factsOf(t, name)
		p, _ := rules.Load(policies.Examples(), name, rules.LoadOptions{Profiles: policies.Profiles()})
		rs, ps := rules.Resolve(p, host)
		if rs == nil {
			t.Fatal(ps)
		}
		nft, _ := nftables.Render(rs)
		loaded, err := live.LoadNFT(context.Background(), "-", []byte(nft.Text()))
		if errors.Is(err, unix.EPERM) {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		ipt, _ := iptables.Render(rs, iptables.Options{})
		sides := []compare.Side{
			{Name: "nft", V4: true, V6: true, Filter: loaded.Filter},
			saved("iptables", ipt.V4.Text()), saved("ip6tables", ipt.V6.Text()),
		}
		for i, a := range append([]compare.Side{policySide("policy", rs)}, sides...) {
			for _, b := range sides[i:] {
				if a.V4 != b.V4 && a.V6 != b.V6 {
					continue
				}
				c, err := compare.Compare(a, b, compare.Question{Addrs: host.HostAddrs, Now: host.Time})
				if err != nil {
					t.Fatal(err)
				}
				if c.Result != compare.Equal || len(c.Unknown) > 0 {
					t.Errorf("%s: %s and %s: %s, %+v, %v", name, a.Name, b.Name, c.Result, c.Parts, c.Unknown)
				}
			}
		}
	}
}

func saved(name, text string) compare.Side {
	save := readiptables.Parse(text)
	return compare.Side{Name: name, V4: name == "iptables", V6: name == "ip6tables", Filter: func(h packet.Hook, is6 bool) *packet.Filter {
		return readiptables.Filter(save, h, is6, readiptables.Options{})
	}}
}

// The optimizer of nft 1.0.6 merges two tests of TCP flags into a set, which
// asks for something else. compare finds it, with packets that the kernel lets
// pass before and refuses afterwards.
func TestOptimizedTextIsFoundUnequal(t *testing.T) {
	const before = "table inet t { chain c { type filter hook input priority 0; policy drop; tcp flags syn accept; tcp flags ack accept; }; }\n"
	const after = "table inet t { chain c { type filter hook input priority 0; policy drop; tcp flags { syn, ack } accept; }; }\n"
	h := gen.Host()
	lab := netlab.New(t, h)
	lab.Early = true // policies may enforce published ports
	var sides []compare.Side
	for _, text := range []string{before, after} {
		f, err := live.LoadNFT(context.Background(), "-", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		sides = append(sides, compare.Side{Name: text, V4: true, V6: true, Filter: f.Filter})
	}
	c, err := compare.Compare(sides[0], sides[1], compare.Question{Hooks: []packet.Hook{packet.Input}, Addrs: h.HostAddrs})
	if err != nil {
		t.Fatal(err)
	}
	if c.Result != compare.Different {
		t.Fatal(c.Result)
	}
	for i, text := range []string{before, after} {
		if _, err := lab.NFT("table inet t\ndelete table inet t\n"+text, "-f", "-"); err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Parts {
			if p.Kind != compare.First || p.Example == nil {
				continue
			}
			got, err := lab.Probe([]packet.Packet{p.Example.Packet})
			if err != nil {
				t.Fatal(err)
			}
			if want := [2]compare.Decision{p.Example.A, p.Example.B}[i]; got[0].String() != want.Verdict {
				t.Errorf("%s: compare says %s, the kernel %s", p.Example.Text, want, got[0])
			}
			t.Logf("%s: %s", p.Example.Text, got[0])
		}
	}
}
