package apply

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// bare is a host without rules.
func bare() *live.HostRules {
	h := gen.Host()
	return &live.HostRules{Addrs4: h.HostAddrs(false), Addrs6: h.HostAddrs(true)}
}

func loaded(t *testing.T, policy string) *rules.Ruleset {
	t.Helper()
	rs, ps := gen.Load(policy, gen.Host())
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	return rs
}

const onlySSH = "version = 1\n[safety]\nkeep = [\"ssh\"]\n[service.ssh]\nports = [\"22/tcp\"]\nfrom = [%q]\n"

// The address of the administrator is taken as the environment has it: mapped into
// IPv6, or with a zone, which is the interface.
func TestGuardReadsAddresses(t *testing.T) {
	policy := fmt.Sprintf(onlySSH, "203.0.113.0/24") + "[service.local]\nports = [\"22/tcp\"]\nfrom = [\"fe80::/10\"]\nin = [\"eth1\"]\nshared = true\n"
	rs := loaded(t, strings.Replace(policy, "[service.ssh]", "[service.ssh]\nshared = true", 1))
	for _, c := range []struct {
		src, dst string
		refused  bool
	}{
		{"203.0.113.9", "192.0.2.10", false},
		{"::ffff:203.0.113.9", "::ffff:192.0.2.10", false},
		{"::ffff:198.51.100.9", "::ffff:192.0.2.10", true},
		{"fe80::9%eth1", "fe80::10%eth1", false},
		{"fe80::9%eth0", "fe80::10%eth0", true},
		{"127.0.0.1", "127.0.0.1", false},
		{"::1", "::1", false},
	} {
		own := live.Connection{Proto: packet.TCP, Src: netip.AddrPortFrom(netip.MustParseAddr(c.src), 50000), Dst: netip.AddrPortFrom(netip.MustParseAddr(c.dst), 22)}
		warnings, err := guardQuestion{Ruleset: rs, Own: &own}.ask(t.Context(), bare())
		var e *LockoutError
		if errors.As(err, &e) != c.refused || len(warnings) > 0 {
			t.Errorf("%s to %s: %v, %q", c.src, c.dst, err, warnings)
		}
	}
}

// The size of a policy does not matter where most of it is about others.
func TestGuardOfLargePolicy(t *testing.T) {
	before, after := fmt.Sprintf(onlySSH, "203.0.113.0/24"), fmt.Sprintf(onlySSH, "203.0.113.0/25")
	many := manyServices(10_000)
	own := live.Connection{Proto: packet.TCP, Src: netip.MustParseAddrPort("203.0.113.9:50000"), Dst: netip.MustParseAddrPort("192.0.2.10:22")}
	q := guardQuestion{Ruleset: loaded(t, after+many), Before: loaded(t, before+many), Own: &own, In: "eth0"}
	start := time.Now()
	_, err := q.ask(t.Context(), bare())
	took := time.Since(start)
	var e *LockoutError
	if !errors.As(err, &e) || e.Own || e.Service != "service.ssh" {
		t.Errorf("%v", err)
	}
	t.Logf("%v: %v", took, err)
	if took > time.Second {
		t.Errorf("took %v", took)
	}
}

// A service that did not change is not asked about, unless a block did.
func TestAtRisk(t *testing.T) {
	base := fmt.Sprintf(onlySSH, "203.0.113.0/24")
	block := "[block.b]\nfrom = [\"198.51.100.0/24\"]\n"
	web := "[service.web]\nports = [\"80/tcp\"]\nfrom = [\"any\"]\n"
	for name, c := range map[string]struct {
		before, after string
		want          int
	}{
		"same":              {base, base, 0},
		"same block":        {base + block, base + block, 0},
		"another service":   {base, base + web, 0},
		"block gone":        {base + block, base, 0},
		"new block":         {base, base + block, 1},
		"other block":       {base + block, base + strings.Replace(block, "/24", "/25", 1), 1},
		"block again":       {base + block + "expires = 2020-01-01\n", base + block, 1},
		"other source":      {base, fmt.Sprintf(onlySSH, "203.0.113.0/25"), 1},
		"expires":           {base, base + "expires = 2037-01-01\n", 1},
		"expires no longer": {base + "expires = 2037-01-01\n", base, 0},
		"limited":           {base, base + "limit = \"10/minute\"\n", 0},
		"gone":              {base, "version = 1\n" + web, 1},
	} {
		q := guardQuestion{Ruleset: loaded(t, c.after), Before: loaded(t, c.before)}
		if got := len(q.atRisk()); got != c.want {
			t.Errorf("%s: %d at risk, want %d", name, got, c.want)
		}
	}
}
