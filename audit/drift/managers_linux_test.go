package drift_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/audit/drift"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// What explain says of a host that others fill with rules is what its kernel
// does.
func TestFollowAgreesBesideOthers(t *testing.T) {
	for _, name := range []string{"ufw", "ferm", "firewalld"} {
		t.Run(name, func(t *testing.T) {
			newOther(t, name, gen.Host()).understands()
		})
	}
}

// Docker sends what comes to a published port on to a container.
func TestFollowAgreesBesideDocker(t *testing.T) {
	newDocker(t).understands()
}

// understands fails where explain and the kernel do not agree, or too much depends
// on what is not understood. Some may: iptables does not say to which address of
// an interface REDIRECT leads.
func (o *other) understands() {
	o.Helper()
	n := gen.Dose(o.T, "FWCTL_BESIDE", besideOthers)
	if open := o.agrees(n); open > n/500 {
		o.Errorf("%d packets depend on what is not understood", open)
	}
}

// newDocker makes a host with containers. The bridges are Docker's own.
func newDocker(t *testing.T) *other {
	t.Helper()
	facts := gen.Host()
	facts.Interfaces = slices.DeleteFunc(facts.Interfaces, func(i rules.Interface) bool { return i.Name == "docker0" })
	o := newOther(t, "docker", facts)
	for name, addr := range map[string]string{"docker0": "172.17.0.1/16", "br-apps": "172.20.0.1/16"} {
		o.links = append(o.links, rules.Interface{Name: name, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}})
	}
	return o
}

// A published port that gets past the input policy is opened, unless the policy
// leaves published ports alone; then it is named.
func TestPublishedPortsOfDocker(t *testing.T) {
	o := newDocker(t)
	const (
		silent = "[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\n"
		partly = silent + "[service.web]\nports = [\"8080/tcp\"]\nfrom = [\"198.51.100.0/24\"]\n"
		closed = silent + "[block.web]\nfrom = [\"any\"]\nports = [\"8080/tcp\"]\n"
	)
	for _, c := range []struct{ name, published, services, opened string }{
		{"not said", "", silent, "8080/tcp from any in"},
		{"not said, and open to some", "", partly, "8080/tcp from any but 198.51.100.0/24 in"},
		{"not said, and blocked", "", closed, "8080/tcp from any in"},
		{"enforced", "enforce", silent, ""},
		{"enforced, and open to some", "enforce", partly, ""},
		{"left alone", "ignore", silent, ""},
		{"left alone and blocked", "ignore", closed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := *o
			h := *o.host
			h.T, o.host = t, &h
			o.published(c.published, c.services, c.opened)
		})
	}
}

// published holds what drift says of published ports against what it should.
func (o *other) published(word, services, opened string) {
	o.Helper()
	defaults := "version = 1\n[defaults]\ninbound = \"drop\"\n"
	if word != "" {
		defaults += fmt.Sprintf("published = %q\n", word)
	}
	o.obey(defaults + "[safety]\nkeep = [\"ssh\"]\n" + services)
	r := o.drift(drift.Flows)
	if word == "enforce" {
		if r.Verdict != drift.InSync || len(r.Published) > 0 {
			o.Errorf("%s; published: %v\n%s", r.Verdict, r.Published, text(r))
		}
		return
	}
	starts := func(s string) bool { return strings.HasPrefix(s, opened) }
	if opened == "" {
		named := slices.ContainsFunc(r.Published, func(s string) bool { return strings.Contains(s, "8080") })
		if r.Verdict != drift.InSync || !named {
			o.Errorf("%s; published: %v\n%s", r.Verdict, r.Published, text(r))
		}
		return
	}
	if r.Verdict != drift.Drift || !slices.Equal(kinds(r), []drift.Kind{drift.Opened}) || !slices.ContainsFunc(packets(r, drift.Opened), starts) {
		o.Errorf("%s\n%s", r.Verdict, text(r))
	}
	o.replayed = 0
	if o.replay(r); o.replayed == 0 {
		o.Errorf("no example could be replayed\n%s", text(r))
	}
}

// besideOthers is how many packets each manager is asked about, perDraw how many
// are drawn around one policy.
const (
	besideOthers = 10_000
	perDraw      = 2_000
)

