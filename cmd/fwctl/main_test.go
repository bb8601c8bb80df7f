package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fwctl/fwctl/internal/pfctl"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fwctl": main, "pfctl": func() { os.Exit(pfctl.Main()) }, "actor": waitAs})
}

// The scripts under testdata/script hold one behaviour each. Beside the commands
// of testscript they have
//
//	exits N ARG…     runs fwctl with the script's own state and run directories,
//	                 in its network namespace if it has one, and wants status N
//	netns            makes a network namespace, removed with the script
//	in CMD ARG…      runs a command in the namespace
//	nobody           from here on fwctl runs as a user without privileges
//	capable SET      from here on what runs has no capabilities but these, as
//	                 setpriv(1) writes them: "-all,+net_admin"
//	tmpfs DIR SIZE   mounts a small file system, removed with the script
//
// and the condition [kernel]: root and network namespaces are there. Where CI is
// "true" they have to be.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setup,
		Condition:           condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "netns": makeNetns, "in": inNetns, "nobody": asNobody, "capable": withCapabilities, "tmpfs": mountTmpfs,
		},
	})
}

func setup(env *testscript.Env) error {
	env.Setenv("NO_COLOR", "1")
	env.Setenv("TZ", "UTC")
	env.Setenv("PATH", env.Getenv("PATH")+":/usr/sbin:/sbin")
	return nil
}

func condition(name string) (bool, error) {
	if name != "kernel" {
		return false, fmt.Errorf("no condition %q", name)
	}
	err := unshare()
	if err != nil && os.Getenv("CI") == "true" {
		return false, fmt.Errorf("no network namespace: %w", err)
	}
	return err == nil, nil
}

// unshare tries whether this process may have a network namespace of its own.
func unshare() error {
	if runtime.GOOS != "linux" {
		return errors.New("not Linux")
	}
	return exec.Command("unshare", "--net", "true").Run()
}

// exits runs fwctl and checks its exit status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	line := append([]string{"fwctl"}, args[1:]...)
	line = append(line, "--state-dir", ts.MkAbs("state"), "--run-dir", ts.MkAbs("run"))
	if args[1] == "explain" { // whose words are the packet's
		line = append([]string{"fwctl"}, args[1:]...)
	}
	err = run1(ts, line)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		if exit.ExitCode() != want {
			ts.Fatalf("fwctl exits with %d, want %d", exit.ExitCode(), want)
		}
	case err != nil:
		ts.Check(err)
	case want != 0:
		ts.Fatalf("fwctl exits with 0, want %d", want)
	}
	answered(ts, args[1:])
}

// answered holds what a command said with --json against the schema of its answers.
func answered(ts *testscript.TestScript, args []string) {
	if !slices.Contains(args, "--json") {
		return
	}
	for _, command := range args {
		if answerTypes[command] != nil {
			ts.Check(answerProblem(command, ts.ReadFile("stdout")))
			return
		}
	}
}

// run1 runs a command where the script wants it: in its namespace, as its user.
func run1(ts *testscript.TestScript, line []string) error {
	if caps := ts.Getenv("CAPABLE"); caps != "" {
		line = append([]string{"setpriv", "--bounding-set=" + caps, "--inh-caps=-all"}, line...)
	}
	if ns := ts.Getenv("NETNS"); ns != "" {
		line = append([]string{"nsenter", "--net=/run/netns/" + ns}, line...)
	}
	if ts.Getenv("NOBODY") != "" && os.Geteuid() == 0 {
		line = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, line...)
	}
	return ts.Exec(line[0], line[1:]...)
}

func makeNetns(ts *testscript.TestScript, _ bool, _ []string) {
	name := fmt.Sprintf("fwctl-%d-%s", os.Getpid(), filepath.Base(ts.Getenv("WORK")))
	ts.Check(ts.Exec("ip", "netns", "add", name))
	ts.Setenv("NETNS", name)
	ts.Defer(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	ts.Check(run1(ts, []string{"ip", "link", "set", "lo", "up"}))
}

func inNetns(ts *testscript.TestScript, neg bool, args []string) {
	if err := run1(ts, args); (err != nil) != neg {
		ts.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

// asNobody makes the programs and the script's files readable for a user without
// privileges, which is what testscript's directories are not.
func asNobody(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("NOBODY", "1")
	if os.Geteuid() != 0 {
		return
	}
	program, err := exec.LookPath("fwctl")
	ts.Check(err)
	for _, path := range []string{program, ts.Getenv("WORK")} {
		for dir := path; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
			ts.Check(os.Chmod(dir, 0o755))
		}
	}
}

func withCapabilities(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: capable SET")
	}
	ts.Setenv("CAPABLE", args[0])
}

func mountTmpfs(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: tmpfs DIR SIZE")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o750))
	ts.Check(ts.Exec("mount", "-t", "tmpfs", "-o", "size="+args[1], "none", dir))
	ts.Defer(func() { _ = syscall.Unmount(dir, 0) })
}

// output runs fwctl in this process.
func output(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, talk strings.Builder
	code = run(context.Background(), args, strings.NewReader(""), &out, &talk)
	return out.String(), talk.String(), code
}
