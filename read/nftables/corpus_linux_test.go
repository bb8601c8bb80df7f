package nftables_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
	live "github.com/fwctl/fwctl/live/nftables"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/nftables"
)

var update = flag.Bool("update", false, "rewrite the table of what is not known in the corpus")

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every ruleset of the corpus that nft loads is read, at every hook, and what it
// means can be built; so is every rule of nft's own tests. What is not known of
// them is counted by kind.
func TestCorpus(t *testing.T) {
	t.Parallel()
	files := gen.CorpusFiles(t, "moby/nftabler/*.golden", "moby/docs-live/*.nft", "nftables-tests/dumps/*/*.nft",
		"nftables-tests/features/*.nft", "aerleon/demo/*.nft.ref", "aerleon/nftables/*")
	tests := gen.CorpusFiles(t, "nftables-tests/py/*/*.t", "nftables-tests/py/*/*.t.netdev")
	l := newLoader(t)
	whole, single := l.tally(), l.tally()
	for _, f := range files {
		// nft 1.0.6 does not know this name of a priority at output.
		text := strings.ReplaceAll(readText(t, f), "hook output priority dstnat", "hook output priority -100")
		if l.load(text) == nil {
			whole.add(f, l)
		} else {
			l.refused++
		}
	}
	t.Logf("%d rulesets that nft does not load", l.refused)
	l.refused = 0
	for _, f := range tests {
		file := gen.ReadNFTTest(readText(t, f))
		l.loadWhatLoads(file.Commands("accept", file.Rules...))
		single.add(f, l)
	}
	t.Logf("%d rules of tests that nft does not load", l.refused)
	for _, c := range []*tally{whole, single} {
		t.Logf("%d rulesets, %d rules, %d filters built, at most %d nodes", c.rulesets, c.rules, c.filters, c.most)
	}
	golden(t, "../../docs/nftables-unknown.md", unknownTables(l.version(), whole, single))
}

func unknownTables(version string, whole, single *tally) string {
	var b strings.Builder
	b.WriteString("# What is unknown in nftables rulesets\n\n")
	fmt.Fprintf(&b, "Of %d rules in %d rulesets of other projects, as %s loads them, these have a condition or an\n", whole.rules, whole.rulesets, version)
	b.WriteString("effect that fwctl does not derive from the packet. It becomes a named unknown of the answer and is never\n")
	b.WriteString("left out. What is not understood is no expression as fwctl knows it. Rules of bridges, of network cards\n")
	b.WriteString("and for ARP are not counted: fwctl names their chains, and proves nothing beside them.\n\n")
	b.WriteString(whole.table("rulesets"))
	b.WriteString("\n## One expression at a time\n\n")
	fmt.Fprintf(&b, "Of %d rules in %d files with which nft tests its own expressions, rare ones as often as common ones:\n\n", single.rules, single.rulesets)
	b.WriteString(single.table("files"))
	return b.String()
}

// golden compares the tables with those that were written before, if it was the
// same nft that loaded the rulesets: another one loads more of them, or fewer.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`nft \d+[.\d]*`)
	switch a, b := version.FindString(string(want)), version.FindString(got); {
	case a != b:
		t.Logf("%s is of %s, this is %s", file, a, b)
	case string(want) != got:
		t.Errorf("%s is stale; run the test with -update\n%s", file, got)
	}
}

// loader puts one text after the other into a namespace.
type loader struct {
	*testing.T
	lab     *netlab.Lab
	dir     string
	refused int

	tables []*nftables.Table
	links  nftables.Links
}

func newLoader(t *testing.T) *loader {
	return &loader{T: t, lab: netlab.New(t, gen.Host()), dir: t.TempDir()}
}

// load loads a text in place of all that was there, and reads what the kernel
// made of it. It returns the error of nft.
func (l *loader) load(text string) (err error) {
	var nftErr error
	err = l.lab.Do(func() (err error) {
		if nftErr = l.nft("flush ruleset\n" + text); nftErr != nil {
			return nil
		}
		if l.tables, err = readAll(); err != nil {
			return err
		}
		l.links, err = links()
		return err
	})
	if err != nil {
		l.Fatalf("%v\n%s", err, text)
	}
	return nftErr
}

