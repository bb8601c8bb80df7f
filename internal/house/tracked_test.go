package house

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the repository says must be true on every machine, so it names no
// directory of the one it was written on and no server that one downloads from.
func TestNoWorkplaceInTheTree(t *testing.T) {
	words := []string{
		"/wo" + "rk/", "/fa" + "rm/", "/home/" + "runner", "/ro" + "ot/.", "." + "library/", "/tmp/" + "team", "bash_" + "jobs",
		"proxy." + "golang.org", "deb." + "debian.org", "registry." + "npmjs",
	}
	for _, name := range tracked(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // deleted, not yet committed; or a link
		}
		for n, line := range bytes.Split(text, []byte("\n")) {
			for _, w := range words {
				if bytes.Contains(line, []byte(w)) {
					t.Errorf("%s:%d has %q", name, n+1, w)
				}
			}
		}
	}
}

// tracked lists the files that git knows; outside a work tree there is nothing
// to ask, and nothing that was left lying about to find.
func tracked(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Logf("git ls-files: %v; not checked", err)
		return nil
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
}
