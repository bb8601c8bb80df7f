package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a policy file. The zero value is no place.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`   // from 1
	Col  int    `json:"column"` // from 1, in bytes
}

// String writes "file:line:col", without the parts that are not known.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Severity says what a Problem does to the policy. The zero value is Error.
type Severity uint8

// The severities.
const (
	Error   Severity = iota // the policy cannot be used
	Warning                 // it can, but probably does not say what was meant
	Note                    // worth knowing, nothing to mend
)

var severityNames = [...]string{"error", "warning", "note"}

// String returns "error", "warning" or "note".
func (s Severity) String() string { return severityNames[s] }

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one thing to tell the writer of a policy.
type Problem struct {
	Pos      Pos      `json:"pos"`
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary"`           // what is wrong and what was expected, lower case, no final period
	Hint     string   `json:"hint,omitempty"`    // the way out; may be empty
	Excerpt  string   `json:"excerpt,omitempty"` // the line of the file; may be empty
}

// Error writes the problem on one line, without excerpt.
func (p Problem) Error() string {
	s := p.Summary
	if at := p.Pos.String(); at != "" {
		s = at + ": " + s
	}
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Problems are all the problems of one run, in the order of their places. It is
// an error when it holds at least one of severity Error: see Err.
type Problems []Problem

// Error joins the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the problems of severity Error as an error, nil if there are none.
func (ps Problems) Err() error {
	errs := ps.Of(Error)
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// Of returns the problems of one severity.
func (ps Problems) Of(s Severity) Problems {
	var out Problems
	for _, p := range ps {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// Sort orders the problems by place, then by text.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col),
			cmp.Compare(a.Summary, b.Summary))
	})
}

// tidy returns the problems in order, each once.
func (ps Problems) tidy() Problems {
	ps.Sort()
	return slices.Compact(ps)
}
