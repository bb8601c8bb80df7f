package adopt

import (
	"os"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
)

// corpusFiles looks from a directory two below the root, as gen.Corpus does.
func corpusFiles(t *testing.T, patterns ...string) []string {
	t.Helper()
	t.Chdir("../read/iptables")
	return gen.CorpusFiles(t, patterns...)
}

// tally counts what became of rulesets.
type tally struct{ rulesets, rules, translated, equal, named, left int }

// prove imports a ruleset and compares its policy with it: either they are equal,
// or the rules that are left out say why not.
func (n *tally) prove(t *testing.T, r *Ruleset) {
	t.Helper()
	res, err := Import(r, Limits{Nodes: 2_000_000})
	if err != nil {
		t.Errorf("%s: %v", r.Name, err)
		return
	}
	n.rulesets++
	n.rules += res.Rules
	n.translated += res.Translated
	c, err := proof(res)
	if err != nil {
		t.Errorf("%s: %v\n%s", r.Name, err, res.Policy)
		return
	}
	switch {
	case c.Result == compare.Equal:
		n.equal++
	case len(res.Left) > 0:
		n.named++
	default:
		t.Errorf("%s: %v, and no rule is said to be left out: %+v\n%s", r.Name, c.Result, c.Parts, res.Policy)
	}
	if len(res.Left) > 0 {
		n.left++
	}
}

// proof compares the policy of a result with what was imported.
func proof(res *Result) (*compare.Comparison, error) {
	r := res.source
	return compare.Compare(
		compare.Side{Name: "policy", V4: r.V4 != nil, V6: r.V6 != nil, Filter: func(_ packet.Hook, is6 bool) *packet.Filter { return res.Means(is6) }},
		compare.Side{Name: r.Name, V4: r.V4 != nil, V6: r.V6 != nil, Filter: func(_ packet.Hook, is6 bool) *packet.Filter { return res.Imported(is6) }},
		compare.Question{Hooks: []packet.Hook{packet.Input}, Kinds: []compare.Kind{compare.First}, RejectIsDrop: true},
	)
}

// someServices are the names of ports in the corpus.
var someServices = iptables.ParseServices("ssh 22/tcp\nsmtp 25/tcp mail\ntime 37/udp timserver\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp www\nhttps 443/tcp\n")

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Rulesets of other projects are translated, nearly all of their rules that decide
// at the input hook, and what is not is named.
func TestCorpus(t *testing.T) {
	var files, blocks tally
	for _, f := range corpusFiles(t, "moby/iptabler/*.golden", "moby/docs-live/*.rules", "openstack-iptables-sefl/save/*.rules",
		"aerleon/demo/*.ipt.ref", "aerleon/speedway/*", "ferm/preserve/*.result") {
		files.prove(t, saved(t, f, read(t, f), strings.Contains(f, "__ip6tables")))
	}
	for _, f := range gen.CorpusFiles(t, "ufw/*/*/result") {
		for _, block := range strings.Split(read(t, f), "*filter\n")[1:] {
			block, _, _ = strings.Cut(block, "\nCOMMIT")
			is6 := strings.Contains(block, "ufw6-")
			chain := map[bool]string{false: "ufw-user-input", true: "ufw6-user-input"}[is6]
			blocks.prove(t, saved(t, f, "*filter\n:INPUT DROP [0:0]\n"+block+"\n-A INPUT -j "+chain+"\nCOMMIT\n", is6))
		}
	}
	for what, n := range map[string]tally{"files": files, "blocks": blocks} {
		t.Logf("%s: %d rulesets, %d of %d rules translated; %d proved equal, %d differ and say where", what, n.rulesets, n.translated, n.rules, n.equal, n.named)
		if n.translated*10 < n.rules*9 {
			t.Errorf("%s: fewer than nine in ten rules were translated", what)
		}
	}
	if files.rulesets < 306 || blocks.rulesets < 921 {
		t.Errorf("%d files and %d blocks", files.rulesets, blocks.rulesets)
	}
}

func saved(t *testing.T, file, text string, is6 bool) *Ruleset {
	t.Helper()
	f, err := IPTables(file, text, is6, iptables.Options{Services: someServices})
	if err != nil {
		t.Fatal(err)
	}
	if is6 {
		return &Ruleset{Name: file, V6: f}
	}
	return &Ruleset{Name: file, V4: f}
}
