package pf

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

var (
	allDialects = []Dialect{OpenBSD, FreeBSD, FreeBSDOld, MacOS}
	allForms    = []Form{File, Anchor}
)

// The law of this room: what the text does is what the policy means, for first
// packets and their answers, in every dialect and form that takes the policy.
func TestMeaning(t *testing.T) {
	policies, perPolicy, least := gen.Dose(t, "FWCTL_POLICIES", 700), 60, 200_000
	if testing.Short() {
		policies, least = 40, 10_000
	}
	seen := tally{}
	for seed := range uint64(policies) {
		r := rand.New(rand.NewPCG(gen.Seed(t), seed))
		text := gen.ForPF(gen.Policy(r, gen.Options{}))
		rs, problems := gen.Load(text, gen.Host())
		if problems.Err() != nil {
			seen.unloaded++
			continue
		}
		for _, d := range allDialects {
			for _, f := range allForms {
				compare(t, &seen, d.limits().Adapt(rs), Options{Dialect: d, Form: f, At: rs.Host.Time}, r, perPolicy)
				if t.Failed() {
					t.Fatalf("seed %d, %v %v:\n%s", seed, d, f, text)
				}
			}
		}
	}
	t.Logf("%+v", seen)
	if seen.packets < least || seen.answers < least/10 || seen.programs < policies*7 {
		t.Errorf("too little was compared: %+v", seen)
	}
}

// tally counts what a comparison saw, so that a test that compares nothing fails.
type tally struct{ programs, refused, unloaded, packets, answers, accepted, rejected, dropped, limited, midstream int }

// limits are what the dialect refuses.
func (d Dialect) limits() gen.PF {
	return gen.PF{
		SCTPPorts: d == FreeBSD, Groups: d != MacOS, Routed: d != MacOS, WayOut: d != FreeBSDOld,
	}
}

func compare(t *testing.T, seen *tally, rs *rules.Ruleset, opt Options, r *rand.Rand, n int) {
	t.Helper()
	prog, problems := Render(rs, opt)
	if prog == nil {
		seen.refused++
		t.Errorf("refused: %v", problems.Err())
		return
	}
	lines, err := parse(prog.Text(), opt.Dialect, opt.Form)
	if err != nil {
		t.Errorf("%v in\n%s", err, prog.Text())
		return
	}
	if !reflect.DeepEqual(lines, statements(prog)) {
		t.Errorf("the text reads as something else:\n%s\n%#v\n%#v", prog.Text(), lines, statements(prog))
	}
	seen.programs++
	f := newFilter(lines, opt.Dialect, rs.Host)
	for _, p := range gen.Packets(rs, r, n) {
		judge(t, seen, rs, f, opt, p)
		if t.Failed() {
			t.Logf("\n%s", prog.Text())
			return
		}
	}
}

// statements are the lines of a program but for comments and space.
func statements(p *Program) []Line {
	return slices.DeleteFunc(slices.Clone(p.Lines), func(l Line) bool {
		_, comment := l.(Comment)
		return comment || l == Blank{}
	})
}

