package drift_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	applyipt "github.com/fwctl/fwctl/apply/iptables"
	applynft "github.com/fwctl/fwctl/apply/nftables"
	"github.com/fwctl/fwctl/audit/drift"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/nftables"
	rendeript "github.com/fwctl/fwctl/render/iptables"
	rendernft "github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// host is a host in a laboratory, with a policy.
type host struct {
	*testing.T
	lab     *netlab.Lab
	facts   *rules.Host
	rs      *rules.Ruleset
	backend backend

	replayed, left int // examples that were tried on the kernel, and that no packet can be made for
}

// backend brings a policy into the kernel, and says what it would change of what
// is there.
type backend struct {
	name  string
	apply func(*rules.Ruleset) error
	plan  func(*rules.Ruleset) ([]string, error)
}

var backends = []backend{
	{"nftables", applyNFT, planNFT},
	{"iptables over nf_tables", applyIPT(applyipt.NFT), planIPT(applyipt.NFT)},
	{"iptables legacy", applyIPT(applyipt.Legacy), planIPT(applyipt.Legacy)},
}

func applyNFT(rs *rules.Ruleset) error {
	prog, ps := rendernft.Render(rs)
	if ps.Err() != nil {
		return ps.Err()
	}
	_, err := applynft.Apply(context.Background(), prog, nil)
	return err
}

func planNFT(rs *rules.Ruleset) ([]string, error) {
	prog, _ := rendernft.Render(rs)
	r, err := applynft.Plan(context.Background(), prog, nil)
	return r.Changes, err
}

func applyIPT(v applyipt.Variant) func(*rules.Ruleset) error {
	return func(rs *rules.Ruleset) error {
		c, prog, err := openIPT(v, rs)
		if err != nil {
			return err
		}
		_, err = c.Apply(context.Background(), prog)
		return err
	}
}

func planIPT(v applyipt.Variant) func(*rules.Ruleset) ([]string, error) {
	return func(rs *rules.Ruleset) ([]string, error) {
		c, prog, err := openIPT(v, rs)
		if err != nil {
			return nil, err
		}
		return c.Plan(context.Background(), prog)
	}
}

func openIPT(v applyipt.Variant, rs *rules.Ruleset) (*applyipt.Conn, *rendeript.Program, error) {
	c, err := applyipt.Open(context.Background(), applyipt.Options{Variant: v})
	if err != nil {
		return nil, nil, err
	}
	prog, ps := rendeript.Render(rs, rendeript.Options{IPSet: c.IPSet})
	return c, prog, ps.Err()
}

// newHost makes a laboratory for the facts.
func newHost(t *testing.T, facts *rules.Host, b backend) *host {
	h := &host{T: t, lab: netlab.New(t, facts), facts: facts, backend: b}
	h.lab.Early = true // policies may enforce published ports
	return h
}

// obey applies a policy.
func (h *host) obey(policy string) {
	h.Helper()
	rs, ps := gen.Load(policy, h.facts)
	if ps.Err() != nil {
		h.Fatalf("%v\n%s", ps, policy)
	}
	h.rs = rs
	if err := h.lab.Do(func() error { return h.backend.apply(rs) }); err != nil {
		h.Fatalf("%v\n%s", err, policy)
	}
}

