package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

// Options are what a change to the host needs to know.
type Options struct {
	Files    fs.FS  // the root directory
	Policy   string // path of the policy in Files
	Load     rules.LoadOptions
	StateDir string
	RunDir   string
	Backend  string // Auto or a backend's name
	DryRun   bool   // say what would change, change nothing
	Version  string // of the program

	// Program is the command line of fwctl, by which the watchdog is started; nil:
	// there is no watchdog, and a change that is broken off stays until the next
	// apply or status.
	Program []string
	// Confirm is how long a change of the kernel waits for a confirmation; zero: it
	// is confirmed at once. The policy's own time counts where it is negative.
	Confirm time.Duration

	// Reach is how whoever applies reaches the host: a policy that would refuse that
	// connection is refused.
	Reach live.Reach
	// Force overrides the guard.
	Force Force
	// Cut ends the connections that the policy does not accept, once it is confirmed;
	// the policy may say so itself.
	Cut bool

	ProofTime time.Duration // what the proof after a change may take; zero: two seconds
}

// Outcome is what an apply did.
type Outcome struct {
	Changed  bool           `json:"changed"` // the kernel or the stored policy is another than before
	Changes  []string       `json:"changes"` // to the kernel, in the backend's words
	Policy   string         `json:"policy"`  // path of the policy
	Digest   string         `json:"digest"`  // see Digest
	Choice                  // of the backend
	DryRun   bool           `json:"dry_run,omitempty"` // nothing was done, Changes is the plan
	Replaced string         `json:"replaced,omitempty"`
	Proof    *Proof         `json:"proof,omitempty"`    // nil where nothing was done
	Problems rules.Problems `json:"problems"`           // warnings and notes on the policy
	Warnings []string       `json:"warnings,omitempty"` // about the host
	Managers []live.Manager `json:"managers,omitempty"` // other software that manages rules here
	Cut      []string       `json:"cut,omitempty"`      // connections that were ended
	Settled  *Settled       `json:"settled,omitempty"`  // a change that was broken off before
	Pending  *Pending       `json:"pending,omitempty"`  // waits for a confirmation; nil: confirmed

	watch *watch
}

// Force says what of the guard is overridden. The zero value is nothing.
type Force uint8

// What can be overridden.
const (
	ForceNothing Force = iota
	ForceKeep          // sources of kept services may be shut out
	ForceAll           // and whoever applies, too
)

// RefusedError is a policy that cannot be applied: nothing was changed.
type RefusedError struct{ Problems rules.Problems }

// Error joins the problems.
func (e *RefusedError) Error() string { return e.Problems.Error() }

// ErrUnknownBefore says that a change could not be taken back: the kernel holds
// rules of fwctl's, and the state does not say of which policy. Nothing was changed.
var ErrUnknownBefore = errors.New("the kernel holds rules of fwctl's, but the state directory does not say of which policy, so they could not be restored")

// RolledBackError is a change that failed and was taken back: the kernel is as
// before.
type RolledBackError struct{ Err error }

// Error says what failed.
func (e *RolledBackError) Error() string { return e.Err.Error() }

// Unwrap returns what failed.
func (e *RolledBackError) Unwrap() error { return e.Err }

// StuckError is a change that failed and could not be taken back.
type StuckError struct{ Err, Back error }

// Error says what failed, and what failed in taking it back.
func (e *StuckError) Error() string {
	return fmt.Sprintf("%v; then the state from before could not be restored: %v", e.Err, e.Back)
}

// Unwrap returns both failures.
func (e *StuckError) Unwrap() []error { return []error{e.Err, e.Back} }

// Apply makes the host obey the policy. A change of the kernel is confirmed at once
// or waits, see [Options.Confirm]; the Outcome's Wait or Detach has to be called
// then. Every error but *RolledBackError and *StuckError means that nothing was
// changed.
func Apply(ctx context.Context, o Options) (*Outcome, error) { return do(ctx, o, "apply", nil) }

// Rollback is Apply for the policy that was confirmed so many confirmations ago,
// zero for the confirmed one.
func Rollback(ctx context.Context, o Options, back int) (*Outcome, error) {
	b, err := NewStore(o.StateDir).old(back)
	if err != nil {
		return nil, err
	}
	o.Files, o.Policy, o.Load = b.files, strings.TrimPrefix(b.Manifest.Policy, "/"), b.load()
	return do(ctx, o, "rollback", b)
}

