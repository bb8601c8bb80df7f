package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	iptapply "github.com/fwctl/fwctl/apply/iptables"
	nftapply "github.com/fwctl/fwctl/apply/nftables"
	pfapply "github.com/fwctl/fwctl/apply/pf"
	"github.com/fwctl/fwctl/packet"
	nftread "github.com/fwctl/fwctl/read/nftables"
	iptrender "github.com/fwctl/fwctl/render/iptables"
	nftrender "github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// openers are the backends of Linux. Pf is no part of it: there it is a pfctl that
// somebody asks for.
var openers = map[string]func(context.Context) (backend, error){
	NFTables: func(context.Context) (backend, error) { return nftBackend{}, nil },
	IPTables: openIPTables,
	PF:       openPF,
}

// usual are the backends that are tried unasked, in the order of preference.
var usual = []string{NFTables, IPTables}

// missing reports whether a backend's programs are not installed.
func missing(err error) bool {
	return errors.Is(err, iptapply.ErrMissing) || errors.Is(err, pfapply.ErrMissing)
}

// nftBackend is nftables through netlink.
type nftBackend struct{}

type nftProgram struct {
	*nftrender.Program
	held *nftread.Table // since Apply
	gen  uint32         // in which it was read
}

// Render compiles the ruleset for nftables.
func (nftBackend) Render(rs *rules.Ruleset) (program, rules.Problems) {
	p, ps := nftrender.Render(rs)
	return &nftProgram{Program: p}, ps
}

// Remove removes the table inet fwctl.
func (nftBackend) Remove(ctx context.Context) ([]string, error) { return nftapply.Remove(ctx) }

// Present reports whether the table inet fwctl exists.
func (nftBackend) Present(ctx context.Context) (bool, error) { return nftapply.Present(ctx) }

// Ready has nothing to say.
func (nftBackend) Ready(context.Context) ([]string, error) { return nil, nil }

// Plan lists what Apply would change.
func (p *nftProgram) Plan(ctx context.Context, last lastRuleset) ([]string, error) {
	r, err := nftapply.Plan(ctx, p.Program, rendered(last))
	return r.Changes, err
}

// rendered returns the program of the last ruleset.
func rendered(last lastRuleset) nftapply.Last {
	return func() *nftrender.Program {
		rs := last()
		if rs == nil {
			return nil
		}
		p, _ := nftrender.Render(rs) // it was rendered before
		return p
	}
}

// Apply makes the table what the program says.
func (p *nftProgram) Apply(ctx context.Context, last lastRuleset) ([]string, error) {
	r, err := nftapply.Apply(ctx, p.Program, rendered(last))
	p.held, p.gen = r.Table, r.Generation
	return r.Changes, err
}

// Generation is that in which Apply read the table back.
func (p *nftProgram) Generation() uint32 { return p.gen }

// Prove asks the table that Apply read back.
func (p *nftProgram) Prove(_ context.Context, by *prover, limit time.Duration) (*Proof, error) {
	return by.finish(func(hook packet.Hook, is6 bool) *packet.Filter {
		return nftread.Filter([]*nftread.Table{p.held}, hook, is6, nil)
	}, limit)
}

// iptBackend is iptables and ip6tables in one of their variants, with ipset.
type iptBackend struct{ *iptapply.Conn }

type iptProgram struct {
	conn *iptapply.Conn
	*iptrender.Program
}

func openIPTables(ctx context.Context) (backend, error) {
	c, err := iptapply.Open(ctx, iptapply.Options{})
	if err != nil {
		return nil, err
	}
	return iptBackend{c}, nil
}

// Render compiles the ruleset for both families.
func (b iptBackend) Render(rs *rules.Ruleset) (program, rules.Problems) {
	p, ps := iptrender.Render(rs, iptrender.Options{IPSet: b.IPSet})
	return iptProgram{b.Conn, p}, ps
}

// Ready says which variant it is and what else is noteworthy.
func (b iptBackend) Ready(context.Context) ([]string, error) { return b.Notes, nil }

// Plan lists what Apply would change.
func (p iptProgram) Plan(ctx context.Context, _ lastRuleset) ([]string, error) {
	return p.conn.Plan(ctx, p.Program)
}

// Apply makes fwctl's chains and sets what the program says.
func (p iptProgram) Apply(ctx context.Context, _ lastRuleset) ([]string, error) {
	return p.conn.Apply(ctx, p.Program)
}

// Generation is nftables'.
func (iptProgram) Generation() uint32 { return 0 }

// Prove reads fwctl's chains and sets.
func (p iptProgram) Prove(ctx context.Context, by *prover, limit time.Duration) (*Proof, error) {
	held, err := p.conn.Held(ctx)
	if err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	return by.finish(held, limit)
}

// generation is the number of the nftables ruleset of this network namespace;
// every commit raises it by one.
func generation(ctx context.Context) (uint32, error) { return nftapply.Generation(ctx) }

// namespace identifies the network namespace and this run of the kernel.
// Generations of others tell nothing.
func namespace() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %s", strings.TrimSpace(string(boot)), ns)
}