// judge compares one packet. Not compared are: packets of established flows (they
// are the answers of others), protocols in the wrong family (pf throws them away),
// ICMP answers that nobody asked for (invalid in Linux), routed packets where
// they cannot be told from others: on macOS all of them, in the old grammar those
// that pretend to come from this host, on OpenBSD those that it may take itself.
func judge(t *testing.T, seen *tally, rs *rules.Ruleset, f *filter, opt Options, p packet.Packet) {
	t.Helper()
	switch {
	case p.State == packet.Established, p.State == packet.Related, opt.Dialect == MacOS && p.Hook == packet.Forward,
		opt.Dialect == FreeBSDOld && p.Hook == packet.Forward && rs.Host.Local(p.Src),
		opt.Dialect == OpenBSD && p.Hook == packet.Forward && (f.inTable(f.tables["never.routed"], p.Dst) || f.inTable(f.tables["never.routed"], p.Src)),
		p.Proto == packet.ICMP && p.Is6(), p.Proto == packet.ICMPv6 && !p.Is6(),
		p.Proto.IsICMP() && slices.Contains(noBeginning[p.Proto], p.Type) && rs.Decide(asNew(p), opt.At).Reason != rules.ReasonBaseline:
		return
	}
	at := opt.At
	want := rs.Decide(asNew(p), at)
	got, answered, label := f.judge(asBSD(p))
	if p.Proto == packet.TCP && p.Flags != packet.SYN {
		seen.midstream++
		if got == packet.Accept && want.Verdict != packet.Accept {
			t.Errorf("%v: accepted without a state by %q, its SYN is not: %+v", p, label, want)
		}
		return
	}
	seen.packets++
	seen.count(want)
	if got != want.Verdict && !mute(opt, rs, p, got, want.Verdict) {
		t.Errorf("%v %+v: pf says %v by %q, the policy %v: %s %s", p.Hook, p, got, label, want.Verdict, want.Reason, ruleID(want.Rule))
	}
	if want.Verdict == packet.Accept && want.Reason != rules.ReasonBaseline && want.Reason != rules.ReasonLoopback && conversation(rs, p) {
		seen.answers++
		if !answered {
			t.Errorf("%v %+v: accepted by %q, and the answer does not pass", p.Hook, p, label)
		}
	}
}

func (s *tally) count(d rules.Decision) {
	switch d.Verdict {
	case packet.Accept:
		s.accepted++
	case packet.Reject:
		s.rejected++
	case packet.Drop:
		s.dropped++
	}
	if d.Limited {
		s.limited++
	}
}

// mute allows the one refusal with an answer where the policy has none: macOS
// does not know its broadcast addresses.
func mute(opt Options, rs *rules.Ruleset, p packet.Packet, got, want packet.Verdict) bool {
	return opt.Dialect == MacOS && p.Hook == packet.Output && got == packet.Reject && want == packet.Drop && rs.Host.Broadcast(p.Dst)
}

// conversation reports whether somebody answers, with the addresses exchanged.
// Of ICMP only what pf knows to have an answer.
func conversation(rs *rules.Ruleset, p packet.Packet) bool {
	if p.Proto == packet.ICMP && p.Type != 8 || p.Proto == packet.ICMPv6 && p.Type != 128 {
		return false
	}
	if p.Hook != packet.Output && rs.Host.Local(p.Src) {
		return false // a forged packet; the answer would not leave
	}
	return !p.Dst.IsMulticast() && !rs.Host.Broadcast(p.Dst) && !p.Src.IsUnspecified() && p.In != "lo" && p.Out != "lo"
}

func asNew(p packet.Packet) packet.Packet {
	p.State = packet.New
	if p.Proto == packet.TCP {
		p.Flags = packet.SYN
	}
	return p
}

// asBSD calls the loopback interface by its name there.
func asBSD(p packet.Packet) packet.Packet {
	if p.In == "lo" {
		p.In = "lo0"
	}
	if p.Out == "lo" {
		p.Out = "lo0"
	}
	return p
}

func ruleID(r *rules.Rule) string {
	if r == nil {
		return ""
	}
	return r.ID()
}

