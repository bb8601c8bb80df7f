package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	pfapply "github.com/fwctl/fwctl/apply/pf"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
)

// DefaultConfirm is how long a change waits for its confirmation where neither the
// command nor the policy says it.
const DefaultConfirm = 2 * time.Minute

// ErrNothingPending says that no change waits for a confirmation.
var ErrNothingPending = errors.New("no change waits for a confirmation")

// LateError says that a change was taken back before it was confirmed.
type LateError struct{ Settled *Settled }

// Error says what was taken back.
func (e *LateError) Error() string {
	return "too late: " + e.Settled.Pending.Policy + " was taken back, the rules from before are in force"
}

// WayError says that a confirmation came by a way that proves nothing: the
// connection stood before the change, or it is not known.
type WayError struct{ Reach live.Reach }

// Error names the connection.
func (e *WayError) Error() string {
	if e.Reach.Kind == live.ReachUnknown {
		return "it is not known how you reach this host" + because(e.Reach.By) + ", so a confirmation would not prove that it can still be reached"
	}
	return fmt.Sprintf("this connection (%s) is older than the change, so it does not prove that a new one gets in", e.Reach.Remote)
}

// existing lists the TCP connections of the host, as confirmations are held
// against them.
func existing(ctx context.Context, backend string) ([]string, error) {
	conns, err := established(ctx, backend)
	if err != nil {
		return nil, fmt.Errorf("list the connections: %w", err)
	}
	out := []string{}
	for _, c := range conns {
		out = append(out, c.Remote.String()+" "+c.Local.String())
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// established lists the TCP connections: for pf those of which it has a state, since
// not every system lists its sockets.
func established(ctx context.Context, backend string) ([]live.TCPConnection, error) {
	if backend != PF {
		return live.Established()
	}
	c, err := pfapply.Open(pfapply.Options{})
	if err != nil {
		return nil, err
	}
	flows, err := c.States(ctx)
	var out []live.TCPConnection
	for _, f := range flows {
		if f.Proto == packet.TCP {
			out = append(out, live.TCPConnection{Local: f.Dst, Remote: f.Src}, live.TCPConnection{Local: f.Src, Remote: f.Dst})
		}
	}
	return out, err
}

// known returns an error unless pf has a state of the connection by which somebody
// comes. One that passes without a state is not among those of before, however old it
// is; and what SSH_CONNECTION says may be long past.
func (p *trial) known(ctx context.Context, r live.Reach) error {
	if p.Backend != PF || r.Kind != live.ReachConnection {
		return nil
	}
	now, err := established(ctx, PF)
	if err != nil {
		return fmt.Errorf("list the connections: %w", err)
	}
	if !slices.Contains(now, live.TCPConnection{Local: r.Local, Remote: r.Remote}) {
		return &WayError{live.Reach{By: fmt.Sprintf("pf has no state of %s to %s", r.Remote, r.Local)}}
	}
	return nil
}

// proves reports whether somebody who comes that way came after the change: by a
// new connection, or not by the network at all.
func (p *trial) proves(r live.Reach) bool {
	switch r.Kind {
	case live.ReachConsole:
		return true
	case live.ReachConnection:
		return !slices.Contains(p.Existing, r.Remote.String()+" "+r.Local.String())
	}
	return false
}

// Confirmation is a change that was confirmed.
type Confirmation struct {
	Changed  bool     `json:"changed"`
	Token    string   `json:"token"`
	Policy   string   `json:"policy"`
	Digest   string   `json:"digest"`
	Backend  string   `json:"backend"`
	By       string   `json:"by"`
	Reach    string   `json:"reach"`         // how whoever confirmed it came
	Cut      []string `json:"cut,omitempty"` // connections that were ended
	Warnings []string `json:"warnings,omitempty"`
}

// Confirm puts a waiting change in force for good. The token, if there is one, has
// to be that of the change. Whoever confirms has to come by a connection that is
// newer than the change, or from a console.
func Confirm(ctx context.Context, o Options, token string, reach live.Reach) (*Confirmation, error) {
	lock, err := TakeLock(ctx, o.RunDir, "confirm", bootWait)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	s := NewStore(o.StateDir)
	p, err := s.pending()
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return nil, ErrNothingPending
	case token != "" && token != p.Token:
		return nil, fmt.Errorf("%w under the token %s", ErrNothingPending, token)
	case !p.watched() || p.Until.IsZero() || !time.Now().Before(p.Until):
		settled, err := s.settle(ctx, o.RunDir, p, s.before(untold), "it was to be confirmed too late")
		p.release(&Ended{By: Who(), Settled: settled})
		if err != nil {
			return nil, err
		}
		return nil, &LateError{settled}
	case !p.proves(reach):
		return nil, &WayError{reach}
	}
	if err := p.known(ctx, reach); err != nil {
		return nil, err
	}
	if err := p.confirm(s); err != nil {
		return nil, err
	}
	out := &Confirmation{Changed: true, Token: p.Token, Policy: p.Policy, Digest: p.Digest, Backend: p.Backend, By: Who(), Reach: reach.By}
	p.tellConfirmed(out.By)
	p.release(&Ended{Confirmed: true, By: out.By})
	if p.Cut {
		if out.Cut, err = s.cutWith(ctx, confirmedFile); err != nil {
			out.Warnings = append(out.Warnings, err.Error())
		}
	}
	if err := s.applied(p, out.By); err != nil {
		out.Warnings = append(out.Warnings, err.Error())
	}
	return out, nil
}

// applied writes down what may be lost without harm: history and clock.
func (s *Store) applied(p *trial, by string) error {
	now := time.Now().UTC()
	e := Entry{Time: now.Truncate(time.Second), User: p.User, Action: p.Action, Policy: p.Policy, Digest: p.Digest, Backend: p.Backend, Changes: p.Changes}
	if by != p.User {
		e.Confirmed = by
	}
	var kept error
	if p.Next.New {
		e.Number, kept = s.keepOld()
	}
	return errors.Join(kept, s.record(e), s.tick(now))
}

// TakeBack takes a waiting change back now.
func TakeBack(ctx context.Context, o Options) (*Settled, error) {
	lock, err := TakeLock(ctx, o.RunDir, "rollback", bootWait)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	s := NewStore(o.StateDir)
	p, err := s.pending()
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, ErrNothingPending
	}
	out, err := s.settle(ctx, o.RunDir, p, s.before(untold), "by "+Who())
	if err != nil {
		return out, err // the watchdog goes on trying
	}
	p.release(&Ended{Confirmed: out.Confirmed, By: Who(), Settled: out})
	return out, nil
}

// Wait waits until the change is confirmed or taken back. When ctx ends, it takes
// the change back at once.
func (out *Outcome) Wait(ctx context.Context, o Options) (*Ended, error) {
	type answer struct {
		ended *Ended
		err   error
	}
	told := make(chan answer, 1)
	go func() {
		e, err := out.watch.next()
		told <- answer{e, err}
	}()
	select {
	case a := <-told:
		if a.err == nil {
			return a.ended, nil
		}
		// Without a watchdog nobody would take the change back.
	case <-ctx.Done():
	}
	s, err := TakeBack(context.WithoutCancel(ctx), o)
	if errors.Is(err, ErrNothingPending) { // somebody was faster
		a := <-told
		return a.ended, a.err
	}
	if err != nil {
		return nil, &StuckError{errors.New("the change was not confirmed"), err}
	}
	return &Ended{Confirmed: s.Confirmed, By: Who(), Settled: s}, nil
}

// Detach leaves the change to its watchdog.
func (out *Outcome) Detach() { out.watch.leave() }

// because puts a reason, if there is one, in brackets.
func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}
