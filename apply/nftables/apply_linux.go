package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	gnft "github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	live "github.com/fwctl/fwctl/live/nftables"
	read "github.com/fwctl/fwctl/read/nftables"
	"github.com/fwctl/fwctl/render/nftables"
)

// retries bounds how often a transaction is planned anew because another program
// changed the rules meanwhile.
const retries = 10

// ErrUnproved says that the kernel took the transaction but then shows something
// else than was sent.
var ErrUnproved = errors.New("the rules read back are not the rules sent")

// Generation returns the id of the running ruleset's generation.
func Generation(ctx context.Context) (uint32, error) {
	c, err := live.Dial(0)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.Generation()
}

// Present reports whether the table exists.
func Present(ctx context.Context) (bool, error) {
	c, err := live.Dial(0)
	if err != nil {
		return false, err
	}
	defer c.Close()
	return c.HasTable(unix.NFPROTO_INET, nftables.TableName)
}

// Result is what a change did, or would do.
type Result struct {
	Changes []string    // one line each; none: there was nothing to send
	Unread  []string    // names of sets too large to read back; their number of elements is right
	Table   *read.Table // of an apply: the table as the kernel holds it now
	// Generation is that of the ruleset in which the table was read.
	Generation uint32
}

// Last returns the program that was applied before, nil if it is not known. It is
// asked only where a set is too large to be read, and stands in for the content
// of such sets as long as their number of elements agrees.
type Last func() *nftables.Program

// Plan says what Apply would send.
func Plan(ctx context.Context, p *nftables.Program, last Last) (Result, error) {
	d, gen, err := plan(ctx, p, last)
	if err != nil {
		return Result{}, err
	}
	return d.result(gen), nil
}

// Apply makes the kernel hold the program. Whatever the kernel answers, it is
// read again before Apply says what happened.
func Apply(ctx context.Context, p *nftables.Program, last Last) (Result, error) {
	for range retries {
		d, gen, err := plan(ctx, p, last)
		if err != nil {
			return Result{}, err
		}
		if d.empty() {
			return d.result(gen), nil
		}
		err = d.send(gen)
		if errors.Is(err, unix.ERESTART) {
			continue
		}
		return verify(ctx, p, d, err)
	}
	return Result{}, fmt.Errorf("replace table inet %s: %w (%d tries)", nftables.TableName, live.ErrUnstable, retries)
}

// verify compares the kernel with the program after a transaction that ended
// with sent.
func verify(ctx context.Context, p *nftables.Program, tried *difference, sent error) (Result, error) {
	rest, gen, err := plan(ctx, p, func() *nftables.Program { return p })
	switch {
	case err != nil:
		return Result{}, fmt.Errorf("read back table inet %s: %w", nftables.TableName, errors.Join(err, sent))
	case rest.empty(): // committed, whatever the answer was
		return Result{Changes: tried.lines(), Unread: rest.unread(), Table: rest.found, Generation: gen}, nil
	case sent != nil && slices.Equal(rest.lines(), tried.lines()):
		return Result{}, fmt.Errorf("replace table inet %s: %w; nothing was changed", nftables.TableName, explain(sent))
	case sent != nil:
		return Result{}, fmt.Errorf("replace table inet %s: %w", nftables.TableName, explain(sent))
	}
	return Result{Changes: tried.lines()}, fmt.Errorf("%w: %v", ErrUnproved, rest.lines())
}

// explain adds what an error number of the kernel usually means here.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (needs CAP_NET_ADMIN, or another program owns the table)", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w (a feature of nf_tables that this kernel lacks?)", err)
	}
	return err
}

// Remove deletes the table and says so; nothing if there is none.
func Remove(ctx context.Context) ([]string, error) {
	there, err := Present(ctx)
	if err != nil || !there {
		return nil, err
	}
	c, err := gnft.New()
	if err != nil {
		return nil, err
	}
	c.DelTable(table())
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("delete table inet %s: %w", nftables.TableName, explain(err))
	}
	return []string{"delete table inet " + nftables.TableName}, nil
}

// readable is the largest set that is read whole; it takes about a second.
const readable = 100_000

func plan(ctx context.Context, p *nftables.Program, last Last) (*difference, uint32, error) {
	c, err := live.Dial(0)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	t, gen, err := c.Table(ctx, unix.NFPROTO_INET, nftables.TableName, readable)
	if err != nil {
		return nil, 0, explain(err)
	}
	d := &difference{trusted: trust(t, last), found: t}
	if err := d.readRest(c, t); err != nil {
		return nil, 0, err
	}
	return d, gen, d.compare(p, t)
}