// do is Apply, of a stored policy if there is one.
func do(ctx context.Context, o Options, action string, old *stored) (*Outcome, error) {
	if o.Confirm != 0 && len(o.Program) == 0 {
		return nil, errors.New("nobody would take back a change that waits: there is no program for the watchdog")
	}
	lock, err := TakeLock(ctx, o.RunDir, "apply", 0)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	c := &change{Options: o, store: NewStore(o.StateDir), lock: lock, action: action, old: old}
	if err := c.free(ctx); err != nil {
		return nil, err
	}
	if c.host, err = live.Facts(ctx); err != nil {
		return nil, err
	}
	if out := c.unchanged(ctx); out != nil {
		return out, nil
	}
	if o.DryRun {
		if err := c.prepare(ctx); err != nil {
			return c.out, err
		}
		return c.out, c.dryRun(ctx)
	}
	err = c.carryOut(ctx)
	if c.out != nil {
		c.out.Settled = c.settled
	}
	return c.out, err
}

// carryOut makes the change, and lets the watchdog go where nothing is left to do.
func (c *change) carryOut(ctx context.Context) error {
	err := c.guarded(ctx)
	if err != nil {
		c.refused(err)
	}
	switch stuck := new(StuckError); {
	case errors.As(err, &stuck):
		c.watch.leave() // it goes on trying
	case c.out == nil || c.out.Pending == nil:
		c.watch.end()
	}
	return err
}

// free sees that no other change waits; one that was broken off is settled.
func (c *change) free(ctx context.Context) error {
	p, err := c.store.pending()
	if p == nil && err == nil {
		return nil
	}
	if err == nil && p.cared() {
		return &PendingError{p.Pending}
	}
	if c.DryRun {
		return nil
	}
	s, err := c.store.putRight(ctx, c.RunDir)
	if err != nil {
		return fmt.Errorf("settle the change that was broken off: %w", err)
	}
	c.settled = s
	return nil
}

// guarded does all of an apply, with a watchdog beside it from the beginning: it
// takes as long to start as the policy to be read.
func (c *change) guarded(ctx context.Context) (err error) {
	armed := make(chan error, 1)
	go func() {
		var err error
		if len(c.Program) > 0 {
			c.watch, err = arm(ctx, c.Options)
		}
		armed <- err
	}()
	prepared := c.prepare(ctx)
	if err := <-armed; err != nil || prepared != nil {
		return cmp.Or(prepared, err)
	}
	return c.run(ctx)
}

// change is one apply on its way.
type change struct {
	Options
	store   *Store
	host    *rules.Host
	policy  *rules.Policy
	ruleset *rules.Ruleset
	program program
	proof   *prover
	before  *stored        // the confirmed bundle; nil if there is none that can be read
	lastOf  *rules.Ruleset // of before, once it was asked for
	had     []string       // backends that held something of fwctl's before
	out     *Outcome
	action  string            // for the history
	old     *stored           // where the policy comes from, nil if from its files
	missed  map[string]string // names and feeds whose last good answer stays, and why
	lock    *Lock
	watch   *watch   // nil: there is no watchdog
	pending *trial   // from the first moment at which the kernel may be another
	settled *Settled // a change that was broken off before
}

// unchanged returns the outcome of an apply that has nothing to do, as far as
// that can be told without reading policy or kernel; else nil.
func (c *change) unchanged(ctx context.Context) *Outcome {
	r, ok := readRecord(c.RunDir)
	if !ok || r.Inputs.Policy != c.Policy || c.Backend != Auto && c.Backend != r.Backend || !r.holds(ctx, c.store) {
		return nil
	}
	host := *c.host
	if len(r.Inputs.Names) > 0 {
		names, err := live.Resolve(ctx, r.Inputs.Names)
		if err != nil {
			return nil
		}
		host.Names = names
	}
	if !r.Inputs.same(c.Files, &host) {
		return nil
	}
	if c.old == nil && !c.DryRun {
		c.store.allGood()
	}
	out := newOutcome(c.Policy)
	out.Digest, out.Choice = r.Digest, Choice{r.Backend, "in use"}
	return out
}

