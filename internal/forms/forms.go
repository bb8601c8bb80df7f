package forms

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// Prometheus lints metrics as `promtool check metrics` does. Beside that it wants what
// node_exporter's textfile collector asks for: no times of samples, a line feed at the end.
func Prometheus(text string) (wrong []string) {
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	for _, p := range problems {
		wrong = append(wrong, p.Metric+": "+p.Text)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && !sample.MatchString(line) {
			wrong = append(wrong, "no sample without a time: "+line)
		}
	}
	if !strings.HasSuffix(text, "\n") {
		wrong = append(wrong, "the last line does not end")
	}
	return wrong
}

var sample = regexp.MustCompile(`^[a-z_]+(\{([a-z0-9_]+="([^"\\\n]|\\.)*",?)+\})? [-+0-9.e]+\n$`)

// The grammar of a plugin's output (Monitoring Plugins Development Guidelines, 2.1 and
// 2.6): a line of text, then performance data 'label'=value[UOM];[warn];[crit];[min];[max].
var (
	plugin      = regexp.MustCompile(`^FWCTL [A-Z]+ (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+?( \| ([^|\n]+))?\n$`)
	performance = regexp.MustCompile(`^('([^'=]|'')+'|[^'= ]+)=-?[0-9.]+(s|us|ms|%|B|KB|MB|TB|c)?(;(@?[-0-9.~:]*)(;(@?[-0-9.~:]*)(;(-?[0-9.]*)(;(-?[0-9.]*))?)?)?)?$`)
)

// parts are what blanks part that stand in no label.
var parts = regexp.MustCompile(`('[^']*'|[^' ])+`)

// The longest lines: of the text, for a page of 80 columns; of all, for agents that cut
// off what is longer (NRPE 2: 1024 bytes).
const (
	mostText = 80
	mostLine = 1023
)

// Nagios holds the output of a plugin against the guidelines. state is the word for its
// exit status.
func Nagios(out, state string) (wrong []string) {
	m := plugin.FindStringSubmatch(out)
	if m == nil {
		return []string{fmt.Sprintf("not a plugin's line: %q", out)}
	}
	if m[1] != state {
		wrong = append(wrong, fmt.Sprintf("it says %s, and exits as %s", m[1], state))
	}
	text, _, _ := strings.Cut(strings.TrimSuffix(out, "\n"), " | ")
	if utf8.RuneCountInString(text) > mostText || len(out) > mostLine {
		wrong = append(wrong, fmt.Sprintf("%d letters of text, %d bytes in all", utf8.RuneCountInString(text), len(out)))
	}
	if !utf8.ValidString(out) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		wrong = append(wrong, fmt.Sprintf("not printable: %q", out))
	}
	return append(wrong, labels(m[3])...)
}

// labels looks at performance data.
func labels(data string) (wrong []string) {
	seen := map[string]bool{}
	for _, part := range parts.FindAllString(data, -1) {
		if !performance.MatchString(part) {
			wrong = append(wrong, "performance data: "+part)
		}
		label, _, _ := strings.Cut(part, "=")
		if start := label[:min(len(label), 19)]; seen[start] {
			wrong = append(wrong, "labels are not told apart by 19 letters: "+label)
		} else {
			seen[start] = true
		}
	}
	return wrong
}