// trust returns, for large sets, what was last applied to them, where the number
// of elements agrees with it.
func trust(t *read.Table, last Last) map[string][]element {
	if t == nil || last == nil || !slices.ContainsFunc(t.Sets, func(s read.Set) bool { return s.Unread }) {
		return nil
	}
	before := last()
	if before == nil {
		return nil
	}
	trusted := map[string][]element{}
	for _, s := range before.Sets {
		i := slices.IndexFunc(t.Sets, func(l read.Set) bool { return l.Name == s.Name })
		if i < 0 || !t.Sets[i].Unread || !sameKind(s, &t.Sets[i]) {
			continue
		}
		if es := elementsOf(s); counted(es, int(t.Sets[i].Count)) {
			trusted[s.Name] = es
		}
	}
	return trusted
}

// counted reports whether the kernel's count fits. It counts half the beginnings
// and ends of ranges; a range up to the last key has no end, and nft adds an end
// that no range has.
func counted(es []element, n int) bool {
	if len(es) > 0 && es[0].interval && es[len(es)-1].next == nil {
		return n == len(es) || n == len(es)-1
	}
	return n == len(es)
}

// readRest reads the large sets whose content nothing vouches for, however long
// it takes.
func (d *difference) readRest(c *live.Conn, t *read.Table) (err error) {
	if t == nil {
		return nil
	}
	for i := range t.Sets {
		s := &t.Sets[i]
		if !s.Unread || d.trusted[s.Name] != nil {
			continue
		}
		if s.Elements, err = c.Elements(t.Family, t.Name, s.Name); err != nil {
			return fmt.Errorf("read set %s: %w", s.Name, err)
		}
	}
	return nil
}

func table() *gnft.Table {
	return &gnft.Table{Name: nftables.TableName, Family: gnft.TableFamilyINet}
}

// send puts the whole difference into one transaction that the kernel takes only
// if the generation is still the one that was read. What others refer to comes
// before them, and what refers to others goes before those.
//
// Sets that are of no use any more go in a second one. A packet that is among the old
// rules when the first is committed goes on there, but finds in a set what is in force
// by then: of a map that is deleted, nothing (nft_map_deactivate of Linux).
func (d *difference) send(gen uint32) error {
	if d.changes() {
		if err := d.sendChanges(gen); err != nil {
			return err
		}
		gen++
	}
	if len(d.oldSets)+len(d.oldChains) == 0 {
		return nil
	}
	c, err := gnft.New()
	if err != nil {
		return err
	}
	d.sendOld(c, table())
	return c.FlushWithGenID(gen)
}

// changes reports whether there is more to do than to delete what nothing refers to.
func (d *difference) changes() bool {
	rest := *d
	rest.oldSets, rest.oldChains = nil, nil
	return !rest.empty()
}

func (d *difference) sendChanges(gen uint32) error {
	c, err := gnft.New()
	if err != nil {
		return err
	}
	t := table()
	if d.recreate {
		c.DelTable(t)
	}
	if d.create || d.recreate || d.wake {
		c.AddTable(t) // of a table that is there it sets the flags, to none
	}
	d.sendDeletedRules(c, t)
	d.sendDeletedElements(c, t)
	for _, name := range d.remade {
		c.DelSet(&gnft.Set{Table: t, Name: name})
	}
	sets, err := d.sendSets(c, t)
	if err != nil {
		return err
	}
	d.sendChains(c, t, false)
	if err := d.sendElements(c, t, sets); err != nil {
		return err
	}
	d.sendRules(c, t, false)
	// Base chains come last: from here to the commit, which the kernel does at
	// once, they already stand at their hooks.
	d.sendChains(c, t, true)
	d.sendRules(c, t, true)
	return c.FlushWithGenID(gen)
}

func (d *difference) sendDeletedRules(c *gnft.Conn, t *gnft.Table) {
	for _, r := range d.rules {
		if r.del.handle != 0 {
			_ = c.DelRule(&gnft.Rule{Table: t, Chain: &gnft.Chain{Table: t, Name: r.chain}, Handle: r.del.handle}) // has a handle
		}
	}
}

func (d *difference) sendDeletedElements(c *gnft.Conn, t *gnft.Table) {
	for _, e := range d.elements {
		if len(e.del) > 0 {
			_ = c.SetDeleteElements(setOf(t, e.set), elements(e.del)) // the error is sticky
		}
	}
}

// sendOld deletes sets and chains that nothing refers to any more: maps first,
// since their elements refer to chains.
func (d *difference) sendOld(c *gnft.Conn, t *gnft.Table) {
	for _, name := range d.oldSets {
		c.DelSet(&gnft.Set{Table: t, Name: name})
	}
	for _, name := range d.oldChains {
		c.DelChain(&gnft.Chain{Table: t, Name: name})
	}
}

