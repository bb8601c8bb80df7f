package rules_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/fwctl/fwctl/rules"
)

// What TOML lets dotted keys, headers and inline tables add to one another is
// taken, and nothing else: the whole decoder of the parser's authors is the judge.
func TestTablesThatGrow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	of := func(list ...string) string { return list[r.IntN(len(list))] }
	for range 20_000 {
		text := ""
		for range 2 + r.IntN(4) {
			key := of("a", "b", "c", "a.b", "a.c", "b.c", "a.b.c", "b.a", "c.b")
			text += of("["+key+"]\n", "[["+key+"]]\n", key+" = "+of("1", "{}", "{b=1}", "{c.b=1}", "[1]", "[{a=1}]", "{a={b=1},a.c=2}", "{a.b=1,a.c=2}")+"\n")
		}
		_, problems := rules.Load(fileSystem(map[string]string{"p.toml": text}), "p.toml", rules.LoadOptions{})
		refused := slices.ContainsFunc(problems, func(p rules.Problem) bool {
			return strings.HasSuffix(p.Summary, "is defined twice") || strings.HasSuffix(p.Summary, "to which nothing can be added")
		})
		var v map[string]any
		if err := toml.Unmarshal([]byte(text), &v); refused != (err != nil) {
			t.Errorf("refused: %v, want: %v\n%s", refused, err, text)
		}
	}
}
