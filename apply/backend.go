package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

// The names of the backends, as --backend and the state have them.
const (
	Auto     = "auto"
	NFTables = "nftables"
	IPTables = "iptables"
	PF       = "pf"
)

// backend is one way to bring a ruleset into the kernel.
type backend interface {
	// Render compiles the ruleset. Problems of severity Error are what the
	// backend cannot say.
	Render(rs *rules.Ruleset) (program, rules.Problems)
	// Remove takes away all that is fwctl's in this backend and says what it took.
	Remove(ctx context.Context) ([]string, error)
	// Present reports whether the kernel holds anything of fwctl's.
	Present(ctx context.Context) (bool, error)
	// Ready returns what the administrator should know of how it works on this
	// host; an error if its rules would not decide there.
	Ready(ctx context.Context) ([]string, error)
}

// program is a ruleset compiled for its backend.
type program interface {
	// Plan lists what Apply would change, nothing if the kernel already has it.
	Plan(ctx context.Context, last lastRuleset) ([]string, error)
	// Apply changes the kernel to what the program says, verifies it by reading
	// back, and lists what it changed.
	Apply(ctx context.Context, last lastRuleset) ([]string, error)
	// Generation is that of nftables in which Apply read the rules back; zero for
	// other backends.
	Generation() uint32
	// Prove holds what the kernel holds since Apply against the policy.
	Prove(ctx context.Context, p *prover, limit time.Duration) (*Proof, error)
}

// lastRuleset returns the ruleset that the kernel was given before, nil if it is
// not known. A backend asks it where reading the kernel would take too long.
type lastRuleset func() *rules.Ruleset

// open returns a backend of this system.
func open(ctx context.Context, name string) (backend, error) {
	if opener, ok := openers[name]; ok {
		return opener(ctx)
	}
	return nil, fmt.Errorf("there is no backend %s on this system", name)
}

// backendNames lists the backends that may hold something of fwctl's, in the order of
// preference: the usual ones, and those that are known to be in use.
func backendNames(inUse ...string) []string {
	names := slices.Clone(usual)
	for _, n := range inUse {
		if n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Choice is a backend and why it is the one.
type Choice struct {
	Backend string `json:"backend"`
	Why     string `json:"why"`
}

// choose picks the backend: the one asked for, else the one in use, else what
// the host itself uses, else nftables.
func choose(asked, confirmed string, s *live.Survey) (Choice, error) {
	switch {
	case asked != Auto && asked != "":
		return Choice{asked, "asked for"}, nil
	case confirmed != "":
		return Choice{confirmed, "in use"}, nil
	case len(usual) == 1:
		return Choice{usual[0], "what this system has"}, nil
	case !s.NFTables && len(s.IPTables) == 0:
		return Choice{}, errors.New("the kernel has no nf_tables and iptables is not installed")
	case !s.NFTables:
		return Choice{IPTables, "the kernel has no nf_tables"}, nil
	case s.IPTablesInUse() && len(s.Tables) == 0:
		return Choice{IPTables, "the host's own rules are iptables'"}, nil
	}
	return Choice{NFTables, "the default"}, nil
}

// applyWith renders the ruleset for a backend and brings it into the kernel. It
// returns the generation as program does.
func applyWith(ctx context.Context, name string, rs *rules.Ruleset, last lastRuleset) (changes []string, gen uint32, err error) {
	b, err := open(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	p, ps := b.Render(rs)
	if err := ps.Err(); err != nil {
		return nil, 0, err
	}
	changes, err = p.Apply(ctx, last)
	return changes, p.Generation(), err
}

// removeFrom removes what a backend holds of fwctl's.
func removeFrom(ctx context.Context, name string) ([]string, error) {
	b, err := open(ctx, name)
	if err != nil {
		return nil, err
	}
	changes, err := b.Remove(ctx)
	if err != nil {
		return changes, fmt.Errorf("remove fwctl's rules from %s: %w", name, err)
	}
	return changes, nil
}

// present lists the backends that hold something of fwctl's. A backend that
// cannot be opened holds nothing: its programs are missing.
func present(ctx context.Context, inUse ...string) ([]string, error) {
	return presentOf(ctx, backendNames(inUse...))
}

func presentOf(ctx context.Context, names []string) ([]string, error) {
	var found []string
	for _, name := range names {
		b, err := open(ctx, name)
		if missing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		there, err := b.Present(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for fwctl's rules in %s: %w", name, err)
		}
		if there {
			found = append(found, name)
		}
	}
	return found, nil
}

// presentIn is what present finds; for nftables and iptables a survey tells.
func presentIn(ctx context.Context, s *live.Survey, inUse ...string) ([]string, error) {
	var found []string
	if s.OwnTable {
		found = append(found, NFTables)
	}
	if s.OwnChains {
		found = append(found, IPTables)
	}
	if !slices.Contains(backendNames(inUse...), PF) {
		return found, nil
	}
	pf, err := presentOf(ctx, []string{PF})
	return append(found, pf...), err
}
