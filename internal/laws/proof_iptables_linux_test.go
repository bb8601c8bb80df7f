package laws

import (
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	readipt "github.com/fwctl/fwctl/read/iptables"
	rendeript "github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/rules"
)

// hooks are those at which a policy decides.
var hooks = []packet.Hook{packet.Input, packet.Output, packet.Forward}

// The text that is rendered for iptables and ip6tables means what the policy
// means: proved for every packet, at every hook, with and without ipset (L2).
func TestIptablesTextMeansThePolicy(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 12))
	h := gen.Host()
	refused := 0
	for i := range number(t, "FWCTL_POLICIES", 500) {
		text := gen.Policy(r, gen.Options{})
		rs, ps := gen.Load(text, h)
		if ps.Err() != nil {
			t.Fatalf("%v\n%s", ps, text)
		}
		for _, ipset := range []bool{false, true} {
			if !provedText(t, i, text, rs, h, rendeript.Options{IPSet: ipset}) {
				refused++
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d renderings refused", refused)
}

// The same for the policies that come with fwctl.
func TestIptablesTextMeansTheExamples(t *testing.T) {
	names, err := fs.Glob(policies.Examples(), "*.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no examples", err)
	}
	for i, name := range names {
		host := factsOf(t, name)
		p, problems := rules.Load(policies.Examples(), name, rules.LoadOptions{Profiles: policies.Profiles()})
		rs, more := rules.Resolve(p, host)
		if rs == nil {
			t.Fatal(append(problems, more...))
		}
		for _, ipset := range []bool{false, true} {
			if !provedText(t, i, name, rs, host, rendeript.Options{IPSet: ipset}) {
				t.Errorf("%s: not rendered", name)
			}
		}
	}
}

// provedText reports whether there is a text; it fails unless that means the
// policy.
func provedText(t *testing.T, i int, text string, rs *rules.Ruleset, h *rules.Host, opt rendeript.Options) bool {
	t.Helper()
	prog, problems := rendeript.Render(rs, opt)
	if problems.Err() != nil {
		return false
	}
	sets := readipt.ParseSets(prog.SetText(), nil)
	for is6, family := range map[bool]*rendeript.Family{false: &prog.V4, true: &prog.V6} {
		save := readipt.Parse(family.Text())
		if len(save.Unknown) > 0 {
			t.Errorf("policy %d: lines not understood: %q", i, save.Unknown)
		}
		for _, hook := range hooks {
			proved(t, i, text, rs, h, rs.Filter(hook, is6), readipt.Filter(save, hook, is6, readipt.Options{Sets: sets}), is6)
		}
	}
	return true
}
