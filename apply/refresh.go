package apply

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go4.org/netipx"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

// refreshing is the action of a refresh, as the history has it.
const refreshing = "refresh"

// MostAddresses is how many addresses of a DNS name a refresh believes. Of a feed it
// believes what keeps half: see shrunk.
const MostAddresses = 64

// Refreshed is what a refresh did.
type Refreshed struct {
	*Outcome
	Names int       `json:"names"`         // DNS names of the confirmed policy
	Feeds int       `json:"feeds"`         // files of addresses
	Stale []Stale   `json:"stale"`         // of these: what could not be read or believed, and stays
	Off   *OffState `json:"off,omitempty"` // fwctl is switched off: nothing was read
}

// Refresh reads the DNS names and the feeds of the confirmed policy anew, and makes
// kernel and state follow. The policy's text is that which was confirmed, whatever
// its files say by now. For a name or a feed that cannot be read or believed the last
// good answer stays. Who works by a connection is not locked out; sources of kept
// services may be, since the names or feeds that let them in say so. Believe means
// that every answer is believed, however much is gone.
func Refresh(ctx context.Context, o Options, believe bool) (*Refreshed, error) {
	lock, err := TakeLock(ctx, o.RunDir, refreshing, bootWait)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	r := newRefresh(o, lock, believe)
	if err := r.free(ctx); err != nil {
		return nil, err
	}
	if off := r.store.Off(); off != nil {
		return &Refreshed{Outcome: newOutcome(o.Policy), Stale: []Stale{}, Off: off}, nil
	}
	if r.host, err = live.Facts(ctx); err != nil {
		return nil, err
	}
	if err := r.recallConfirmed(); err != nil {
		return nil, err
	}
	if err := r.believed(append(r.readFeeds(), r.resolve(ctx)...)); err != nil {
		return nil, err
	}
	err = r.follow(ctx)
	return r.answer(), err
}

// refresh is one refresh on its way.
type refresh struct {
	*change
	disk      fs.FS
	trust     func(path string, info fs.FileInfo) error
	believe   bool
	confirmed *rules.Policy
	feeds     map[string][]byte // what is new, by path
}

func newRefresh(o Options, lock *Lock, believe bool) *refresh {
	r := &refresh{disk: o.Files, trust: o.Load.Trust, believe: believe, feeds: map[string][]byte{}}
	o.Confirm, o.DryRun, o.Force = 0, false, ForceKeep
	if o.Reach.Kind == live.ReachUnknown { // a timer: nobody waits for it at the other end of a connection
		o.Reach = live.Reach{Kind: live.ReachConsole}
	}
	r.change = &change{Options: o, store: NewStore(o.StateDir), lock: lock, action: refreshing}
	return r
}

// recallConfirmed reads the confirmed bundle. No other one will do: a refresh puts
// no other policy in force.
func (r *refresh) recallConfirmed() error {
	b, err := r.store.bundle(confirmedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNothingConfirmed
	}
	if err != nil {
		return fmt.Errorf("read the confirmed policy: %w", err)
	}
	r.before = b
	r.Policy, r.Load, r.Backend = strings.TrimPrefix(b.Manifest.Policy, "/"), b.load(), Auto // the one in use
	r.out = newOutcome(r.Policy)
	if r.confirmed, _, err = b.meaning(); err != nil {
		return fmt.Errorf("read the confirmed policy: %w", err)
	}
	r.policy, r.host.Names = r.confirmed, maps.Clone(b.Host.Names)
	return nil
}

// news is another answer than the one in force: the content of a feed, or the
// addresses of a name.
type news struct {
	name  string // a DNS name or the absolute path of a feed
	feed  []byte
	addrs []netip.Addr
}

// readFeeds reads the feeds from the disk and returns those that are not as they
// were.
func (r *refresh) readFeeds() []news {
	var out []news
	for _, s := range r.confirmed.Sources {
		if s.Kind != rules.AddressSource {
			continue
		}
		switch data, err := r.readFeed(s.Path); {
		case err != nil:
			r.miss("/"+s.Path, err.Error())
		case !bytes.Equal(data, s.Data):
			out = append(out, news{name: "/" + s.Path, feed: data})
		}
	}
	return out
}

