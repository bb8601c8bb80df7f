package live

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// NFTFile is what a text of nft means: LoadNFT makes it.
type NFTFile struct {
	rules HostRules
	texts ruleTexts
}

// Filter returns what the text does with packets of a family at a hook. The
// rules go by what nft lists them as.
func (f *NFTFile) Filter(hook packet.Hook, is6 bool) *packet.Filter {
	fl := f.rules.Filter(hook, is6)
	f.texts.name(fl)
	return fl
}

// Beside returns what the text has that acts on packets and is not modelled.
func (f *NFTFile) Beside() []Beside { return f.rules.Beside }

// ruleTexts are the rules as nft lists them.
type ruleTexts map[ruleHandle]string

type ruleHandle struct {
	table  string // "inet filter"
	handle uint64
}

var (
	tableLine = regexp.MustCompile(`^table (\S+ \S+) \{`)
	ruleEnd   = regexp.MustCompile(` # handle (\d+)$`)
)

// parseListing reads what `nft --handle list ruleset` prints.
func parseListing(listing string) ruleTexts {
	texts, table, begun := ruleTexts{}, "", ""
	for line := range strings.Lines(listing) {
		line = strings.TrimRight(line, "\n")
		if m := tableLine.FindStringSubmatch(line); m != nil {
			table, begun = m[1], ""
			continue
		}
		begun = strings.TrimSpace(begun + " " + strings.TrimSpace(line))
		m := ruleEnd.FindStringSubmatch(begun)
		switch {
		case m != nil && !strings.HasSuffix(begun[:len(begun)-len(m[0])], "{"):
			handle, _ := strconv.ParseUint(m[1], 10, 64)
			texts[ruleHandle{table, handle}] = strings.TrimSuffix(begun, m[0])
			begun = ""
		case m != nil || strings.HasSuffix(begun, ";") || begun == "}":
			begun = "" // the beginning of a chain, its hook, its end
		}
	}
	return texts
}

// name gives the rules of a filter their texts.
func (t ruleTexts) name(f *packet.Filter) {
	each := func(c *packet.Chain) {
		for i := range c.Rules {
			p := &c.Rules[i].Place
			if text, ok := t[ruleHandle{p.Table, p.Handle}]; ok {
				p.Text, p.Name = text, "" // the text holds the comment
			}
		}
	}
	for _, c := range f.Base {
		each(c)
	}
	for _, c := range f.Chains {
		each(c)
	}
}