// run runs a line of shell in the host's namespace.
func (h *host) run(line string) string {
	h.Helper()
	out, err := h.try(line)
	if err != nil {
		h.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

func (h *host) try(line string) (string, error) {
	var out []byte
	err := h.lab.Do(func() (err error) {
		out, err = exec.Command("sh", "-ec", line).CombinedOutput()
		return err
	})
	return string(out), err
}

// rules reads the rules of the host, those of the laboratory left out.
func (h *host) rules() *live.HostRules {
	h.Helper()
	var r *live.HostRules
	if err := h.lab.Do(func() (err error) { r, err = live.Rules(context.Background()); return err }); err != nil {
		h.Fatal(err)
	}
	r.Tables = withoutLab(r.Tables)
	r.Managers = nil // what this machine's own systemd starts
	return r
}

func withoutLab(ts []*nftables.Table) []*nftables.Table {
	return slices.DeleteFunc(ts, func(t *nftables.Table) bool { return t.Name == "netlab" })
}

// drift compares.
func (h *host) drift(states drift.States) *drift.Report {
	h.Helper()
	var changes []string
	if err := h.lab.Do(func() (err error) { changes, err = h.backend.plan(h.rs); return err }); err != nil {
		h.Fatal(err)
	}
	return h.find(drift.Question{Host: h.rules(), Changes: known(changes), States: states})
}

// route says where packets to an address leave the host.
func (h *host) route(a netip.Addr) (link string) {
	_ = h.lab.Do(func() error { link = live.RouteTo(a); return nil })
	return link
}

// back says whether a link is on the way to an address.
func (h *host) back(a netip.Addr, link string) (back, known bool) {
	_ = h.lab.Do(func() error { back, known = live.RouteBack(a, link); return nil })
	return back, known
}

// known answers with what was asked before.
func known(changes []string) func() ([]string, error) {
	return func() ([]string, error) { return changes, nil }
}

func (h *host) find(q drift.Question) *drift.Report {
	h.Helper()
	q.Policy, q.Route = h.rs, h.route
	r, err := drift.Find(q)
	if err != nil {
		h.Fatal(err)
	}
	listed := map[[2]string]map[uint64]string{}
	r.Texts(func(table, chain string) (texts map[uint64]string) {
		key := [2]string{table, chain}
		if listed[key] == nil {
			_ = h.lab.Do(func() error { listed[key] = live.RuleTexts(context.Background(), table, chain); return nil })
		}
		return listed[key]
	})
	return r
}

// inSync fails unless it is proved that the host does what the policy says.
func (h *host) inSync(states drift.States, about string) {
	h.Helper()
	if r := h.drift(states); r.Verdict != drift.InSync || len(r.Findings) > 0 {
		h.Errorf("%s\n%s\n%s", r.Verdict, text(r), about)
	}
}

// replay sends the examples of the findings through the kernel.
func (h *host) replay(r *drift.Report) {
	h.Helper()
	for _, f := range r.Findings {
		for _, x := range f.Examples {
			h.replayOne(f, x)
		}
	}
}

func (h *host) replayOne(f drift.Finding, x drift.Example) {
	h.Helper()
	p := x.Of
	unusual := func(cond string) bool {
		return strings.HasPrefix(cond, "not ") || !strings.HasPrefix(cond, "before ") && !strings.Contains(cond, "fewer than")
	}
	if slices.ContainsFunc(x.If, unusual) || !gen.Deliverable(p, h.facts) || x.State == "other" || !carries(p) || p.In == "lo" || p.Out == "lo" {
		h.left++
		return
	}
	got, err := h.lab.Probe([]packet.Packet{p})
	if err != nil && x.Host.Verdict == "drop" && strings.Contains(err.Error(), "never came to their hook") {
		got, err = []packet.Verdict{packet.Drop}, nil // it was dropped on the way to it
	}
	if err != nil {
		h.Errorf("%s: %v", p, err)
		return
	}
	h.replayed++
	if got[0].String() != x.Host.Verdict {
		h.Errorf("%s %s\n  drift says that the host does %s by %s\n  the kernel does %s", f.Kind, p, x.Host.Verdict, x.Host, got[0])
	}
}

// carries reports whether the laboratory can make a flow that the packet is part
// of, if it is part of one.
func carries(p packet.Packet) bool {
	switch p.State {
	case packet.New:
		return gen.KernelState(p) == packet.New
	case packet.Established:
		return p.Proto == packet.TCP || p.Proto == packet.UDP
	}
	return false
}

// text is a report for the log.
func text(r *drift.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %v\n", f.Kind, f.Summary, f.Details)
		for _, x := range f.Examples {
			fmt.Fprintf(&b, "  %s %v\n    host %s by %s\n    policy %s by %s\n", x.Packet, x.If, x.Host.Verdict, x.Host, x.Policy.Verdict, x.Policy)
		}
	}
	return b.String()
}

// kinds are the kinds of findings, each once.
func kinds(r *drift.Report) []drift.Kind {
	var ks []drift.Kind
	for _, f := range r.Findings {
		if !slices.Contains(ks, f.Kind) {
			ks = append(ks, f.Kind)
		}
	}
	return ks
}

// packets are the packets of the findings of a kind, in words.
func packets(r *drift.Report, k drift.Kind) []string {
	var all []string
	for _, f := range r.Findings {
		if f.Kind == k {
			all = append(all, f.Packets...)
		}
	}
	return all
}
