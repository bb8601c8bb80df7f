package laws

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/live"
	livenft "github.com/fwctl/fwctl/live/nftables"
	"github.com/fwctl/fwctl/packet"
	readiptables "github.com/fwctl/fwctl/read/iptables"
	readnft "github.com/fwctl/fwctl/read/nftables"
	"github.com/fwctl/fwctl/rules"
)

// dockerDir holds bridge networks of Docker, each rendered by it for iptables and
// for nftables. It is no part of the repository.
const dockerDir = "../../../shared/corpus/moby"

// The bridge of all of them, its networks and what they publish: port 80 of the
// container as port 8080 of the host.
const dockerBridge = "br-dummy"

var (
	dockerNet       = map[bool]netip.Prefix{false: netip.MustParsePrefix("192.168.0.0/24"), true: netip.MustParsePrefix("fd49:efd7:54aa::/64")}
	dockerContainer = map[bool]netip.Addr{false: netip.MustParseAddr("192.168.0.2"), true: netip.MustParseAddr("fd49:efd7:54aa::1")}
)

// dockerHost has the bridge and a way out. Of a longer network of IPv6 the host
// would take one more address for its own, that of all routers.
func dockerHost() *rules.Host {
	h := &rules.Host{Interfaces: []rules.Interface{{Name: "lo", Loopback: true}, {Name: dockerBridge}, {Name: "eth0"}}}
	for i, addrs := range [][]string{{"127.0.0.1/8", "::1/128"}, {"192.168.0.1/24", "fd49:efd7:54aa::ffff/128"}, {"198.51.100.1/24", "2001:db8:1::1/128"}} {
		for _, a := range addrs {
			h.Interfaces[i].Addrs = append(h.Interfaces[i].Addrs, netip.MustParsePrefix(a))
		}
	}
	return h
}

// dockerPair is one network in both renderings.
type dockerPair struct {
	name           string
	is6            bool
	iptables, text string            // of iptables-save, of nft
	equal          map[string]bool   // by stage, what the corpus says
	save           live.Save         // what iptables reads
	tables         []*readnft.Table  // what the kernel made of the other
	host           packet.HostAddrs  // of dockerHost
	found          map[string]bool   // by stage, what is proved
	alike          map[string]bool   // the same for packets whose addresses and interfaces fit
	witnesses      []*packet.Witness // of the difference at filter forward
}

// dockerStage is a place at which the two renderings are compared by themselves,
// as though the others did nothing. Its name is the column of the corpus.
type dockerStage struct {
	name string
	hook packet.Hook
	nat  bool
}

var dockerStages = []dockerStage{
	{"raw_prerouting", packet.Prerouting, false}, {"filter_forward", packet.Forward, false},
	{"nat_prerouting", packet.Prerouting, true}, {"nat_output", packet.Output, true}, {"nat_postrouting", packet.Postrouting, true},
}

func dockerPairs(t *testing.T) []*dockerPair {
	t.Helper()
	gen.Corpus(t)
	var out []*dockerPair
	lines := strings.Split(strings.TrimSpace(dockerFile(t, "PAIRS.tsv")), "\n")
	head := strings.Split(lines[0], "\t")
	for _, line := range lines[1:] {
		f := strings.Split(line, "\t")
		if len(f) < len(head) || f[3] == "" {
			continue // of one rendering only
		}
		// nft 1.0.6 does not know this name of a priority at output.
		text := strings.ReplaceAll(dockerFile(t, f[3]), "hook output priority dstnat", "hook output priority -100")
		p := &dockerPair{name: f[0] + " " + f[1], is6: f[1] == "ip6", iptables: dockerFile(t, f[2]), text: text, equal: map[string]bool{}}
		for i := 4; i < len(f); i++ {
			p.equal[head[i]] = f[i] == "equal"
		}
		out = append(out, p)
	}
	return out
}

func dockerFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dockerDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Docker renders a network for iptables and for nftables. The two are proved
// equal where they are, and where they are not the kernel, with one of them
// loaded and then with the other, does with the packet found what each says.
func TestDockerPairs(t *testing.T) {
	t.Parallel()
	pairs := dockerPairs(t)
	d := &dockerCheck{T: t, nft: netlab.New(t, dockerHost()), iptables: netlab.New(t, dockerHost()), counts: map[string]int{}}
	r := rand.New(rand.NewPCG(gen.Seed(t), 20))
	known := map[string]*dockerPair{}
	for _, p := range pairs {
		if same := known[p.iptables+p.text]; same != nil {
			p.found, p.alike = same.found, same.alike
		} else {
			d.prove(p)
			d.witnesses(p)
			d.ways(p, r)
			d.translations(p)
			known[p.iptables+p.text] = p
		}
		d.verdict(p)
	}
	t.Logf("%d pairs, %d of them unlike any other; %v", len(pairs), len(known), d.counts)
}

// dockerCheck compares pairs with each other and with two kernels.
type dockerCheck struct {
	*testing.T
	nft, iptables *netlab.Lab
	counts        map[string]int
}

// verdict compares what was found with what the corpus says.
func (d *dockerCheck) verdict(p *dockerPair) {
	for _, s := range dockerStages {
		result := "differ"
		if p.found[s.name] {
			result = "equal"
		}
		d.counts[s.name+" "+result]++
		if p.found[s.name] != p.equal[s.name] {
			d.Errorf("%s, %s: %s", p.name, s.name, result)
		}
		if s.nat && !p.alike[s.name] {
			d.Errorf("%s, %s: different even where the network is behind its bridge", p.name, s.name)
		}
	}
}

// prove loads the pair into the kernels, reads both and compares them stage by
// stage.
func (d *dockerCheck) prove(p *dockerPair) {
	d.load(p)
	p.found, p.alike = map[string]bool{}, map[string]bool{}
	for _, s := range dockerStages {
		c, err := p.compare(s)
		if err != nil {
			d.Fatalf("%s, %s: %v", p.name, s.name, err)
		}
		p.found[s.name], p.alike[s.name] = c.equal, c.alike
		if s.name == "filter_forward" {
			p.witnesses = c.witnesses
		}
	}
	same, err := p.sameWay()
	if err != nil || same != p.found["filter_forward"] {
		d.Errorf("%s, the whole way: %v, %v", p.name, same, err)
	}
}

// sameWay reports whether the same packets come through, the whole way.
func (p *dockerPair) sameWay() (bool, error) {
	var sides [2]*packet.Filter
	for i, source := range p.sources() {
		sides[i] = packet.Arrival(source)
		openAlike(sides[i])
	}
	q := pairQuestion{Space: packet.NewSpace(p.is6, p.host, foreignBudget, sides[0], sides[1]), sides: sides}
	diff, err := q.compare(q.Frame(packet.Prerouting), nil)
	return diff.Kind == packet.Equal, err
}

func (d *dockerCheck) load(p *dockerPair) {
	family := map[bool]string{false: "ip", true: "ip6"}
	empty := ""
	for _, f := range family {
		empty += "table " + f + " docker-bridges\ndelete table " + f + " docker-bridges\n"
	}
	if _, err := d.nft.NFT(empty+p.text, "-f", "-"); err != nil {
		d.Fatalf("%s: %v", p.name, err)
	}
	err := d.nft.Do(func() (err error) {
		p.tables, err = tableAlone(family[p.is6], "docker-bridges")
		return err
	})
	if err != nil {
		d.Fatalf("%s: %v", p.name, err)
	}
	p.save = live.Save{Is6: p.is6, Save: readiptables.Parse(p.iptables)}
	p.host = dockerHost().HostAddrs(p.is6)
}

