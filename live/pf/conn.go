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
	c := &Conn{path: cmp.Or(opt.Path, Find("pfctl"))}
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

// Find returns the path of a program in PATH or where such programs are installed; ""
// if there is none.
func Find(name string) string {
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

// programTime bounds one run of a program. A million addresses take pfctl some seconds.
const programTime = 2 * time.Minute

// run starts a program and returns what it printed.
func run(ctx context.Context, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = 10 * time.Second // on a busy machine the last of the output comes late
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		said := cmp.Or(strings.Join(strings.Fields(errs.String()), " "), err.Error())
		return "", fmt.Errorf("%s %s: %s", filepath.Base(path), strings.Join(args, " "), said)
	}
	return out.String(), nil
}

func (c *Conn) pfctl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, c.path, args...)
}
