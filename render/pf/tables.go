package pf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/rules"
)

// tableEntries is the number of addresses that the tables of all three systems
// hold unless told otherwise (PFR_KENTRY_HIWAT); while new tables are loaded, the
// old ones count too.
const tableEntries = 200_000

// tableLines are the tables that a rule names, by name.
func (b *builder) tableLines(body []Line) []Line {
	used := map[string]bool{}
	for _, l := range body {
		if r, ok := l.(Rule); ok {
			for _, h := range slices.Concat(r.From.Hosts, r.To.Hosts) {
				used[h.Table] = true
			}
		}
	}
	tables := slices.DeleteFunc(b.tables, func(t Table) bool { return !used[t.Name] })
	if len(tables) == 0 {
		return nil
	}
	slices.SortFunc(tables, func(s, t Table) int { return strings.Compare(s.Name, t.Name) })
	lines := []Line{Blank{}}
	for _, t := range tables {
		if remark := b.remarks[t.Name]; remark != "" {
			lines = append(lines, Comment(remark))
		}
		lines = append(lines, t)
	}
	return lines
}

// limitLines make room for the addresses of the tables.
func (b *builder) limitLines(tables []Line) []Line {
	n := 0
	for _, l := range tables {
		if t, ok := l.(Table); ok {
			n += len(t.Entries)
		}
	}
	if n <= tableEntries/2 {
		return nil
	}
	o := Option{"limit", fmt.Sprintf("table-entries %d", 2*n+tableEntries)}
	if b.opt.Form == Anchor {
		b.note(rules.Pos{}, fmt.Sprintf("the tables hold %d addresses, pf no more than %d unless told otherwise", n, tableEntries),
			"pf.conf must have the line `"+lineText(o)+"`")
		return nil
	}
	return []Line{o}
}