func newOutcome(policy string) *Outcome {
	return &Outcome{Policy: "/" + policy, Changes: []string{}, Problems: rules.Problems{}}
}

// prepare does all that can be done without changing anything.
func (c *change) prepare(ctx context.Context) error {
	c.out = newOutcome(c.Policy)
	if err := c.load(ctx); err != nil {
		return err
	}
	survey, err := live.Look(ctx)
	if err != nil {
		return err
	}
	c.out.Managers = survey.Managers
	for _, u := range survey.Unread {
		c.warn("not read: %s", u)
	}
	if err := c.published(survey); err != nil {
		return err
	}
	confirmed := ""
	if c.before != nil {
		confirmed = c.before.Manifest.Backend
	}
	if c.out.Choice, err = choose(c.Backend, confirmed, survey); err != nil {
		return err
	}
	if c.had, err = presentIn(ctx, survey, confirmed, c.out.Backend); err != nil {
		return err
	}
	if err := c.guard(ctx); err != nil {
		return err
	}
	if c.Confirm != 0 && c.before == nil && len(c.had) > 0 {
		return ErrUnknownBefore
	}
	return c.render(ctx)
}

// guard refuses a policy that would lock somebody out.
func (c *change) guard(ctx context.Context) error {
	now := time.Now()
	g := guardQuestion{Ruleset: c.ruleset, Now: now, Until: now.Add(c.waitTime())}
	if c.before != nil && c.before.Manifest.Keeps {
		g.Before = c.last()
	}
	switch c.Reach.Kind {
	case live.ReachConnection:
		own := c.Reach.Connection()
		g.Own, g.In = &own, live.ComesBy(own)
	case live.ReachUnknown:
		c.warn("it is not known by which connection you work%s, so it is not proved that the policy lets it in", because(c.Reach.By))
	}
	if c.out.Backend == PF {
		var err error
		if g.PF, err = ForPF(ctx, c.ruleset); err != nil {
			return nil // it will not be applied: what follows says why
		}
	}
	warnings, err := guard(ctx, g)
	c.out.Warnings = append(c.out.Warnings, warnings...)
	var lockout *LockoutError
	if errors.As(err, &lockout) && (c.Force == ForceAll || c.Force == ForceKeep && !lockout.Own) {
		c.warn("%v", err)
		return nil
	}
	return err
}

// render compiles the ruleset for the backend that was chosen.
func (c *change) render(ctx context.Context) error {
	b, err := open(ctx, c.out.Backend)
	if err != nil {
		return err
	}
	notes, err := b.Ready(ctx)
	for _, n := range notes {
		c.warn("%s", n)
	}
	if err != nil {
		return err
	}
	program, ps := b.Render(c.ruleset)
	c.program = program
	return c.heed(ps)
}

// load reads the policy and resolves it with the host's facts.
func (c *change) load(ctx context.Context) error {
	if c.policy == nil { // a refresh has read it
		p, ps := rules.Load(c.Files, c.Policy, c.Load)
		if err := c.heed(ps); err != nil {
			return err
		}
		c.policy = p
		c.recall()
	}
	c.out.Digest = Digest(c.policy.Sources)
	if err := c.names(ctx, c.policy.Names()); err != nil {
		return err
	}
	rs, ps := rules.Resolve(c.policy, c.host)
	c.ruleset = rs
	if err := c.heed(ps); err != nil || c.DryRun {
		return err
	}
	if c.Backend == PF || !slices.Contains(usual, NFTables) {
		c.proof = &prover{rs: rs} // it asks about other packets, see prove_pf.go
		return nil
	}
	c.proof = startProof(rs, c.proofTime())
	return nil
}

// heed keeps warnings and notes for the outcome; errors end the apply.
func (c *change) heed(ps rules.Problems) error {
	if ps.Err() != nil {
		return &RefusedError{append(c.out.Problems, ps...)}
	}
	c.out.Problems = append(c.out.Problems, ps...)
	return nil
}

func (c *change) warn(format string, args ...any) {
	c.out.Warnings = append(c.out.Warnings, fmt.Sprintf(format, args...))
}

// recall reads the confirmed bundle, or the previous one if it is damaged.
func (c *change) recall() { c.before = c.store.before(c.warn) }

