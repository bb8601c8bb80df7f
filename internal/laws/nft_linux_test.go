package laws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	readnft "github.com/fwctl/fwctl/read/nftables"
)

// How much the ordinary run does.
const (
	foreignRulesets   = 200
	packetsPerRuleset = 600
)

// What the reader makes of a ruleset that somebody else wrote is what the kernel
// does with it: at each hook by itself.
func TestKernelAgreesOnForeignRulesets(t *testing.T) { foreign(t, gen.NFTOptions{}) }

// The same for the whole way of a packet that enters, translations included.
func TestKernelAgreesOnTheWholeWay(t *testing.T) { foreign(t, gen.NFTOptions{Way: true}) }

func foreign(t *testing.T, o gen.NFTOptions) {
	t.Parallel()
	first, n := gen.Seed(t), uint64(gen.Dose(t, "FWCTL_RULESETS", foreignRulesets))
	f := &foreignCheck{T: t, lab: netlab.New(t, gen.Host()), o: o, budget: foreignBudget}
	for seed := first; seed < first+n && f.found < mostMismatches; seed++ {
		f.ruleset(seed)
	}
	t.Logf("%d packets, of %d nobody knows; %d lines that nft refused, %d diagrams undecided; %v", f.packets, f.open, f.refused, f.undecided, f.hits)
	if f.open*10 > f.packets || f.packets == 0 {
		t.Errorf("of %d of %d packets nobody knows", f.open, f.packets)
	}
}

// foreignCheck compares rulesets with the kernel.
type foreignCheck struct {
	*testing.T
	lab *netlab.Lab
	o   gen.NFTOptions

	loaded                                   []string
	budget                                   int
	packets, open, refused, undecided, found int
	hits                                     map[string]int
}

func (f *foreignCheck) ruleset(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	text := f.load(gen.NFT(r, f.o))
	ps := gen.NFTPackets(r, packetsPerRuleset, f.o)
	bad, err := f.mismatch(ps)
	switch {
	case err != nil:
		f.found++
		f.Errorf("ruleset %d: %v\n%s", seed, err, text)
	case bad != nil:
		f.found++
		text, bad = f.shrink(text, bad)
		f.Errorf("ruleset %d, made as small as shows it:\n%s\n%s", seed, text, bad)
	}
}

var refusedLine = regexp.MustCompile(`/dev/stdin:(\d+):`)

// load loads the text without the lines that nft refuses, and returns it.
func (f *foreignCheck) load(text string) string {
	lines := strings.Split(text, "\n")
	for {
		text = strings.Join(lines, "\n")
		_, err := f.lab.NFT(f.unload()+text, "-f", "-")
		if err == nil {
			f.loaded = tablesOf(text)
			return text
		}
		n, ok := f.refusedAt(err)
		if !ok || n >= len(lines) {
			f.Fatalf("%v\n%s", err, text)
		}
		f.refused++
		if os.Getenv("FWCTL_REFUSED") != "" {
			f.Logf("refused: %s: %s", strings.TrimSpace(lines[n]), strings.SplitN(err.Error(), "\n", 3)[1])
		}
		lines = slices.Delete(lines, n, n+1)
	}
}

// refusedAt is the line of a text at which nft takes offence, behind those that
// unload what was there.
func (f *foreignCheck) refusedAt(err error) (line int, ok bool) {
	m := refusedLine.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, false
	}
	n, _ := strconv.Atoi(m[1])
	n -= strings.Count(f.unload(), "\n") + 1
	return n, n >= 0
}

// unload is text that takes away what was loaded before.
func (f *foreignCheck) unload() string {
	var b strings.Builder
	for _, t := range f.loaded {
		fmt.Fprintf(&b, "delete table %s\n", t)
	}
	return b.String()
}

func tablesOf(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "table "); ok {
			out = append(out, strings.TrimSuffix(strings.TrimSpace(name), " {"))
		}
	}
	return out
}

// foreignMismatch is a packet of which reader and kernel think differently.
type foreignMismatch struct {
	packet packet.Packet
	text   string
}

func (m *foreignMismatch) String() string { return m.packet.String() + "\n  " + m.text }

