package iptables_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/rules"
)

// walker leads packets through a Program as the kernel would: limits are
// unspent, and the rules of others accept.
type walker struct {
	program *iptables.Program
	host    *rules.Host
	now     time.Time
	sets    map[string]*iptables.Set
	chains  [2][2]map[string]*iptables.Chain // by family and table: mangle, filter
}

func newWalker(p *iptables.Program, h *rules.Host, now time.Time) *walker {
	w := &walker{program: p, host: h, now: now, sets: map[string]*iptables.Set{}}
	for _, s := range p.Sets {
		w.sets[s.Name] = s
	}
	for i, f := range []*iptables.Family{&p.V4, &p.V6} {
		for j, t := range []*iptables.Table{&f.Mangle, &f.Table} {
			w.chains[i][j] = map[string]*iptables.Chain{}
			for _, c := range t.Chains {
				w.chains[i][j][c.Name] = c
			}
		}
	}
	return w
}

func (w *walker) verdict(p packet.Packet) packet.Verdict {
	f, i := &w.program.V4, 0
	if p.Is6() {
		f, i = &w.program.V6, 1
	}
	for _, hook := range []string{"PREROUTING", strings.ToUpper(p.Hook.String())} {
		if hook == "PREROUTING" && p.Hook == packet.Output {
			continue
		}
		for t, table := range []*iptables.Table{&f.Mangle, &f.Table} {
			for _, j := range table.Jumps {
				if j.From != hook {
					continue
				}
				if v, decided := w.chain(w.chains[i][t], j.To, p); decided {
					return v
				}
			}
		}
	}
	return packet.Accept
}

// chain returns the verdict of a chain, and whether there is one: false is a
// return to the chain that jumped here.
func (w *walker) chain(chains map[string]*iptables.Chain, name string, p packet.Packet) (packet.Verdict, bool) {
	for _, r := range chains[name].Rules {
		if !w.matches(r.Match, p) {
			continue
		}
		switch t := r.Verdict; {
		case t.Target == "LOG":
		case t.Target == "RETURN":
			return packet.Accept, false
		case t.Target == "DROP":
			return packet.Drop, true
		case t.Target == "REJECT":
			return packet.Reject, true
		case t.Goto:
			return w.chain(chains, t.Target, p)
		default:
			if v, decided := w.chain(chains, t.Target, p); decided {
				return v, true
			}
		}
	}
	return packet.Accept, false
}

func (w *walker) matches(m iptables.Match, p packet.Packet) bool {
	return prefix(m.Src, p.Src) && prefix(m.Dst, p.Dst) && iface(m.In, p.In) && iface(m.Out, p.Out) && proto(m.Proto, p.Proto) &&
		!slices.ContainsFunc(m.Ext, func(e string) bool { return !w.ext(strings.Fields(e), p) })
}

func prefix(text string, a netip.Addr) bool {
	return text == "" || netip.MustParsePrefix(text).Contains(a)
}

func iface(text, name string) bool {
	return text == "" || rules.MatchInterface(strings.ReplaceAll(text, "+", "*"), name)
}

func proto(text string, p packet.Proto) bool {
	want, _ := packet.ParseProto(text)
	return text == "" || want == p
}

func (w *walker) ext(words []string, p packet.Packet) bool {
	if words[2] == "!" {
		return !w.ext(slices.Delete(slices.Clone(words), 2, 3), p)
	}
	switch words[1] {
	case "conntrack":
		return slices.Contains(strings.Split(words[3], ","), strings.ToUpper(p.State.String()))
	case "tcp", "udp", "multiport":
		return ports(words[2:], p)
	case "icmp", "icmp6":
		return words[3] == strconv.Itoa(int(p.Type))
	case "addrtype":
		return w.kind(words[2], words[3], p)
	case "set":
		return w.member(w.sets[words[3]], words[4], p)
	case "time":
		last, err := time.Parse("2006-01-02T15:04:05", words[3])
		return err == nil && !w.now.UTC().Truncate(time.Second).After(last)
	case "limit":
		return true
	case "hashlimit":
		return words[2] == "--hashlimit-upto"
	}
	panic("no such match: " + strings.Join(words, " "))
}