// names resolves the policy's DNS names. For a name that DNS does not answer,
// the last good answer stays. A refresh has asked before.
func (c *change) names(ctx context.Context, names []string) error {
	if len(names) == 0 || c.action == refreshing {
		return nil
	}
	found, err := live.Resolve(ctx, names)
	known := map[string][]netip.Addr{}
	if old := cmp.Or(c.old, c.before); old != nil {
		known = old.Host.Names
	}
	for _, n := range names {
		if _, ok := found[n]; ok {
			continue
		}
		last, ok := known[n]
		if !ok {
			return fmt.Errorf("%w; there is no earlier answer to fall back to", err)
		}
		found[n] = last
		c.miss(n, whyUnresolved(err, n))
		c.warn("%s does not resolve now; its last known addresses stay", n)
	}
	c.host.Names = found
	return nil
}

func (c *change) dryRun(ctx context.Context) error {
	changes, err := c.program.Plan(ctx, c.last)
	for _, name := range c.had {
		if name != c.out.Backend {
			changes = append(changes, "remove fwctl's rules from "+name)
		}
	}
	c.out.Changes, c.out.DryRun = changes, true
	return err
}

// run changes the kernel, and the state with it.
func (c *change) run(ctx context.Context) error {
	if err := c.store.create(); err != nil {
		return err
	}
	c.store.sweep()
	next, err := c.stage()
	if err != nil {
		return err
	}
	if err := c.announce(next); err != nil {
		next.discard()
		return err
	}
	gen, err := c.transact(ctx)
	if err != nil {
		return c.back(ctx, err)
	}
	if c.Confirm != 0 && len(c.out.Changes) > 0 {
		if err := c.wait(ctx); err != nil {
			return c.back(ctx, err)
		}
		return nil
	}
	if err := c.confirm(); err != nil {
		return c.back(ctx, err)
	}
	c.remember(gen)
	if c.pending.Cut {
		if c.out.Cut, err = cut(ctx, c.out.Backend, c.ruleset, c.host); err != nil {
			c.warn("%v", err)
		}
		c.out.Changed = c.out.Changed || len(c.out.Cut) > 0
	}
	return nil
}

// announce writes down what is going to be changed, and arms the watchdog. Nothing
// is changed yet.
func (c *change) announce(n *next) error {
	c.pending = &trial{
		Pending: Pending{
			Token: newToken(), Action: c.action, Policy: c.out.Policy, Digest: c.out.Digest, Backend: c.out.Backend,
			User: Who(), Since: time.Now().UTC().Truncate(time.Second),
		},
		Place: namespace(), Had: c.had, Next: n, Cut: c.Cut || c.ruleset.Cut,
	}
	if c.watch != nil {
		c.pending.Watchdog = c.watch.name
	}
	if err := c.store.await(c.pending); err != nil {
		return err
	}
	if c.watch == nil {
		return nil
	}
	if err := c.watch.hold(c.pending.Token); err != nil {
		return errors.Join(err, c.store.remove(pendingFile))
	}
	return nil
}

// transact changes the kernel and proves that it does what the policy says. What
// it starts for that keeps the lock, so that nobody takes back what is still being
// made.
func (c *change) transact(ctx context.Context) (gen uint32, err error) {
	defer c.lock.lend()()
	changes, gen, err := c.put(ctx)
	c.out.Changes = changes
	if err == nil {
		err = c.prove(ctx)
	}
	if err == nil {
		err = c.leaveOthers(ctx)
	}
	return gen, err
}

// put brings the program into the kernel. Where it had nothing of fwctl's before, the
// connections that exist are made known to its tracking first, and again those that
// were opened meanwhile.
func (c *change) put(ctx context.Context) (changes []string, gen uint32, err error) {
	known := func() {
		if c.out.Backend == PF {
			return // pf has states of its own, and loading rules ends none
		}
		if err := track(); err != nil {
			c.warn("%v; connections that are quiet now may come to a standstill", err)
		}
	}
	if len(c.had) == 0 {
		known()
		defer known()
	}
	changes, err = c.program.Apply(ctx, c.last)
	return changes, c.program.Generation(), err
}

