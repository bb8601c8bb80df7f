package nftables

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
	read "github.com/fwctl/fwctl/read/nftables"
	"github.com/fwctl/fwctl/render/nftables"
)

// element is one element of a set as it is sent and compared. In an interval
// set it is a range: the kernel holds where it begins and the key behind its
// end. A range is added or deleted whole, since the kernel refuses a beginning
// or an end inside a range that is there.
type element struct {
	key      []byte
	interval bool
	next     []byte // the key behind the end; nil: the range ends with the last key of all
	verdict  nftables.Verdict
	comment  string
}

func (e element) same(o element) bool {
	return bytes.Equal(e.key, o.key) && e.interval == o.interval && bytes.Equal(e.next, o.next) &&
		e.verdict == o.verdict && e.comment == o.comment
}

// rule is one rule as it is sent and compared.
type rule struct {
	handle    uint64      // of a live rule
	live      []read.Expr // of a live rule
	exprs     []expr.Any  // of a wanted rule
	comment   string
	canonical string
	text      string
}

func (r rule) same(o rule) bool { return r.canonical == o.canonical && r.comment == o.comment }

// difference is what has to be sent to make the table what the program says.
type difference struct {
	create    bool // there is no table yet
	recreate  bool // a base chain sits elsewhere: only a new table helps
	wake      bool // the table is dormant: its base chains hang on no hook
	sets      []*nftables.Set
	chains    []*nftables.Chain // to create, base chains last
	policies  []*nftables.Chain // base chains whose policy is not ours
	elements  []setChange
	rules     []ruleChange
	oldChains []string
	oldSets   []string
	remade    []string // sets that are there but of another kind

	found   *read.Table          // what the kernel holds
	trusted map[string][]element // content of large sets, not read but known
	served  map[string][]rule    // by chain, for each wanted rule the live one that it goes on from
	said    []string             // lines, where others than those of this difference say it better
}

func (d *difference) result(gen uint32) Result {
	return Result{Changes: d.lines(), Unread: d.unread(), Table: d.found, Generation: gen}
}

// unread names the sets as the program does.
func (d *difference) unread() []string {
	var out []string
	for name := range d.trusted {
		out = append(out, programName(name))
	}
	slices.Sort(out)
	return out
}

type setChange struct {
	set      *nftables.Set
	add, del []element
}

// ruleChange deletes a live rule, or puts a new one before a live one (at the
// end if before is 0).
type ruleChange struct {
	chain  string
	base   bool // of a base chain
	del    rule
	add    rule
	before uint64
}

func (d *difference) empty() bool {
	return !d.create && !d.recreate && !d.wake && len(d.sets)+len(d.chains)+len(d.policies)+len(d.elements)+
		len(d.rules)+len(d.oldChains)+len(d.oldSets) == 0
}

// differ finds what makes the table (nil: none) the program. If it would tear the
// content of sets apart, the sets get successors, and the rules that name them too;
// the new rules go on with the counters of the old.
func differ(p *nftables.Program, t *read.Table, n names, trusted map[string][]element) (*difference, error) {
	d, err := compare(n.program(p), t, trusted, nil)
	if err != nil {
		return nil, err
	}
	torn := d.torn(n.program(p))
	if len(torn) == 0 {
		return d, nil
	}
	for _, set := range torn {
		n.renew(t, programName(set))
	}
	swap, err := compare(n.program(p), t, trusted, d.served)
	if err != nil {
		return nil, err
	}
	swap.said = d.lines()
	return swap, nil
}

// compare finds what makes the table (nil: none) the program, which has the kernel's
// names. Rules that are not there go on from those that served for them.
func compare(p *nftables.Program, t *read.Table, trusted map[string][]element, served map[string][]rule) (*difference, error) {
	d := &difference{found: t, trusted: trusted, create: t == nil, served: map[string][]rule{}}
	if t == nil {
		t = &read.Table{}
	}
	if moved(p, t) {
		d.recreate = true
		t = &read.Table{}
	}
	d.wake = t.Flags&unix.NFT_TABLE_F_DORMANT != 0
	d.diffSets(p, t)
	return d, d.diffChains(p, t, served)
}

// moved reports whether a base chain sits at another hook or priority than the
// program says, or is a base chain in one only.
func moved(p *nftables.Program, t *read.Table) bool {
	return slices.ContainsFunc(p.Chains, func(c *nftables.Chain) bool {
		l := findChain(t, c.Name)
		if l == nil {
			return false
		}
		return (l.Hook == nil) != (c.Base == nil) ||
			l.Hook != nil && (l.Hook.Num != hookNums[c.Base.Hook] || int(l.Hook.Priority) != c.Base.Priority || l.Type != "filter")
	})
}

