package exposure

import (
	"fmt"
	"slices"
	"strings"
)

// mostDrawn are the ports that a picture has.
const mostDrawn = 30

// picture is a drawing of the matrix: sources left, ports right, a line for each source
// that a port lets in. Units are those of the page at its full width.
type picture struct {
	Width, Height int
	Text          string // what it shows, in words
	Sources       []label
	Ports         []label
	Lines         []line
}

type label struct {
	Y    int
	Text string   // cut to fit
	Bad  []string // the codes of what was found
}

type line struct {
	Path string
	Bad  []string // those of its port
}

// The places of the picture; letters are 8 wide.
const (
	pictureWidth = 1000
	leftEnd      = 330 // of the sources' words
	rightStart   = 600 // of the ports' words
	lineHeight   = 30
	top          = 50
	leftLetters  = 38
	rightLetters = 46
)

// draw makes the picture; nil, if there is nothing to draw. bad are the codes by door.
func (m *matrix) draw(bad map[string][]string) *picture {
	rows := m.mostTelling(bad)
	if len(rows) == 0 || len(m.columns) == 0 {
		return nil
	}
	left := len(m.columns) + b2i(m.rest > 0)
	right := len(rows) + b2i(len(rows) < len(m.rows))
	p := &picture{Width: pictureWidth, Height: top + lineHeight*max(left, right)}
	for i := range left {
		full := fmt.Sprintf("%d others", m.rest)
		if i < len(m.columns) {
			full = source(m.columns[i])
		}
		p.Sources = append(p.Sources, label{Y: place(i, left, p.Height), Text: cut(full, leftLetters)})
	}
	for i := range right {
		y := place(i, right, p.Height)
		if i == len(rows) {
			full := fmt.Sprintf("%d more ports", len(m.rows)-len(rows))
			p.Ports = append(p.Ports, label{Y: y, Text: full})
			break
		}
		p.port(&rows[i], y, bad[rows[i].door.Name()])
	}
	p.Text = m.words(rows)
	return p
}

// port draws a port and its lines.
func (p *picture) port(r *row, y int, bad []string) {
	full := r.door.Name() + " " + r.door.behind()
	if r.door.Untold {
		full = r.door.Name() + " (not told) " + r.door.behind()
	}
	p.Ports = append(p.Ports, label{y, cut(full, rightLetters-len(strings.Join(bad, " "))), bad})
	from := r.drawn
	if r.more > 0 {
		from = append(slices.Clone(from), len(p.Sources)-1)
	}
	for _, i := range from {
		a, mid := p.Sources[i].Y, (leftEnd+rightStart)/2
		p.Lines = append(p.Lines, line{fmt.Sprintf("M%d %dC%d %d %d %d %d %d", leftEnd+14, a, mid, a, mid, y, rightStart-14, y), bad})
	}
}

// mostTelling are the rows that are drawn: those with findings before others, if not all
// find room.
func (m *matrix) mostTelling(bad map[string][]string) []row {
	if len(m.rows) <= mostDrawn {
		return m.rows
	}
	rows := slices.Clone(m.rows)
	slices.SortStableFunc(rows, func(a, b row) int { return b2i(len(bad[b.door.Name()]) > 0) - b2i(len(bad[a.door.Name()]) > 0) })
	return rows[:mostDrawn]
}

// words say what the picture shows, by source.
func (m *matrix) words(rows []row) string {
	var out []string
	say := func(who string, gets func(r *row) bool) {
		var ports []string
		for i := range rows {
			if gets(&rows[i]) {
				ports = append(ports, rows[i].door.Name())
			}
		}
		if len(ports) > 0 {
			out = append(out, who+" "+strings.Join(ports, ", "))
		}
	}
	for i := range m.columns {
		say(source(m.columns[i])+" reaches", func(r *row) bool { return slices.Contains(r.drawn, i) })
	}
	say("some of the others reach", func(r *row) bool { return r.more > 0 })
	say("not all could be told of", func(r *row) bool { return r.door.Untold || r.door.More })
	return strings.Join(out, "; ") + "."
}

// place is the middle of the i-th of n lines that stand in the middle of the height.
func place(i, n, height int) int {
	return top + (height-top-n*lineHeight)/2 + i*lineHeight + lineHeight/2
}

// cut shortens words to so many letters.
func cut(s string, letters int) string {
	r := []rune(visible(strings.Join(strings.Fields(s), " ")))
	if len(r) <= letters {
		return string(r)
	}
	return string(r[:max(1, letters-1)]) + "…"
}
