package sdbox

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	//go:embed boot.sh
	bootScript string
	//go:embed reap.sh
	reapScript string
)

const (
	bootTime = 30 * time.Second // a machine under load
	path     = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Box is a systemd that runs. [Start] makes one.
type Box struct {
	Booted time.Duration // how long it took

	tb     testing.TB
	cgroup string
	pid    int
	log    bytes.Buffer // what it said before there was a journal
	first  *exec.Cmd
	reaper *exec.Cmd
	alive  io.Closer
}

// Start boots a box and stops it when the test ends. What the directory seed has is
// copied over its root. in runs what starts it, in the network namespace that it shall
// have; nil gives it an empty one. Without root, or without a cgroup2 that can be written, the test is
// skipped; where the environment variable CI is "true", only for the latter.
func Start(tb testing.TB, seed string, in func(func() error) error) *Box {
	tb.Helper()
	b := &Box{tb: tb}
	if err := b.prepare(); err != nil {
		if os.Getenv("CI") == "true" && !errors.Is(err, errCgroup) {
			tb.Fatal(err)
		}
		tb.Skip(err)
	}
	start := time.Now()
	err := b.reap()
	if err == nil {
		tb.Cleanup(b.stop)
		err = b.boot(seed, in)
	}
	if err == nil {
		err = b.await()
	}
	if err != nil {
		tb.Fatalf("boot a systemd: %v\n%s", err, b.log.String())
	}
	b.Booted = time.Since(start)
	return b
}

var errCgroup = errors.New("needs a cgroup2 that can be written, for a systemd in it")

// prepare makes the cgroup, if all is there that is needed.
func (b *Box) prepare() error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, for a systemd in namespaces")
	}
	for _, p := range []string{"nsenter", "unshare", "setpriv", "systemctl"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("needs systemd and util-linux: %w", err)
		}
	}
	top, err := cgroup2()
	if err != nil {
		return fmt.Errorf("%w: %w", errCgroup, err)
	}
	if b.cgroup, err = os.MkdirTemp(top, "fwctl-test-"); err != nil {
		return fmt.Errorf("%w: %w", errCgroup, err)
	}
	if _, err := os.Stat(filepath.Join(b.cgroup, "cgroup.kill")); err != nil {
		_ = os.Remove(b.cgroup)
		return fmt.Errorf("%w, and a kernel that ends one (5.14): %w", errCgroup, err)
	}
	return nil
}

// cgroup2 finds where one is mounted (proc_pid_mountinfo(5)).
func cgroup2() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		mount, kind, _ := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(mount); len(fields) > 4 && strings.HasPrefix(kind, "cgroup2 ") {
			return fields[4], nil
		}
	}
	return "", errors.New("none is mounted")
}

// reap starts what ends the box after the test, in a session of its own: it has to
// outlive the test by a moment.
func (b *Box) reap() (err error) {
	b.reaper = exec.Command("sh", "-c", reapScript, "reap", b.cgroup)
	b.reaper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	b.reaper.Dir = "/"
	if b.alive, err = b.reaper.StdinPipe(); err == nil {
		err = b.reaper.Start()
	}
	if err != nil {
		_ = os.Remove(b.cgroup)
	}
	return err
}

// boot starts process 1, in the cgroup. unshare gives it a cgroup namespace from
// there, which a process cannot be born with.
func (b *Box) boot(seed string, in func(func() error) error) error {
	systemd, err := program()
	if err != nil {
		return err
	}
	cg, err := os.Open(b.cgroup)
	if err != nil {
		return err
	}
	defer cg.Close()
	b.first = exec.Command("unshare", "--cgroup", "sh", "-euc", bootScript, "boot", seed, systemd)
	b.first.Env, b.first.Dir = []string{path}, "/"
	b.first.Stdout, b.first.Stderr = &b.log, &b.log
	b.first.SysProcAttr = &syscall.SysProcAttr{
		Setsid:      true,
		Cloneflags:  syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		UseCgroupFD: true, CgroupFD: int(cg.Fd()),
	}
	if in == nil {
		b.first.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
		in = func(f func() error) error { return f() }
	}
	if err := in(b.first.Start); err != nil {
		return err
	}
	b.pid = b.first.Process.Pid
	return nil
}

func program() (string, error) {
	for _, p := range []string{"/usr/lib/systemd/systemd", "/lib/systemd/systemd"} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", errors.New("systemd is not installed")
}

// await waits until systemd has started all that it is to start.
func (b *Box) await() error {
	for end := time.Now().Add(bootTime); ; time.Sleep(5 * time.Millisecond) {
		out, _ := b.Command("systemctl", "is-system-running", "--wait").Output()
		switch state := strings.TrimSpace(string(out)); {
		case state == "running" || state == "degraded":
			return nil
		case time.Now().After(end):
			return fmt.Errorf("it is %q after %v", state, bootTime)
		case b.ended():
			return errors.New("it has ended")
		}
	}
}

// ended reports whether process 1 is gone, or waits to be taken note of.
func (b *Box) ended() bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(b.pid), "stat"))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

// stop ends everything in the box, and shows the journal if the test has failed.
func (b *Box) stop() {
	if b.tb.Failed() && b.pid > 0 {
		out, _ := b.Command("journalctl", "-b", "--no-pager", "-o", "short-monotonic").CombinedOutput()
		b.tb.Logf("%s%s", b.log.String(), out)
	}
	_ = b.alive.Close()
	_ = b.reaper.Wait()
	if b.first != nil && b.first.Process != nil {
		_ = b.first.Wait()
	}
	if _, err := os.Stat(b.cgroup); err == nil {
		b.tb.Errorf("%s is left", b.cgroup)
	}
}

// Command is one that runs in the box, outside of its units.
func (b *Box) Command(args ...string) *exec.Cmd {
	c := exec.Command("nsenter", append([]string{
		"--target", strconv.Itoa(b.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--",
	}, args...)...)
	c.Env = []string{path, "LC_ALL=C", "NO_COLOR=1"}
	return c
}

// Try runs a line of the shell and returns its exit status and all that it said.
func (b *Box) Try(line string) (status int, said string) {
	b.tb.Helper()
	c := b.Command("sh", "-c", line)
	out, _ := c.CombinedOutput()
	if c.ProcessState == nil {
		b.tb.Fatalf("%s: did not run", line)
	}
	return c.ProcessState.ExitCode(), string(out)
}

// Sh runs a line of the shell, which has to succeed.
func (b *Box) Sh(line string) string {
	b.tb.Helper()
	status, said := b.Try(line)
	if status != 0 {
		b.tb.Fatalf("%s: status %d\n%s", line, status, said)
	}
	return strings.TrimSpace(said)
}
