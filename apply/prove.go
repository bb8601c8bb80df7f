package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// What the proof after a change may take. A host waits for it with its new rules
// in force, so what is not proved by then is said to be so.
const (
	proofTime  = 2 * time.Second
	proofNodes = packet.DefaultBudget / 4
)

// Proof says whether the rules in the kernel were proved to mean what the policy
// means: for every packet, at each hook and in each family.
type Proof struct {
	Proved bool   `json:"proved"`
	Why    string `json:"why,omitempty"` // why not; nothing speaks against it either
}

// RefutedError is a packet with which the rules read back from the kernel do
// something else than the policy says.
type RefutedError struct {
	Packet         packet.Packet
	Policy, Kernel packet.Decided
}

// Error shows the packet and who decides on it.
func (e *RefutedError) Error() string {
	return fmt.Sprintf("the rules read back are not what the policy means: %s: the policy says %s by %s, the kernel %s by %s",
		e.Packet, e.Policy.Outcome, e.Policy.By.Name, e.Kernel.Outcome, e.Kernel.By.Text)
}

// meaning is what fwctl's rules in the kernel do at a hook with a family; nil
// where the backend leaves the family out.
type meaning func(hook packet.Hook, is6 bool) *packet.Filter

// prove compares what the kernel holds with the policy, the families at the same
// time.
func prove(rs *rules.Ruleset, held meaning, limit time.Duration) (*Proof, error) {
	until := time.Now().Add(limit)
	var why [2]string
	var errs [2]error
	var both sync.WaitGroup
	for i, is6 := range []bool{false, true} {
		both.Go(func() { why[i], errs[i] = proveFamily(rs, held, is6, until) })
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(why[:], func(s string) bool { return s != "" })
	if i < 0 {
		return &Proof{Proved: true}, nil
	}
	return &Proof{Why: why[i]}, nil
}

func proveFamily(rs *rules.Ruleset, held meaning, is6 bool, until time.Time) (why string, err error) {
	for _, hook := range []packet.Hook{packet.Input, packet.Output, packet.Forward} {
		kernel := held(hook, is6)
		if kernel == nil {
			return "", nil
		}
		for key, unsupported := range kernel.Unknowns() {
			if unsupported {
				return "the rules ask for what was not read: " + key, nil
			}
		}
		why, err := proveHook(rs, rs.Filter(hook, is6), kernel, is6, until)
		if why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

func proveHook(rs *rules.Ruleset, policy, kernel *packet.Filter, is6 bool, until time.Time) (why string, err error) {
	s := packet.NewSpace(is6, rs.Host.HostAddrs(is6), proofNodes, policy, kernel)
	s.Until(until)
	d, err := difference(s, policy, kernel)
	switch {
	case errors.Is(err, packet.ErrTime), errors.Is(err, packet.ErrBudget):
		return err.Error(), nil
	case err != nil:
		return "", err
	case d.Kind == packet.Equal:
		return "", nil
	}
	facts := *d.Witness.Facts
	return "", &RefutedError{d.Witness.Packet, policy.Decide(d.Witness.Facts), kernel.Decide(&facts)}
}

func difference(s *packet.Space, a, b *packet.Filter) (d packet.Difference, err error) {
	over, err := s.Set(s.Frame(a.Hook))
	if err != nil {
		return d, err
	}
	x, err := s.Build(a)
	if err != nil {
		return d, err
	}
	y, err := s.Build(b)
	if err != nil {
		return d, err
	}
	return s.Compare(x, y, over)
}

// prove proves the change that was made.
func (c *change) prove(ctx context.Context) error {
	held, err := c.program.Meaning(ctx)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	limit := c.ProofTime
	if limit == 0 {
		limit = proofTime
	}
	c.out.Proof, err = prove(c.ruleset, held, limit)
	return err
}
