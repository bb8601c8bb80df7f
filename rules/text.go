package rules

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// excerptWidth is how much of a long line Text shows.
const excerptWidth = 100

// Text writes the problem for a person, on one line and the excerpt below it:
//
//	policy.toml:12:11: error: there is no group "ofice"
//	   12 | from  = ["ofice"]
//	      |          ^
//	      = did you mean "office"?
//
// It ends in a newline.
func (p Problem) Text() string {
	var b strings.Builder
	if at := p.Pos.String(); at != "" {
		b.WriteString(at + ": ")
	}
	b.WriteString(p.Severity.String() + ": " + printable(p.Summary) + "\n")
	number := strconv.Itoa(p.Pos.Line)
	margin := max(len(number), 5)
	if p.Excerpt != "" && p.Pos.Line > 0 {
		line, caret := window(p.Excerpt, p.Pos.Col)
		b.WriteString(strings.Repeat(" ", margin-len(number)) + number + " | " + line + "\n")
		if p.Pos.Col > 0 {
			b.WriteString(strings.Repeat(" ", margin) + " | " + caret + "^\n")
		}
	}
	if p.Hint != "" {
		b.WriteString(strings.Repeat(" ", margin) + " = " + printable(p.Hint) + "\n")
	}
	return b.String()
}

// window returns the part of a line around a column, and what stands before the
// caret below it: tabs stay tabs, so that the caret meets its place.
func window(line string, col int) (shown, caret string) {
	line = strings.ToValidUTF8(line, "�")
	at := min(max(col-1, 0), len(line))
	start, end := 0, len(line)
	lead, trail := "", ""
	if at > excerptWidth*3/4 {
		start, lead = runeStart(line, at-excerptWidth/2), "..."
	}
	if end-start > excerptWidth {
		end, trail = runeStart(line, start+excerptWidth), "..."
	}
	for _, r := range lead + line[start:max(runeStart(line, at), start)] {
		if r == '\t' {
			caret += "\t"
		} else {
			caret += " "
		}
	}
	return lead + printable(line[start:end]) + trail, caret
}

// runeStart returns the start of the rune at or before the byte.
func runeStart(s string, i int) int {
	for i > 0 && i < len(s) && !utf8.RuneStart(s[i]) {
		i--
	}
	return i
}

// printable replaces control characters, which a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '·'
		}
		return r
	}, s)
}
