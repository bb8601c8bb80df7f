package apply

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestStoreReadsWhatItWrote(t *testing.T) {
	s := NewStore(filepath.Join(t.TempDir(), "state"))
	if err := s.create(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "", "two\nlines\n"} {
		if err := s.write("x", []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := s.read("x")
		if err != nil || string(got) != text {
			t.Errorf("read %q, %v; want %q", got, err, text)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	fi, err := os.Stat(s.dir)
	if err != nil || fi.Mode().Perm() != 0o750 {
		t.Errorf("state directory: %v, %v; want mode 0750", fi.Mode(), err)
	}
}

// Whatever byte of a file changes, the store does not trust it.
func TestStoreNoticesDamage(t *testing.T) {
	s := NewStore(t.TempDir())
	if err := s.write("x", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(s.path("x"))
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string][]byte{"empty": {}, "cut": whole[:len(whole)-1], "longer": append(whole[:len(whole):len(whole)], 0)}
	for i := range whole {
		b := append([]byte(nil), whole...)
		b[i] ^= 1
		if _, err := unseal("x", b); !errors.As(err, new(*DamagedError)) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
	for name, b := range damage {
		if err := os.WriteFile(s.path("x"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.read("x"); !errors.As(err, new(*DamagedError)) {
			t.Errorf("%s: %v, want a DamagedError", name, err)
		}
	}
	if _, err := s.read("y"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := NewStore(t.TempDir())
	for i := range historyLength + 3 {
		if err := s.record(Entry{Action: "apply", Changes: i}); err != nil {
			t.Fatal(err)
		}
	}
	es, err := s.History()
	if err != nil || len(es) != historyLength || es[0].Changes != 3 {
		t.Errorf("%d entries from %d, %v; want %d from 3", len(es), es[0].Changes, err, historyLength)
	}
}

// A clock that stands before the last time seen does not turn time back.
func TestTimeDoesNotRunBackwards(t *testing.T) {
	s := NewStore(t.TempDir())
	if d := time.Since(s.now()); d > time.Minute || d < -time.Minute {
		t.Errorf("without a record the time is %v off the clock", d)
	}
	later := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	if err := s.tick(later); err != nil {
		t.Fatal(err)
	}
	if !s.now().Equal(later) {
		t.Errorf("now is %v, the last time seen %v", s.now(), later)
	}
}

func TestLockHasOneHolder(t *testing.T) {
	dir := t.TempDir()
	l, err := TakeLock(t.Context(), dir, "apply", 0)
	if err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if _, err := TakeLock(t.Context(), dir, "off", 0); !errors.As(err, &held) {
		t.Fatalf("second holder: %v, want a HeldError", err)
	}
	if held.Holder.PID != os.Getpid() || held.Holder.Command != "apply" || time.Since(held.Holder.Since) > time.Minute {
		t.Errorf("holder %+v, want this process", held.Holder)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		l.Release()
	}()
	l2, err := TakeLock(t.Context(), dir, "boot", 10*time.Second)
	if err != nil {
		t.Fatalf("waiting for the lock: %v", err)
	}
	l2.Release()
}