// agrees holds what explain says of packets against the kernel, and returns how
// many depend on what is not understood.
func (o *other) agrees(n int) (open int) {
	o.Helper()
	ps := o.draw(n)
	said, did := o.follow(o.rules(), ps), o.fates(ps)
	seen, wrong := map[string]int{}, 0
	for i, p := range ps {
		seen[p.Hook.String()+" "+did[i].Verdict.String()]++
		if did[i].Hook == packet.Forward && p.Hook == packet.Input {
			seen["sent on"]++
		}
		if said[i].CannotTell {
			open++
		}
		if o.agree(said[i], p, did[i]) || o.agree(said[i], p, o.fates(ps[i : i+1])[0]) {
			continue
		}
		o.Errorf("%s: %s by %s, else %v; the kernel does %s", p, said[i].Verdict, said[i].By, said[i].Else, did[i].Verdict)
		if wrong++; wrong == 10 {
			o.FailNow()
		}
	}
	o.Logf("%d packets, of them left open %d; the kernel's verdicts: %v", len(ps), open, seen)
	return open
}

// agree reports whether the kernel did what was said, or what was said to depend
// on what no packet shows, as on a rate.
func (o *other) agree(f *drift.Fate, p packet.Packet, fate netlab.Fate) bool {
	did := fate.Verdict.String()
	if f.Verdict == did || slices.ContainsFunc(f.Else, func(a drift.Alternative) bool { return a.Verdict == did }) {
		return true
	}
	return f.Verdict == "reject" && did == "drop" && o.unanswered(p)
}

// unanswered reports whether the kernel drops what it is told to reject: it does
// not answer to many at once, nor ICMP over IPv4 other than questions and their
// replies (icmp_pointers, net/ipv4/icmp.c).
func (o *other) unanswered(p packet.Packet) bool {
	return o.facts.Broadcast(p.Dst) || p.Dst.IsMulticast() || p.Proto == packet.ICMP && !slices.Contains([]uint8{0, 8, 13, 14, 15, 16, 17, 18}, p.Type)
}

