package apply

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Pending is a change of the kernel that nobody has confirmed.
type Pending struct {
	Token   string    `json:"token"`  // says which change it is; it is no password
	Action  string    `json:"action"` // "apply", "rollback" or "refresh"
	Policy  string    `json:"policy"`
	Digest  string    `json:"digest"`
	Backend string    `json:"backend"`
	User    string    `json:"user"` // who applied it
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"` // when it is taken back; zero while the kernel is being changed
	Changes int       `json:"changes"`        // objects of the kernel that were changed
}

// trial is a Pending as the state holds it: with all that is needed to end it.
type trial struct {
	Pending
	Place    string   `json:"place"`              // see namespace
	Watchdog string   `json:"watchdog,omitempty"` // the name by which it is reached
	Had      []string `json:"had"`                // backends that held something of fwctl's before
	Existing []string `json:"existing,omitempty"` // TCP connections of before: who confirms has to come by another
	Cut      bool     `json:"cut,omitempty"`      // a confirmation ends the connections that the policy does not accept
	Next     *next    `json:"next"`               // the state that a confirmation puts in force
}

// newToken makes a name for an apply.
func newToken() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// pending returns the change that nobody has confirmed, nil if there is none. A
// record that cannot be read says nothing of what to take back.
func (s *Store) pending() (*trial, error) {
	payload, err := s.read(pendingFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &trial{}
	if err := json.Unmarshal(payload, p); err != nil {
		return nil, &DamagedError{s.path(pendingFile), err.Error()}
	}
	if p.Next == nil {
		p.Next = &next{}
	}
	p.Next.store = s
	return p, nil
}

// await writes the record of a change. It is on disk when await returns.
func (s *Store) await(p *trial) error {
	payload, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return s.write(pendingFile, payload)
}

// PendingError says that a change waits for its confirmation, so that another
// cannot begin.
type PendingError struct{ Pending Pending }

// Error says whose change it is and until when it waits.
func (e *PendingError) Error() string {
	p := e.Pending
	if p.Until.IsZero() {
		return fmt.Sprintf("another apply is under way: %s, by %s", p.Policy, p.User)
	}
	return fmt.Sprintf("%s waits for a confirmation until %s, applied by %s", p.Policy, p.Until.Local().Format(time.TimeOnly), p.User)
}

// committed reports whether the change was confirmed, so that only the rest of
// the files has to follow.
func (p *trial) committed() bool {
	return p.Next.State != "" && p.Next.store.header(confirmedFile) == p.Next.State
}

// rebooted reports whether the kernel that was changed is gone.
func (p *trial) rebooted() bool {
	boot, _, _ := strings.Cut(p.Place, " ")
	now, _, _ := strings.Cut(namespace(), " ")
	return boot != now
}

// elsewhere reports whether the change was made in another network namespace of
// the running kernel.
func (p *trial) elsewhere() bool { return !p.rebooted() && p.Place != namespace() }

// Settled is how an apply that was broken off, or not confirmed, was put right.
type Settled struct {
	Pending   Pending  `json:"pending"`
	Why       string   `json:"why"`
	Confirmed bool     `json:"confirmed"` // it had been confirmed: what was left to do is done
	Changed   bool     `json:"changed"`   // the kernel was changed back
	Rebooted  bool     `json:"rebooted"`  // the kernel that had it is gone
	Warnings  []string `json:"warnings,omitempty"`
}

// settle ends a pending change: it finishes what was confirmed, and takes back
// what was not. Before is the state to go back to, nil for none. The caller has
// the lock.
func (s *Store) settle(ctx context.Context, runDir string, p *trial, before *stored, why string) (*Settled, error) {
	out := &Settled{Pending: p.Pending, Why: why, Rebooted: p.rebooted()}
	if p.committed() {
		out.Confirmed = true
		p.tellConfirmed(p.User)
		return out, errors.Join(p.Next.commit(), s.remove(pendingFile))
	}
	if p.elsewhere() {
		return nil, fmt.Errorf("%s was applied in another network namespace and nobody has confirmed it; it can only be settled there", p.Policy)
	}
	forgetRecord(runDir)
	if !out.Rebooted {
		changed, err := restore(ctx, before, p.Had, p.Backend)
		if out.Changed = changed; err != nil {
			return out, err
		}
	}
	p.Next.discard()
	if err := s.remove(pendingFile); err != nil {
		return out, err
	}
	s.sweep()
	p.tellBack(why)
	err := s.record(Entry{
		Time: time.Now().UTC().Truncate(time.Second), User: p.User, Action: "rolled back", Policy: p.Policy, Digest: p.Digest, Backend: p.Backend,
	})
	if err != nil {
		out.Warnings = append(out.Warnings, err.Error())
	}
	return out, nil
}

// before reads the state to which a change would be taken back: the confirmed bundle,
// or the previous one if it is damaged, which warn is told; nil if there is none.
func (s *Store) before(warn func(format string, args ...any)) *stored {
	for _, name := range []string{confirmedFile, previousFile} {
		b, err := s.bundle(name)
		switch {
		case err == nil:
			return b
		case !errors.Is(err, fs.ErrNotExist):
			warn("%v", err)
		}
	}
	return nil
}

// untold is for warnings that nobody hears.
func untold(string, ...any) {}

// putRight settles a change that was broken off: whose watchdog is gone, or cannot do
// its work. It returns nil if there is none. The caller has the lock.
func (s *Store) putRight(ctx context.Context, runDir string) (*Settled, error) {
	p, err := s.pending()
	if p == nil || err != nil {
		return nil, err
	}
	if p.cared() {
		return nil, nil
	}
	out, err := s.settle(ctx, runDir, p, s.before(untold), "it was broken off, and its watchdog did not take it back")
	if err == nil {
		p.release(&Ended{Confirmed: out.Confirmed, By: Who(), Settled: out})
	}
	return out, err
}

// overdue is how long after its time a watchdog may still be at work.
const overdue = 2 * time.Second

// cared reports whether a watchdog looks after the change, and is not late with it.
func (p *trial) cared() bool {
	late := !p.Until.IsZero() && time.Now().After(p.Until.Add(overdue))
	return !late && p.watched()
}

// watched reports whether a watchdog looks after the change.
func (p *trial) watched() bool {
	if p.Watchdog == "" || p.rebooted() || p.elsewhere() {
		return false
	}
	conn, err := dialAt(p.Watchdog)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// release lets the watchdog go, which tells how it ended to whoever waits.
func (p *trial) release(e *Ended) {
	if p.Watchdog == "" {
		return
	}
	conn, err := dialAt(p.Watchdog)
	if err != nil {
		return
	}
	_ = (&watch{conn: conn}).send(order{Do: "end", End: e})
	_ = conn.Close()
}

// confirm puts the state of the change in force.
func (p *trial) confirm(s *Store) error {
	if !p.Next.complete() {
		return errors.New("the state that was written for it is gone")
	}
	if err := p.Next.commit(); err != nil {
		return err
	}
	return s.remove(pendingFile)
}
