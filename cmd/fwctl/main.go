package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // a boot must not depend on what is installed or mounted
)

func main() {
	// The process lives for a second: collecting its small heap at every doubling
	// cost a fifth of an apply of 10,000 services. A group of a million addresses
	// has the same peak of memory either way.
	debug.SetGCPercent(400)
	// A hang-up just ends it: what waits for a confirmation is the watchdog's.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is fwctl as a function of its arguments and streams; it returns the exit
// status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	u := newUI(stdin, stdout, stderr)
	if path, err := os.Executable(); err == nil {
		u.program = []string{path}
	}
	root := newRoot(u)
	root.SetArgs(args)
	return u.finish(root.ExecuteContext(ctx))
}

// stops are the signals by which a terminal stops a process. One that changes the
// rules must not be stopped half way.
func stops() []os.Signal { return []os.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} }
