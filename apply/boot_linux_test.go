package apply

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/fwctl/fwctl/rules"
)

// stateWith is a store whose confirmed bundle holds the policy and names the
// backend.
func stateWith(t *testing.T, backend, policy string) Options {
	t.Helper()
	dir := t.TempDir()
	b := Bundle{
		Manifest: Manifest{Policy: "/policy.toml", Backend: backend},
		Host:     testHost(),
		Sources:  []rules.Source{{Path: "policy.toml", Data: []byte(policy)}},
	}
	payload, err := b.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := NewStore(dir).write(confirmedFile, payload); err != nil {
		t.Fatal(err)
	}
	return Options{StateDir: dir, RunDir: filepath.Join(dir, "run")}
}

func inNewNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	ns, err := netns.New()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace: %v", err)
		}
		t.Skipf("needs root and network namespaces: %v", err)
	}
	t.Cleanup(func() { ns.Close() })
}

const bootPolicy = "version = 1\n[service.ssh]\nports = [\"22/tcp\"]\nfrom = [\"any\"]\nexpires = 2030-01-01\n"

// Where the backend of the confirmed policy is missing, another one loads it.
func TestBootByAnotherBackend(t *testing.T) {
	inNewNamespace(t)
	out, err := Boot(t.Context(), stateWith(t, PF, bootPolicy))
	if err != nil || out.Loaded != "confirmed" || out.Backend != NFTables {
		t.Fatalf("%+v, %v", out, err)
	}
	if len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "loaded by nftables instead") {
		t.Errorf("warnings %q", out.Warnings)
	}
}

// What had expired before the power went stays expired with a clock that starts
// anew.
func TestBootWithAClockThatIsSlow(t *testing.T) {
	inNewNamespace(t)
	o := stateWith(t, NFTables, bootPolicy)
	store := NewStore(o.StateDir)
	if err := store.tick(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	out, err := Boot(t.Context(), o)
	if err != nil || len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "stays expired") {
		t.Fatalf("%+v, %v", out, err)
	}
	if all := strings.Join(out.Changes, "\n"); strings.Contains(all, "service.ssh") || !strings.Contains(all, "defaults.inbound") {
		t.Errorf("loaded:\n%s", all)
	}
	if now := store.now(); now.Year() != 2031 {
		t.Errorf("the time seen is now %v", now)
	}
}
