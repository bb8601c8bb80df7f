package drift_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/audit/drift"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	rendernft "github.com/fwctl/fwctl/render/nftables"
)

// How many mutations of each kind of ruleset the ordinary run tries, and how many
// of one policy.
const (
	ordinaryMutations = 170
	perPolicy         = 10
)

// Every change of one thing in a live ruleset that changes what becomes of
// packets, as the kernel shows, is found; every difference that is found shows on
// the kernel.
func TestMutations(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			h := newHost(t, gen.Host(), b)
			m := mutations{host: h, r: rand.New(rand.NewPCG(gen.Seed(t), 7)), dir: t.TempDir()}
			for n := gen.Dose(t, "FWCTL_MUTATIONS", ordinaryMutations); m.tried < n && !t.Failed(); {
				m.policy(gen.Policy(m.r, gen.Options{}))
			}
			t.Logf("%d mutations, %d of them changed something on the kernel, %d were found; %d packets; %d examples replayed, %d left out",
				m.tried, m.changed, m.found, m.probes, h.replayed, h.left)
		})
	}
}

type mutations struct {
	*host
	r   *rand.Rand
	dir string

	tried, changed, found, probes int
}

// policy applies a policy and mutates it some times.
func (m *mutations) policy(text string) {
	m.obey(text)
	ruleset, load, lines := m.ruleset()
	all := nftMutants
	if m.backend.name != "nftables" {
		all = iptMutants
	}
	parts := lines(ruleset)
	for range perPolicy {
		for try := 0; try < 200; try++ {
			mut, ok := mutate(m.r, ruleset, all, parts)
			if !ok {
				continue
			}
			if out, err := load(mut.text); err != nil {
				_ = out // not every change is a ruleset
				continue
			}
			m.tried++
			m.one(text, mut)
			break
		}
		if m.Failed() {
			return
		}
	}
	if out, err := load(ruleset); err != nil {
		m.Fatalf("%v\n%s", err, out)
	}
}

// ruleset returns the text of what is loaded, what loads such a text, and what
// takes it apart.
func (m *mutations) ruleset() (text string, load func(string) (string, error), lines func(string) []line) {
	file := filepath.Join(m.dir, "rules")
	loadWith := func(command, before string) func(string) (string, error) {
		return func(text string) (string, error) {
			if err := os.WriteFile(file, []byte(before+text), 0o600); err != nil {
				return "", err
			}
			return m.try(command + " " + file)
		}
	}
	if m.backend.name == "nftables" {
		prog, _ := rendernft.Render(m.rs)
		return prog.Text(), loadWith("nft -f", "table inet fwctl\ndelete table inet fwctl\n"), nftLines
	}
	program := "ip"
	if m.r.IntN(3) == 0 {
		program = "ip6"
	}
	program += "tables-nft"
	if m.backend.name == "iptables legacy" {
		program = strings.TrimSuffix(program, "nft") + "legacy"
	}
	return m.run(program + "-save -t filter"), loadWith(program+"-restore", ""), iptLines
}

// one looks at one mutation.
func (m *mutations) one(policy string, mut mutant) {
	report := m.find(drift.Question{Host: m.rules()})
	ps := m.packets(mut)
	got, err := m.lab.Probe(ps)
	if err != nil {
		m.Errorf("%v\n%s", err, mut.what)
		return
	}
	m.probes += len(ps)
	now, changed := time.Now(), false
	for i, p := range ps {
		want := m.rs.Decide(p, now)
		if got[i] == want.Verdict || m.again(p) == want.Verdict {
			continue
		}
		changed = true
		if kind := kindOf(want.Verdict, got[i]); !has(report, kind, p.Hook) {
			m.Errorf("%s\n%s\n  policy %s by %s, kernel %s; %s was not found\n%s\n%s", mut.what, p, want.Verdict, want.Reason, got[i], kind, text(report), policy)
			return
		}
	}
	if changed {
		m.changed++
	}
	if report.Verdict == drift.InSync {
		return
	}
	m.found++
	if m.replay(report); m.Failed() {
		m.Logf("%s\n%s\n%s", mut.what, text(report), policy)
		return
	}
	m.named(mut)
}

// again probes one packet once more: on a busy machine a probe may have been on
// its way when the fates were read.
func (m *mutations) again(p packet.Packet) packet.Verdict {
	v, err := m.lab.Probe([]packet.Packet{p})
	if err != nil {
		m.Fatal(err)
	}
	return v[0]
}

