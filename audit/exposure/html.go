package exposure

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fwctl/fwctl/audit/drift"
)

// About is what a page says of itself.
type About struct {
	Host    string // the host's name
	Version string // of fwctl
	Policy  string // its path; empty: none was held against
	Digest  string // of the policy
	At      time.Time

	Drift   *drift.Report // of the host from the policy; nil: it was not held against it
	NoDrift string        // why not; empty: there is no policy
	Past    []Event       // what was applied, the newest first
	NoPast  string        // why that is not known; empty: it is
}

// Event is something that changed the rules of the host.
type Event struct {
	At        time.Time
	Did       string // "apply", "rollback"
	Policy    string
	Digest    string
	Backend   string
	User      string
	Confirmed string // by whom, where that was another
	Changes   int    // objects of the kernel
}

//go:embed page.html
var pageText string

// HTML writes the report as a page that needs nothing else: no script, no network. What
// the host says, as the names of processes, is text there, whatever it holds.
func (r *Report) HTML(w io.Writer, about About) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"code": codeOf, "listens": listens, "add": func(a, b int) int { return a + b }, "list": func(ss []string) string { return strings.Join(ss, ", ") },
		"time": func(t time.Time) string { return t.Format(time.RFC3339) },
		"mark": func(l level) string { return levelMarks[l] }, "word": func(l level) string { return levelWords[l] },
		"worst": worst, "short": func(s string) string { return s[:min(len(s), 12)] },
	}).Parse(pageText)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, r.page(about)); err != nil {
		return err
	}
	_, err = io.WriteString(w, visible(b.String()))
	return err
}

// What the cells of the matrix say: a mark, and the same in words.
var (
	levelMarks = [...]string{none: "–", part: "◐", whole: "●", untold: "?"}
	levelWords = [...]string{none: "no", part: "in part", whole: "yes", untold: "not told"}
)

// page is what the template shows.
type page struct {
	About
	Report    *Report
	Mark      string
	Judgement string
	Held      bool
	Findings  []Finding // that are not accepted
	Accepted  []Finding
	Matrix    *matrixPage
	Picture   *picture
	Closed    []*Door // that nobody reaches
	Local     []*Door
	Compared  *comparedPage
}

// matrixPage is the matrix as the template can reach it.
type matrixPage struct {
	Columns []string
	Rest    int
	Rows    []rowPage
}

type rowPage struct {
	Door  *Door
	Bad   []string // codes of what was found there
	Cells []cellPage
	Rest  string // of the other sources
}

type cellPage struct {
	Level level
	To    string
}

func (r *Report) page(about About) *page {
	p := &page{About: about, Report: r, Held: r.held}
	bad := map[string][]string{}
	for _, f := range r.Findings {
		if f.Accepted != "" {
			p.Accepted = append(p.Accepted, f)
			continue
		}
		p.Findings = append(p.Findings, f)
		if f.counts() && f.Door != "" && !slices.Contains(bad[f.Door], f.Code) {
			bad[f.Door] = append(bad[f.Door], f.Code)
		}
	}
	for i := range r.Doors {
		switch d := &r.Doors[i]; {
		case d.Local:
			p.Local = append(p.Local, d)
		case len(d.Sources) == 0 && !d.Untold:
			p.Closed = append(p.Closed, d)
		}
	}
	p.Mark, p.Judgement = r.judgement()
	m := newMatrix(r.Doors)
	p.Matrix, p.Picture = m.page(bad), m.draw(bad)
	if about.Drift != nil {
		p.Compared = compared(about.Drift)
	}
	return p
}

// judgement is the verdict, as a mark and in a sentence.
func (r *Report) judgement() (mark, words string) {
	n := r.counts()
	switch {
	case r.Verdict == Findings:
		return "✗", "Findings: " + count(n[Critical], "critical", "critical") + ", " + count(n[Warning], "warning", "warnings") + "."
	case r.Verdict == CannotTell:
		return "?", "Cannot tell: nothing was found that counts, but not all could be told."
	case !r.held:
		return "✓", "Good: nothing was found, but there is no policy to hold the host against."
	}
	return "✓", "Good: the host is reached as the policy says, and nothing was found that counts."
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func (m *matrix) page(bad map[string][]string) *matrixPage {
	p := &matrixPage{Rest: m.rest}
	for _, c := range m.columns {
		p.Columns = append(p.Columns, source(c))
	}
	for _, r := range m.rows {
		row := rowPage{Door: r.door, Bad: bad[r.door.Name()], Rest: r.rest()}
		for _, c := range r.cells {
			row.Cells = append(row.Cells, cellPage{c.level, c.to})
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// rest says how many of the sources that have no column get in.
func (r *row) rest() string {
	switch {
	case r.door.Untold && r.more == 0:
		return levelMarks[untold] + " " + levelWords[untold]
	case r.door.More:
		return fmt.Sprintf("%s %d and more", levelMarks[whole], r.more)
	case r.more == 0:
		return levelMarks[none] + " none of them"
	}
	return fmt.Sprintf("%s %d of them", levelMarks[whole], r.more)
}

// visible writes what is no printable letter as an escape: a name may turn the direction
// of a line, or hide a part of itself.
func visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && s[i] != "\uFFFD"[0]:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// listens says on which addresses the door is.
func listens(d *Door) string {
	if slices.Contains(d.Addrs, netip.IPv4Unspecified()) && slices.Contains(d.Addrs, netip.IPv6Unspecified()) {
		return "on all addresses"
	}
	if len(d.Addrs) == 0 {
		return ""
	}
	return "on " + addrsText(d.Addrs)
}

// worst is the gravest severity of kinds of findings.
func worst(codes []string) Severity {
	s := Note
	for _, c := range codes {
		s = min(s, codeOf(c).Severity)
	}
	return s
}
