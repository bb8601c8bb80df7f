package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is the right to change the host's rules: one process has it. The kernel
// takes it back when that process ends, however it does.
type Lock struct{ file *os.File }

// Holder says who holds the lock and since when.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// HeldError is the error of whom the lock was refused.
type HeldError struct {
	Holder Holder // zero if it did not leave its name
	Path   string
}

// Error names the holder and the age of the lock.
func (e *HeldError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("another fwctl holds %s", e.Path)
	}
	age := max(time.Since(e.Holder.Since).Round(time.Second), 0)
	return fmt.Sprintf("another fwctl holds %s: process %d, fwctl %s, for %s", e.Path, e.Holder.PID, e.Holder.Command, age)
}

// lockRetry is how often a lock is tried for while waiting.
const lockRetry = 50 * time.Millisecond

// TakeLock takes the lock in the run directory, which is made if missing. If
// another holds it, it tries until wait is over and returns a *HeldError.
func TakeLock(ctx context.Context, runDir, command string, wait time.Duration) (*Lock, error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	path := filepath.Join(runDir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := flock(ctx, f, wait); err != nil {
		defer closeFile(f)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &HeldError{Holder: holder(f), Path: path}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	l := &Lock{file: f}
	l.sign(Holder{PID: os.Getpid(), Command: command, Since: time.Now().UTC()})
	return l, nil
}

func flock(ctx context.Context, f *os.File, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockRetry):
		}
	}
}

// sign leaves the holder's name for others to read. The lock holds without it,
// so on a full disk it stays unsigned.
func (l *Lock) sign(h Holder) {
	if text, err := json.Marshal(h); err == nil && l.file.Truncate(0) == nil {
		_, _ = l.file.WriteAt(append(text, '\n'), 0)
	}
}

func holder(f *os.File) Holder {
	var h Holder
	buf := make([]byte, 512)
	n, _ := f.ReadAt(buf, 0)
	_ = json.Unmarshal(buf[:n], &h)
	return h
}

// lend makes the processes that are started hold the lock as well, until they end:
// one that changes the kernel may outlive this one. The function that it returns
// ends that for those to come.
func (l *Lock) lend() (end func()) {
	fd := l.file.Fd()
	set := func(flag int) { _, _ = unix.FcntlInt(fd, unix.F_SETFD, flag) }
	set(0)
	return func() { set(unix.FD_CLOEXEC) }
}

// Release gives the lock back. The file stays: removing it would let two
// processes hold two files of one name.
func (l *Lock) Release() {
	_ = l.file.Truncate(0)
	_ = l.file.Close()
}

// closeFile closes a file that was only read, where an error tells nothing.
func closeFile(f *os.File) { _ = f.Close() }
