package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/fwctl/fwctl/rules"
)

// bootWait is how long a boot waits for another fwctl to finish.
const bootWait = 30 * time.Second

// Booted is what a boot loaded.
type Booted struct {
	Changed  bool      `json:"changed"`
	Loaded   string    `json:"loaded"` // "confirmed", "previous", "keep" or "" (nothing)
	Digest   string    `json:"digest,omitempty"`
	Backend  string    `json:"backend,omitempty"`
	Changes  []string  `json:"changes"`
	Settled  *Settled  `json:"settled,omitempty"` // a change that nobody had confirmed
	Off      *OffState `json:"off,omitempty"`     // fwctl is switched off: nothing was loaded
	Warnings []string  `json:"warnings,omitempty"`
}

// ErrNothingConfirmed says that there is no state to load.
var ErrNothingConfirmed = errors.New("no policy was ever confirmed on this host, so there is nothing to load; `fwctl apply` confirms one")

// Boot loads the confirmed policy as it was resolved when it was confirmed:
// without the policy's files, without names, without interfaces. If that fails,
// it loads the previous one, and then a set of nothing but the baseline,
// established connections and the kept services.
func Boot(ctx context.Context, o Options) (*Booted, error) {
	lock, err := TakeLock(ctx, o.RunDir, "boot", bootWait)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	b := &boot{Options: o, store: NewStore(o.StateDir), out: &Booted{Changes: []string{}}}
	b.settle(ctx)
	if b.out.Off = b.store.Off(); b.out.Off != nil {
		return b.out, nil
	}
	if b.store.empty() {
		return b.out, ErrNothingConfirmed
	}
	return b.out, b.run(ctx)
}

// settle ends a change that nobody has confirmed: the host gets what was confirmed.
func (b *boot) settle(ctx context.Context) {
	p, err := b.store.pending()
	switch {
	case err != nil:
		b.warn("%v; it is removed", err)
		err = b.store.remove(pendingFile)
	case p != nil:
		b.out.Settled, err = b.store.settle(ctx, b.RunDir, p, b.store.before(untold), "boot loads what was confirmed")
		p.release(&Ended{By: "boot", Settled: b.out.Settled})
	}
	if err != nil {
		b.warn("a change that nobody has confirmed could not be settled: %v", err)
	}
}

type boot struct {
	Options
	store *Store
	out   *Booted
}

func (b *boot) run(ctx context.Context) error {
	for _, name := range []string{confirmedFile, previousFile} {
		err := b.load(ctx, name)
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) || name == confirmedFile {
			b.warn("the %s policy was not loaded: %v", name, err)
		}
	}
	return b.last(ctx)
}

func (b *boot) warn(format string, args ...any) {
	b.out.Warnings = append(b.out.Warnings, fmt.Sprintf(format, args...))
}

// load brings one stored bundle into the kernel.
func (b *boot) load(ctx context.Context, name string) error {
	s, err := b.store.bundle(name)
	if err != nil {
		return err
	}
	b.out.Digest = s.Manifest.Digest
	if name == confirmedFile && stands(ctx, b.RunDir, b.store) {
		b.done(name, s.Manifest.Backend, nil)
		return nil
	}
	p, rs, err := s.meaning()
	if err != nil {
		return err
	}
	now := b.current(rs)
	gen, err := b.apply(ctx, name, s.Manifest.Backend, now)
	if err != nil {
		return err
	}
	if name == confirmedFile && b.out.Backend == s.Manifest.Backend && now == rs {
		leave(b.RunDir, b.store, s.Manifest, gen, inputsOf(p, s.Host, s.files))
	}
	return nil
}

// last loads the kept services alone.
func (b *boot) last(ctx context.Context) error {
	b.out.Digest = ""
	rs, err := b.kept()
	if err != nil {
		return err
	}
	_, err = b.apply(ctx, keepFile, "", b.current(rs))
	return err
}

// kept reads the kept services. If not even they can be read, nobody gets in who
// is not in already.
func (b *boot) kept() (*rules.Ruleset, error) {
	s, err := b.store.bundle(keepFile)
	if err == nil {
		return s.ruleset()
	}
	b.warn("the kept services were not read: %v; nothing but the baseline and established connections is let in", err)
	payload, err := keepBundle(&rules.Ruleset{}, &rules.Host{TimeZone: "UTC"}).encode()
	if err != nil {
		return nil, err
	}
	if s, err = decodeBundle(keepFile, payload); err != nil {
		return nil, err
	}
	return s.ruleset()
}

// apply loads a ruleset by the backend that it was confirmed with or, rather than
// leave the host open, by another one. It returns the generation as applyWith does.
func (b *boot) apply(ctx context.Context, loaded, confirmed string, rs *rules.Ruleset) (gen uint32, err error) {
	forgetRecord(b.RunDir)
	if confirmed != PF {
		if err := track(); err != nil { // there may be connections, where this is no boot
			b.warn("%v", err)
		}
	}
	var errs []error
	for _, name := range inOrder(confirmed) {
		b.ready(ctx, name)
		changes, gen, err := applyWith(ctx, name, rs, func() *rules.Ruleset { return rs })
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		for _, e := range errs {
			b.warn("%v; it was loaded by %s instead", e, name)
		}
		b.done(loaded, name, changes)
		return gen, nil
	}
	return 0, errors.Join(errs...)
}

// ready warns where the rules of a backend decide nothing. They are loaded all the same:
// what keeps them from it may be put right later in the boot.
func (b *boot) ready(ctx context.Context, name string) {
	if name != PF {
		return // there is nothing of the kind
	}
	back, err := open(ctx, name)
	if err != nil {
		return // which is said anyway
	}
	if _, err := back.Ready(ctx); err != nil {
		b.warn("%v", err)
	}
}

// inOrder lists the backends of this system, the confirmed one first.
func inOrder(confirmed string) []string {
	names := backendNames()
	if confirmed == "" {
		return names
	}
	return append([]string{confirmed}, slices.DeleteFunc(names, func(n string) bool { return n == confirmed })...)
}

func (b *boot) done(loaded, backend string, changes []string) {
	b.out.Loaded, b.out.Backend = loaded, backend
	b.out.Changes = append(b.out.Changes, changes...)
	b.out.Changed = len(changes) > 0
	if err := b.store.tick(b.store.now()); err != nil {
		b.warn("%v", err)
	}
}

// current leaves out what had expired at the last time that the store has seen,
// if the clock stands before it; the kernel goes by the clock.
func (b *boot) current(rs *rules.Ruleset) *rules.Ruleset {
	now := b.store.now()
	if !time.Now().Before(now) {
		return rs
	}
	b.warn("the clock stands before %s, the last time this host has seen; what had expired then stays expired", now.Format(time.RFC3339))
	c := *rs
	for _, list := range []*[]*rules.Rule{&c.Services, &c.Blocks, &c.OutboundBlocks, &c.Outbounds, &c.Routes} {
		*list = slices.DeleteFunc(slices.Clone(*list), func(r *rules.Rule) bool {
			return !r.Expires.IsZero() && !now.Before(r.Expires)
		})
	}
	return &c
}
