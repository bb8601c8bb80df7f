package rules_test

import (
	"math/rand/v2"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
)

// A rule is the same as itself loaded once more, and another only if both match the
// same packets.
func TestSame(t *testing.T) {
	r := rand.New(rand.NewPCG(gen.Seed(t), 8))
	host := gen.Host()
	for range 50 {
		text := gen.Policy(r, gen.Options{})
		a, _ := gen.Load(text, host)
		b, _ := gen.Load(text, host)
		packets := gen.Packets(a, r, 200)
		for i, x := range a.Services {
			if !x.Same(b.Services[i]) {
				t.Errorf("%s is not the same\n%s", x.ID(), text)
			}
			for _, y := range a.Services {
				for _, p := range packets {
					if x.Same(y) && x.Expires.Equal(y.Expires) && a.Matches(x, p, host.Time) != a.Matches(y, p, host.Time) {
						t.Errorf("%s and %s are the same, but for %s\n%s", x.ID(), y.ID(), p, text)
					}
				}
			}
		}
	}
}

// Each of these sections says something else.
func TestNotSame(t *testing.T) {
	text := `version = 1
[group.a]
addresses = ["198.51.100.0/24"]
[group.b]
addresses = ["198.51.100.0/24"]
interfaces = ["eth0"]
`
	for i, rest := range []string{
		`ports = ["22/tcp"]` + "\n" + `from = ["any"]`, `ports = ["22/udp"]` + "\n" + `from = ["any"]`, `ports = ["22-23/tcp"]` + "\n" + `from = ["any"]`,
		`ports = ["22/tcp"]` + "\n" + `from = ["a"]`, `ports = ["22/tcp"]` + "\n" + `from = ["b"]`, `ports = ["22/tcp"]` + "\n" + `from = ["host"]`,
		`ports = ["22/tcp"]` + "\n" + `from = ["198.51.100.0/25"]`, `ports = ["22/tcp"]` + "\n" + `from = ["any"]` + "\n" + `to = ["host"]`,
		`ports = ["22/tcp"]` + "\n" + `from = ["any"]` + "\n" + `in = ["eth0"]`, `ports = ["22/tcp"]` + "\n" + `from = ["any"]` + "\n" + `source_ports = ["1/tcp"]`,
	} {
		text += "[service.s" + string(rune('a'+i)) + "]\nshared = true\n" + rest + "\n"
	}
	rs, ps := gen.Load(text, gen.Host())
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	same := 0
	all := rs.Services
	for _, x := range all {
		for _, y := range all {
			if x.Same(y) {
				same++
			}
		}
	}
	if same != len(all) {
		t.Errorf("%d pairs of %d rules are the same", same, len(all))
	}
}