// read returns what the kernel has, the laboratory's own table aside.
func (f *foreignCheck) read() (h *live.HostRules, err error) {
	err = f.lab.Do(func() error {
		h, err = live.Rules(context.Background())
		return err
	})
	if err == nil {
		h.Tables = slices.DeleteFunc(h.Tables, func(t *readnft.Table) bool { return t.Name == "netlab" })
	}
	return h, err
}

func (f *foreignCheck) mismatch(ps []packet.Packet) (*foreignMismatch, error) {
	h, err := f.read()
	if err != nil {
		return nil, err
	}
	got, err := f.fates(ps)
	if err != nil {
		return nil, err
	}
	views := map[string]*view{}
	for i, p := range ps {
		key := fmt.Sprint(p.Hook, p.Is6())
		if views[key] == nil {
			if views[key], err = f.view(h, p); err != nil {
				return nil, err
			}
		}
		if bad := f.compare(views[key], p, got[i]); bad != nil {
			// On a busy machine a probe may still be on its way when the sets are read.
			if again, err := f.fates([]packet.Packet{p}); err != nil || f.compare(views[key], p, again[0]) != nil {
				return bad, err
			}
		}
	}
	return nil, nil
}

// fates sends the packets.
func (f *foreignCheck) fates(ps []packet.Packet) ([]netlab.Fate, error) {
	if f.o.Way {
		return f.lab.Trace(ps)
	}
	vs, err := f.lab.Probe(ps)
	fates := make([]netlab.Fate, len(vs))
	for i, v := range vs {
		fates[i] = netlab.Fate{Hook: ps[i].Hook, Verdict: v}
	}
	return fates, err
}

// view is what the reader makes of the rules for packets of one hook and family.
type view struct {
	filter       *packet.Filter
	host         packet.HostAddrs
	space        *packet.Space // nil if the question was too large
	ever, always packet.Node   // accepted for some, for all values of what nobody knows
	refused      packet.Node   // rejected for some of them
	unknowns     map[string]bool
	open         []string // the others
}

// Budgets of a diagram, ordinarily and while a ruleset is made smaller.
const (
	foreignBudget = 200_000
	shrinkBudget  = 50_000
)

func (f *foreignCheck) view(h *live.HostRules, p packet.Packet) (*view, error) {
	src := readnft.Source(h.Tables, p.Is6(), h.Links)
	v := &view{host: h.Addrs(p.Is6())}
	if f.o.Way {
		v.filter = packet.Arrival(func(h packet.Hook) *packet.Filter {
			if h == packet.Postrouting {
				return nil // Trace does not look behind forward
			}
			return src(h)
		})
	} else {
		v.filter = packet.At(p.Hook, src)
	}
	var known packet.All
	v.unknowns, known = settled(v.filter)
	for key := range v.filter.Unknowns() {
		if _, ok := v.unknowns[key]; !ok {
			v.open = append(v.open, key)
		}
	}
	slices.Sort(v.open)
	s := packet.NewSpace(p.Is6(), v.host, f.budget, v.filter)
	n, err := s.Build(v.filter)
	if err == nil {
		err = s.Assume(known)
	}
	if err == nil {
		v.refused, err = s.Where(n, packet.OutcomeReject)
	}
	if err == nil {
		v.refused, err = s.Ever(v.refused)
	}
	if err == nil {
		n, err = s.Where(n, packet.OutcomeAccept)
	}
	if err == nil {
		v.ever, err = s.Ever(n)
	}
	if err == nil {
		v.always, err = s.Always(n)
	}
	switch {
	case errors.Is(err, packet.ErrBudget):
		f.undecided++
		return v, nil
	case err != nil:
		return nil, err
	}
	v.space = s
	return v, nil
}

// settled says of the unknowns what the test sees to: rates that nothing spends,
// times that are far.
func settled(fl *packet.Filter) (map[string]bool, packet.All) {
	values := map[string]bool{}
	var known packet.All
	for key, unsupported := range fl.Unknowns() {
		holds, ok := settle(key)
		if !ok {
			continue
		}
		values[key] = holds
		c := packet.Cond(packet.Unknown{Key: key, Unsupported: unsupported})
		if !holds {
			c = packet.Not{Cond: c}
		}
		known = append(known, c)
	}
	return values, known
}

