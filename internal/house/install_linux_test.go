package house

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// `make install` puts files where they belong, with the program's path in the units,
// and enables nothing.
func TestInstall(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	files := []string{"Makefile", "docs/fwctl.1"}
	units, _ := filepath.Glob(filepath.Join(root, "systemd/*"))
	for _, u := range units {
		files = append(files, "systemd/"+filepath.Base(u))
	}
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name), text)
	}
	put(t, filepath.Join(dir, "bin/fwctl"), nil)
	if out, err := exec.Command("make", "-C", dir, "--old-file=build", "install", "DESTDIR="+to, "prefix=/opt/it").CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	var got []string
	_ = filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, strings.TrimPrefix(path, to))
		}
		return err
	})
	const lib = "/opt/it/lib/systemd/system/"
	want := []string{lib + "fwctl-drift.service", lib + "fwctl-drift.timer", lib + "fwctl-refresh.service", lib + "fwctl-refresh.timer", lib + "fwctl.service", "/opt/it/sbin/fwctl", "/opt/it/share/man/man1/fwctl.1"}
	if !slices.Equal(got, want) {
		t.Errorf("installed %v, want %v", got, want)
	}
	for _, unit := range want[:5] {
		text, _ := os.ReadFile(filepath.Join(to, unit))
		if strings.Contains(string(text), "/usr/sbin/fwctl") || strings.HasSuffix(unit, ".service") && !strings.Contains(string(text), "ExecStart=/opt/it/sbin/fwctl ") {
			t.Errorf("%s names another program:\n%s", unit, text)
		}
	}
}

func put(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