func ports(options []string, p packet.Packet) bool {
	for i := 0; i < len(options); i += 2 {
		port := p.DstPort
		if strings.HasPrefix(options[i], "--s") {
			port = p.SrcPort
		}
		if !slices.ContainsFunc(strings.Split(options[i+1], ","), func(r string) bool {
			lo, hi, isRange := strings.Cut(r, ":")
			if !isRange {
				hi = lo
			}
			l, _ := strconv.Atoi(lo)
			h, _ := strconv.Atoi(hi)
			return l <= int(port) && int(port) <= h
		}) {
			return false
		}
	}
	return true
}

func (w *walker) kind(side, kind string, p packet.Packet) bool {
	a := p.Dst
	if side == "--src-type" {
		a = p.Src
	}
	switch kind {
	case "LOCAL":
		return w.host.Local(a)
	case "BROADCAST":
		return w.host.Broadcast(a)
	}
	return a.IsMulticast()
}

func (w *walker) member(s *iptables.Set, side string, p packet.Packet) bool {
	a := p.Src
	if strings.HasPrefix(side, "dst") {
		a = p.Dst
	}
	return slices.ContainsFunc(s.Elements, func(e iptables.Element) bool {
		return e.Prefix.Contains(a) && (!s.Ports || e.Proto == p.Proto && e.Port == p.DstPort)
	})
}

// Whatever the policy, the rendering decides as the evaluator does.
func TestRenderingDecidesAsTheEvaluator(t *testing.T) {
	host, now, packets := gen.Host(), time.Now(), 0
	for seed := range uint64(gen.Dose(t, "FWCTL_POLICIES", 400)) {
		r := rand.New(rand.NewPCG(gen.Seed(t), seed))
		text := gen.Policy(r, gen.Options{})
		rs, problems := gen.Load(text, host)
		if rs == nil {
			t.Fatal(problems)
		}
		for _, opt := range []iptables.Options{{}, {IPSet: true}} {
			p, problems := iptables.Render(rs, opt)
			if problems.Err() != nil {
				continue
			}
			w := newWalker(p, host, now)
			for _, pk := range gen.Packets(rs, r, 150) {
				packets++
				if want, got := rs.Decide(pk, now), w.verdict(pk); got != want.Verdict {
					t.Fatalf("%s\n%v: got %s, want %+v\n%s\n%s", text, pk, got, want, p.V4.Text(), p.V6.Text())
				}
			}
		}
	}
	t.Logf("%d packets", packets)
}

// A statement that would take a rule for each of its sources with each of its
// destinations is refused where it has no chain of its own, not written.
func TestLongProductNeedsIPSet(t *testing.T) {
	var from, to []string
	for i := range 300 {
		from = append(from, fmt.Sprintf(`"10.%d.7.1"`, i%250+i/250*3))
		to = append(to, fmt.Sprintf(`"172.16.%d.%d"`, i%250, i/250+1))
	}
	text := fmt.Sprintf(`version = 1
[service.many]
ports  = ["22/tcp"]
from   = [%s]
to     = [%s]
shared = true
[service.all]
ports  = ["22/tcp"]
from   = ["192.0.2.0/24", "10.0.0.0/8"]
limit  = "5/minute"
shared = true
`, strings.Join(from, ", "), strings.Join(to, ", "))
	rs, ps := gen.Load(text, gen.Host())
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	_, problems := iptables.Render(rs, iptables.Options{})
	if len(problems) == 0 || problems[0].Severity != rules.Error || !strings.Contains(problems[0].Summary, "service.many: without ipset iptables takes") {
		t.Errorf("%v", problems)
	}
	if _, problems := iptables.Render(rs, iptables.Options{IPSet: true}); problems.Err() != nil {
		t.Errorf("%v", problems)
	}
}

