package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk mounts a small file system over the state directory.
func (b *box) disk(options string) {
	b.Helper()
	dir := filepath.Join(b.dir, "state")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		b.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// A disk that is full at any point of an apply leaves the old rules or, where the
// state found its room, the new ones; a boot always loads what was confirmed.
func TestFullDisk(t *testing.T) {
	t.Run("nftables", func(t *testing.T) { newBox(t, boxBackends[0]).fullDisk(1) })
	t.Run("pf", func(t *testing.T) { newPFBox(t).fullDisk(4) })
}

// fullDisk leaves so many pages more from one apply to the next.
func (b *box) fullDisk(step int) {
	t := b.T
	t.Helper()
	b.disk("size=256k")
	b.obeyOld()
	fill := filepath.Join(b.dir, "state", "fill")
	seen := map[int]int{}
	for pages := 0; pages < 14; pages += step {
		for _, how := range []string{"--no-confirm", "--detach"} {
			what := fmt.Sprintf("%s, %d pages left", how, pages)
			fillUp(t, fill, pages)
			args := []string{"apply", how, b.new}
			if how == "--detach" {
				args = append(args, "--confirm", "1s")
			}
			status, said := b.run(args...)
			seen[status]++
			if status != 0 && !strings.Contains(said, "no space left") {
				t.Errorf("%s: status %d\n%s", what, status, said)
			}
			if status == 0 && how == "--no-confirm" {
				if got := b.decides(); got != "new" {
					t.Errorf("%s: status 0, the kernel does what is %s", what, got)
				}
				_ = os.Remove(fill)
				b.obeyOld()
				continue
			}
			b.quiet(5 * time.Second)
			b.stands(what)
			_ = os.Remove(fill)
		}
	}
	if seen[0] == 0 || seen[2] == 0 {
		t.Errorf("no case of both kinds: %v", seen)
	}
	t.Logf("by exit status: %v", seen)
}

// fillUp leaves so many pages of a file system.
func fillUp(t *testing.T, path string, pages int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, os.Getpagesize())
	size := int64(0)
	for {
		n, err := f.Write(page)
		size += int64(n)
		if err != nil {
			break
		}
	}
	if err := f.Truncate(max(0, size-int64(pages*len(page)))); err != nil {
		t.Fatal(err)
	}
}

// A state directory that cannot be written is found before anything is changed.
func TestReadOnlyState(t *testing.T) {
	eachBackend(t, func(b *box) {
		b.disk("size=1m")
		b.obeyOld()
		dir := filepath.Join(b.dir, "state")
		for _, how := range []string{"--no-confirm", "--detach"} {
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				b.Fatal(err)
			}
			if said := b.want(2, "apply", how, b.new); !strings.Contains(said, "read-only file system") {
				b.Errorf("%s: %s", how, said)
			}
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
				b.Fatal(err)
			}
			b.quiet(5 * time.Second)
			b.stands(how)
		}
		// One that becomes so while a change waits does not keep the watchdog from its work.
		b.want(0, "apply", "--detach", "--confirm", "1s", b.new)
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			b.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); b.decides() != "old"; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				b.Fatalf("the change was not taken back\n%s", b.trace())
			}
		}
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
			b.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		b.want(0, "status") // the watchdog or this
		b.quiet(time.Second)
		b.stands("a state that cannot be written")
	})
}

// wrap puts a program of the same name before one that fwctl starts. In it, "$REAL"
// is the program.
func (b *box) wrap(name, script string) {
	b.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		b.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(b.dir, "bin")
	text := fmt.Sprintf("#!/bin/bash\nREAL() { exec -a %s %s \"$@\"; }\n%s\nREAL \"$@\"\n", name, real, script)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
		b.Fatal(err)
	}
	b.path = dir
}

// A restore program that fails, at whichever of its runs, leaves the old rules; so
// does one that is missing.
func TestRestoreFails(t *testing.T) {
	for i, name := range []string{"iptables-nft", "iptables-legacy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, boxBackends[1+i])
			b.obeyOld()
			count := filepath.Join(b.dir, "count")
			for _, program := range []string{name + "-restore", "ip6" + strings.TrimPrefix(name, "ip") + "-restore", "ipset"} {
				for failing := 1; failing <= 4; failing++ {
					_ = os.Remove(count)
					b.wrap(program, fmt.Sprintf(`[[ "$*" = *version* ]] && REAL "$@"
echo >>%s; [ $(wc -l <%[1]s) = %d ] && { echo "%s: line 7 failed" >&2; exit 1; }`, count, failing, program))
					what := fmt.Sprintf("run %d of %s fails", failing, program)
					status, said := b.run("apply", "--no-confirm", b.new)
					switch {
					case status == 0:
						if got := b.decides(); got != "new" {
							t.Errorf("%s: status 0, the kernel does what is %s\n%s", what, got, said)
						}
						_ = os.RemoveAll(filepath.Join(b.dir, "bin"))
						b.obeyOld()
					case status != exitError && status != exitBack || !strings.Contains(said, "line 7 failed"):
						t.Errorf("%s: status %d\n%s", what, status, said)
						fallthrough
					default:
						b.quiet(10 * time.Second)
						b.stands(what)
					}
					_ = os.RemoveAll(filepath.Join(b.dir, "bin"))
				}
			}
		})
	}
}

// Somebody who commits to nf_tables without a pause makes an apply try again, and at
// last give up or succeed; nothing is half done.
func TestBusyRuleset(t *testing.T) {
	b := newBox(t, boxBackends[0])
	b.obeyOld()
	stop := filepath.Join(b.dir, "stop")
	writer := exec.Command("sh", "-c", `while [ ! -e `+stop+` ]; do nft add table inet busy; nft delete table inet busy; done`)
	if err := b.in(writer.Start); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = os.WriteFile(stop, nil, 0o600)
		_ = writer.Wait()
	}()
	seen := map[int]int{}
	for range 10 {
		status, said := b.run("apply", "--no-confirm", b.new)
		seen[status]++
		switch status {
		case 0:
			if got := b.decides(); got != "new" {
				t.Errorf("status 0, the kernel does what is %s\n%s", got, said)
			}
			for s := 1; s != 0; s, _ = b.run("apply", "--no-confirm", b.old) {
			}
			b.state = b.confirmed()
		case exitError, exitBack:
			b.stands("a busy ruleset")
		default:
			t.Errorf("status %d\n%s", status, said)
		}
	}
	t.Logf("by exit status: %v", seen)
}

// What the kernel refuses is reported, and nothing is changed: here the table
// belongs to another process.
func TestKernelRefuses(t *testing.T) {
	b := newBox(t, boxBackends[0])
	owner := exec.Command("nft", "-i")
	in, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.in(owner.Start); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = owner.Wait() }()
	if _, err := in.Write([]byte("add table inet fwctl { flags owner; }\n")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); !strings.Contains(b.sh("nft list tables"), "inet fwctl"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Skip("this nft does not know tables with an owner")
		}
	}
	said := b.want(2, "apply", "--no-confirm", b.new)
	if !strings.Contains(said, "operation not permitted") {
		t.Errorf("%s", said)
	}
	if got := b.sh("nft list table inet fwctl"); strings.Contains(got, "chain") {
		t.Errorf("something was changed:\n%s", got)
	}
}
