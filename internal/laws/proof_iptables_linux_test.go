package laws

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	applyipt "github.com/fwctl/fwctl/apply/iptables"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	readipt "github.com/fwctl/fwctl/read/iptables"
	rendeript "github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/rules"
)

// hooks are those at which a policy decides.
var hooks = []packet.Hook{packet.Prerouting, packet.Input, packet.Output, packet.Forward}

// The text that is rendered for iptables and ip6tables means what the policy
// means: proved for every packet, at every hook, with and without ipset (L2).
func TestIptablesTextMeansThePolicy(t *testing.T) {
	r := rand.New(rand.NewPCG(gen.Seed(t), 12))
	h := gen.Host()
	refused := 0
	for i := range gen.Dose(t, "FWCTL_POLICIES", 500) {
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
			proved(t, i, text, rs, h, rs.AtHook(hook, is6), readipt.Filter(save, hook, is6, readipt.Options{Sets: sets}), is6)
		}
	}
	return true
}

// What iptables-save prints after an apply, whatever was applied before, means
// the policy, too (L4).
func TestIptablesAppliedMeansThePolicy(t *testing.T) {
	for _, v := range []struct {
		variant applyipt.Variant
		name    string
	}{{applyipt.NFT, "nft"}, {applyipt.Legacy, "legacy"}} {
		t.Run(v.name, func(t *testing.T) {
			runtime.LockOSThread() // never unlocked: the thread and its namespace end with the test
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatalf("no network namespace: %v", err)
				}
				t.Skipf("needs root and network namespaces: %v", err)
			}
			r := rand.New(rand.NewPCG(gen.Seed(t), 13))
			for i := range gen.Dose(t, "FWCTL_POLICIES", 40) {
				provedApplied(t, i, gen.Policy(r, gen.Options{}), v.variant, v.name)
				if t.Failed() {
					return
				}
			}
		})
	}
}

func provedApplied(t *testing.T, i int, text string, variant applyipt.Variant, name string) {
	t.Helper()
	h, ctx := gen.Host(), context.Background()
	rs, _ := gen.Load(text, h)
	c, err := applyipt.Open(ctx, applyipt.Options{Variant: variant, NoIPSet: i%3 == 0})
	if err != nil {
		t.Fatal(err)
	}
	prog, problems := rendeript.Render(rs, rendeript.Options{IPSet: c.IPSet})
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	if _, err := c.Apply(ctx, prog); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	sets := readipt.ParseSets(output(t, "ipset", "save"), nil)
	for is6, command := range map[bool]string{false: "iptables-", true: "ip6tables-"} {
		save := readipt.Parse(output(t, command+name+"-save"))
		for _, hook := range hooks {
			got := readipt.Filter(save, hook, is6, readipt.Options{Sets: sets, Protocols: protocols(t)})
			proved(t, i, text, rs, h, rs.AtHook(hook, is6), got, is6)
		}
	}
}

func output(t *testing.T, command string, args ...string) string {
	t.Helper()
	out, err := exec.Command(command, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return string(out)
}

// protocols are the names that iptables-save prints on this host.
func protocols(t *testing.T) readipt.Protocols {
	t.Helper()
	text, err := os.ReadFile("/etc/protocols")
	if err != nil {
		t.Fatal(err)
	}
	return readipt.ParseProtocols(string(text))
}
