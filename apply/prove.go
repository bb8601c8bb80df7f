package apply

import (
	"cmp"
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

// prover is the policy's side of the proof. It is worked out while the kernel is
// being changed; for pf, which is asked about other packets, when it is.
type prover struct {
	rs       *rules.Ruleset
	families [2]chan []*side // IPv4, IPv6
}

// side is the policy at one hook and in one family, in a space that has room for
// the kernel's rules.
type side struct {
	policy  *packet.Filter
	is6     bool
	space   *packet.Space
	diagram packet.Node
	err     error
}

func startProof(rs *rules.Ruleset, limit time.Duration) *prover {
	p := &prover{rs: rs}
	until := time.Now().Add(limit)
	for i, is6 := range []bool{false, true} {
		p.families[i] = make(chan []*side, 1)
		go func() {
			var sides []*side
			for _, hook := range provedAt(rs) {
				sides = append(sides, p.side(rs.AtHook(hook, is6), nil, is6, until))
			}
			p.families[i] <- sides
		}()
	}
	return p
}

// provedAt are the hooks at which a policy can say something.
func provedAt(rs *rules.Ruleset) []packet.Hook {
	hooks := []packet.Hook{packet.Input, packet.Output, packet.Forward}
	if rs.Published == rules.PublishedEnforce {
		hooks = append(hooks, packet.Prerouting)
	}
	return hooks
}

// side builds the policy's diagram, where the kernel's rules ask for things that
// the policy does not, too.
func (p *prover) side(policy, kernel *packet.Filter, is6 bool, until time.Time) *side {
	s := &side{policy: policy, is6: is6}
	filters := []*packet.Filter{policy}
	if kernel != nil {
		filters = append(filters, kernel)
	}
	s.space = packet.NewSpace(is6, p.rs.Host.HostAddrs(is6), proofNodes, filters...)
	s.space.Until(until)
	s.diagram, s.err = s.space.Build(policy)
	return s
}

// finish compares what the kernel holds with the policy, the families at the same
// time.
func (p *prover) finish(held meaning, limit time.Duration) (*Proof, error) {
	until := time.Now().Add(limit)
	var why [2]string
	var errs [2]error
	var both sync.WaitGroup
	for i := range p.families {
		both.Go(func() { why[i], errs[i] = p.family(<-p.families[i], held, until) })
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

func (p *prover) family(sides []*side, held meaning, until time.Time) (why string, err error) {
	for _, s := range sides {
		kernel := held(s.policy.Hook, s.is6)
		if kernel == nil {
			return "", nil
		}
		for key, unsupported := range kernel.Unknowns() {
			if unsupported {
				return "the rules ask for what was not read: " + key, nil
			}
		}
		if !s.space.Covers(kernel) {
			s = p.side(s.policy, kernel, s.is6, until)
		}
		if why, err := s.compare(kernel, until); why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

func (s *side) compare(kernel *packet.Filter, until time.Time) (why string, err error) {
	s.space.Until(until)
	d, err := s.difference(kernel)
	switch {
	case errors.Is(err, packet.ErrTime), errors.Is(err, packet.ErrBudget):
		return err.Error(), nil
	case err != nil:
		return "", err
	case d.Kind == packet.Equal:
		return "", nil
	}
	facts := *d.Witness.Facts
	return "", &RefutedError{d.Witness.Packet, s.policy.Decide(d.Witness.Facts), kernel.Decide(&facts)}
}

func (s *side) difference(kernel *packet.Filter) (d packet.Difference, err error) {
	if s.err != nil {
		return d, s.err
	}
	n, err := s.space.Build(kernel)
	if err != nil {
		return d, err
	}
	over, err := s.space.Set(s.space.Frame(s.policy.Hook))
	if err != nil {
		return d, err
	}
	return s.space.Compare(s.diagram, n, over)
}

// prove proves the change that was made.
func (c *change) prove(ctx context.Context) (err error) {
	c.out.Proof, err = c.program.Prove(ctx, c.proof, c.proofTime())
	return err
}

func (c *change) proofTime() time.Duration { return cmp.Or(c.ProofTime, proofTime) }
