package sdbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A box boots and leaves nothing behind.
func TestBox(t *testing.T) {
	var b *Box
	t.Run("boots", func(t *testing.T) {
		seed := t.TempDir()
		if err := os.WriteFile(filepath.Join(seed, "greeting"), []byte("hello\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		b = Start(t, seed, nil)
		t.Logf("booted in %v", b.Booted.Round(time.Millisecond))
		for line, want := range map[string]string{
			"cat /proc/1/comm": "systemd", "cat /greeting": "hello", "systemctl is-system-running": "running",
			"cat /proc/1/cgroup | tail -n 1": "0::/init.scope",
		} {
			if _, got := b.Try(line); strings.TrimSpace(got) != want {
				t.Errorf("%s: %q, want %q", line, got, want)
			}
		}
		if status, _ := b.Try("echo 1 > /proc/sys/fs/lease-break-time"); status == 0 {
			t.Error("it can change settings of the host")
		}
	})
	if b == nil || b.cgroup == "" {
		return // skipped
	}
	gone(t, b.cgroup, b.pid)
}

// gone fails unless cgroup and process 1 are gone soon, and files never were.
func gone(t *testing.T, cgroup string, pid int) {
	t.Helper()
	end := time.Now().Add(5 * time.Second)
	for {
		_, left := os.Stat(cgroup)
		alive := !(&Box{pid: pid}).ended()
		if left != nil && !alive {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("cgroup %s: %v; process 1 alive: %v", cgroup, left, alive)
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, f := range []string{"/greeting", "/mnt/root", "/.host"} {
		if _, err := os.Stat(f); err == nil {
			t.Errorf("%s is left", f)
		}
	}
}

const victim = "FWCTL_SDBOX_VICTIM"

// A test that is killed leaves nothing either.
func TestBoxOfAKilledTest(t *testing.T) {
	if seed := os.Getenv(victim); seed != "" {
		b := Start(t, seed, nil)
		os.Stdout.WriteString(b.cgroup + "\n")
		b.Command("sleep", "60").Run()
		return
	}
	Start(t, t.TempDir(), nil) // skips where it has to
	c := exec.Command(os.Args[0], "-test.run=^TestBoxOfAKilledTest$")
	c.Env = append(os.Environ(), victim+"="+t.TempDir())
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 200)
	n, _ := out.Read(line)
	cgroup := strings.TrimSpace(string(line[:n]))
	procs, err := os.ReadFile(filepath.Join(cgroup, "init.scope", "cgroup.procs"))
	if err != nil || len(procs) == 0 {
		t.Fatalf("no systemd in %q: %v", cgroup, err)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	gone(t, cgroup, -1)
}
