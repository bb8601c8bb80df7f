package adopt

import "strings"

// lineOf returns the number of the first line that is a text, but for blanks.
func lineOf(text, line string) int {
	n := 0
	for l := range strings.Lines(text) {
		if n++; strings.TrimSpace(l) == line {
			return n
		}
	}
	return 0
}
