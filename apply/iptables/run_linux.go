package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lockWait is how many seconds a program waits for the lock of the legacy
// variant (xtables.lock).
const lockWait = "5"

// programTime bounds one run of a program. A million addresses take ipset some
// seconds.
const programTime = 2 * time.Minute

// runError is a program that failed.
type runError struct {
	name   string
	stderr string
	line   string // the line of its input that it complained of, "" if unknown
	err    error
}

func (e *runError) Error() string {
	s := e.name + ": " + e.err.Error()
	if e.stderr != "" {
		s = e.name + ": " + e.stderr
	}
	if e.line != "" {
		s += " (" + e.line + ")"
	}
	return s
}

func (e *runError) Unwrap() error { return e.err }

// run starts a program by its path and returns what it printed.
func (c *Conn) run(ctx context.Context, input, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	words := append(slices.Clone(c.prefix), append([]string{path}, args...)...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = 10 * time.Second // on a busy machine the last of the output comes late
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if input != "" {
		cmd.Stdin = strings.NewReader(input)
	}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		text := strings.Join(strings.Fields(errs.String()), " ")
		return "", &runError{name: filepath.Base(path), stderr: text, line: complained(text, input), err: err}
	}
	return out.String(), nil
}

// complained finds the line of the input that an error message names: "line 12
// failed" and "Error occurred at line: 12" of iptables-restore, "Error in line
// 12" of ipset.
func complained(message, input string) string {
	_, rest, ok := strings.Cut(message, "line")
	if !ok {
		return ""
	}
	rest = strings.TrimLeft(rest, ": ")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, err := strconv.Atoi(rest[:end])
	lines := strings.Split(input, "\n")
	if err != nil || n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}

// readFile reads a file of /proc as the programs would see it. One that is not
// there is empty.
func (c *Conn) readFile(ctx context.Context, path string) (string, error) {
	if len(c.prefix) > 0 {
		text, err := c.run(ctx, "", "/bin/cat", path)
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			return "", nil
		}
		return text, err
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return string(text), nil
}

// find returns the path of a program in PATH or where such programs are
// installed; "" if there is none.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}
