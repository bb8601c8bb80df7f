package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

// Meant is a policy as this host should obey it: resolved, and with the backend
// that brings it into the kernel.
type Meant struct {
	Policy    string         // absolute path of the main file
	Digest    string         // see Digest
	Ruleset   *rules.Ruleset // resolved with the facts that count for it
	Backend   string
	Confirmed time.Time // when it was confirmed; zero if it is not the confirmed policy of the state
	Warnings  []string  // about the host

	stands bool // nobody committed anything since it was applied and read back
}

// ErrNotConfirmed says that the state holds no policy to compare with.
var ErrNotConfirmed = errors.New("no policy was ever confirmed on this host")

// Confirmed returns the confirmed policy, with the facts it was confirmed with.
func Confirmed(ctx context.Context, o Options) (*Meant, error) {
	store := NewStore(o.StateDir)
	b, err := store.bundle(confirmedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotConfirmed
	}
	if err != nil {
		return nil, err
	}
	rs, err := b.ruleset()
	if err != nil {
		return nil, fmt.Errorf("resolve the confirmed policy: %w", err)
	}
	return &Meant{
		Policy: b.Manifest.Policy, Digest: b.Manifest.Digest, Ruleset: rs, Backend: b.Manifest.Backend, Confirmed: b.Manifest.Time,
		stands: stands(ctx, o.RunDir, store),
	}, nil
}

// Understand returns the policy of the options as an apply would understand it
// now: with this host's facts, and the backend that it would choose. Problems of
// severity Error are a *RefusedError.
func Understand(ctx context.Context, o Options) (*Meant, error) {
	c := &change{Options: o, store: NewStore(o.StateDir), out: newOutcome(o.Policy)}
	var err error
	if c.host, err = live.Facts(ctx); err != nil {
		return nil, err
	}
	if err := c.load(ctx); err != nil {
		return nil, err
	}
	survey, err := live.Look(ctx)
	if err != nil {
		return nil, err
	}
	confirmed := ""
	if c.before != nil {
		confirmed = c.before.Manifest.Backend
	}
	choice, err := choose(o.Backend, confirmed, survey)
	return &Meant{Policy: c.out.Policy, Digest: c.out.Digest, Ruleset: c.ruleset, Backend: choice.Backend, Warnings: c.out.Warnings}, err
}

// Changes lists what its backend would change in fwctl's own rules to make the
// host obey it, nothing if they are as they should be.
func (m *Meant) Changes(ctx context.Context) ([]string, error) {
	if m.stands {
		return nil, nil
	}
	b, err := open(ctx, m.Backend)
	if err != nil {
		return nil, err
	}
	p, ps := b.Render(m.Ruleset)
	if err := ps.Err(); err != nil {
		return nil, err
	}
	return p.Plan(ctx, func() *rules.Ruleset { return m.Ruleset })
}
