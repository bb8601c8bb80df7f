package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
)

// Of many applies at once each is either refused for the lock's sake, or leaves
// kernel and state agreeing.
func TestAppliesAtOnce(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	ns, err := netns.New()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace: %v", err)
		}
		t.Skipf("needs root and network namespaces: %v", err)
	}
	defer ns.Close()
	dir := t.TempDir()
	fwctl := func(args ...string) *exec.Cmd {
		return exec.Command("fwctl", append(args, "--state-dir", filepath.Join(dir, "state"), "--run-dir", filepath.Join(dir, "run"))...)
	}
	policies := [2]string{filepath.Join(dir, "a.toml"), filepath.Join(dir, "b.toml")}
	for i, policy := range policies {
		text := "version = 1\n[service.ssh]\nports = [\"" + strings.Repeat("2", 2+i) + "/tcp\"]\nfrom = [\"any\"]\n"
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var all []*exec.Cmd
	for i := range 12 {
		c := fwctl("apply", "--no-confirm", policies[i%2])
		c.Stderr = &strings.Builder{}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	applied := 0
	for _, c := range all {
		var exit *exec.ExitError
		switch err := c.Wait(); {
		case err == nil:
			applied++
		case !errors.As(err, &exit) || exit.ExitCode() != exitError:
			t.Errorf("%v", err)
		}
	}
	if applied == 0 {
		t.Error("none was applied")
		for _, c := range all {
			t.Log(c.Stderr)
		}
	}
	out, _ := fwctl("status", "--json").Output()
	if !strings.Contains(string(out), `"applied": true`) {
		t.Errorf("kernel and state differ:\n%s", out)
	}
}
