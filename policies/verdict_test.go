package policies

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/rules"
)

// place is where the profiles are tried: a host, the world, and one address of
// each family for every audience.
type place map[string][2]netip.Addr // IPv4, IPv6

func placeOf(p profile) place {
	at := place{
		"host":  {netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8:1::5")},
		"world": {netip.MustParseAddr("198.51.100.99"), netip.MustParseAddr("2001:db8:99::1")},
	}
	for n, a := range sortedAudiences(p) {
		at[a] = [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(n + 1)}), netip.MustParseAddr(fmt.Sprintf("2001:db8:2::%x", n+1))}
	}
	return at
}

func sortedAudiences(p profile) []string {
	var out []string
	for a := range p.Audience {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

func (at place) resolve(name string, is6 bool) (netip.Addr, bool) {
	both, ok := at[name]
	if is6 {
		return both[1], ok
	}
	return both[0], ok
}

func (at place) host() *rules.Host {
	h := at["host"]
	return &rules.Host{Interfaces: []rules.Interface{{Name: "eth0", Addrs: []netip.Prefix{netip.PrefixFrom(h[0], 24), netip.PrefixFrom(h[1], 64)}}}}
}

// ruleset is what the choice means where each audience is its own address.
func (at place) ruleset(t *testing.T, name string, p profile, c choice) *rules.Ruleset {
	t.Helper()
	var from []string
	for _, a := range c.audiences(p) {
		from = append(from, fmt.Sprintf("%s = [%q, %q]", a, at[a][0], at[a][1]))
	}
	text := fmt.Sprintf("version = 1\n[service.it]\nprofile = %q\nwith = { %s }\nfrom = { %s }\n", name, c.text, strings.Join(from, ", "))
	return resolvePolicy(t, text, at.host())
}

func resolvePolicy(t *testing.T, text string, h *rules.Host) *rules.Ruleset {
	t.Helper()
	pol, problems := rules.Load(fstest.MapFS{"p.toml": {Data: []byte(text)}}, "p.toml", rules.LoadOptions{Profiles: Profiles()})
	rs, more := rules.Resolve(pol, h)
	if err := append(problems, more...).Err(); err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return rs
}

// Packets that each profile lets in, and packets that it does not. A line of
// testdata/verdicts/NAME.txt is a verdict, the audience or stage that decided,
// and the packet, in which an audience's name stands for its address; a line
// "with …" makes the choice for those below it.
func TestProfilesDecide(t *testing.T) {
	eachProfile(t, func(t *testing.T, name string, p profile) {
		path := filepath.Join("testdata", "verdicts", name+".txt")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := placeOf(p)
		var rs *rules.Ruleset
		n := 0
		for line := range strings.Lines(string(data)) {
			n++
			words := strings.Fields(line)
			switch {
			case len(words) == 0 || words[0][0] == '#':
			case words[0] == "with":
				rs = at.ruleset(t, name, p, readChoice(t, strings.TrimSpace(line[len("with"):])))
			default:
				at.check(t, fmt.Sprintf("%s:%d", path, n), rs, words)
			}
		}
	})
}

func (at place) check(t *testing.T, where string, rs *rules.Ruleset, words []string) {
	t.Helper()
	e, err := packet.ParseExpr(strings.Join(words[2:], " "))
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	p, err := e.Packet(at.resolve)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	d := rs.Decide(p, time.Time{})
	by := d.Reason
	if d.Rule != nil {
		by = d.Rule.Part
	}
	if d.Verdict.String() != words[0] || by != words[1] {
		t.Errorf("%s: %v by %s, want %s by %s", where, d.Verdict, by, words[0], words[1])
	}
}
