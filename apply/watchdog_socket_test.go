package apply

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A watchdog's socket is in a directory that nobody else can enter; else it is used by
// neither side. What killed ones have left is swept, what is in use is not.
func TestSocketDirectory(t *testing.T) {
	run, err := os.MkdirTemp("", "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	name, err := socketIn(run)
	if err != nil {
		t.Fatal(err)
	}
	l, err := listenAt(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dead := filepath.Join(run, socketDir, "dead")
	killed, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	killed.SetUnlinkOnClose(false)
	_ = killed.Close()
	if _, err := socketIn(run); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dead); err == nil {
		t.Error("the socket of one that is gone stays")
	}
	conn, err := dialAt(name)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for _, spoil := range []func(dir string) error{
		func(dir string) error { return os.Chmod(dir, 0o755) }, //nolint:gosec // that is the point
		func(dir string) error { return os.Chmod(dir, 0o710) }, //nolint:gosec // that is the point
		func(dir string) error {
			if err := os.Rename(dir, dir+"2"); err != nil {
				return err
			}
			return os.Symlink(dir+"2", dir)
		},
	} {
		if err := spoil(filepath.Dir(name)); err != nil {
			t.Fatal(err)
		}
		if conn, err := dialAt(name); err == nil {
			_ = conn.Close()
			t.Error("it is used though others can enter")
		}
		if l, err := listenAt(name + "x"); err == nil {
			_ = l.Close()
			t.Error("it listens though others can enter")
		}
	}
	if _, err := socketIn(filepath.Join(run, strings.Repeat("long", 30))); err == nil || !strings.Contains(err.Error(), "--run-dir") {
		t.Errorf("a path that is too long: %v", err)
	}
}
