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
	render "github.com/fwctl/fwctl/render/pf"
)

// anchor is the anchor that is fwctl's.
const anchor = "fwctl"

// Options say which pf it is. The zero value is that of this system.
type Options struct {
	System   string // as GOOS has it
	Release  string // "15.0-RELEASE"
	MainFile string // which pf loads at boot; "": /etc/pf.conf
	Path     string // of pfctl
}

// Conn is pf on this host, by way of pfctl. It holds nothing open and is not for
// concurrent use.
type Conn struct {
	Dialect  render.Dialect
	grammar  read.Dialect
	path     string
	mainFile string
}

// ErrMissing says that there is no pfctl.
var ErrMissing = errors.New("pfctl is not installed (looked in PATH, /sbin and /usr/sbin)")

// Open finds pfctl and the dialect.
func Open(opt Options) (*Conn, error) {
	c := &Conn{path: cmp.Or(opt.Path, find("pfctl")), mainFile: cmp.Or(opt.MainFile, "/etc/pf.conf")}
	if c.path == "" {
		return nil, ErrMissing
	}
	c.Dialect = DialectOf(cmp.Or(opt.System, runtime.GOOS), cmp.Or(opt.Release, release()))
	c.grammar = map[render.Dialect]read.Dialect{
		render.OpenBSD: read.OpenBSD, render.FreeBSD: read.FreeBSD, render.FreeBSDOld: read.FreeBSDOld, render.MacOS: read.MacOS,
	}[c.Dialect]
	return c, nil
}

// DialectOf is the grammar of a system's pf. FreeBSD has OpenBSD's since 15; a system
// that has no pf of its own counts as OpenBSD.
func DialectOf(system, release string) render.Dialect {
	switch system {
	case "darwin":
		return render.MacOS
	case "freebsd":
		major, _, _ := strings.Cut(release, ".")
		if n, err := strconv.Atoi(major); err == nil && n < 15 {
			return render.FreeBSDOld
		}
		return render.FreeBSD
	}
	return render.OpenBSD
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
func (c *Conn) Parse(text string) *read.Config { return read.Parse(text, c.grammar) }

// programTime bounds one run of pfctl. A million addresses take it some seconds.
const programTime = 2 * time.Minute

// runError is a pfctl that failed.
type runError struct {
	args []string
	said string
	err  error
}

// Error shows the call and what pfctl said.
func (e *runError) Error() string {
	text := "pfctl " + strings.Join(e.args, " ") + ": "
	if e.said == "" {
		return text + e.err.Error()
	}
	return text + e.said
}

// Unwrap returns the error of the process.
func (e *runError) Unwrap() error { return e.err }

// run starts pfctl and returns what it printed.
func (c *Conn) run(ctx context.Context, input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
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
		return "", &runError{args: args, said: complaint(errs.String(), input), err: err}
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

// own runs pfctl for the anchor.
func (c *Conn) own(ctx context.Context, input string, args ...string) (string, error) {
	return c.run(ctx, input, append([]string{"-a", anchor}, args...)...)
}

// absent reports whether pfctl failed since there is no such anchor, or no such table.
func absent(err error) bool {
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
