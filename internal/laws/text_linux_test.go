package laws

import (
	"context"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	applynftables "github.com/fwctl/fwctl/apply/nftables"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
)

// `nft -f` of the rendered text and the apply over netlink make the same table:
// to the byte in an empty kernel, and but for the order of its sets and chains
// out of whatever table was there before.
func TestNetlinkAndTextListTheSame(t *testing.T) {
	fresh, changed, loaded := netlab.New(t, gen.Host()), netlab.New(t, gen.Host()), netlab.New(t, gen.Host())
	for seed := range uint64(gen.Dose(t, "FWCTL_POLICIES", listedPolicies)) {
		text := gen.Policy(rand.New(rand.NewPCG(gen.Seed(t), seed)), gen.Options{})
		rs, _ := gen.Load(text, gen.Host())
		err := fresh.Do(func() error {
			_, err := applynftables.Remove(context.Background())
			return err
		})
		for _, step := range []func() error{
			func() error { return err },
			func() error { return byNetlink(fresh, rs) },
			func() error { return byNetlink(changed, rs) },
			func() error { return byText(loaded, rs) },
		} {
			if err := step(); err != nil {
				t.Fatalf("policy %d: %v\n%s", seed, err, text)
			}
		}
		want := listing(t, loaded)
		if line, differ := firstDifference(listing(t, fresh), want); differ {
			t.Fatalf("policy %d:\n%s\nin an empty kernel %s", seed, text, line)
		}
		if line, differ := firstDifference(sorted(listing(t, changed)), sorted(want)); differ {
			t.Fatalf("policy %d:\n%s\nout of policy %d %s", seed, text, seed-1, line)
		}
	}
}

// successors are names that apply gives sets of the program in the kernel.
var successors = regexp.MustCompile(`((?:@|set |map )[^\s/]+)/\d+\b`)

// listing is the table without its counters.
func listing(t *testing.T, l *netlab.Lab) []string {
	t.Helper()
	out, err := l.NFT("", "-s", "list", "table", "inet", "fwctl")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(out, "\n")
}

// sorted puts the sets and chains of a listing into the order of their text, and
// leaves out base chains without rules: those that a former policy needed stay,
// because taking a live one away lets packets through (design: Apply). Sets have the
// program's names.
func sorted(lines []string) []string {
	var blocks []string
	for block := range strings.SplitSeq(strings.Join(lines, "\n"), "\n\t}\n") {
		block = strings.Trim(block, "\n")
		if rest := strings.Split(block, "\n"); len(rest) == 2 && strings.Contains(rest[1], "policy accept;") {
			continue
		}
		block = strings.TrimPrefix(block, "table inet fwctl {\n")
		blocks = append(blocks, successors.ReplaceAllString(block, "$1"))
	}
	slices.Sort(blocks)
	return strings.Split(strings.Join(blocks, "\n"), "\n")
}