// tableAlone reads a table by netlink.
func tableAlone(family, name string) ([]*readnft.Table, error) {
	c, err := livenft.Dial(0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	t, _, err := c.Table(context.Background(), map[string]uint8{"ip": readnft.FamilyIPv4, "ip6": readnft.FamilyIPv6}[family], name, math.MaxUint32)
	return []*readnft.Table{t}, err
}

// sources are the two renderings.
func (p *dockerPair) sources() [2]packet.Source {
	return [2]packet.Source{p.save.Source(readiptables.Options{}), readnft.Source(p.tables, p.is6, nil)}
}

// only is the part of a source that translates, or that does not.
func only(source packet.Source, nat bool) packet.Source {
	return func(h packet.Hook) *packet.Filter {
		f := source(h)
		f.Base = slices.DeleteFunc(f.Base, func(c *packet.Chain) bool { return c.NAT != nat })
		return f
	}
}

// compared is what was found of a stage.
type compared struct {
	equal, alike bool
	witnesses    []*packet.Witness
}

// compare compares the two renderings at a stage: what becomes of every packet,
// and every bit of the addresses and of the port that it has afterwards.
func (p *dockerPair) compare(s dockerStage) (c compared, err error) {
	var sides [2]*packet.Filter
	for i, source := range p.sources() {
		sides[i] = packet.At(s.hook, only(source, s.nat))
		openAlike(sides[i])
	}
	host := packet.HostAddrs{}
	if !s.nat {
		host = p.host // witnesses have to be of the laboratory's host
	}
	q := pairQuestion{Space: packet.NewSpace(p.is6, host, foreignBudget, sides[0], sides[1]), sides: sides}
	frame := q.Frame(s.hook)
	if c.equal, err = q.same(p.is6, frame); err != nil {
		return c, err
	}
	if c.alike = c.equal; !c.equal {
		c.alike, err = q.same(p.is6, packet.All{frame, behindBridge(p.is6)})
	}
	if err == nil && !s.nat {
		c.witnesses, err = q.witnesses(frame)
	}
	return c, err
}

// openAlike gives the unknowns that are written to a field one name: an address
// that is left open is the same one on both sides.
func openAlike(f *packet.Filter) {
	f.Steps(func(s *packet.Step) {
		s.Writes = slices.Clone(s.Writes)
		for i := range s.Writes {
			if w := &s.Writes[i]; w.Unknown != "" {
				w.Unknown = w.Field.String()
			}
		}
	})
}

// behindBridge holds where the addresses of the network are those behind its
// bridge, which iptables and nftables are told in different words.
func behindBridge(is6 bool) packet.Cond {
	p := dockerNet[is6]
	lo := packet.AddrValue(p.Addr())
	hi := lo.Or(packet.Ones(uint(p.Addr().BitLen() - p.Bits())))
	both := func(f packet.Field, out bool) packet.Cond {
		in, iface := packet.In{Field: f, Set: packet.Ranges{{Lo: lo, Hi: hi}}}, packet.Iface{Out: out, Pattern: dockerBridge}
		return packet.Any{packet.All{in, iface}, packet.All{packet.Not{Cond: in}, packet.Not{Cond: iface}}}
	}
	return packet.All{both(packet.FieldSrc, false), both(packet.FieldDst, true)}
}

// pairQuestion compares two filters in one space.
type pairQuestion struct {
	*packet.Space
	sides [2]*packet.Filter
}

// same reports whether both sides do the same with all packets of a set.
func (q *pairQuestion) same(is6 bool, over packet.Cond) (bool, error) {
	diff, err := q.compare(over, nil)
	if err != nil || diff.Kind != packet.Equal {
		return false, err
	}
	for _, f := range []packet.Field{packet.FieldDst, packet.FieldSrc, packet.FieldDstPort} {
		if !q.sides[0].WritesTo(f) && !q.sides[1].WritesTo(f) {
			continue
		}
		for bit := range f.Width(is6) {
			one := packet.Number(1).Shift(bit)
			diff, err := q.compare(over, packet.Bits{Field: f, Mask: one, Value: one})
			if err != nil || diff.Kind != packet.Equal {
				return false, err
			}
		}
	}
	return true, nil
}

// compare compares the sides, each followed by a chain that drops what fulfils a
// condition by then.
func (q *pairQuestion) compare(over, dropped packet.Cond) (packet.Difference, error) {
	set, err := q.Set(over)
	if err != nil {
		return packet.Difference{}, err
	}
	var nodes [2]packet.Node
	for i, f := range q.sides {
		f := &packet.Filter{Hook: f.Hook, Base: slices.Clip(f.Base), Chains: f.Chains}
		if dropped != nil {
			f.Base = append(f.Base, &packet.Chain{Name: "last", Policy: packet.OutcomeAccept, Rules: []packet.Step{{Cond: dropped, Outcome: packet.OutcomeDrop}}})
		}
		if nodes[i], err = q.Build(f); err != nil {
			return packet.Difference{}, err
		}
	}
	return q.Compare(nodes[0], nodes[1], set)
}

// witnesses returns packets of which the sides think differently: one that
// begins a connection, and one that belongs to one.
func (q *pairQuestion) witnesses(frame packet.Cond) ([]*packet.Witness, error) {
	is := func(f packet.Field, n uint64) packet.Cond {
		return packet.In{Field: f, Set: packet.Ranges{packet.Single(packet.Number(n))}}
	}
	tcp := is(packet.FieldProto, uint64(packet.TCP))
	var out []*packet.Witness
	for _, of := range []packet.All{
		{is(packet.FieldState, uint64(packet.New)), is(packet.FieldFlags, uint64(packet.SYN))},
		{is(packet.FieldState, uint64(packet.Established)), is(packet.FieldFlags, uint64(packet.ACK))},
	} {
		diff, err := q.compare(append(of, frame, tcp), nil)
		if err != nil {
			return nil, err
		}
		if diff.Kind == packet.Different {
			out = append(out, diff.Witness)
		}
	}
	return out, nil
}

// restore loads the iptables side. It takes the place of all that was there.
func (d *dockerCheck) restore(p *dockerPair) {
	program := "iptables-legacy-restore"
	if p.is6 {
		program = "ip6tables-legacy-restore"
	}
	err := d.iptables.Do(func() error {
		cmd := exec.Command(program)
		cmd.Stdin = strings.NewReader(p.iptables)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", program, err, out)
		}
		return nil
	})
	if err != nil {
		d.Fatalf("%s: %v", p.name, err)
	}
}