func findChain(t *read.Table, name string) *read.Chain {
	i := slices.IndexFunc(t.Chains, func(c read.Chain) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &t.Chains[i]
}

// hookNums are NF_INET_LOCAL_IN and its like (linux/netfilter.h).
var hookNums = map[packet.Hook]uint32{packet.Prerouting: 0, packet.Input: 1, packet.Forward: 2, packet.Output: 3}

// diffSets compares sets and elements.
func (d *difference) diffSets(p *nftables.Program, t *read.Table) {
	live := map[string]*read.Set{}
	for i := range t.Sets {
		live[t.Sets[i].Name] = &t.Sets[i]
	}
	for _, s := range p.Sets {
		l, ok := live[s.Name]
		delete(live, s.Name)
		if ok && !sameKind(s, l) {
			d.remade = append(d.remade, s.Name)
			ok = false
		}
		if !ok {
			d.sets = append(d.sets, s)
			l = &read.Set{}
		}
		d.diffElements(s, l)
	}
	for name := range live {
		d.oldSets = append(d.oldSets, name)
	}
	slices.Sort(d.oldSets)
}

func sameKind(s *nftables.Set, l *read.Set) bool {
	k := kindOf(s)
	return k.Flags == l.Flags && k.KeyType == l.KeyType && k.KeyLen == l.KeyLen && k.DataType == l.DataType &&
		k.Timeout == l.Timeout && k.Size == l.Size
}

// diffElements walks both lists in the order of their keys.
func (d *difference) diffElements(s *nftables.Set, l *read.Set) {
	if s.Dynamic {
		return
	}
	c := setChange{set: s}
	want, have := elementsOf(s), d.trusted[s.Name]
	if have == nil {
		have = liveElements(l)
	}
	for len(want) > 0 || len(have) > 0 {
		switch o := headOrder(want, have); {
		case o < 0:
			c.add, want = append(c.add, want[0]), want[1:]
		case o > 0:
			c.del, have = append(c.del, have[0]), have[1:]
		default:
			if !want[0].same(have[0]) {
				c.del, c.add = append(c.del, have[0]), append(c.add, want[0])
			}
			want, have = want[1:], have[1:]
		}
	}
	if len(c.add)+len(c.del) > 0 {
		d.elements = append(d.elements, c)
	}
}

func headOrder(a, b []element) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	}
	return bytes.Compare(a[0].key, b[0].key)
}

// liveElements joins the beginnings and ends of ranges. It leaves out the end of
// nothing that nft puts at the first key of an interval set.
func liveElements(l *read.Set) []element {
	interval := l.Flags&unix.NFT_SET_INTERVAL != 0
	out := make([]element, 0, len(l.Elements))
	for i, e := range l.Elements {
		if e.End {
			continue
		}
		x := element{key: e.Key, interval: interval, comment: read.Comment(e.UserData)}
		if e.Verdict != nil {
			x.verdict = nftables.Verdict{Kind: kindByCode[e.Verdict.Code], Chain: e.Verdict.Chain}
		}
		if interval && i+1 < len(l.Elements) {
			x.next = l.Elements[i+1].Key
		}
		out = append(out, x)
	}
	return out
}

// kindByCode reads verdict codes (linux/netfilter.h, nf_tables.h).
var kindByCode = map[int32]nftables.VerdictKind{
	0: nftables.Drop, 1: nftables.Accept, -3: nftables.Jump, -4: nftables.Goto, -5: nftables.Return,
}

func (d *difference) diffChains(p *nftables.Program, t *read.Table, served map[string][]rule) error {
	rules := map[string][]read.Rule{}
	for _, r := range t.Rules {
		rules[r.Chain] = append(rules[r.Chain], r)
	}
	wanted := map[string]bool{}
	for _, c := range p.Chains {
		wanted[c.Name] = true
		l := findChain(t, c.Name)
		switch {
		case l == nil:
			d.chains = append(d.chains, c)
		case c.Base != nil && l.Policy != policyNum(c.Base.Policy):
			d.policies = append(d.policies, c)
		}
		if err := d.diffRules(c, rules[c.Name], served[c.Name]); err != nil {
			return err
		}
	}
	return d.leftovers(t, rules, wanted)
}

// leftovers empties chains that the program no longer has and deletes all but
// base chains: a live one is kept, without rules it does nothing.
func (d *difference) leftovers(t *read.Table, rules map[string][]read.Rule, wanted map[string]bool) error {
	for _, l := range t.Chains {
		if wanted[l.Name] {
			continue
		}
		if err := d.diffRules(&nftables.Chain{Name: l.Name}, rules[l.Name], nil); err != nil {
			return err
		}
		if l.Hook == nil {
			d.oldChains = append(d.oldChains, l.Name)
		}
	}
	slices.Sort(d.oldChains)
	return nil
}

func policyNum(v packet.Verdict) uint32 {
	if v == packet.Accept {
		return 1 // NF_ACCEPT
	}
	return 0 // NF_DROP
}

