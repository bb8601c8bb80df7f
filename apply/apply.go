package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
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
}

// RefusedError is a policy that cannot be applied: nothing was changed.
type RefusedError struct{ Problems rules.Problems }

// Error joins the problems.
func (e *RefusedError) Error() string { return e.Problems.Error() }

// PublishedError is a host with translated ports under a policy that does not
// say what shall become of them: nothing was changed.
type PublishedError struct {
	Translations []live.Translation
	Enforce      bool // the policy says "enforce", which this version cannot do
}

// Error says how many there are; whoever prints it lists them.
func (e *PublishedError) Error() string {
	if e.Enforce {
		return fmt.Sprintf(`published = "enforce", but this version does not judge translated ports, and the host has %d`, len(e.Translations))
	}
	return fmt.Sprintf("the host has %d translated ports and the policy does not say what becomes of them", len(e.Translations))
}

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

// Apply makes the host obey the policy and confirms it at once. Every error but
// *RolledBackError and *StuckError means that nothing was changed.
func Apply(ctx context.Context, o Options) (*Outcome, error) {
	lock, err := TakeLock(ctx, o.RunDir, "apply", 0)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	c := &change{Options: o, store: NewStore(o.StateDir)}
	if c.host, err = live.Facts(ctx); err != nil {
		return nil, err
	}
	if out := c.unchanged(ctx); out != nil {
		return out, nil
	}
	if err := c.prepare(ctx); err != nil {
		return c.out, err
	}
	if o.DryRun {
		return c.out, c.dryRun(ctx)
	}
	return c.out, c.run(ctx)
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
	before  *stored  // the confirmed bundle; nil if there is none that can be read
	had     []string // backends that held something of fwctl's before
	out     *Outcome
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
	c.had = presentIn(survey)
	return c.render(ctx)
}

// render compiles the ruleset for the backend that was chosen.
func (c *change) render(ctx context.Context) error {
	b, err := open(ctx, c.out.Backend)
	if err != nil {
		return err
	}
	for _, n := range b.Notes() {
		c.warn("%s", n)
	}
	program, ps := b.Render(c.ruleset)
	c.program = program
	return c.heed(ps)
}

// load reads the policy and resolves it with the host's facts.
func (c *change) load(ctx context.Context) error {
	p, ps := rules.Load(c.Files, c.Policy, c.Load)
	if err := c.heed(ps); err != nil {
		return err
	}
	c.policy = p
	c.out.Digest = Digest(p.Sources)
	c.recall()
	if err := c.names(ctx, p.Names()); err != nil {
		return err
	}
	rs, ps := rules.Resolve(p, c.host)
	c.ruleset = rs
	if err := c.heed(ps); err != nil || c.DryRun {
		return err
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
func (c *change) recall() {
	for _, name := range []string{confirmedFile, previousFile} {
		b, err := c.store.bundle(name)
		switch {
		case err == nil:
			c.before = b
			return
		case !errors.Is(err, fs.ErrNotExist):
			c.warn("%v", err)
		}
	}
}

// names resolves the policy's DNS names. For a name that DNS does not answer,
// the last good answer stays.
func (c *change) names(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	found, err := live.Resolve(ctx, names)
	var known map[string][]netip.Addr
	if c.before != nil {
		known = c.before.Host.Names
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
		c.warn("%s does not resolve now; its last known addresses stay", n)
	}
	c.host.Names = found
	return nil
}

// published refuses a policy that would seem to judge translated ports. This
// version leaves them alone, so the policy has to say that it does.
func (c *change) published(s *live.Survey) error {
	if c.ruleset.Published == rules.PublishedIgnore {
		return nil
	}
	if len(s.Translations) > 0 {
		return &PublishedError{s.Translations, c.ruleset.Published == rules.PublishedEnforce}
	}
	if c.ruleset.Published == rules.PublishedEnforce {
		c.warn(`published = "enforce" is not built yet: ports that a container engine publishes later will not obey the policy`)
	}
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
	next, err := c.stage()
	if err != nil {
		return err
	}
	defer next.discard()
	changes, gen, err := follow(ctx, func() ([]string, error) { return c.program.Apply(ctx, c.last) })
	c.out.Changes = changes
	if err != nil {
		return c.back(ctx, err)
	}
	if err := c.prove(ctx); err != nil {
		return c.back(ctx, err)
	}
	if err := c.leaveOthers(ctx); err != nil {
		return c.back(ctx, err)
	}
	if err := next.commit(); err != nil {
		return c.back(ctx, err)
	}
	c.out.Changed = len(c.out.Changes) > 0 || next.new
	c.remember(gen)
	return nil
}

// last returns the confirmed ruleset.
func (c *change) last() *rules.Ruleset {
	if c.before == nil {
		return nil
	}
	rs, err := c.before.ruleset()
	if err != nil {
		return nil
	}
	return rs
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
	now := time.Now().UTC()
	if c.out.Changed {
		err := c.store.record(Entry{
			Time: now, User: Who(), Action: "apply", Policy: c.out.Policy,
			Digest: c.out.Digest, Backend: c.out.Backend, Changes: len(c.out.Changes),
		})
		if err != nil {
			c.warn("%v", err)
		}
	}
	if err := c.store.tick(now); err != nil {
		c.warn("%v", err)
	}
	if c.out.Replaced != "" {
		gen = 0 // two changes: the next apply looks for itself
	}
	m := Manifest{Backend: c.out.Backend, Digest: c.out.Digest}
	leave(c.RunDir, c.store, m, gen, inputsOf(c.policy, c.host, c.Files))
}

// back restores the kernel to what it held before, after an error. The kernel is
// read before anything is said: a failed change may have been none.
func (c *change) back(ctx context.Context, cause error) error {
	ctx = context.WithoutCancel(ctx)
	forgetRecord(c.RunDir)
	c.out.Changes = []string{}
	changed, err := c.restore(ctx)
	switch {
	case err != nil:
		return &StuckError{cause, err}
	case changed:
		return &RolledBackError{cause}
	}
	return cause
}

// restore makes the kernel hold the confirmed policy again, if it held one, and
// nothing that it did not hold.
func (c *change) restore(ctx context.Context) (changed bool, err error) {
	if c.before != nil && slices.Contains(c.had, c.before.Manifest.Backend) {
		changes, err := c.before.apply(ctx)
		if err != nil {
			return false, err
		}
		changed = len(changes) > 0
	}
	found, err := present(ctx)
	if err != nil {
		return changed, err
	}
	for _, name := range found {
		if slices.Contains(c.had, name) {
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
	return applyWith(ctx, b.Manifest.Backend, rs, func() *rules.Ruleset { return nil })
}
