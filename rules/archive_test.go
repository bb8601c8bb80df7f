package rules_test

import (
	"os"
	"strings"
	"testing"
)

// archive is a file in the txtar format: a comment, then parts, each behind a
// line "-- NAME --".
type archive struct {
	comment string
	parts   []*part
}

type part struct{ name, text string }

func readArchive(t testing.TB, path string) *archive {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{}
	for line := range strings.Lines(string(data)) {
		name, isHead := strings.CutPrefix(strings.TrimRight(line, "\n"), "-- ")
		name, closed := strings.CutSuffix(name, " --")
		switch {
		case isHead && closed:
			a.parts = append(a.parts, &part{name: name})
		case len(a.parts) == 0:
			a.comment += line
		default:
			a.parts[len(a.parts)-1].text += line
		}
	}
	return a
}

func (a *archive) write(t *testing.T, path string) {
	t.Helper()
	var b strings.Builder
	b.WriteString(a.comment)
	for _, p := range a.parts {
		b.WriteString("-- " + p.name + " --\n" + p.text)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