// named fails unless the place of the change is named.
func (m *mutations) named(mut mutant) {
	var changes []string
	if err := m.lab.Do(func() (err error) { changes, err = m.backend.plan(m.rs); return err }); err != nil {
		m.Fatal(err)
	}
	report := m.find(drift.Question{Host: m.rules(), Changes: known(changes)})
	if where := text(report); !strings.Contains(where, mut.where) && !strings.Contains(strings.Join(changes, "\n"), mut.where) {
		m.Errorf("%s\nnothing names %q:\n%s", mut.what, mut.where, where)
	}
}

func kindOf(policy, kernel packet.Verdict) drift.Kind {
	switch {
	case kernel == packet.Accept:
		return drift.Opened
	case policy == packet.Accept:
		return drift.Closed
	}
	return drift.Answer
}

// has reports whether there is a finding of the kind; one that depends on what is
// not understood counts, too. The answer of a rejection is a packet that has to
// get out, so one that is missing may be found at the output hook.
func has(r *drift.Report, k drift.Kind, hook packet.Hook) bool {
	for _, f := range r.Findings {
		switch {
		case f.Hook == hook.String() && (f.Kind == k || f.Kind == drift.Unknown):
			return true
		case k == drift.Answer && f.Hook == packet.Output.String():
			return true
		}
	}
	return false
}

// packets are first packets at the edges of the policy and of what was changed.
func (m *mutations) packets(mut mutant) []packet.Packet {
	candidates := gen.Packets(m.rs, m.r, 150)
	for _, p := range candidates[:min(40, len(candidates))] {
		for _, n := range numbers.FindAllString(mut.what, -1) {
			if v, err := strconv.ParseUint(n, 10, 16); err == nil && p.Proto.HasPorts() {
				q := p
				q.DstPort = uint16(v)
				candidates = append(candidates, q)
			}
		}
		for _, a := range addresses.FindAllString(mut.what, -1) {
			if v, err := netip.ParseAddr(a); err == nil && v.Is6() == p.Is6() {
				q := p
				q.Src = v
				candidates = append(candidates, q)
			}
		}
	}
	var out []packet.Packet
	for _, p := range candidates {
		if m.judged(p) {
			out = append(out, p)
		}
	}
	return out
}

var (
	numbers   = regexp.MustCompile(`\b\d+\b`)
	addresses = regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b|\b[0-9a-f]+:[0-9a-f:]+\b`)
)

// judged reports whether drift compares such packets, and the laboratory can send
// them.
func (m *mutations) judged(p packet.Packet) bool {
	switch {
	case p.State != packet.New || gen.KernelState(p) != packet.New || !gen.Deliverable(p, m.facts):
		return false
	case p.Proto == packet.TCP && p.Flags != packet.SYN, p.In == "lo", p.Out == "lo": // these pass output and input
		return false
	case p.Hook == packet.Output:
		return m.rs.Outbound != packet.Accept || len(m.rs.OutboundBlocks) > 0
	case p.Hook == packet.Forward:
		return m.rs.Routed != 0
	}
	return true
}

// While another program changes the ruleset, drift believes no torn reading: it
// says what one of the two rulesets means, or that it cannot read them.
func TestTwoWriters(t *testing.T) {
	h := newHost(t, gen.Host(), backends[0])
	h.obey(full)
	dir := t.TempDir()
	prog, _ := rendernft.Render(h.rs)
	const reload = "table inet fwctl\ndelete table inet fwctl\n"
	other := strings.Replace(prog.Text(), "tcp . 80 ", "tcp . 81 ", 1)
	if other == prog.Text() {
		t.Fatal("the policy did not change")
	}
	for name, text := range map[string]string{"a": prog.Text(), "b": other} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(reload+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, _ = h.try(fmt.Sprintf("nft -f %s/a; sleep 0.0%d; nft -f %s/b", dir, rand.IntN(9), dir))
		}
	}()
	defer func() { cancel(); <-done }()
	seen := map[string]int{}
	for range gen.Dose(t, "FWCTL_WRITERS", 100) {
		var rules *live.HostRules
		err := h.lab.Do(func() (err error) { rules, err = live.Rules(context.Background()); return err })
		if err != nil {
			seen["unstable"]++
			continue
		}
		rules.Managers = nil
		rules.Tables = withoutLab(rules.Tables)
		r := h.find(drift.Question{Host: rules})
		words := r.Verdict.String() + " " + strings.Join(append(packets(r, drift.Opened), packets(r, drift.Closed)...), "; ")
		seen[words]++
	}
	t.Log(seen)
	for words := range seen {
		switch words {
		case "in sync ", "unstable", "drift 81/tcp from any but 198.51.100.66, 203.0.113.200; 81/tcp from any; 80/tcp from any but 198.51.100.66, 203.0.113.200; 80/tcp from any":
		default:
			t.Errorf("a reading that was never there: %s", words)
		}
	}
}
