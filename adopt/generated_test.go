package adopt

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
	rendeript "github.com/fwctl/fwctl/render/iptables"
	rendernft "github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// count counts policies that came back.
type count struct{ refused, equal, named, undecided int }

// backAgain imports what a policy was rendered to: what comes out is equal to it, or
// the rules that are left out say why not.
func (n *count) backAgain(t *testing.T, i int, text string, r *Ruleset) {
	t.Helper()
	res, err := Import(r, Limits{})
	if errors.Is(err, packet.ErrBudget) || errors.Is(err, packet.ErrTime) {
		n.undecided++
		return
	}
	if err != nil {
		t.Errorf("policy %d: %v\n%s", i, err, text)
		return
	}
	c, err := proof(res)
	switch {
	case err != nil:
		t.Errorf("policy %d: %v\n%s\n%s", i, err, text, res.Policy)
	case c.Result == compare.Equal:
		n.equal++
	case len(res.Left) > 0:
		if os.Getenv("FWCTL_SHOW") != "" {
			t.Logf("policy %d: %v\n%s\n%s", i, c.Result, text, res.Policy)
		}
		n.named++
	default:
		t.Errorf("policy %d: %v, and no rule is said to be left out\n%s\n%s", i, c.Result, text, res.Policy)
		for _, p := range c.Parts {
			t.Errorf("%+v %+v", p.Differ, p.Example)
		}
	}
}

func (n *count) report(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s: %d proved equal, %d differ and say where, %d undecided, %d are not rendered", what, n.equal, n.named, n.undecided, n.refused)
	if n.undecided*50 > n.equal+n.named {
		t.Errorf("%s: too many are undecided", what)
	}
	// About nineteen in twenty; the bound leaves room for unlucky draws.
	if n.equal*20 < (n.equal+n.named)*17 {
		t.Errorf("%s: too few came back", what)
	}
}

// A policy that was rendered to iptables and is imported means the same again.
func TestIptablesTextsComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(gen.Seed(t), 21))
	var n count
	for i := range gen.Dose(t, "FWCTL_POLICIES", 100) {
		text := untranslated(gen.Policy(r, gen.Options{}))
		prog, ps := rendeript.Render(load(t, text), rendeript.Options{})
		if ps.Err() != nil {
			n.refused++
			continue
		}
		rs := &Ruleset{Name: "text"}
		for is6, family := range map[bool]*rendeript.Family{false: &prog.V4, true: &prog.V6} {
			f, err := IPTables("text", family.Text(), is6, iptables.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if is6 {
				rs.V6 = f
			} else {
				rs.V4 = f
			}
		}
		n.backAgain(t, i, text, rs)
	}
	n.report(t, "iptables")
}

func load(t *testing.T, text string) *rules.Ruleset {
	t.Helper()
	rs, ps := gen.Load(text, gen.Host())
	if ps.Err() != nil {
		t.Fatalf("%v\n%s", ps, text)
	}
	return rs
}

// The same of nft.
func TestNftTextsComeBack(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root")
		}
		t.Skip("needs root: the kernel reads the text, in a network namespace")
	}
	r := rand.New(rand.NewPCG(gen.Seed(t), 22))
	var n count
	for i := range gen.Dose(t, "FWCTL_POLICIES", 100) {
		text := untranslated(gen.Policy(r, gen.Options{}))
		prog, ps := rendernft.Render(load(t, text))
		if ps.Err() != nil {
			n.refused++
			continue
		}
		f, err := live.LoadNFT(context.Background(), "-", []byte(prog.Text()))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		n.backAgain(t, i, text, &Ruleset{Name: "text", V4: f.Filter(packet.Input, false), V6: f.Filter(packet.Input, true)})
	}
	n.report(t, "nft")
}

// untranslated takes out of a generated policy what is about published ports: rules for
// packets to the host do not say it.
func untranslated(policy string) string {
	return strings.Replace(policy, `published = "enforce"`, `published = "ignore"`, 1)
}
