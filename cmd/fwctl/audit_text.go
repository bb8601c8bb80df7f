package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/audit/exposure"
)

// audited prints the report: the ports, the worst first, then what was found, then what
// could not be told.
func (u *ui) audited(a *audited, all bool) {
	u.doors(a.Doors, a.Findings, all, "")
	idle := 0
	for i := range a.Namespaces {
		if n := &a.Namespaces[i]; len(n.Doors)+len(n.Notes) > 0 || all {
			u.namespace(n, all)
		} else {
			idle++
		}
	}
	if idle > 0 {
		u.print("\n%s, where nothing waits (--all)\n", plural(idle, "more network namespace"))
	}
	if len(a.Namespaces) > 0 && len(a.Findings) == 0 {
		u.print("\n")
	}
	for _, f := range a.Findings {
		u.auditFinding(f)
	}
	if len(a.Findings) > 0 && len(a.Notes) > 0 {
		u.print("\n")
	}
	for _, n := range a.Notes {
		u.hang("note  ", "", n)
	}
	against := cmp.Or(a.Policy, "no policy is confirmed, and none was named")
	u.hang(a.Verdict.String()+": ", auditColor[a.Verdict], against)
}

var auditColor = map[exposure.Verdict]string{exposure.Good: green, exposure.Findings: red, exposure.CannotTell: yellow}

// hang prints text behind a beginning, in lines as long as the terminal's.
func (u *ui) hang(first, color, text string) {
	var b strings.Builder
	word := strings.TrimRight(first, " ")
	hang(&b, u.paint(u.stdout, color, word)+first[len(word):], columns(first), text, u.width)
	u.print("%s", b.String())
}

// The groups of ports, the worst first.
const (
	withCritical = iota
	withWarning
	notTold
	reached
	kept
	ofThisHost
)

var doorGroups = [...]struct{ title, color string }{
	withCritical: {"with critical findings", red},
	withWarning:  {"with warnings", yellow},
	notTold:      {"reached by whom cannot be told", yellow},
	reached:      {"reached from outside", green},
	kept:         {"kept from all outside", ""},
	ofThisHost:   {"for this host alone", ""},
}

// doors prints a table of ports.
func (u *ui) doors(doors []exposure.Door, findings []exposure.Finding, all bool, alone string) {
	t := table{head: []string{"PORT", "ON", "REACHED BY", "WAITS", "SERVICE"}}
	rows := make([][][]string, len(doorGroups))
	found := map[string][]exposure.Finding{}
	for _, f := range findings {
		if f.Accepted == "" && f.Severity != exposure.Note {
			found[f.Door] = append(found[f.Door], f)
		}
	}
	for i := range doors {
		d := &doors[i]
		group, codes := doorGroup(d, found[d.Name()])
		rows[group] = append(rows[group], []string{
			strings.Join(append([]string{d.Name()}, codes...), " "), listensOn(d), reachedBy(d), strings.Join(waits(d), "; "), strings.Join(d.Services, ", "),
		})
	}
	for i, g := range doorGroups {
		title := g.title
		if i == ofThisHost {
			title = cmp.Or(alone, title)
		}
		if i == ofThisHost && !all && len(rows[i]) > 0 {
			defer u.print("%d more %s (--all)\n", len(rows[i]), title)
			continue
		}
		if len(rows[i]) > 0 {
			t.groups = append(t.groups, tableGroup{u.paint(u.stdout, g.color, title), rows[i]})
		}
	}
	if len(t.groups) > 0 {
		t.write(u.stdout, u.width)
	}
}

// doorGroup says where a port belongs, and the codes of what was found there.
func doorGroup(d *exposure.Door, findings []exposure.Finding) (group int, codes []string) {
	group = reached
	switch {
	case d.Untold:
		group = notTold
	case len(d.From) == 0:
		group = kept
	}
	if d.Local {
		return ofThisHost, nil
	}
	for _, f := range findings {
		if group = min(group, withWarning); f.Severity == exposure.Critical {
			group = withCritical
		}
		if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	return group, codes
}

// listensOn is short for the addresses: "*" for all.
func listensOn(d *exposure.Door) string {
	var out []string
	both := slices.Contains(d.Addrs, netip.IPv4Unspecified()) && slices.Contains(d.Addrs, netip.IPv6Unspecified())
	if both {
		out = append(out, "*")
	}
	for _, a := range d.Addrs {
		if !both || !a.IsUnspecified() {
			out = append(out, a.String())
		}
	}
	return strings.Join(out, ", ") + after(" by ", d.Interface)
}

func waits(d *exposure.Door) []string {
	var out []string
	for _, w := range d.Waits {
		if text := w.String(); w.Proxy == "" || !slices.Contains(out, text) { // one for each family
			out = append(out, text)
		}
	}
	out = append(out, d.Published...)
	if d.Speaks != "" {
		out = append(out, "speaks "+d.Speaks)
	}
	return out
}

func reachedBy(d *exposure.Door) string {
	from := strings.Join(d.From, "; ")
	if more := len(d.Sources) - len(d.From); d.Others && more > 0 {
		from += fmt.Sprintf("; %d more", more)
	}
	switch {
	case d.Local:
		return "nobody outside"
	case len(d.From) == 0 && d.Untold:
		return "cannot tell"
	case len(d.From) == 0:
		return "nobody"
	case d.Untold:
		return from + "; of others it cannot be told"
	case d.More:
		return from + "; others"
	}
	return from
}

// namespace prints what waits in another network namespace.
func (u *ui) namespace(n *exposure.Namespace, all bool) {
	u.print("\n")
	u.hang("network namespace ", cyan, n.String()+after(": ", strings.Join(n.Holds, ", "))+after("; ", strings.Join(n.Addresses, ", ")))
	if len(n.Doors) == 0 {
		u.print("%snothing waits there\n", indent)
		return
	}
	u.hang(indent, "", "told for packets that have come into it, by its own rules; which come so far is not followed")
	u.doors(n.Doors, nil, all, "for this namespace alone")
}

// auditFinding prints a finding.
func (u *ui) auditFinding(f exposure.Finding) {
	colour := map[exposure.Severity]string{exposure.Critical: red, exposure.Warning: yellow}[f.Severity]
	word := f.Severity.String()
	if f.Accepted != "" {
		colour, word = "", "accepted"
	}
	u.print("\n")
	u.hang(fmt.Sprintf("%-8s %s ", word, f.Code), colour, f.Summary)
	for _, e := range f.Evidence {
		u.hang("           ", "", e)
	}
	line := func(name, text string) {
		if text != "" {
			u.hang(fmt.Sprintf("  %-8s ", name), "", text)
		}
	}
	line("packet", f.Packet)
	line("policy", strings.TrimPrefix(f.Section+after(", ", f.At), ", "))
	line("reason", f.Accepted)
	line("until", f.Until)
}
