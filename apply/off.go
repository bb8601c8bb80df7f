package apply

import (
	"context"
	"encoding/json"
	"time"
)

// OffState says who switched fwctl off, and when.
type OffState struct {
	Time time.Time `json:"time"`
	User string    `json:"user"`
}

// Off returns who switched fwctl off; nil if it is on. The note counts only
// while it can be trusted: a bad disk must not make an open host.
func (s *Store) Off() *OffState {
	payload, err := s.read(offFile)
	if err != nil {
		return nil
	}
	var o OffState
	if json.Unmarshal(payload, &o) != nil {
		return nil
	}
	return &o
}

// Removed is what Off took away.
type Removed struct {
	Changed  bool     `json:"changed"`
	Changes  []string `json:"changes"`
	Warnings []string `json:"warnings,omitempty"`
}

// Off removes from the kernel all that is fwctl's and nothing else, by whichever
// backend it came, and remembers it: boot then loads nothing, until the next
// apply. The confirmed policy stays in the state.
func Off(ctx context.Context, o Options) (*Removed, error) {
	lock, err := TakeLock(ctx, o.RunDir, "off", 0)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	out := &Removed{Changes: []string{}}
	store := NewStore(o.StateDir)
	inUse := store.backends(o)
	if p, _ := store.pending(); p != nil { // there will be nothing to confirm, and nothing to go back to
		p.Next.discard()
		p.release(&Ended{By: Who()})
	}
	if err := store.remove(pendingFile); err != nil {
		return out, err
	}
	found, err := present(ctx, inUse...)
	if err != nil {
		return out, err
	}
	forgetRecord(o.RunDir)
	for _, name := range found {
		changes, err := removeFrom(ctx, name)
		out.Changes = append(out.Changes, changes...)
		out.Changed = out.Changed || len(changes) > 0
		if err != nil {
			return out, err
		}
	}
	return out, store.switchOff(out)
}

// backends are those that the state and the options name.
func (s *Store) backends(o Options) []string {
	names := []string{}
	if o.Backend != Auto {
		names = append(names, o.Backend)
	}
	if b := s.before(untold); b != nil {
		names = append(names, b.Manifest.Backend)
	}
	if p, _ := s.pending(); p != nil {
		names = append(append(names, p.Backend), p.Had...)
	}
	return names
}

// switchOff notes that fwctl is off. Where nothing was ever confirmed there is
// nothing to note: boot has nothing to load.
func (s *Store) switchOff(out *Removed) error {
	if s.empty() || s.Off() != nil {
		return nil
	}
	state := OffState{Time: time.Now().UTC().Truncate(time.Second), User: Who()}
	payload, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := s.write(offFile, payload); err != nil {
		return err
	}
	out.Changed = true
	if err := s.record(Entry{Time: state.Time, User: state.User, Action: "off", Changes: len(out.Changes)}); err != nil {
		out.Warnings = append(out.Warnings, err.Error())
	}
	return nil
}