// confirm puts the state in force.
func (c *change) confirm() error {
	p := c.pending
	p.Changes = len(c.out.Changes)
	c.out.Changed = p.Changes > 0 || p.Next.New
	if err := p.confirm(c.store); err != nil || !c.out.Changed {
		return err
	}
	p.tellApplied()
	p.tellConfirmed(p.User)
	return nil
}

// waitTime is how long a change waits for its confirmation.
func (c *change) waitTime() time.Duration {
	if c.Confirm < 0 {
		return cmp.Or(c.ruleset.Confirm, DefaultConfirm)
	}
	return c.Confirm
}

// wait leaves the change to whoever confirms it.
func (c *change) wait(ctx context.Context) (err error) {
	wait := c.waitTime()
	p := c.pending
	p.Changes, p.Until = len(c.out.Changes), time.Now().Add(wait).UTC()
	if p.Existing, err = existing(ctx, p.Backend); err != nil {
		return err
	}
	if err := c.store.await(p); err != nil {
		return err
	}
	if err := c.watch.send(order{Do: "wait", Wait: wait}); err != nil {
		return fmt.Errorf("the watchdog does not answer: %w", err)
	}
	forgetRecord(c.RunDir)
	p.tellApplied()
	c.out.Changed, c.out.Pending, c.out.watch = true, &p.Pending, c.watch
	return nil
}

// last returns the confirmed ruleset.
func (c *change) last() *rules.Ruleset {
	if c.before == nil {
		return nil
	}
	if c.lastOf == nil {
		c.lastOf, _ = c.before.ruleset()
	}
	return c.lastOf
}

// leaveOthers removes what another backend still holds of fwctl's: both stood
// while the new one was put up, since packets need both, and now the old goes.
func (c *change) leaveOthers(ctx context.Context) error {
	for _, name := range c.had {
		if name == c.out.Backend {
			continue
		}
		changes, err := removeFrom(ctx, name)
		if err != nil {
			return err
		}
		c.out.Replaced = name
		c.out.Changes = append(c.out.Changes, changes...)
	}
	return nil
}

// remember writes what may be lost without harm: history, clock, record.
func (c *change) remember(gen uint32) {
	var err error
	if c.out.Changed {
		err = c.store.applied(c.pending, c.pending.User)
	} else {
		err = c.store.tick(time.Now().UTC())
	}
	if err != nil {
		c.warn("%v", err)
	}
	if c.out.Replaced != "" {
		gen = 0 // two changes: the next apply looks for itself
	}
	m := Manifest{Backend: c.out.Backend, Digest: c.out.Digest}
	leave(c.RunDir, c.store, m, gen, inputsOf(c.policy, c.host, c.Files))
}

// back restores the kernel to what it held before, after an error. The kernel is
// read before anything is said: a failed change may have been none. What cannot be
// restored now is left to the watchdog, which tries again.
func (c *change) back(ctx context.Context, cause error) error {
	ctx = context.WithoutCancel(ctx)
	c.out.Changes = []string{}
	c.out.Changed = false
	s, err := c.store.settle(ctx, c.RunDir, c.pending, c.before, cause.Error())
	switch {
	case err != nil:
		return &StuckError{cause, err}
	case s.Confirmed:
		return fmt.Errorf("confirmed, but: %w", cause)
	case s.Changed:
		return &RolledBackError{cause}
	}
	return cause
}

// restore makes the kernel hold the confirmed policy again, if it held one, and
// nothing that it did not hold: had are the backends that held something, tried is the
// one of the change.
func restore(ctx context.Context, before *stored, had []string, tried string) (changed bool, err error) {
	if before != nil && slices.Contains(had, before.Manifest.Backend) {
		changes, err := before.apply(ctx)
		if err != nil {
			return false, err
		}
		changed = len(changes) > 0
	}
	found, err := present(ctx, append(had, tried)...)
	if err != nil {
		return changed, err
	}
	for _, name := range found {
		if slices.Contains(had, name) {
			continue
		}
		changes, err := removeFrom(ctx, name)
		changed = changed || len(changes) > 0
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// apply brings a stored policy into the kernel with the backend that it was
// confirmed with.
func (b *stored) apply(ctx context.Context) ([]string, error) {
	rs, err := b.ruleset()
	if err != nil {
		return nil, err
	}
	changes, _, err := applyWith(ctx, b.Manifest.Backend, rs, func() *rules.Ruleset { return nil })
	return changes, err
}
