package laws

import (
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/policies"
	readpf "github.com/fwctl/fwctl/read/pf"
	renderpf "github.com/fwctl/fwctl/render/pf"
	"github.com/fwctl/fwctl/rules"
)

// pfSystem is a grammar of pf as it is written, read, and what it can say.
type pfSystem struct {
	write renderpf.Dialect
	read  readpf.Dialect
	can   gen.PF
}

var pfSystems = []pfSystem{
	{renderpf.OpenBSD, readpf.OpenBSD, gen.PF{Groups: true, Routed: true, WayOut: true}},
	{renderpf.FreeBSD, readpf.FreeBSD, gen.PF{SCTPPorts: true, Groups: true, Routed: true, WayOut: true}},
	{renderpf.FreeBSDOld, readpf.FreeBSDOld, gen.PF{Groups: true, Routed: true}},
	{renderpf.MacOS, readpf.MacOS, gen.PF{WayOut: true}},
}

// The text that is rendered for pf means what the policy means: proved for every
// first packet of a flow, at every hook, and with it that the answers pass (L2).
func TestPFTextMeansThePolicy(t *testing.T) {
	r := rand.New(rand.NewPCG(gen.Seed(t), 14))
	h := gen.Host()
	for i := range gen.Dose(t, "FWCTL_POLICIES", 500) {
		text := gen.ForPF(gen.Policy(r, gen.Options{}))
		rs, ps := gen.Load(text, h)
		if ps.Err() != nil {
			t.Fatalf("%v\n%s", ps, text)
		}
		for j, sys := range pfSystems {
			form := []renderpf.Form{renderpf.File, renderpf.Anchor}[(i+j)%2]
			if !sys.proved(t, sys.can.Adapt(rs), form) {
				t.Errorf("refused")
			}
			if t.Failed() {
				t.Fatalf("policy %d for %v, %v\n%s", i, sys.write, form, text)
			}
		}
	}
}

// The same for the policies that come with fwctl.
func TestPFTextMeansTheExamples(t *testing.T) {
	names, err := fs.Glob(policies.Examples(), "*.toml")
	if err != nil || len(names) == 0 {
		t.Fatal("no examples", err)
	}
	said := 0
	for _, name := range names {
		host := factsOf(t, name)
		p, problems := rules.Load(policies.Examples(), name, rules.LoadOptions{Profiles: policies.Profiles()})
		rs, more := rules.Resolve(p, host)
		if rs == nil {
			t.Fatal(append(problems, more...))
		}
		for _, sys := range pfSystems {
			for _, form := range []renderpf.Form{renderpf.File, renderpf.Anchor} {
				if sys.proved(t, rs, form) {
					said++
				}
				if t.Failed() {
					t.Fatalf("%s for %v, %v", name, sys.write, form)
				}
			}
		}
	}
	if said < 4*len(names) {
		t.Errorf("only %d renderings of %d examples", said, len(names))
	}
}

// proved reports whether there is a text; it fails unless that means the policy.
func (sys pfSystem) proved(t *testing.T, rs *rules.Ruleset, form renderpf.Form) bool {
	t.Helper()
	prog, problems := renderpf.Render(rs, renderpf.Options{Dialect: sys.write, Form: form, At: rs.Host.Time})
	if problems.Err() != nil {
		return false
	}
	c := readpf.Parse(prog.Text(), sys.read)
	if len(c.Problems) > 0 {
		t.Errorf("not understood: %v\n%s", c.Problems, prog.Text())
	}
	for _, is6 := range []bool{false, true} {
		for _, hook := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
			if hook == packet.Forward && sys.read == readpf.MacOS {
				continue // it cannot tell them from packets for the host
			}
			provedPF(t, rs, c, hook, is6)
			if t.Failed() {
				t.Logf("%v, IPv6 %v\n%s", hook, is6, prog.Text())
				return true
			}
		}
	}
	return true
}

func provedPF(t *testing.T, rs *rules.Ruleset, c *readpf.Config, hook packet.Hook, is6 bool) {
	t.Helper()
	want := rs.Filter(hook, is6)
	got := readpf.Filter(c, hook, is6, readpf.Options{})
	keeping := readpf.Filter(c, hook, is6, readpf.Options{Keeping: true})
	for k, unsupported := range got.Unknowns() {
		if unsupported {
			t.Errorf("not understood: %s", k)
		}
	}
	s := packet.NewSpace(is6, rs.Host.HostAddrs(is6), packet.DefaultBudget, want, got, keeping)
	now := packet.All{packet.During(rs.Host.Time, rs.Host.Time, want), unspent(rs, got)}
	must(t, s.Assume(now))
	over := set(t, s, packet.All{s.Frame(hook), packet.FirstPackets(), c.Comparable(hook, is6)})
	w, g, k := built(t, s, want), built(t, s, got), built(t, s, keeping)
	d, err := s.Compare(w, g, over)
	must(t, err)
	if d.Kind != packet.Equal {
		f, p := *d.Witness.Facts, *d.Witness.Facts
		t.Errorf("%v %v: %s\npolicy: %+v\npf: %+v", d.Kind, d.Witness.Unknowns, d.Witness.Packet, want.Decide(&f), got.Decide(&p))
	}
	answered(t, s, rs, hook, is6, over, set(t, s, now), w, k)
}

// answered fails unless a state is kept of what the policy accepts, but for what
// the network needs, of which each direction has rules of its own.
func answered(t *testing.T, s *packet.Space, rs *rules.Ruleset, hook packet.Hook, is6 bool, over, now, want, keeping packet.Node) {
	t.Helper()
	if hook == packet.Forward && rs.Routed == rules.RoutedIgnore {
		return // not ours to track
	}
	accepted, err := s.Where(want, packet.OutcomeAccept)
	must(t, err)
	kept, err := s.Where(keeping, packet.OutcomeAccept)
	must(t, err)
	flow := packet.All{packet.Not{Cond: readpf.Baseline(is6)}, packet.Not{Cond: packet.Iface{Pattern: "lo"}}, packet.Not{Cond: packet.Iface{Out: true, Pattern: "lo"}}}
	conversations, err := s.And(over, set(t, s, flow))
	must(t, err)
	accepted, err = s.And(accepted, conversations)
	must(t, err)
	accepted, err = s.And(accepted, now)
	must(t, err)
	lost, err := s.Minus(accepted, kept)
	must(t, err)
	if lost == packet.False {
		return
	}
	groups, _, err := s.GroupsWithin(lost, over, 3)
	must(t, err)
	t.Errorf("accepted, and the answers do not pass: %v", groups)
}

// unspent assumes that no limit is used up, where pf refuses a source over it
// otherwise than the policy: before other services are asked, and without an answer.
func unspent(rs *rules.Ruleset, f *packet.Filter) packet.Cond {
	limited := 0
	for _, r := range rs.Services {
		if r.Limit.Count > 0 {
			limited++
		}
	}
	c := packet.All{}
	if limited < 2 && rs.Inbound == packet.Drop {
		return c
	}
	for key := range f.Unknowns() {
		if owner, count, per, ok := packet.ReadUnspent(key); ok {
			for _, is6 := range []bool{false, true} {
				if u := packet.Unspent(owner, count, per, is6); u.(packet.Unknown).Key == key {
					c = append(c, u)
				}
			}
		}
	}
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, s *packet.Space, c packet.Cond) packet.Node {
	t.Helper()
	n, err := s.Set(c)
	must(t, err)
	return n
}

func built(t *testing.T, s *packet.Space, f *packet.Filter) packet.Node {
	t.Helper()
	n, err := s.Build(f)
	must(t, err)
	return n
}