// Many plain services share one set; they must not change what the others mean.
func TestManyServicesDecideAsTheEvaluator(t *testing.T) {
	var many strings.Builder
	r := rand.New(rand.NewPCG(5, 5))
	for i := range 100 {
		fmt.Fprintf(&many, "\n[service.plain%d]\nports = [\"%d/tcp\", \"%d-%d/udp\"]\nfrom = [%s]\nshared = true\n",
			i, 1+r.IntN(90), 100+i, 101+i, []string{`"any"`, `"192.0.2.0/26"`, `"2001:db8:1::/48", "198.51.100.7"`, `"0.0.0.0/0"`}[r.IntN(4)])
	}
	host, now, tried := gen.Host(), time.Now(), 0
	for seed := range uint64(60) {
		text := gen.Policy(rand.New(rand.NewPCG(seed, 78)), gen.Options{}) + many.String()
		rs, _ := gen.Load(strings.ReplaceAll(text, "\n[service.s", "\n[service.zs"), host)
		if rs == nil {
			continue // a service of the random policy shares a port and does not say so
		}
		p, problems := iptables.Render(rs, iptables.Options{IPSet: true})
		if problems.Err() != nil {
			continue
		}
		if !slices.ContainsFunc(p.Sets, func(s *iptables.Set) bool { return s.Ports }) {
			t.Fatal("no set of services")
		}
		tried++
		w := newWalker(p, host, now)
		for _, pk := range gen.Packets(rs, r, 300) {
			if want, got := rs.Decide(pk, now), w.verdict(pk); got != want.Verdict {
				t.Fatalf("%s\n%v: got %s, want %+v\n%s", text, pk, got, want, p.V4.Text())
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d policies were tried", tried)
	}
}

// What the kernel or the programs would refuse, whatever the policy.
func TestRenderingIsWellFormed(t *testing.T) {
	for seed := range uint64(300) {
		rs, _ := gen.Load(gen.Policy(rand.New(rand.NewPCG(seed, 79)), gen.Options{}), gen.Host())
		p, _ := iptables.Render(rs, iptables.Options{IPSet: seed%2 == 0})
		for _, s := range p.Sets {
			if len(s.Name) > 31 || len(s.Elements) == 0 {
				t.Errorf("set %q with %d elements", s.Name, len(s.Elements))
			}
		}
		for _, f := range []*iptables.Family{&p.V4, &p.V6} {
			wellFormed(t, f)
		}
	}
}

func wellFormed(t *testing.T, f *iptables.Family) {
	t.Helper()
	entered := map[string]string{} // chain: how
	for _, j := range f.Jumps {
		entered[j.To] = "-j"
	}
	for _, c := range f.Chains {
		for _, r := range c.Rules {
			if strings.HasPrefix(r.Verdict.Target, "FWCTL-") {
				entered[r.Verdict.Target] = strings.Fields(r.Args()[strings.LastIndex(r.Args(), " -"):])[0]
			}
			if r.Comment == "" {
				t.Errorf("%s: a rule without comment: %s", c.Name, r.Args())
			}
		}
	}
	names := map[string]bool{}
	for _, c := range f.Chains {
		if names[c.Name] || len(c.Name) > 28 || entered[c.Name] == "" {
			t.Errorf("chain %s: twice, too long or never entered", c.Name)
		}
		names[c.Name] = true
		if last := c.Rules[len(c.Rules)-1]; entered[c.Name] == "-g" && (last.Match.Ext != nil || last.Match.Proto != "" || last.Match.Src != "" || last.Verdict.Target == "LOG") {
			t.Errorf("chain %s is entered by goto and does not end in a verdict: %s", c.Name, last.Args())
		}
	}
	for name := range entered {
		if !names[name] {
			t.Errorf("no chain %s", name)
		}
	}
}

// Same policy, same bytes, whatever the order of its sections.
func TestRenderingIsCanonical(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 80))
		text := gen.Policy(r, gen.Options{})
		sections := strings.Split(text, "\n[")
		r.Shuffle(len(sections)-1, func(i, j int) { sections[i+1], sections[j+1] = sections[j+1], sections[i+1] })
		shuffled := strings.Join(sections, "\n[")
		if a, b := printed(t, text), printed(t, shuffled); a != b {
			t.Fatalf("%s\n%s\n%s\n%s", text, shuffled, a, b)
		}
	}
}

func printed(t *testing.T, text string) string {
	t.Helper()
	rs, problems := gen.Load(text, gen.Host())
	if rs == nil {
		t.Fatal(problems)
	}
	p, _ := iptables.Render(rs, iptables.Options{IPSet: true})
	return p.SetText() + p.V4.Text() + p.V6.Text()
}