func (l *loader) nft(text string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin, cmd.Dir = strings.NewReader(text), l.dir // where it may leave a core
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// version is nft's, as "nft 1.0.6".
func (l *loader) version() string {
	out, err := exec.Command("nft", "--version").Output()
	if err != nil {
		l.Fatal(err)
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(string(out), "nftables v"), " ")
	return "nft " + version
}

func readAll() ([]*nftables.Table, error) {
	c, err := live.Dial(0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	all, err := c.All(context.Background(), math.MaxUint32)
	if err != nil {
		return nil, err
	}
	return all.Tables, nil
}

// links are the interfaces of the thread's namespace.
func links() (nftables.Links, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	out := nftables.Links{}
	for _, i := range all {
		link := packet.Link{Name: i.Name, Type: 1}
		if i.Flags&net.FlagLoopback != 0 {
			link.Type = 772
		}
		out[uint32(i.Index)] = link
	}
	return out, nil
}

var refusedLine = regexp.MustCompile(`(?m)^/dev/stdin:(\d+):.*Error`)

// loadWhatLoads loads the lines of a text that nft takes.
func (l *loader) loadWhatLoads(lines []string) {
	for {
		err := l.load(strings.Join(lines, "\n"))
		if err == nil {
			return
		}
		for _, n := range slices.Backward(l.badLines(lines, err)) {
			if strings.HasPrefix(lines[n], "add rule") {
				l.refused++
			}
			lines = slices.Delete(lines, n, n+1)
		}
	}
}

// badLines returns the lines at which nft took offence, in order. There is one
// that it died of, if it names none.
func (l *loader) badLines(lines []string, err error) []int {
	var bad []int
	for _, m := range refusedLine.FindAllStringSubmatch(err.Error(), -1) {
		n, _ := strconv.Atoi(m[1])
		bad = append(bad, n-2) // behind the line that flushes
	}
	if len(bad) == 0 {
		bad = append(bad, sort.Search(len(lines), func(n int) bool { return l.load(strings.Join(lines[:n+1], "\n")) != nil }))
	}
	slices.Sort(bad)
	return slices.Compact(bad)
}

// tally counts what is not known.
type tally struct {
	*testing.T
	accept                         nftables.Expr
	kinds                          map[string]*[2]int // by kind: rules, rulesets
	rulesets, rules, filters, most int
}

func (l *loader) tally() *tally {
	if err := l.load("table inet t { chain c { accept; }; }"); err != nil {
		l.Fatal(err)
	}
	return &tally{T: l.T, kinds: map[string]*[2]int{}, accept: l.tables[0].Rules[0].Exprs[0]}
}

// ruleAt is a rule of a ruleset.
type ruleAt struct {
	table  string
	handle uint64
}

var everyHook = []packet.Hook{packet.Prerouting, packet.Input, packet.Forward, packet.Output, packet.Postrouting}

// add builds every filter of a ruleset and counts its unknowns.
func (c *tally) add(file string, l *loader) {
	c.rulesets++
	for _, t := range l.tables {
		c.rules += len(t.Rules)
	}
	found := map[ruleAt]map[string]bool{}
	for _, is6 := range []bool{false, true} {
		for _, hook := range everyHook {
			if err := c.build(nftables.Filter(l.tables, hook, is6, l.links), is6); err != nil {
				c.Errorf("%s, %v: %v", file, hook, err)
			}
		}
		unknowns(nftables.Filter(c.everyChain(l.tables), packet.Forward, is6, l.links), found)
	}
	ruleset := map[string]bool{}
	for _, kinds := range found {
		for k := range kinds {
			c.count(k, !ruleset[k])
			ruleset[k] = true
		}
	}
}

func (c *tally) count(kind string, first bool) {
	if c.kinds[kind] == nil {
		c.kinds[kind] = new([2]int)
	}
	c.kinds[kind][0]++
	if first {
		c.kinds[kind][1]++
	}
}

// build makes the diagram of a filter. A packet of each outcome that it has fares
// so when it is followed.
func (c *tally) build(f *packet.Filter, is6 bool) error {
	s := packet.NewSpace(is6, packet.HostAddrs{}, 2_000_000, f)
	n, err := s.Build(f)
	if err != nil {
		return err
	}
	for o := range packet.OutcomeContinue {
		set, err := s.Where(n, o)
		if err != nil {
			return err
		}
		w, err := s.Witness(set)
		if err != nil {
			return err
		}
		if w == nil {
			continue
		}
		if d := f.Decide(w.Facts); d.Outcome != o {
			return fmt.Errorf("%s: the diagram says %v, following it %+v", w.Packet, o, d)
		}
	}
	c.filters, c.most = c.filters+1, max(c.most, s.Nodes())
	return nil
}

// everyChain makes base chains of all, also of those to which nothing leads, and
// has each rule accept what it lets through: a test before nothing is not asked.
func (c *tally) everyChain(tables []*nftables.Table) []*nftables.Table {
	out := make([]*nftables.Table, len(tables))
	for i, t := range tables {
		all := *t
		all.Flags = 0 // asleep or not
		all.Chains, all.Rules = slices.Clone(t.Chains), slices.Clone(t.Rules)
		for j := range all.Chains {
			all.Chains[j].Hook = &nftables.Hook{Num: 2}
		}
		for j := range all.Rules {
			all.Rules[j].Exprs = append(slices.Clip(all.Rules[j].Exprs), c.accept)
		}
		out[i] = &all
	}
	return out
}

// unknowns notes the kinds of the unknowns of each rule of a filter.
func unknowns(f *packet.Filter, into map[ruleAt]map[string]bool) {
	for _, c := range slices.Concat(f.Base, slices.Collect(maps.Values(f.Chains))) {
		for _, s := range c.Rules {
			one := &packet.Filter{Base: []*packet.Chain{{Rules: []packet.Step{s}}}}
			for key, unsupported := range one.Unknowns() {
				at, kind := ruleAt{s.Place.Table, s.Place.Handle}, kindOf(key, unsupported)
				if into[at] == nil {
					into[at] = map[string]bool{}
				}
				if kind != "" {
					into[at][kind] = true
				}
			}
		}
	}
}

// keyKinds are kinds of unknowns by what their keys look like, the first that
// fits. Not counted is what follows from the host's addresses where they are
// known.
var keyKinds = []struct {
	key  *regexp.Regexp
	kind string
}{
	{regexp.MustCompile(`^kind of the `), ""},
	{regexp.MustCompile(`^fewer than .* for each`), "limit rate, of each element"},
	{regexp.MustCompile(`^fewer than|^limit`), "limit rate"},
	{regexp.MustCompile(`^there is room in`), "add @set, the room in it"},
	{regexp.MustCompile(`^before |^meta time`), "meta time"},
	{regexp.MustCompile(`^the packet has `), "set to bytes that it may lack"},
	{regexp.MustCompile(`@(ll|nh|th|ih),`), "@th, @nh, @ll: bytes that are no known field"},
	{regexp.MustCompile(`^translated `), translatedKind},
	{regexp.MustCompile(`lets it through$`), "queue, synproxy, fwd"},
	{regexp.MustCompile(`^a socket takes it`), "tproxy"},
	{regexp.MustCompile(`^numgen|^. numgen`), "numgen"},
	{regexp.MustCompile(`^(jhash|symhash)`), "jhash, symhash"},
	{regexp.MustCompile(`^quota `), "quota"},
	{regexp.MustCompile(`^ct count `), "ct count"},
	{regexp.MustCompile(`^th [sd]port`), "th sport, th dport of what has no ports"},
	{regexp.MustCompile(`^\[xfrm`), "ipsec"},
	{regexp.MustCompile(`^\S.* after (.*) set`), "set to what is unknown"},
}

var (
	keyEnd      = regexp.MustCompile(`(, bit \d+)?( at (pre|post)routing)?( \(\d+\))?(, bit \d+)?$`)
	keyOperator = regexp.MustCompile(`( @\d+,\d+)? (==|!=|<|>|<=|>=|is|not) `)
	ownSet      = regexp.MustCompile(` is (not )?in @`)
)

// kindOf is the expression in an unknown's key.
func kindOf(key string, unsupported bool) string {
	key = keyEnd.ReplaceAllString(key, "")
	kind, found := keyOperator.Split(key, 2)[0], false
	for _, k := range keyKinds {
		if k.key.MatchString(key) {
			kind, found = k.kind, true
			break
		}
	}
	switch {
	case !found && !unsupported && ownSet.MatchString(key):
		return "@set that rules fill"
	case unsupported && kind != "" && kind != translatedKind:
		return kind + notUnderstood
	}
	return kind
}

const (
	notUnderstood  = " (not understood)"
	translatedKind = "masquerade, and snat or dnat to one of several"
)

func (c *tally) table(of string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| what | rules | %s | |\n|---|---|---|---|\n", of)
	for _, k := range slices.SortedFunc(maps.Keys(c.kinds), func(a, b string) int {
		return cmp.Or(c.kinds[b][0]-c.kinds[a][0], strings.Compare(a, b))
	}) {
		what, un := strings.CutSuffix(k, notUnderstood)
		note := ""
		if un {
			note = "not understood"
		}
		fmt.Fprintf(&b, "| `%s` | %d | %d | %s |\n", what, c.kinds[k][0], c.kinds[k][1], note)
	}
	return b.String()
}
