package pf

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	read "github.com/fwctl/fwctl/read/pf"
)

// Options say which pf it is. The zero value is that of this system.
type Options struct {
	System  string // as GOOS has it
	Release string // "15.0-RELEASE"
	Path    string // of pfctl; "": found in PATH, /sbin or /usr/sbin
}

// Conn is pf on this host. It holds nothing open.
type Conn struct {
	Dialect read.Dialect
	path    string
}

// ErrMissing says that there is no pfctl.
var ErrMissing = errors.New("pfctl is not installed (looked in PATH, /sbin and /usr/sbin)")

// Open finds pfctl and the dialect.
func Open(opt Options) (*Conn, error) {
	c := &Conn{path: cmp.Or(opt.Path, find("pfctl"))}
	if c.path == "" {
		return nil, ErrMissing
	}
	c.Dialect = DialectOf(cmp.Or(opt.System, runtime.GOOS), cmp.Or(opt.Release, release()))
	return c, nil
}

// DialectOf is the grammar of a system's pf. FreeBSD has OpenBSD's since 15; a system
// that has no pf of its own counts as OpenBSD.
func DialectOf(system, release string) read.Dialect {
	switch system {
	case "darwin":
		return read.MacOS
	case "freebsd":
		major, _, _ := strings.Cut(release, ".")
		if n, err := strconv.Atoi(major); err == nil && n < 15 {
			return read.FreeBSDOld
		}
		return read.FreeBSD
	}
	return read.OpenBSD
}

// release is that of the running kernel.
func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// find returns the path of a program in PATH or where such programs are installed; ""
// if there is none.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
	}
	for _, dir := range []string{"/sbin", "/usr/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

// Parse reads a text in the grammar of this pf.
func (c *Conn) Parse(text string) *read.Config { return read.Parse(text, c.Dialect) }

// programTime bounds one run of a program. A million addresses take pfctl some seconds.
const programTime = 2 * time.Minute

// runError is a program that failed.
type runError struct {
	name string
	args []string
	said string
	err  error
}

// Error shows the call and what the program said.
func (e *runError) Error() string {
	return e.name + " " + strings.Join(e.args, " ") + ": " + cmp.Or(e.said, e.err.Error())
}

// Unwrap returns the error of the process.
func (e *runError) Unwrap() error { return e.err }

// Absent reports whether pfctl failed since there is no such anchor, or no such table.
func Absent(err error) bool {
	var failed *runError
	if !errors.As(err, &failed) {
		return false
	}
	for _, s := range []string{"not found", "does not exist", "Invalid argument", "No such process"} {
		if strings.Contains(failed.said, s) {
			return true
		}
	}
	return false
}

// Run starts pfctl with an input and returns what it printed.
func (c *Conn) Run(ctx context.Context, input string, args ...string) (string, error) {
	return run(ctx, c.path, input, args...)
}

func run(ctx context.Context, path, input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
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
		return "", &runError{name: filepath.Base(path), args: args, said: complaint(errs.String(), input), err: err}
	}
	return out.String(), nil
}

// complaint is what pfctl said, in one line, with the line of its input that it
// complains of: "stdin:12: syntax error".
func complaint(said, input string) string {
	text := strings.Join(strings.Fields(said), " ")
	_, rest, found := strings.Cut(text, "stdin:")
	number, _, _ := strings.Cut(rest, ":")
	n, err := strconv.Atoi(number)
	lines := strings.Split(input, "\n")
	if !found || err != nil || n < 1 || n > len(lines) {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, strings.TrimSpace(lines[n-1]))
}
