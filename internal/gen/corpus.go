package gen

import (
	"os"
	"path/filepath"
	"testing"
)

// Corpus is the directory of rulesets by others, seen from a test two directories
// below the repository's root. They are not part of the repository: without them
// the test skips.
func Corpus(t testing.TB) string {
	t.Helper()
	const dir = "../../../shared/corpus"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no corpus here")
	}
	return dir
}

// CorpusFiles are the files of the corpus that fit the patterns, at least one each.
func CorpusFiles(t testing.TB, patterns ...string) []string {
	t.Helper()
	dir := Corpus(t)
	var out []string
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join(dir, p))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", p, err, len(files))
		}
		out = append(out, files...)
	}
	return out
}