// The same for policies that people wrote.
func TestMeaningOfExamples(t *testing.T) {
	seen := tally{}
	for name, rs := range cases(t) {
		rs.Host = linuxLoopback(rs.Host)
		for _, d := range allDialects {
			for _, f := range allForms {
				opt := Options{Dialect: d, Form: f, At: rs.Host.Time}
				if prog, _ := Render(rs, opt); prog != nil {
					compare(t, &seen, rs, opt, rand.New(rand.NewPCG(6, uint64(d))), 1500)
				}
			}
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
	t.Logf("%+v", seen)
	if seen.packets < 40_000 {
		t.Errorf("too little was compared: %+v", seen)
	}
}

// What random policies meet too seldom.
func TestMeaningOfCorners(t *testing.T) {
	const routed = "[defaults]\nrouted = \"drop\"\n"
	seen := tally{}
	for _, policy := range []string{
		// A service for addresses that are not this host's, on the way of a route.
		routed + "[service.s]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\nto = [\"198.51.100.0/24\", \"192.0.2.10\"]\n" +
			"[route.r]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\nto = [\"198.51.100.0/25\"]",
		// The same, and nothing routes it.
		routed + "[service.s]\nprotocols = [\"any\"]\nfrom = [\"any\"]\nto = [\"198.51.100.0/24\", \"192.0.2.10\"]",
		// Interfaces that a group and a service both name.
		"[group.g]\naddresses = [\"198.51.100.0/24\"]\ninterfaces = [\"eth0\", \"wg0\"]\n[service.s]\nports = [\"22/tcp\"]\nfrom = [\"g\"]\nin = [\"wg0\", \"eth1\"]",
		// Refusals with an answer, and who must not get one.
		"[defaults]\ninbound = \"reject\"\noutbound = \"reject\"\nicmp = \"minimal\"",
	} {
		rs := resolve(t, policy)
		rs.Host = gen.Host()
		for _, d := range allDialects {
			for _, f := range allForms {
				opt := Options{Dialect: d, Form: f}
				if prog, _ := Render(rs, opt); prog != nil {
					compare(t, &seen, rs, opt, rand.New(rand.NewPCG(1, 1)), 2000)
				}
			}
		}
	}
	t.Logf("%+v", seen)
}

// linuxLoopback gives the loopback interface the name that the evaluator of the
// policy knows.
func linuxLoopback(h *rules.Host) *rules.Host {
	out := *h
	out.Interfaces = slices.Clone(h.Interfaces)
	for i := range out.Interfaces {
		if out.Interfaces[i].Loopback {
			out.Interfaces[i].Name = "lo"
		}
	}
	return &out
}

// Without a time every rule stands, and stands as it always will.
func TestMeaningWithoutTime(t *testing.T) {
	seen := tally{}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		rs, problems := gen.Load(gen.ForPF(gen.Policy(r, gen.Options{})), gen.Host())
		if problems.Err() != nil {
			continue
		}
		for _, d := range allDialects {
			compare(t, &seen, d.limits().Adapt(rs), Options{Dialect: d}, r, 60)
		}
	}
	t.Logf("%+v", seen)
}

// Rendering is canonical: the order of the sections does not show, nor the day.
func TestCanonical(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 8))
		text := gen.ForPF(gen.Policy(r, gen.Options{}))
		rs, problems := gen.Load(text, gen.Host())
		if problems.Err() != nil {
			continue
		}
		other, problems := gen.Load(shuffled(text, r), later(gen.Host()))
		if problems.Err() != nil {
			t.Fatal(problems.Err())
		}
		for _, d := range allDialects {
			for _, f := range allForms {
				opt := Options{Dialect: d, Form: f}
				a, _ := Render(d.limits().Adapt(rs), opt)
				b, _ := Render(d.limits().Adapt(other), opt)
				if a == nil || b == nil || a.Text() != b.Text() {
					t.Fatalf("seed %d %v %v: the order of the sections shows", seed, d, f)
				}
			}
		}
	}
}

func later(h *rules.Host) *rules.Host {
	h.Time = h.Time.Add(5 * 24 * time.Hour)
	return h
}

// shuffled puts the sections of a policy in another order.
func shuffled(policy string, r *rand.Rand) string {
	parts := strings.Split(policy, "\n[")
	rest := parts[1:]
	r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return strings.Join(parts, "\n[")
}

// A policy that was not resolved on a host is said too, in words that pfctl takes.
func TestSymbolic(t *testing.T) {
	n := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		rs, problems := gen.Load(gen.ForPF(gen.Policy(r, gen.Options{})), nil)
		if problems.Err() != nil {
			continue
		}
		for _, d := range allDialects {
			for _, f := range allForms {
				prog, problems := Render(d.limits().Adapt(rs), Options{Dialect: d, Form: f})
				if prog == nil {
					t.Fatal(problems.Err())
				}
				if _, err := parse(prog.Text(), d, f); err != nil {
					t.Fatalf("%v\n%s", err, prog.Text())
				}
				n++
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d programs", n)
	}
}