// diffRules keeps the longest run of rules that both have in the same order. It
// goes from the last rule to the first, so that each new rule knows the kept one
// that it comes before.
func (d *difference) diffRules(c *nftables.Chain, live []read.Rule, served []rule) error {
	want, err := wantedRules(c)
	if err != nil {
		return err
	}
	have := liveRules(live)
	match := common(want, have)
	d.served[c.Name] = make([]rule, len(want))
	before, j := uint64(0), len(have)
	for i := len(want) - 1; i >= 0; i-- {
		if match[i] < 0 {
			if served != nil {
				want[i].count(served[i])
			}
			d.rules = append(d.rules, ruleChange{chain: c.Name, base: c.Base != nil, add: want[i], before: before})
			continue
		}
		d.deleteRules(c.Name, have[match[i]+1:j])
		j = match[i]
		before = have[j].handle
		d.served[c.Name][i] = have[j]
	}
	d.deleteRules(c.Name, have[:j])
	return nil
}

func (d *difference) deleteRules(chain string, rules []rule) {
	for _, r := range slices.Backward(rules) {
		d.rules = append(d.rules, ruleChange{chain: chain, del: r})
	}
}

func wantedRules(c *nftables.Chain) ([]rule, error) {
	out := make([]rule, len(c.Rules))
	for i, r := range c.Rules {
		exprs := exprsOf(r)
		form, err := canonical(exprs)
		if err != nil {
			return nil, fmt.Errorf("chain %s: %w", c.Name, err)
		}
		out[i] = rule{exprs: exprs, comment: r.Comment, canonical: form, text: r.Text()}
	}
	return out, nil
}

func liveRules(live []read.Rule) []rule {
	out := make([]rule, len(live))
	for i, r := range live {
		form, err := read.Canonical(r.Exprs)
		if err != nil {
			form = "" // equal to nothing
		}
		out[i] = rule{handle: r.Handle, live: r.Exprs, comment: read.Comment(r.UserData), canonical: form}
	}
	return out
}

// count makes the rule's counters go on from those of a live rule with the same
// expressions.
func (r *rule) count(from rule) {
	i := 0
	for _, e := range from.live {
		packets, bytes, ok := e.Counted()
		if !ok {
			continue
		}
		for ; i < len(r.exprs); i++ {
			if c, ok := r.exprs[i].(*expr.Counter); ok {
				c.Packets, c.Bytes = packets, bytes
				i++
				break
			}
		}
	}
}

// common returns, for each wanted rule, the index of the live rule that serves
// for it, or -1: a longest common subsequence. Equal beginnings and ends are
// taken at once, so that little remains where little changed.
func common(want, have []rule) []int {
	match := make([]int, len(want))
	for i := range match {
		match[i] = -1
	}
	shorter := min(len(want), len(have))
	head := 0
	for head < shorter && want[head].same(have[head]) {
		match[head] = head
		head++
	}
	tail := 0
	for tail < shorter-head && want[len(want)-1-tail].same(have[len(have)-1-tail]) {
		tail++
		match[len(want)-tail] = len(have) - tail
	}
	middle(want[head:len(want)-tail], have[head:len(have)-tail], func(i, j int) {
		match[head+i] = head + j
	})
	return match
}

// maxTable bounds the table of a comparison; two chains that differ over more
// than this are replaced whole.
const maxTable = 4 << 20

// middle finds a longest common subsequence by the table of its lengths.
func middle(a, b []rule, keep func(i, j int)) {
	if len(a)*len(b) > maxTable {
		return
	}
	n := lengths(a, b)
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].same(b[j]):
			keep(i, j)
			i, j = i+1, j+1
		case n[i+1][j] >= n[i][j+1]:
			i++
		default:
			j++
		}
	}
}

// lengths holds how much the rests behind i and j have in common.
func lengths(a, b []rule) [][]int {
	n := make([][]int, len(a)+1)
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i].same(b[j]) {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	return n
}

// lines says what the difference is, one line a change, in a stable order.
func (d *difference) lines() []string {
	if d.said != nil {
		return d.said
	}
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if d.recreate {
		say("create table inet %s anew: a base chain was moved", nftables.TableName)
	}
	if d.create {
		say("create table inet %s", nftables.TableName)
	}
	if d.wake {
		say("wake dormant table inet %s", nftables.TableName)
	}
	for _, s := range d.sets {
		say("add %s %s", choose(s.Map, "map", "set"), programName(s.Name))
	}
	for _, c := range d.chains {
		say("add chain %s", c.Name)
	}
	for _, c := range d.policies {
		say("set policy of chain %s to %s", c.Name, c.Base.Policy)
	}
	for _, e := range d.elements {
		e.lines(say)
	}
	for _, r := range slices.Backward(d.rules) {
		if r.add.text != "" {
			say("add rule %s: %s", r.chain, r.add.text)
		} else {
			say("delete rule %s: handle %d %s", r.chain, r.del.handle, r.del.comment)
		}
	}
	for _, c := range d.oldChains {
		say("delete chain %s", c)
	}
	for _, s := range slices.Concat(d.remade, d.oldSets) {
		say("delete set %s", s)
	}
	return out
}

// lines counts elements, since a set may have a million, and has the program's names.
func (c setChange) lines(say func(string, ...any)) {
	if n := len(c.del); n > 0 {
		say("delete %d elements of %s", n, programName(c.set.Name))
	}
	if n := len(c.add); n > 0 {
		say("add %d elements to %s", n, programName(c.set.Name))
	}
}