func settle(key string) (holds, ok bool) {
	switch {
	case strings.HasPrefix(key, "fewer than"), strings.HasPrefix(key, "there is room in"), strings.HasPrefix(key, "limit name"), strings.HasPrefix(key, "quota 1"):
		return true, true
	case strings.HasPrefix(key, "quota over"), strings.HasPrefix(key, "quota name"):
		return false, true
	}
	if text, isTime := strings.CutPrefix(key, "before "); isTime {
		at, err := time.Parse(time.RFC3339, text)
		return time.Now().Before(at), err == nil
	}
	return false, false
}

// compare returns nil if the kernel may do that.
func (f *foreignCheck) compare(v *view, p packet.Packet, got netlab.Fate) *foreignMismatch {
	facts := f.facts(v, p)
	var diagram, sure bool
	refused := len(v.open) > 0 // for all that is known
	if v.space != nil {
		refused = v.space.Eval(v.refused, facts) == packet.True
		ever, always := v.space.Eval(v.ever, facts), v.space.Eval(v.always, facts)
		diagram, sure = always == packet.True, ever == always
	}
	before := *facts
	d := v.filter.Decide(facts)
	accepted := d.Outcome == packet.OutcomeAccept
	f.packets++
	switch {
	case v.space != nil && !sure, v.space == nil && !v.sampled(before, accepted):
		f.open++
		return nil
	case v.space != nil && diagram != accepted:
		return &foreignMismatch{p, fmt.Sprintf("diagram accepts %v, concretely %+v", diagram, d)}
	case accepted != (got.Verdict == packet.Accept), got.Verdict == packet.Reject && d.Outcome != packet.OutcomeReject && !refused:
		return &foreignMismatch{p, fmt.Sprintf("kernel: %v at %v, reader: %+v", got.Verdict, got.Hook, d)}
	case accepted && f.o.Way && (got.Hook == packet.Input) != facts.Local():
		return &foreignMismatch{p, fmt.Sprintf("kernel: %v at %v, reader: local %v", got.Verdict, got.Hook, facts.Local())}
	}
	if f.hits == nil {
		f.hits = map[string]int{}
	}
	f.hits[fmt.Sprint(got.Hook, " ", d.Outcome)]++
	return nil
}

// sampled reports whether a packet is accepted or not whatever the values of what
// nobody knows, as far as some of them show.
func (v *view) sampled(facts packet.Facts, accepted bool) bool {
	r := rand.New(rand.NewPCG(uint64(len(v.open)), 3))
	for range 40 {
		if len(v.open) == 0 {
			return true
		}
		f := facts
		f.Unknowns = maps.Clone(v.unknowns)
		share := r.IntN(100)
		for _, key := range v.open {
			f.Unknowns[key] = r.IntN(100) < share
		}
		hops := []int{254, 63}[r.IntN(2)] // of a probe, and where a rule set it
		for bit := range uint(8) {
			f.Unknowns[packet.UnknownBit(packet.HopsRouted, bit)] = hops>>bit&1 != 0
		}
		if (v.filter.Decide(&f).Outcome == packet.OutcomeAccept) != accepted {
			return false
		}
	}
	return true
}

func (f *foreignCheck) facts(v *view, p packet.Packet) *packet.Facts {
	facts := f.lab.Facts(p)
	facts.SetKinds(v.host)
	facts.Unknowns = v.unknowns
	return facts
}

// shrink takes lines out of the text as long as it still shows the mismatch.
func (f *foreignCheck) shrink(text string, bad *foreignMismatch) (string, *foreignMismatch) {
	f.budget = shrinkBudget
	defer func() { f.budget = foreignBudget }()
	lines := strings.Split(text, "\n")
	for again := true; again; {
		again = false
		for i := len(lines) - 1; i >= 0; i-- {
			less := slices.Delete(slices.Clone(lines), i, i+1)
			if still := f.still(strings.Join(less, "\n"), bad.packet); still != nil {
				lines, bad, again = less, still, true
			}
		}
	}
	return strings.Join(lines, "\n"), bad
}

func (f *foreignCheck) still(text string, p packet.Packet) *foreignMismatch {
	if _, err := f.lab.NFT(f.unload()+text, "-f", "-"); err != nil {
		return nil
	}
	f.loaded = tablesOf(text)
	bad, err := f.mismatch([]packet.Packet{p})
	if err != nil {
		return nil
	}
	return bad
}