// witnesses sends what was found at filter forward through both kernels.
func (d *dockerCheck) witnesses(p *dockerPair) {
	if p.found["filter_forward"] {
		return
	}
	if len(p.witnesses) == 0 {
		d.Errorf("%s: no packet shows the difference", p.name)
	}
	d.restore(p)
	var ps []packet.Packet
	for _, w := range p.witnesses {
		ps = append(ps, w.Packet)
	}
	a, b := d.probed(p, d.iptables, 0, ps), d.probed(p, d.nft, 1, ps)
	for i, x := range ps {
		if a[i] == b[i] {
			d.Errorf("%s: %s is no difference to the kernel", p.name, x)
		}
		d.counts["witnesses, "+x.State.String()]++
	}
}

// probed returns what a kernel does with the packets at forward, and sees that
// it is what the side of the pair says that is loaded there.
func (d *dockerCheck) probed(p *dockerPair, lab *netlab.Lab, side int, ps []packet.Packet) []packet.Verdict {
	got, err := lab.Probe(ps)
	if err != nil {
		d.Fatalf("%s: %v", p.name, err)
	}
	for i, x := range ps {
		want := packet.At(packet.Forward, p.sources()[side]).Decide(p.facts(lab, x))
		if want.Outcome.String() != got[i].String() {
			d.Errorf("%s, side %d, %s: expected %v by %+v, the kernel says %v", p.name, side, x, want.Outcome, want.By, got[i])
		}
	}
	return got
}

func (p *dockerPair) facts(lab *netlab.Lab, x packet.Packet) *packet.Facts {
	facts := lab.Facts(x)
	facts.SetKinds(p.host)
	return facts
}

// translations sends a packet through both kernels of which one changes the
// source, if the rules differ in that and let such a packet through.
func (d *dockerCheck) translations(p *dockerPair) {
	if p.found["nat_postrouting"] {
		return
	}
	w, sides, err := p.moved()
	if err != nil {
		d.Fatalf("%s: %v", p.name, err)
	}
	if w == nil {
		d.counts["sources translated differently, of packets that do not come through"]++
		return
	}
	x := w.Packet
	x.Hook = packet.Prerouting
	var moved [2]bool
	for side, lab := range []*netlab.Lab{d.iptables, d.nft} {
		fates, err := lab.Trace([]packet.Packet{x})
		if err != nil {
			d.Fatalf("%s: %v", p.name, err)
		}
		facts := p.facts(lab, x)
		sides[side].Decide(facts)
		want := facts.Fields[packet.FieldCTStatus].And(packet.Number(packet.SrcNAT)) != packet.Value{}
		if moved[side] = fates[0].Moved; !fates[0].Sent || moved[side] != want {
			d.Errorf("%s, side %d, %s: expected another source: %v; the kernel says %+v", p.name, side, x, want, fates[0])
		}
	}
	if moved[0] == moved[1] {
		d.Errorf("%s: %s is no difference to the kernel", p.name, x)
	}
	d.counts["sources translated differently, as the kernels show"]++
}

