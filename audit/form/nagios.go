package form

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// The states of a Nagios plugin, which are its exit statuses (Monitoring Plugins
// Development Guidelines).
const (
	OK = iota
	Warning
	Critical
	Unknown
)

var names = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// width is how long the text may be.
const width = 80

// Count is a number that alarms if it is more than zero: in the state, or not at all.
type Count struct {
	Name  string
	Value int
	State int // Warning, Critical; OK: it only tells
}

// Nagios writes a plugin's line: what was checked, the state, a text, and the counts and
// the time that it took as performance data.
func Nagios(w io.Writer, what string, state int, text string, counts []Count, took time.Duration) error {
	var parts []string
	for _, c := range counts {
		warn, crit := "", ""
		switch c.State {
		case Critical:
			crit = "0"
		case Warning:
			warn = "0"
		}
		parts = append(parts, fmt.Sprintf("%s=%d;%s;%s;0", c.Name, c.Value, warn, crit))
	}
	parts = append(parts, fmt.Sprintf("time=%.3fs;;;0", took.Seconds()))
	_, err := fmt.Fprintf(w, "%s | %s\n", line(what, state, text), strings.Join(parts, " "))
	return err
}

// NagiosFailure writes the line of a plugin that could not find out.
func NagiosFailure(w io.Writer, what string, cause error) error {
	_, err := fmt.Fprintln(w, line(what, Unknown, cause.Error()))
	return err
}

// line is the text, cut to its width. What separates performance data is kept out of it,
// and so is what would steer a terminal.
func line(what string, state int, text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\'':
			return -1
		case r == '|':
			return '/'
		case unicode.IsPrint(r):
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "?"))
	line := fmt.Sprintf("FWCTL %s %s - %s", what, names[state], strings.Join(strings.Fields(text), " "))
	if runes := []rune(line); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return line
}
