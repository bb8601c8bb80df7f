package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// table is rows in columns that are aligned, under titles. Where lines would be longer
// than the width the columns are wrapped, nothing is cut off.
type table struct {
	head   []string
	groups []tableGroup
}

type tableGroup struct {
	title string // already painted
	rows  [][]string
}

// The white space between columns, and before a row.
const (
	gap    = "  "
	indent = "  "
)

// narrow is the width below which the cells of a row stand below each other.
const narrow = 72

// write prints the table in lines of at most so many columns of a terminal; 0: they are
// as long as they are.
func (t *table) write(w io.Writer, most int) {
	if most > 0 && most < narrow {
		t.stack(w, most)
		return
	}
	widths := t.widths(most)
	var b strings.Builder
	across(&b, t.head, widths)
	for _, g := range t.groups {
		b.WriteString(g.title + "\n")
		for _, row := range g.rows {
			across(&b, row, widths)
		}
	}
	_, _ = io.WriteString(w, b.String()) // as every answer is printed
}

// widths are those of the columns: as wide as their cells, if that fits; else those that
// want more than their share have the same, or what their lines need of it.
func (t *table) widths(most int) []int {
	want := t.widest(func(_ int, cell string) int { return columns(cell) })
	if most == 0 {
		return want
	}
	fit(want, most-len(indent)-len(gap)*(len(want)-1))
	return t.widest(func(i int, cell string) int {
		n := 0
		for _, line := range wrap(cell, want[i]) {
			n = max(n, columns(line))
		}
		return n
	})
}

// widest is the largest measure in each column.
func (t *table) widest(measure func(column int, cell string) int) []int {
	out := make([]int, len(t.head))
	for i, cell := range t.head {
		out[i] = measure(i, cell)
	}
	for _, g := range t.groups {
		for _, row := range g.rows {
			for i, cell := range row {
				out[i] = max(out[i], measure(i, cell))
			}
		}
	}
	return out
}

// fit makes the widths as small as the room asks for, none smaller than its share.
func fit(widths []int, room int) {
	for limit := room; ; limit-- {
		sum := 0
		for _, w := range widths {
			sum += min(w, limit)
		}
		if sum > room && limit > 1 {
			continue
		}
		for i := range widths {
			widths[i] = min(widths[i], limit)
		}
		return
	}
}

// across prints the cells of a row beside each other.
func across(b *strings.Builder, row []string, widths []int) {
	lines, cells := 1, make([][]string, len(row))
	for i, cell := range row {
		cells[i] = wrap(cell, widths[i])
		lines = max(lines, len(cells[i]))
	}
	for n := range lines {
		line := indent
		for i, c := range cells {
			text := ""
			if n < len(c) {
				text = c[n]
			}
			line += text + strings.Repeat(" ", max(0, widths[i]-columns(text))+len(gap))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// stack prints the cells of each row below each other, with the names of their columns.
func (t *table) stack(w io.Writer, most int) {
	var b strings.Builder
	longest := 0
	for _, name := range t.head[1:] {
		longest = max(longest, columns(name))
	}
	for _, g := range t.groups {
		b.WriteString(g.title + "\n")
		for _, row := range g.rows {
			for i, cell := range row {
				first := indent
				if i > 0 {
					first = fmt.Sprintf("%s%s%-*s ", indent, gap, longest, strings.ToLower(t.head[i]))
				}
				if cell != "" {
					hang(&b, first, columns(first), cell, most)
				}
			}
		}
	}
	_, _ = io.WriteString(w, b.String())
}

// hang prints text behind its beginning, which takes so many columns, and what does not
// find room there below.
func hang(b *strings.Builder, first string, taken int, text string, most int) {
	room := most - taken
	if most > 0 && room < most/4 { // too narrow for both
		b.WriteString(strings.TrimRight(first, " ") + "\n")
		first, taken = indent+gap, columns(indent+gap)
		room = max(1, most-taken)
	}
	for i, line := range wrap(text, room) {
		if i > 0 {
			first = strings.Repeat(" ", taken)
		}
		b.WriteString(strings.TrimRight(first+line, " ") + "\n")
	}
}

// wrap breaks text into lines of at most so many columns of a terminal, between words
// where it can; 0: it is one line.
func wrap(text string, most int) []string {
	if most <= 0 || columns(text) <= most {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && columns(line)+1+columns(word) <= most {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for columns(word) > most {
			n := fits(word, most)
			lines = append(lines, word[:n])
			word = word[n:]
		}
		line = word
	}
	return append(lines, line)
}

// fits returns how many bytes of the word, of one letter at least, find room: up to where
// it may be broken well, if there is such a place in the second half.
func fits(word string, most int) int {
	taken, end, good := 0, 0, 0
	for i, r := range word {
		if taken += columnsOf(r); taken > most && end > 0 {
			break
		}
		end = i + len(string(r))
		if strings.ContainsRune("-:./,@_", r) && taken > most/2 {
			good = end
		}
	}
	if good > 0 {
		return good
	}
	return end
}

// columns is how many columns of a terminal text takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += columnsOf(r)
	}
	return n
}

// columnsOf is two for the wide letters of East Asia (Unicode, Standard Annex 11), none for
// marks on the letter before.
func columnsOf(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