// moved returns a packet that comes through on both sides, with a new source on one
// of them; nil if there is none.
func (p *dockerPair) moved() (*packet.Witness, [2]*packet.Filter, error) {
	var sides [2]*packet.Filter
	for i, source := range p.sources() {
		sides[i] = packet.Arrival(source)
		openAlike(sides[i])
	}
	q := pairQuestion{Space: packet.NewSpace(p.is6, p.host, foreignBudget, sides[0], sides[1]), sides: sides}
	is := func(f packet.Field, n uint64) packet.Cond {
		return packet.In{Field: f, Set: packet.Ranges{packet.Single(packet.Number(n))}}
	}
	begins := packet.All{q.Frame(packet.Prerouting), is(packet.FieldState, uint64(packet.New)), is(packet.FieldProto, uint64(packet.TCP)), is(packet.FieldFlags, uint64(packet.SYN))}
	diff, err := q.compare(begins, packet.Bits{Field: packet.FieldCTStatus, Mask: packet.Number(packet.SrcNAT), Value: packet.Number(packet.SrcNAT)})
	return diff.Witness, sides, err
}

// ways leads packets through both kernels, translations included.
func (d *dockerCheck) ways(p *dockerPair, r *rand.Rand) {
	d.restore(p)
	ps := dockerPackets(p.is6, r)
	for side, lab := range []*netlab.Lab{d.iptables, d.nft} {
		fates, err := lab.Trace(ps)
		if err != nil {
			d.Fatalf("%s: %v", p.name, err)
		}
		way := packet.Arrival(untilForward(p.sources()[side]))
		for i, x := range ps {
			d.way(p, way, x, p.facts(lab, x), fates[i])
		}
	}
}

// untilForward is the source without what Trace does not see.
func untilForward(source packet.Source) packet.Source {
	return func(h packet.Hook) *packet.Filter {
		if h == packet.Postrouting {
			return nil
		}
		return source(h)
	}
}

func (d *dockerCheck) way(p *dockerPair, way *packet.Filter, x packet.Packet, facts *packet.Facts, got netlab.Fate) {
	want, where := way.Decide(facts), packet.Forward
	if facts.Local() {
		where = packet.Input
	}
	if want.Outcome.String() != got.Verdict.String() || want.Outcome == packet.OutcomeAccept && where != got.Hook {
		d.Errorf("%s, %s: expected %v at %v by %+v, the kernel says %v at %v", p.name, x, want.Outcome, where, want.By, got.Verdict, got.Hook)
	}
	d.counts["led through"]++
	if facts.Fields[packet.FieldDst] != packet.AddrValue(x.Dst) {
		d.counts["led through and translated"]++
	}
}

// dockerPackets draws packets to the addresses and ports that the rules name,
// and to others, no two of one flow.
func dockerPackets(is6 bool, r *rand.Rand) []packet.Packet {
	c := dockerContainer[is6]
	far := map[bool]string{false: "203.0.113.9", true: "2001:db8:7::9"}
	addrs := []netip.Addr{netip.MustParseAddr(far[is6]), c.Next().Next(), c}
	for _, i := range dockerHost().Interfaces[1:] {
		addrs = append(addrs, i.Addrs[map[bool]int{false: 0, true: 1}[is6]].Addr())
	}
	cards := []string{dockerBridge, "eth0"}
	var out []packet.Packet
	for _, dst := range addrs {
		for _, dport := range []uint16{80, 8080, 22} {
			for i := range 4 {
				p := packet.Packet{Hook: packet.Prerouting, In: cards[i%2], Out: cards[i/2], Proto: packet.TCP, Flags: packet.SYN, Src: addrs[0], Dst: dst, DstPort: dport}
				p.SrcPort = uint16(20000 + len(out))
				out = append(out, otherwise(p, r, addrs[1]))
			}
		}
	}
	return out
}

// otherwise gives the packet another source, protocol or state, or none of them.
func otherwise(p packet.Packet, r *rand.Rand, src netip.Addr) packet.Packet {
	switch r.IntN(4) {
	case 0:
		p.Src = src
	case 1:
		p.Proto, p.Flags = packet.UDP, 0
	case 2:
		p.State, p.Flags = packet.Established, packet.ACK
	}
	return p
}