// follow follows packets, on all processors.
func (o *other) follow(h *live.HostRules, ps []packet.Packet) []*drift.Fate {
	o.Helper()
	fates := make([]*drift.Fate, len(ps))
	errs := make([]error, len(ps))
	var all sync.WaitGroup
	const shares = 2
	for share := range shares {
		all.Go(func() {
			w := drift.NewFollower(h, drift.Routes{To: o.route, Back: o.back}, drift.DefaultBudget)
			for i := share; i < len(ps); i += shares {
				fates[i], errs[i] = w.Follow(ps[i])
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			o.Fatalf("%s: %v", ps[i], err)
		}
	}
	return fates
}

// fates sends packets through the kernel. One that enters may be dropped or sent
// elsewhere before it comes to its hook.
func (o *other) fates(ps []packet.Packet) []netlab.Fate {
	o.Helper()
	fates := make([]netlab.Fate, len(ps))
	var in, out []packet.Packet
	var inAt, outAt []int
	for i, p := range ps {
		if p.Hook == packet.Output {
			out, outAt = append(out, p), append(outAt, i)
			continue
		}
		p.Hook = packet.Prerouting
		if o.made(p.Out) {
			p.Out = "" // the host's routes lead there
		}
		in, inAt = append(in, p), append(inAt, i)
	}
	traced, err1 := o.lab.Trace(in)
	probed, err2 := o.lab.Probe(out)
	if err := errors.Join(err1, err2); err != nil {
		o.Fatal(err)
	}
	for n, f := range traced {
		fates[inAt[n]] = f
	}
	for n, v := range probed {
		fates[outAt[n]] = netlab.Fate{Hook: packet.Output, Verdict: v}
	}
	return fates
}

// made reports whether the program made the link.
func (o *other) made(link string) bool {
	return slices.ContainsFunc(o.links, func(i rules.Interface) bool { return i.Name == link })
}

// draw draws packets: around policies that have nothing to do with the program,
// and at the edges of what it was told.
func (o *other) draw(n int) []packet.Packet {
	o.Helper()
	r := rand.New(rand.NewPCG(gen.Seed(o.T), 11))
	edges := edgesOf(o.script)
	facts := *o.facts
	facts.Interfaces = append(slices.Clone(facts.Interfaces), o.links...)
	var ps []packet.Packet
	for len(ps) < n {
		policy := full
		if len(ps) > 0 {
			policy = gen.Policy(r, gen.Options{})
		}
		rs, problems := gen.Load(policy, o.facts)
		if problems.Err() != nil {
			o.Fatal(problems)
		}
		for _, p := range gen.Packets(rs, r, perDraw) {
			if r.IntN(3) > 0 {
				edges.move(&p, r)
			}
			o.enters(&p)
			if o.sent(p, &facts) && len(ps) < n {
				ps = append(ps, p)
			}
		}
	}
	return ps
}

// enters puts a packet that goes through the host to a network that the program
// made on the way there.
func (o *other) enters(p *packet.Packet) {
	for _, i := range o.links {
		if p.Hook == packet.Forward && i.Addrs[0].Contains(p.Dst) {
			p.Out = i.Name
		}
	}
}

// thisNetwork are sources from which Linux takes broadcasts only, so that it drops
// those that rules send elsewhere.
var thisNetwork = netip.MustParsePrefix("0.0.0.0/8")

// sent reports whether the laboratory can send the packet.
func (o *other) sent(p packet.Packet, facts *rules.Host) bool {
	return !thisNetwork.Contains(p.Src) && p.In != "lo" && p.Out != "lo" && !o.made(p.In) && gen.Deliverable(p, facts) &&
		p.State == gen.KernelState(p) && (p.State == packet.New || p.State == packet.Invalid)
}

// edges are the ports and addresses that a text names, and those beside them.
type edges struct {
	ports []uint16
	addrs [2][]netip.Addr // of IPv4 and of IPv6
}

func edgesOf(text string) *edges {
	e := &edges{}
	for _, word := range numbers.FindAllString(dotted.ReplaceAllString(text, " "), -1) {
		if n, err := strconv.ParseUint(word, 10, 16); err == nil && n > 0 && n < 65535 {
			e.ports = append(e.ports, uint16(n-1), uint16(n), uint16(n), uint16(n+1))
		}
	}
	for _, word := range prefixes.FindAllString(text, -1) {
		p, err := netip.ParsePrefix(word)
		if a, bad := netip.ParseAddr(word); bad == nil {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			continue
		}
		family := 0
		if p.Addr().Is6() {
			family = 1
		}
		r := netipx.RangeOfPrefix(p.Masked())
		for _, a := range []netip.Addr{r.From().Prev(), r.From(), r.To(), r.To().Next()} {
			if a.IsValid() {
				e.addrs[family] = append(e.addrs[family], a)
			}
		}
	}
	return e
}

var (
	dotted   = regexp.MustCompile(`\d+(\.\d+)+(/\d+)?`)
	prefixes = regexp.MustCompile(`(\b\d+\.\d+\.\d+\.\d+|\b[0-9a-f]+:[0-9a-f:]+)(/\d+)?`)
)

// move puts a packet at edges. Half of them become what most rules are about.
func (e *edges) move(p *packet.Packet, r *rand.Rand) {
	if r.IntN(2) == 0 {
		*p = packet.Packet{Hook: p.Hook, In: p.In, Out: p.Out, Src: p.Src, Dst: p.Dst, SrcPort: 40000, Proto: packet.UDP}
		if r.IntN(3) > 0 {
			p.Proto, p.Flags = packet.TCP, packet.SYN
		}
		p.State = gen.KernelState(*p)
	}
	if p.Proto.HasPorts() && r.IntN(8) > 0 {
		p.DstPort = e.ports[r.IntN(len(e.ports))]
	}
	addrs := e.addrs[0]
	if p.Is6() {
		addrs = e.addrs[1]
	}
	if len(addrs) > 0 && r.IntN(2) == 0 {
		p.Src = addrs[r.IntN(len(addrs))]
	}
	if len(addrs) > 0 && r.IntN(4) == 0 {
		p.Dst = addrs[r.IntN(len(addrs))]
	}
}
