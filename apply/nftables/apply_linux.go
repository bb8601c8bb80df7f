package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	gnft "github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
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
	var done []string
	for range retries {
		d, gen, err := plan(ctx, p, last)
		if err != nil {
			return Result{}, err
		}
		if d.empty() {
			r := d.result(gen)
			r.Changes = done
			return r, nil
		}
		switched, err := d.send(gen)
		if errors.Is(err, unix.ERESTART) {
			if switched {
				done, last = append(done, d.lines()...), func() *nftables.Program { return p }
			}
			continue
		}
		return verify(ctx, p, d, done, err)
	}
	return Result{}, fmt.Errorf("replace table inet %s: %w (%d tries)", nftables.TableName, live.ErrUnstable, retries)
}

// verify compares the kernel with the program after transactions that ended with
// sent. Those before them made the changes done.
func verify(ctx context.Context, p *nftables.Program, tried *difference, done []string, sent error) (Result, error) {
	rest, gen, err := plan(ctx, p, func() *nftables.Program { return p })
	changes := append(done, tried.lines()...)
	switch {
	case err != nil:
		return Result{}, fmt.Errorf("read back table inet %s: %w", nftables.TableName, errors.Join(err, sent))
	case rest.empty(): // committed, whatever the answer was
		return Result{Changes: changes, Unread: rest.unread(), Table: rest.found, Generation: gen}, nil
	case sent != nil && len(done) == 0 && slices.Equal(rest.lines(), tried.lines()):
		return Result{}, fmt.Errorf("replace table inet %s: %w; nothing was changed", nftables.TableName, explain(sent))
	case sent != nil:
		return Result{}, fmt.Errorf("replace table inet %s: %w", nftables.TableName, explain(sent))
	}
	return Result{Changes: changes}, fmt.Errorf("%w: %v", ErrUnproved, rest.lines())
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

// Remove deletes the table and says so; nothing if there is none. The chains that
// packets come by go first: of a table that goes whole, a packet finds chains without
// rules and sets without elements.
func Remove(ctx context.Context) ([]string, error) {
	c, err := live.Dial(0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	t, _, err := c.Table(ctx, unix.NFPROTO_INET, nftables.TableName, 0)
	if err != nil || t == nil {
		return nil, explain(err)
	}
	if sendAside(t) == nil {
		grace()
	}
	if err := sendRemoved(); err != nil && !errors.Is(err, unix.ENOENT) {
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
	n := namesIn(t)
	trusted := trust(t, n, last)
	if err := readRest(c, t, trusted); err != nil {
		return nil, 0, err
	}
	d, err := differ(p, t, n, trusted)
	return d, gen, err
}

// trust returns, for large sets, what was last applied to them, where the number
// of elements agrees with it.
func trust(t *read.Table, n names, last Last) map[string][]element {
	if t == nil || last == nil || !slices.ContainsFunc(t.Sets, func(s read.Set) bool { return s.Unread }) {
		return nil
	}
	before := last()
	if before == nil {
		return nil
	}
	trusted := map[string][]element{}
	for _, s := range n.program(before).Sets {
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
func readRest(c *live.Conn, t *read.Table, trusted map[string][]element) (err error) {
	if t == nil {
		return nil
	}
	for i := range t.Sets {
		s := &t.Sets[i]
		if !s.Unread || trusted[s.Name] != nil {
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