func (d *difference) sendSets(c *gnft.Conn, t *gnft.Table) (map[string]*gnft.Set, error) {
	out := map[string]*gnft.Set{}
	for _, s := range d.sets {
		g := setOf(t, s)
		if err := c.AddSet(g, nil); err != nil {
			return nil, fmt.Errorf("add set %s: %w", s.Name, err)
		}
		out[s.Name] = g
	}
	return out, nil
}

func (d *difference) sendElements(c *gnft.Conn, t *gnft.Table, added map[string]*gnft.Set) error {
	for _, e := range d.elements {
		g := added[e.set.Name]
		if g == nil {
			g = setOf(t, e.set)
		}
		if err := c.SetAddElements(g, elements(e.add)); err != nil {
			return fmt.Errorf("add elements to %s: %w", e.set.Name, err)
		}
	}
	return nil
}

func elements(es []element) []gnft.SetElement {
	out := make([]gnft.SetElement, 0, len(es)*2)
	for _, e := range es {
		x := gnft.SetElement{Key: e.key, Comment: e.comment}
		if e.verdict.Kind != nftables.None {
			x.VerdictData = verdict(e.verdict)
		}
		out = append(out, x)
		if e.next != nil {
			out = append(out, gnft.SetElement{Key: e.next, IntervalEnd: true})
		}
	}
	return out
}

func (d *difference) sendChains(c *gnft.Conn, t *gnft.Table, base bool) {
	for _, ch := range slices.Concat(d.chains, d.policies) {
		if (ch.Base != nil) != base {
			continue
		}
		g := &gnft.Chain{Table: t, Name: ch.Name}
		if b := ch.Base; b != nil {
			policy := gnft.ChainPolicy(policyNum(b.Policy))
			g.Type, g.Policy = gnft.ChainTypeFilter, &policy
			g.Hooknum = gnft.ChainHookRef(gnft.ChainHook(hookNums[b.Hook]))
			g.Priority = gnft.ChainPriorityFilter
		}
		c.AddChain(g)
	}
}

// sendRules puts the new rules of base chains, or of all others, into place. A
// chain's changes run from its last rule to its first.
func (d *difference) sendRules(c *gnft.Conn, t *gnft.Table, base bool) {
	for _, r := range slices.Backward(d.rules) {
		if r.add.text == "" || r.base != base {
			continue
		}
		g := &gnft.Rule{Table: t, Chain: &gnft.Chain{Table: t, Name: r.chain}, Exprs: r.add.exprs, Position: r.before}
		if r.add.comment != "" {
			g.UserData = userdata.AppendString(nil, userdata.TypeComment, r.add.comment)
		}
		if r.before != 0 {
			c.InsertRule(g)
		} else {
			c.AddRule(g)
		}
	}
}

var fieldTypes = map[nftables.Field]gnft.SetDatatype{
	nftables.FieldProto: gnft.TypeInetProto,
	nftables.FieldPort:  gnft.TypeInetService,
	nftables.FieldAddr4: gnft.TypeIPAddr,
	nftables.FieldAddr6: gnft.TypeIP6Addr,
	nftables.FieldICMP:  gnft.TypeICMPType,
	nftables.FieldICMP6: gnft.TypeICMP6Type,
}

// setOf encodes a set without its elements.
func setOf(t *gnft.Table, s *nftables.Set) *gnft.Set {
	types := make([]gnft.SetDatatype, len(s.Fields))
	for i, f := range s.Fields {
		types[i] = fieldTypes[f]
	}
	g := &gnft.Set{Table: t, Name: s.Name, KeyType: types[0], IsMap: s.Map, Interval: s.Interval,
		Dynamic: s.Dynamic, HasTimeout: s.Dynamic, Timeout: s.Timeout, Size: s.Size, Comment: s.Comment,
		KeyByteOrder: binaryutil.BigEndian}
	if len(types) > 1 {
		g.KeyType = gnft.MustConcatSetType(types...)
	}
	if s.Map {
		g.DataType = gnft.TypeVerdict
	}
	return g
}

// kindOf says what the kernel shows of a set that setOf encodes.
func kindOf(s *nftables.Set) read.Set {
	g := setOf(table(), s)
	k := read.Set{KeyType: g.KeyType.GetNFTMagic(), KeyLen: g.KeyType.Bytes, Timeout: s.Timeout, Size: s.Size}
	for _, f := range []struct {
		on  bool
		bit uint32
	}{{s.Interval, unix.NFT_SET_INTERVAL}, {s.Map, unix.NFT_SET_MAP}, {s.Dynamic, unix.NFT_SET_EVAL | unix.NFT_SET_TIMEOUT}} {
		if f.on {
			k.Flags |= f.bit
		}
	}
	if s.Map {
		k.DataType = unix.NFT_DATA_VERDICT
	}
	return k
}
