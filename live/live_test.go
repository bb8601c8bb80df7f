package live

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestZoneName(t *testing.T) {
	tests := map[string]string{
		"/usr/share/zoneinfo/Europe/Berlin":          "Europe/Berlin",
		"../usr/share/zoneinfo/Etc/UTC":              "Etc/UTC",
		"/usr/share/zoneinfo/posix/America/New_York": "America/New_York",
		"/var/db/timezone/zoneinfo/Asia/Kolkata":     "Asia/Kolkata", // macOS
		"Europe/Berlin\n":                            "Europe/Berlin",
		"/etc/other":                                 "",
		"../../etc/passwd":                           "",
		"":                                           "",
		"CET-1CEST":                                  "CET-1CEST", // a rule, which LoadLocation then refuses
		"/usr/share/zoneinfo/right/Australia/Lord_Howe":      "Australia/Lord_Howe",
		"/usr/share/zoneinfo/America/Argentina/Rio_Gallegos": "America/Argentina/Rio_Gallegos",
	}
	for in, want := range tests {
		if got := zoneName(in); got != want {
			t.Errorf("zoneName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestZoneFromEnvironment(t *testing.T) {
	tests := map[string]string{"Asia/Tokyo": "Asia/Tokyo", ":Asia/Tokyo": "Asia/Tokyo", "": "UTC"}
	for tz, want := range tests {
		t.Setenv("TZ", tz)
		if name, loc := Zone(); name != want || loc == nil {
			t.Errorf("TZ=%q gives %q, %v; want %q", tz, name, loc, want)
		}
	}
}

func TestResolve(t *testing.T) {
	found, err := Resolve(t.Context(), []string{"localhost"})
	if err != nil || len(found["localhost"]) == 0 || !found["localhost"][0].IsLoopback() {
		t.Errorf("localhost: %v, %v", found, err)
	}
	// A name that does not resolve is an error and does not take the others along.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	found, err = Resolve(ctx, []string{"localhost", "name.invalid"})
	if err == nil || !strings.Contains(err.Error(), "name.invalid") || len(found) != 1 {
		t.Errorf("with name.invalid: %v, %v", found, err)
	}
}

func TestTrust(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root")
		}
		t.Skip("only root has to trust")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.toml")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	trust := func() error {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return Trust(strings.TrimPrefix(file, "/"), info)
	}
	steps := []struct {
		name    string
		do      func() error
		trusted bool
	}{
		{"root's own", func() error { return nil }, true},
		{"root's group may write", func() error { return os.Chmod(file, 0o664) }, true},
		{"everybody may write", func() error { return os.Chmod(file, 0o646) }, false},
		{"a group may write", func() error { return firstError(os.Chmod(file, 0o660), os.Chown(file, 0, 100)) }, false},
		{"a user owns it", func() error { return firstError(os.Chmod(file, 0o600), os.Chown(file, 65534, 0)) }, false},
		{"root's again", func() error { return os.Chown(file, 0, 0) }, true},
		{"everybody may replace it", func() error { return os.Chmod(dir, 0o777) }, false},
		{"nobody may replace another's", func() error { return os.Chmod(dir, 0o777|fs.ModeSticky) }, true},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		if err := trust(); (err == nil) != s.trusted {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
