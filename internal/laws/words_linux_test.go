package laws

import (
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/internal/netlab"
)

var (
	listedTable  = regexp.MustCompile(`^table (\S+ \S+) \{`)
	listedHandle = regexp.MustCompile(` # handle (\d+)$`)
	listedCounts = regexp.MustCompile(`(counter) packets \d+ bytes \d+`)
)

// listedRules returns the rules that nft lists, by table and handle.
func listedRules(text string) map[string]string {
	out := map[string]string{}
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := listedTable.FindStringSubmatch(line); m != nil {
			table = m[1]
		}
		if m := listedHandle.FindStringSubmatch(line); m != nil {
			rule := strings.TrimSpace(strings.TrimSuffix(line, m[0]))
			out[table+" "+m[1]] = listedCounts.ReplaceAllString(rule, "$1")
		}
	}
	return out
}

var listedSet = regexp.MustCompile(`\{ ([^{}]*) \}`)

// sortedSets puts the elements of sets into order: nft lists them in the
// kernel's.
func sortedSets(rule string) string {
	return listedSet.ReplaceAllStringFunc(rule, func(s string) string {
		words := strings.Split(strings.Trim(s, "{} "), ", ")
		slices.Sort(words)
		return "{ " + strings.Join(words, ", ") + " }"
	})
}

// The rules are written as nft lists them: not in every detail, but nearly. Those
// that differ say the same in other words.
func TestRulesReadLikeNFT(t *testing.T) {
	f := &foreignCheck{T: t, lab: netlab.New(t, gen.Host())}
	same, all := 0, 0
	for seed := range uint64(gen.Dose(t, "FWCTL_RULESETS", 60)) {
		f.load(gen.NFT(rand.New(rand.NewPCG(seed, gen.Seed(t))), gen.NFTOptions{Way: seed%2 == 0}))
		h, err := f.read()
		if err != nil {
			t.Fatal(err)
		}
		text, err := f.lab.NFT("", "-a", "list", "ruleset")
		if err != nil {
			continue // nft 1.0.6 cannot list every rule that it loads
		}
		listed := listedRules(text)
		for _, table := range h.Tables {
			name := map[uint8]string{1: "inet", 2: "ip", 10: "ip6"}[table.Family] + " " + table.Name
			for _, r := range table.Rules {
				all++
				got, want := table.RuleText(&r, h.Links), listed[name+" "+strconv.FormatUint(r.Handle, 10)]
				if sortedSets(got) == sortedSets(want) {
					same++
				} else if os.Getenv("FWCTL_WORDS") != "" {
					t.Logf("\n  ours %s\n  nft  %s", got, want)
				}
			}
		}
	}
	t.Logf("%d of %d rules read as nft lists them", same, all)
	if same*100 < all*95 {
		t.Errorf("only %d of %d rules read as nft lists them", same, all)
	}
}
