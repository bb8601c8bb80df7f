package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lab owns the namespaces and files of one run.
type lab struct {
	dir    string // for files
	fwctl  string // the binary under test
	self   string // this program
	names  []string
	closed sync.Once
}

func newLab() (*lab, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fwctl-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, fwctl: filepath.Join(dir, "fwctl"), self: self}
	if err := sh("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", l.fwctl, "./cmd/fwctl"); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// close removes everything that the lab made. What cannot be removed has nobody
// to tell it to.
func (l *lab) close() {
	l.closed.Do(func() {
		for _, ns := range l.names {
			_ = exec.Command("ip", "netns", "delete", ns).Run()
		}
		_ = os.RemoveAll(l.dir)
	})
}

// namespace makes an empty network namespace with its loopback up.
func (l *lab) namespace() (string, error) {
	ns := "fwctl-bench-" + strings.ToLower(rand.Text()[:8])
	if err := sh("ip", "netns", "add", ns); err != nil {
		return "", err
	}
	l.names = append(l.names, ns)
	return ns, sh("ip", "-n", ns, "link", "set", "lo", "up")
}

// file writes a file into the lab's directory and returns its path.
func (l *lab) file(name string, text []byte) (string, error) {
	path := filepath.Join(l.dir, name)
	return path, os.WriteFile(path, text, 0o600)
}

// apply is fwctl apply in a namespace, with a state directory of its own.
func (l *lab) apply(ns string, args ...string) []string {
	return append([]string{
		l.fwctl, "apply", "--no-confirm", "--quiet",
		"--state-dir", filepath.Join(l.dir, "state-"+ns), "--run-dir", filepath.Join(l.dir, "run-"+ns),
	}, args...)
}

// in runs a program in the namespace, started without a detour, so that its time
// is its own, and returns that time on the wall and what it printed. An error
// holds what the program said.
func in(ns, stdin string, args ...string) (took time.Duration, stdout string, err error) {
	cmd := exec.Command(args[0], args[1:]...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &said
	start := time.Now()
	if err = startIn(ns, cmd); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, tail(said.String()+out.String()))
	}
	return time.Since(start), out.String(), err
}

// startIn starts the program in the namespace: a new process is where the thread
// is that makes it.
func startIn(ns string, cmd *exec.Cmd) error {
	if ns == "" {
		return cmd.Start()
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd, err := unix.Open("/run/netns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			_ = unix.Close(fd)
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	}()
	return <-started
}

// output is what a program prints.
func output(args ...string) (string, error) {
	_, out, err := in("", "", args...)
	return out, err
}

func sh(args ...string) error {
	_, err := output(args...)
	return err
}

// tail is the last part of a long text.
func tail(s string) string {
	const most = 2000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}
