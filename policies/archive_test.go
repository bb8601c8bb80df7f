package policies

import (
	"os"
	"strings"
	"testing"
)

// archive is a golden file of several parts, in the txtar format: a comment, then
// parts under headings "-- NAME --". Every part ends in a line end.
type archive struct {
	comment string
	parts   []archivePart
}

type archivePart struct{ name, data string }

func readArchive(t *testing.T, path string) archive {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var a archive
	for line := range strings.Lines(string(data)) {
		name, ok := heading(line)
		switch n := len(a.parts); {
		case ok:
			a.parts = append(a.parts, archivePart{name: name})
		case n == 0:
			a.comment += line
		default:
			a.parts[n-1].data += line
		}
	}
	return a
}

func heading(line string) (string, bool) {
	s, ok1 := strings.CutPrefix(line, "-- ")
	s, ok2 := strings.CutSuffix(s, " --\n")
	return s, ok1 && ok2
}

func (a archive) String() string {
	var b strings.Builder
	b.WriteString(a.comment)
	for _, p := range a.parts {
		b.WriteString("-- " + p.name + " --\n" + p.data)
	}
	return b.String()
}
