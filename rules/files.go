package rules

import (
	"bytes"
	"sort"
)

// files are the texts of a policy by the names under which messages show them.
type files struct {
	byName map[string]*fileText
}

// fileText is one file and where its lines begin.
type fileText struct {
	name  string // as messages show it
	path  string // in its file system
	data  []byte
	lines []int // offsets; made at the first use
}

func (f *fileText) index() []int {
	if f.lines == nil {
		f.lines = make([]int, 1, bytes.Count(f.data, []byte{'\n'})+1)
		for i, c := range f.data {
			if c == '\n' {
				f.lines = append(f.lines, i+1)
			}
		}
	}
	return f.lines
}

// pos returns the place of an offset.
func (f *fileText) pos(off int) Pos {
	lines := f.index()
	off = min(max(off, 0), len(f.data))
	i := sort.Search(len(lines), func(i int) bool { return lines[i] > off }) - 1
	return Pos{File: f.name, Line: i + 1, Col: off - lines[i] + 1}
}

// line returns the text of a line, "" if there is none.
func (f *fileText) line(n int) string {
	lines := f.index()
	if n < 1 || n > len(lines) {
		return ""
	}
	rest := f.data[lines[n-1]:]
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	return string(bytes.TrimSuffix(rest, []byte{'\r'}))
}

// problem makes a Problem at a place of one of the files.
func (fs *files) problem(s Severity, at Pos, summary, hint string) Problem {
	p := Problem{Pos: at, Severity: s, Summary: summary, Hint: hint}
	if f := fs.byName[at.File]; f != nil {
		p.Excerpt = f.line(at.Line)
	}
	return p
}
