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
	const lib = "/opt/it/lib/systemd/system/"
	for system, want := range map[string][]string{
		"Linux": {
			lib + "fwctl-drift.service", lib + "fwctl-drift.timer", lib + "fwctl-refresh.service", lib + "fwctl-refresh.timer", lib + "fwctl.service",
			"/opt/it/sbin/fwctl", "/opt/it/share/man/man1/fwctl.1",
		},
		"OpenBSD": {"/etc/rc.d/fwctl", "/opt/it/man/man1/fwctl.1", "/opt/it/sbin/fwctl"},
		"FreeBSD": {"/opt/it/etc/rc.d/fwctl", "/opt/it/sbin/fwctl", "/opt/it/share/man/man1/fwctl.1"},
		"Darwin":  {"/Library/LaunchDaemons/fwctl.boot.plist", "/Library/LaunchDaemons/fwctl.refresh.plist", "/opt/it/sbin/fwctl", "/opt/it/share/man/man1/fwctl.1"},
	} {
		t.Run(system, func(t *testing.T) {
			to := install(t, system)
			var got []string
			_ = filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					got = append(got, strings.TrimPrefix(path, to))
				}
				return err
			})
			if !slices.Equal(got, want) {
				t.Errorf("installed %v, want %v", got, want)
			}
			for _, path := range want {
				text, _ := os.ReadFile(filepath.Join(to, path))
				if strings.Contains(string(text), "/usr/sbin/fwctl") || strings.Contains(string(text), "/usr/local/sbin/fwctl") ||
					strings.HasSuffix(path, ".service") && !strings.Contains(string(text), "ExecStart=/opt/it/sbin/fwctl ") {
					t.Errorf("%s names another program:\n%s", path, text)
				}
				if info, err := os.Stat(filepath.Join(to, path)); err == nil && strings.Contains(path, "rc.d") && info.Mode().Perm() != 0o555 {
					t.Errorf("%s cannot be run: %v", path, info.Mode())
				}
			}
		})
	}
}

// install runs `make install` for a system and returns where the files went.
func install(t *testing.T, system string) string {
	t.Helper()
	dir, to := t.TempDir(), t.TempDir()
	files := []string{"Makefile", "docs/fwctl.1", "scripts/install.sh"}
	for _, pattern := range []string{"systemd/*", "rc/*/*"} {
		paths, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, path := range paths {
			name, _ := filepath.Rel(root, path)
			files = append(files, name)
		}
	}
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name), text)
	}
	put(t, filepath.Join(dir, "bin/fwctl"), nil)
	out, err := exec.Command("make", "-C", dir, "--old-file=build", "install", "DESTDIR="+to, "prefix=/opt/it", "system="+system).CombinedOutput()
	if err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	return to
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
