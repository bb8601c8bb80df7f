package pf

import (
	"slices"
	"strings"

	"github.com/fwctl/fwctl/rules"
)

// The keywords under which the rules of others are evaluated, by the part of the
// file in which they stand.
var (
	scrubKeywords       = []string{"scrub-anchor"}
	translationKeywords = []string{"nat-anchor", "rdr-anchor", "dummynet-anchor"}
	filterKeywords      = []string{"anchor"}
)

// apple is the anchor of the system itself: Internet Sharing and others put
// their rules there (/etc/pf.conf as macOS has it).
const apple = "com.apple/*"

// foreign keeps the anchors of others in a whole file.
func (b *builder) foreign(keywords []string) []Line {
	if b.opt.Form != File {
		return nil
	}
	var lines []Line
	for _, k := range keywords {
		for _, name := range b.anchors() {
			if b.keeps(k, name) {
				lines = append(lines, AnchorPoint{k, name})
			}
		}
	}
	if keywords[0] == "anchor" && b.opt.Dialect == MacOS {
		lines = append(lines, Load{"com.apple", "/etc/pf.anchors/com.apple"})
	}
	if keywords[0] != "anchor" && len(lines) > 0 {
		lines = append([]Line{Blank{}}, lines...)
	}
	return lines
}

func (b *builder) anchors() []string {
	names := slices.Clone(b.rs.PFAnchors)
	if b.opt.Dialect == MacOS {
		names = append(names, apple)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, n := range names {
		if n == "" || strings.ContainsFunc(n, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
			b.fail(rules.Pos{}, "the name of an anchor of pf is letters, digits and signs, not "+quoted(n), "")
		}
	}
	return names
}

func (b *builder) keeps(keyword, name string) bool {
	switch keyword {
	case "scrub-anchor", "dummynet-anchor":
		return name == apple
	case "nat-anchor", "rdr-anchor":
		return b.natAnchors
	}
	return true
}