// readFeed reads one feed, once: what is judged is what is loaded.
func (r *refresh) readFeed(path string) ([]byte, error) {
	f, err := r.disk.Open(path)
	if err != nil {
		return nil, unwrapPath(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, unwrapPath(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case r.trust != nil:
		if err := r.trust(path, info); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(f)
	return data, unwrapPath(err)
}

// unwrapPath leaves out the path, which is told anyway.
func unwrapPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// resolve asks for the names and returns those with other addresses than before.
func (r *refresh) resolve(ctx context.Context) []news {
	names := r.confirmed.Names()
	if len(names) == 0 {
		return nil
	}
	found, err := live.Resolve(ctx, names)
	var out []news
	for _, n := range names {
		switch addrs, ok := found[n]; {
		case !ok:
			r.miss(n, whyUnresolved(err, n))
		case !slices.Equal(addrs, r.host.Names[n]):
			out = append(out, news{name: n, addrs: addrs})
		}
	}
	return out
}

// believed takes over what is new, as far as it can be believed: all of it, or what
// is left when one after the other was tried.
func (r *refresh) believed(all []news) error {
	if len(all) == 0 || r.try(all...) == nil {
		return nil
	}
	if err := r.try(); err != nil {
		return err // the host's facts, and no answer, do not go with the policy
	}
	for _, n := range all {
		if err := r.try(n); err != nil {
			r.miss(n.name, r.because(n, err))
		}
	}
	return nil
}

// try takes news over, beside those taken over before, unless the policy cannot be
// loaded with them, or they change too much.
func (r *refresh) try(all ...news) error {
	feeds, names := maps.Clone(r.feeds), maps.Clone(r.host.Names)
	for _, n := range all {
		if n.feed != nil {
			feeds[strings.TrimPrefix(n.name, "/")] = n.feed
			continue
		}
		if err := r.tooMany(n); err != nil {
			return err
		}
		if names == nil {
			names = map[string][]netip.Addr{}
		}
		names[n.name] = n.addrs
	}
	p, ps := rules.Load(overlay{r.before.files, feeds}, r.Policy, r.Load)
	if ps.Err() != nil {
		return &RefusedError{ps}
	}
	if err := r.tooMuch(p, feeds); err != nil {
		return err
	}
	host := *r.host
	host.Names = names
	if _, ps := rules.Resolve(p, &host); ps.Err() != nil {
		return &RefusedError{ps}
	}
	r.feeds, r.host, r.policy = feeds, &host, p
	return nil
}

// tooMany refuses an answer of DNS with more addresses than a name has for good
// reason.
func (r *refresh) tooMany(n news) error {
	if r.believe || len(n.addrs) <= MostAddresses {
		return nil
	}
	return fmt.Errorf("it has %d addresses now, more than the %d that are believed", len(n.addrs), MostAddresses)
}

// tooMuch refuses feeds that have lost or gained too much, as one that was cut off
// would have, or one of others.
func (r *refresh) tooMuch(p *rules.Policy, feeds map[string][]byte) error {
	if r.believe {
		return nil
	}
	was := r.confirmed.Feeds()
	for i, f := range p.Feeds() {
		if feeds[f.Path] == nil {
			continue
		}
		if err := errors.Join(shrunk(was[i].Set, f.Set), grown(was[i].Set, f.Set)); err != nil {
			return err
		}
	}
	return nil
}

// extent is how much a feed holds of one family.
type extent struct {
	addresses float64
	ranges    int // apart from each other
}

func extents(set *netipx.IPSet) (out [2]extent) {
	for _, r := range set.Ranges() {
		e := &out[0]
		if r.From().Is6() {
			e = &out[1]
		}
		e.ranges++
		e.addresses += many(r)
	}
	return out
}

// many counts the addresses of a range, the halves apart: the whole would lose the
// small of IPv6 in the large.
func many(r netipx.IPRange) float64 {
	from, to := r.From().As16(), r.To().As16()
	half := func(i int) float64 {
		return float64(binary.BigEndian.Uint64(to[i:])) - float64(binary.BigEndian.Uint64(from[i:]))
	}
	return half(0)*(1<<64) + half(8) + 1
}

// shrunk refuses a feed that has less than half of the addresses that it had of a
// family; or fewer addresses in less than half of the ranges, lest one large prefix
// hide the loss of a thousand small ones. Prefixes that were merged into wider ones
// have no fewer addresses.
func shrunk(was, is *netipx.IPSet) error {
	before, after := extents(was), extents(is)
	for i, family := range []string{"IPv4", "IPv6"} {
		b, a := before[i], after[i]
		if 2*a.addresses < b.addresses || a.addresses < b.addresses && 2*a.ranges < b.ranges {
			return fmt.Errorf("it has lost more than half of what it held of %s: %d of %d ranges of addresses are left", family, a.ranges, b.ranges)
		}
	}
	return nil
}

// A feed that has become so many times as large, and larger than that many addresses of
// IPv4 or networks of 64 bits of IPv6, is not believed: it may let in the world.
const mostGrowth, littleGrowth = 16, 1 << 16

// grown refuses a feed that holds far more of a family than it did.
func grown(was, is *netipx.IPSet) error {
	before, after := extents(was), extents(is)
	for i, unit := range []float64{1, 1 << 64} {
		b, a := before[i].addresses/unit, after[i].addresses/unit
		if a > littleGrowth && a > mostGrowth*b {
			return fmt.Errorf("it has grown to more than %d times of what it held of %s", mostGrowth, []string{"IPv4", "IPv6"}[i])
		}
	}
	return nil
}

// because says why news are not in force. Of the policy's problems the first will do.
func (r *refresh) because(n news, err error) string {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		return err.Error()
	}
	p := refused.Problems.Of(rules.Error)[0]
	if p.Pos.File == n.name {
		return fmt.Sprintf("line %d: %s", p.Pos.Line, p.Summary)
	}
	return p.Summary
}

// follow changes the kernel and the state where anything is another than before.
func (r *refresh) follow(ctx context.Context) error {
	m := r.before.Manifest
	r.out.Digest, r.out.Choice = m.Digest, Choice{m.Backend, "in use"}
	if len(r.feeds) == 0 && factsDigest(r.host) == factsDigest(r.before.Host) && !r.ended(ctx) {
		answers := r.answers(r.confirmed)
		if len(answers) == 0 {
			return nil
		}
		return r.store.writeAnswers(answers)
	}
	r.Files = overlay{r.before.files, r.feeds}
	return r.carryOut(ctx)
}

// ended reports whether the rules of pf hold something that is over: pf has no clock, so
// they have to be made again. What cannot be told now, carryOut will tell.
func (r *refresh) ended(ctx context.Context) bool {
	rs := r.last()
	if r.before.Manifest.Backend != PF || rs == nil || len(rs.Temporary(time.Now())) == len(rs.Endings()) {
		return false
	}
	b, err := open(ctx, PF)
	if err != nil {
		return true
	}
	p, ps := b.Render(rs)
	if ps.Err() != nil {
		return true
	}
	changes, err := p.Plan(ctx, r.last)
	return err != nil || len(changes) > 0
}

// answer puts the outcome together.
func (r *refresh) answer() *Refreshed {
	return &Refreshed{
		Outcome: r.out, Names: len(r.confirmed.Names()), Feeds: len(r.confirmed.Feeds()),
		Stale: append([]Stale{}, stale(r.answers(r.confirmed), r.confirmed)...),
	}
}

// overlay is a file system of which some files have another content.
type overlay struct {
	fs.FS
	files map[string][]byte
}

// Open opens the other content, if there is one.
func (o overlay) Open(name string) (fs.File, error) {
	data, ok := o.files[name]
	if !ok {
		return o.FS.Open(name)
	}
	return memoryFile{bytes.NewReader(data), int64(len(data))}, nil
}

type memoryFile struct {
	*bytes.Reader
	size int64
}

// Close has nothing to close.
func (memoryFile) Close() error { return nil }

// Stat describes the file.
func (f memoryFile) Stat() (fs.FileInfo, error) { return memoryInfo(f.size), nil }

type memoryInfo int64

// Name is not known, and nobody asks.
func (memoryInfo) Name() string { return "" }

// Size is the length of the content in bytes.
func (i memoryInfo) Size() int64 { return int64(i) }

// Mode is that of a regular file which only its owner reads.
func (memoryInfo) Mode() fs.FileMode { return 0o400 }

// ModTime is not known.
func (memoryInfo) ModTime() time.Time { return time.Time{} }

// IsDir is false.
func (memoryInfo) IsDir() bool { return false }

// Sys is nil.
func (memoryInfo) Sys() any { return nil }
