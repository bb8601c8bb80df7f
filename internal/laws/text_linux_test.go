package laws

import (
	"math/rand/v2"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
)

// The table that netlink makes out of the one before is the table that `nft -f`
// makes of the rendered text in an empty kernel.
func TestNetlinkAndTextListTheSame(t *testing.T) {
	sent, loaded := netlab.New(t, gen.Host()), netlab.New(t, gen.Host())
	for seed := range uint64(number(t, "FWCTL_POLICIES", randomPolicies)) {
		text := gen.Policy(rand.New(rand.NewPCG(seed, 0)), gen.Options{})
		rs, _ := gen.Load(text, gen.Host())
		if err := byNetlink(sent, rs); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if err := byText(loaded, rs); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		got, err1 := nft(sent, "", "-s", "list", "table", "inet", "fwctl")
		want, err2 := nft(loaded, "", "-s", "list", "table", "inet", "fwctl")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if got != want {
			t.Fatalf("policy %d:\n%s\nby netlink:\n%s\nby text:\n%s", seed, text, got, want)
		}
	}
}
