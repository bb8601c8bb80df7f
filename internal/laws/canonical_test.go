package laws

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/render/iptables"
	"github.com/fwctl/fwctl/render/nftables"
	"github.com/fwctl/fwctl/rules"
)

// The same policy and facts give the same bytes, whatever the order of the
// sections, of the entries of their lists, and whatever the day.
func TestRenderingIsCanonical(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		text := gen.Policy(r, gen.Options{})
		other := shuffled(r, text)
		host, later := gen.Host(), gen.Host()
		later.Time = later.Time.Add(1000 * time.Hour)
		one, problems := gen.Load(text, host)
		two, more := gen.Load(other, later)
		if one == nil || two == nil {
			t.Fatalf("%v\n%v\n%s", problems.Err(), more.Err(), other)
		}
		if a, b := renderings(one), renderings(two); a != b {
			line, _ := firstDifference(strings.Split(a, "\n"), strings.Split(b, "\n"))
			t.Fatalf("policy %d, shuffled:\n%s\n%s", seed, other, line)
		}
	}
}

// shuffled is the policy with its sections, and the entries of its lists, in
// another order.
func shuffled(r *rand.Rand, policy string) string {
	sections := strings.Split(policy, "\n\n")
	rest := sections[1:] // the version has no section, so it stays first
	r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	lines := strings.Split(strings.Join(sections, "\n\n"), "\n")
	for i, line := range lines {
		head, list, ok := strings.Cut(line, "= [")
		if !ok || strings.Contains(line, "{") {
			continue
		}
		entries := strings.Split(strings.TrimSuffix(list, "]"), ", ")
		r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		lines[i] = head + "= [" + strings.Join(entries, ", ") + "]"
	}
	return strings.Join(lines, "\n")
}

func renderings(rs *rules.Ruleset) string {
	n, _ := nftables.Render(rs)
	withSets, _ := iptables.Render(rs, iptables.Options{IPSet: true})
	without, _ := iptables.Render(rs, iptables.Options{})
	return strings.Join([]string{
		n.Text(),
		withSets.V4.Text(), withSets.V6.Text(), withSets.SetText(),
		without.V4.Text(), without.V6.Text(),
	}, "\n")
}

func firstDifference(got, want []string) (string, bool) {
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return "one has\n" + g + "\nthe other\n" + w, true
		}
	}
	return "", false
}
