package apply

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

const provedPolicy = `version = 1
[group.office]
addresses = ["198.51.100.0/24"]
[service.web]
ports = ["443/tcp"]
from  = ["office"]
`

// The proof agrees with what means the same, shows a packet of what does not, and
// says of what it cannot know that it is not proved.
func TestProof(t *testing.T) {
	load := func(text string) *rules.Ruleset {
		rs, ps := gen.Load(text, gen.Host())
		if ps.Err() != nil {
			t.Fatal(ps)
		}
		return rs
	}
	rs := load(provedPolicy)
	other := load(strings.Replace(provedPolicy, "443", "444", 1))
	for name, tc := range map[string]struct {
		held    meaning
		limit   time.Duration
		refuted string
		why     string
	}{
		"the same":          {held: rs.AtHook, limit: time.Minute},
		"no IPv6":           {held: only4(rs.AtHook), limit: time.Minute},
		"another port":      {held: other.Filter, limit: time.Minute, refuted: "tcp 198.51.100."},
		"nothing":           {held: empty, limit: time.Minute, refuted: "the kernel accept"},
		"not understood":    {held: unknown(rs.AtHook), limit: time.Minute, why: "xt_magic"},
		"no time":           {held: rs.AtHook, limit: -time.Second, why: "longer than allowed"},
		"not read, no time": {held: unknown(rs.AtHook), limit: -time.Second, why: "xt_magic"},
	} {
		t.Run(name, func(t *testing.T) {
			large := rs
			if tc.why != "" && tc.limit < 0 {
				large = load(provedPolicy + manyServices(400))
			}
			p, err := startProof(large, tc.limit).finish(tc.held, tc.limit)
			var refuted *RefutedError
			switch {
			case tc.refuted != "":
				if !errors.As(err, &refuted) || !strings.Contains(err.Error(), tc.refuted) {
					t.Errorf("%v", err)
				}
			case err != nil:
				t.Error(err)
			case tc.why != "" && (p.Proved || !strings.Contains(p.Why, tc.why)), tc.why == "" && !p.Proved:
				t.Errorf("%+v", p)
			}
		})
	}
}

func empty(hook packet.Hook, _ bool) *packet.Filter { return &packet.Filter{Hook: hook} }

func only4(m meaning) meaning {
	return func(hook packet.Hook, is6 bool) *packet.Filter {
		if is6 {
			return nil
		}
		return m(hook, is6)
	}
}

// unknown puts a rule in front that nobody understands.
func unknown(m meaning) meaning {
	return func(hook packet.Hook, is6 bool) *packet.Filter {
		f := m(hook, is6)
		rule := packet.Step{Cond: packet.Unknown{Key: "xt_magic", Unsupported: true}, Outcome: packet.OutcomeDrop}
		f.Base[0].Rules = append([]packet.Step{rule}, f.Base[0].Rules...)
		return f
	}
}

// manyServices is more than a proof can do between two looks at the clock.
func manyServices(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[service.s%d]\nports = [\"%d/udp\"]\nfrom = [\"10.%d.%d.1\"]\n", i, 1000+i, i%200, i%250)
	}
	return b.String()
}
