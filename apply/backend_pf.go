package apply

import (
	"context"
	"time"

	pfapply "github.com/fwctl/fwctl/apply/pf"
	pfread "github.com/fwctl/fwctl/read/pf"
	pfrender "github.com/fwctl/fwctl/render/pf"
	"github.com/fwctl/fwctl/rules"
)

// pfBackend is pf through pfctl. On Linux it is there if it is asked for and there is a
// pfctl.
type pfBackend struct{ *pfapply.Conn }

type pfProgram struct {
	conn *pfapply.Conn
	*pfrender.Program
	held *pfread.Config // since Apply
}

func openPF(context.Context) (backend, error) {
	c, err := pfapply.Open(pfapply.Options{})
	if err != nil {
		return nil, err
	}
	return pfBackend{c}, nil
}

// Render compiles the ruleset for the anchor, as it is now: pf has no clock.
func (b pfBackend) Render(rs *rules.Ruleset) (program, rules.Problems) {
	p, ps := pfrender.Render(rs, pfrender.Options{Dialect: b.Dialect, Form: pfrender.Anchor, At: time.Now()})
	return &pfProgram{conn: b.Conn, Program: p}, ps
}

// Plan lists what Apply would change.
func (p *pfProgram) Plan(ctx context.Context, _ lastRuleset) ([]string, error) {
	return p.conn.Plan(ctx, p.Program)
}

// Apply makes the anchor what the program says.
func (p *pfProgram) Apply(ctx context.Context, _ lastRuleset) ([]string, error) {
	r, err := p.conn.Apply(ctx, p.Program)
	p.held = r.Held
	return r.Changes, err
}

// Generation is nftables'.
func (*pfProgram) Generation() uint32 { return 0 }

// Prove asks the rules that the anchor held when Apply had read it back.
func (p *pfProgram) Prove(_ context.Context, by *prover, limit time.Duration) (*Proof, error) {
	return provePF(by.rs, p.held, limit)
}

// ForPF returns what the anchor of pf would hold of a policy now. The error says what pf
// cannot say, or that there is none.
func ForPF(ctx context.Context, rs *rules.Ruleset) (*pfread.Config, error) {
	b, err := openPF(ctx)
	if err != nil {
		return nil, err
	}
	p, ps := b.Render(rs)
	if err := ps.Err(); err != nil {
		return nil, err
	}
	prog := p.(*pfProgram) //nolint:forcetypeassert // it is what Render returns
	return prog.conn.Parse(prog.Text()), nil
}
