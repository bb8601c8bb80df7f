package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

// Status is how things stand. Nothing is changed to find out, but that a change that
// was broken off is settled.
type Status struct {
	Changed    bool           `json:"changed"`
	Pending    *Pending       `json:"pending"` // a change that waits for its confirmation
	Settled    *Settled       `json:"settled,omitempty"`
	Confirmed  *Manifest      `json:"confirmed"`
	Off        *OffState      `json:"off"`     // fwctl is switched off
	Present    []string       `json:"present"` // backends that hold something of fwctl's
	Applied    bool           `json:"applied"` // the kernel has exactly the confirmed policy, and obeys it
	Differs    []string       `json:"differs"` // what an apply of the confirmed policy would change
	Edited     bool           `json:"edited"`  // the policy's files are not those that were confirmed
	EditedWhy  string         `json:"edited_why,omitempty"`
	FeedsAlone bool           `json:"edited_feeds"` // and what differs is feeds: a refresh reads them
	Stale      []Stale        `json:"stale"`        // names and feeds whose last good answer stays
	Expired    []string       `json:"expired"`      // rules of the confirmed policy that no longer hold
	Temporary  []rules.Ending `json:"temporary"`    // and those that will not
	Managers   []live.Manager `json:"managers"`
	Warnings   []string       `json:"warnings,omitempty"`
}

// Good reports whether the confirmed policy stands, as it is written, and
// nothing in it is over or stale.
func (s *Status) Good() bool {
	return s.Confirmed != nil && s.Pending == nil && s.Off == nil && s.Applied && !s.Edited && len(s.Expired) == 0 && len(s.Stale) == 0
}

// Look tells how things stand. It needs CAP_NET_ADMIN and the state directory.
func Look(ctx context.Context, o Options) (*Status, error) {
	store := NewStore(o.StateDir)
	s := &Status{
		Present: []string{}, Differs: []string{}, Stale: []Stale{}, Expired: []string{}, Temporary: []rules.Ending{}, Managers: []live.Manager{},
	}
	if err := s.putRight(ctx, o, store); err != nil {
		return nil, err
	}
	survey, err := live.Look(ctx)
	if err != nil {
		return nil, err
	}
	s.Managers = append(s.Managers, survey.Managers...)
	found, err := presentIn(ctx, survey, store.backends(o)...)
	if err != nil {
		return nil, err
	}
	s.Present = append(s.Present, found...)
	s.Off = store.Off()
	return s, s.compare(ctx, o, store)
}

// putRight settles a change that was broken off: nobody looks after it any more.
func (s *Status) putRight(ctx context.Context, o Options, store *Store) error {
	p, err := store.pending()
	if err == nil && p == nil {
		return nil
	}
	if err == nil && p.cared() {
		s.Pending = &p.Pending
		return nil
	}
	lock, err := TakeLock(ctx, o.RunDir, "status", bootWait)
	if err != nil {
		return err
	}
	defer lock.Release()
	s.Settled, err = store.putRight(ctx, o.RunDir)
	s.Changed = s.Settled != nil && s.Settled.Changed
	return err
}

// compare holds the confirmed policy against the kernel and against its files.
func (s *Status) compare(ctx context.Context, o Options, store *Store) error {
	b, err := store.bundle(confirmedFile)
	var damaged *DamagedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, &damaged):
		s.Warnings = append(s.Warnings, err.Error())
		return nil
	case err != nil:
		return err
	}
	s.Confirmed = &b.Manifest
	p, rs, err := b.meaning()
	if err != nil {
		return fmt.Errorf("resolve the confirmed policy: %w", err)
	}
	now := store.now()
	s.Temporary = rs.Temporary(now)
	for _, e := range rs.Endings() {
		if !now.Before(e.Until) {
			s.Expired = append(s.Expired, e.Rule)
		}
	}
	s.Stale = append(s.Stale, stale(store.answers(), p)...)
	s.edited(o, b, p)
	if s.Applied = stands(ctx, o.RunDir, store); s.Applied {
		return nil
	}
	return s.pending(ctx, b, rs)
}

func (s *Status) pending(ctx context.Context, b *stored, rs *rules.Ruleset) error {
	back, err := open(ctx, b.Manifest.Backend)
	if err != nil {
		return err
	}
	p, ps := back.Render(rs)
	if err := ps.Err(); err != nil {
		return err
	}
	changes, err := p.Plan(ctx, func() *rules.Ruleset { return rs })
	if err != nil {
		return err
	}
	s.Differs = append(s.Differs, changes...)
	s.Applied = len(changes) == 0
	if _, err := back.Ready(ctx); err != nil { // the rules are there and decide nothing
		s.Applied = false
		s.Warnings = append(s.Warnings, err.Error())
	}
	return nil
}

// edited reads the policy's files again. A policy that cannot be loaded any more
// is edited, too.
func (s *Status) edited(o Options, b *stored, confirmed *rules.Policy) {
	p, ps := rules.Load(o.Files, strings.TrimPrefix(b.Manifest.Policy, "/"), o.Load)
	if errs := ps.Of(rules.Error); len(errs) > 0 {
		s.Edited, s.EditedWhy = true, errs[0].Error()
		return
	}
	s.Edited = Digest(p.Sources) != b.Manifest.Digest
	s.FeedsAlone = s.Edited && Digest(withoutFeeds(p.Sources)) == Digest(withoutFeeds(confirmed.Sources))
}

// withoutFeeds leaves out what a refresh reads.
func withoutFeeds(sources []rules.Source) []rules.Source {
	return slices.DeleteFunc(slices.Clone(sources), func(s rules.Source) bool { return s.Kind == rules.AddressSource })
}
