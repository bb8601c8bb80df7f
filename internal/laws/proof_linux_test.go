package laws

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	applynft "github.com/fwctl/fwctl/apply/nftables"
	"github.com/fwctl/fwctl/internal/gen"
	livenft "github.com/fwctl/fwctl/live/nftables"
	"github.com/fwctl/fwctl/packet"
	readnft "github.com/fwctl/fwctl/read/nftables"
	rendernft "github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// What the kernel holds after an apply means what the policy means: proved for
// every packet, at every hook and in both families, not sampled (L2, L4).
func TestNftablesMeansThePolicy(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread and its namespace end with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace: %v", err)
		}
		t.Skipf("needs root and network namespaces: %v", err)
	}
	r := rand.New(rand.NewPCG(gen.Seed(t), 11))
	h := gen.Host()
	for i := range gen.Dose(t, "FWCTL_POLICIES", 500) {
		text := gen.Policy(r, gen.Options{Published: i%4 == 0})
		rs, ps := gen.Load(text, h)
		if ps.Err() != nil {
			t.Fatalf("%v\n%s", ps, text)
		}
		prog, _ := rendernft.Render(rs)
		if _, err := applynft.Apply(context.Background(), prog, nil); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		c, err := livenft.Dial(0)
		if err != nil {
			t.Fatal(err)
		}
		table, _, err := c.Table(context.Background(), readnft.FamilyInet, rendernft.TableName, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		for _, is6 := range []bool{false, true} {
			for _, hook := range hooks {
				proved(t, i, text, rs, h, rs.AtHook(hook, is6), readnft.Filter([]*readnft.Table{table}, hook, is6, nil), is6)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// proved fails unless two filters mean the same for every packet that can stand
// at their hook.
func proved(t *testing.T, i int, text string, rs *rules.Ruleset, h *rules.Host, want, got *packet.Filter, is6 bool) {
	t.Helper()
	s := packet.NewSpace(is6, h.HostAddrs(is6), packet.DefaultBudget, want, got)
	d, err := difference(s, want, got)
	if err != nil {
		t.Fatalf("policy %d, %v, IPv6 %v: %v\n%s", i, want.Hook, is6, err, text)
	}
	for k, unsupported := range got.Unknowns() {
		if unsupported {
			t.Errorf("policy %d: not understood: %s", i, k)
		}
	}
	if d.Kind == packet.Equal {
		return
	}
	f, k := *d.Witness.Facts, *d.Witness.Facts
	t.Errorf("policy %d, %v, IPv6 %v: %v %v: %s\npolicy: %+v\nkernel: %+v\n%s", i, want.Hook, is6, d.Kind, d.Witness.Unknowns, d.Witness.Packet,
		want.Decide(&f), got.Decide(&k), text)
}

func difference(s *packet.Space, want, got *packet.Filter) (d packet.Difference, err error) {
	over, err := s.Set(s.Frame(want.Hook))
	if err != nil {
		return d, err
	}
	w, err := s.Build(want)
	if err != nil {
		return d, err
	}
	g, err := s.Build(got)
	if err != nil {
		return d, err
	}
	return s.Compare(w, g, over)
}
