package apply

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	pfread "github.com/fwctl/fwctl/read/pf"
	pfrender "github.com/fwctl/fwctl/render/pf"
)

// What pf lists of an anchor is proved to mean the policy, in every grammar; a rule that
// is gone, or one too many, is refuted by a packet.
func TestProvePF(t *testing.T) {
	r := rand.New(rand.NewPCG(gen.Seed(t), 42))
	refuted := 0
	for _, d := range []struct {
		write pfrender.Dialect
		read  pfread.Dialect
		can   gen.PF
	}{
		{pfrender.OpenBSD, pfread.OpenBSD, gen.PF{Groups: true, Routed: true, WayOut: true}},
		{pfrender.FreeBSD, pfread.FreeBSD, gen.PF{SCTPPorts: true, Groups: true, Routed: true, WayOut: true}},
		{pfrender.FreeBSDOld, pfread.FreeBSDOld, gen.PF{Groups: true, Routed: true}},
		{pfrender.MacOS, pfread.MacOS, gen.PF{WayOut: true}},
	} {
		for range gen.Dose(t, "FWCTL_POLICIES", 12) / 4 {
			text := gen.ForPF(gen.Policy(r, gen.Options{}))
			rs, ps := gen.Load(text, gen.Host())
			if ps.Err() != nil {
				t.Fatalf("%v\n%s", ps, text)
			}
			rs = d.can.Adapt(rs)
			p, ps := pfrender.Render(rs, pfrender.Options{Dialect: d.write, Form: pfrender.Anchor, At: time.Now()})
			if ps.Err() != nil {
				t.Fatalf("%v\n%s", ps, text)
			}
			held := listed(pfread.Parse(p.Text(), d.read))
			if proof, err := provePF(rs, held, time.Minute); err != nil || !proof.Proved {
				t.Fatalf("%v: %+v, %v\n%s\n%s", d.write, proof, err, text, p.Text())
			}
			held.Lines = append(held.Lines[:0:0], held.Lines...)
			held.Lines = append([]pfread.Statement{pfread.Parse("pass in quick proto tcp from any to any port = 47\n", d.read).Lines[0]}, held.Lines...)
			var wrong *RefutedError
			switch _, err := provePF(rs, held, time.Minute); {
			case errors.As(err, &wrong):
				refuted++
			case err != nil:
				t.Fatal(err)
			}
		}
	}
	if refuted == 0 {
		t.Error("a rule too many is never found")
	}
}

// listed are rules and tables as pfctl lists them.
func listed(c *pfread.Config) *pfread.Config {
	out := &pfread.Config{Dialect: c.Dialect}
	for _, l := range c.Lines {
		if _, ok := l.(*pfread.Table); ok {
			out.Lines = append(out.Lines, l)
		}
	}
	out.Lines = append(out.Lines, pfread.Parse(c.Expand().Print(), c.Dialect).Lines...)
	return out
}
