package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Where there are no abstract addresses a watchdog listens at a socket in a directory
// of the run directory. Nobody but its owner can enter that directory (0700), so whoever
// reaches the socket, or has made it, is of this user: that is looked at before each
// use, and stands in the place of the other end's credentials, which every system
// tells in another way. The number of the process that applies comes with its orders.

// socketDir is the directory, below the run directory.
const socketDir = "watchdog"

// longestSocket is the longest path of a socket that every system takes: 104 bytes
// with the final zero (sys/un.h of the BSDs; Linux has 108).
const longestSocket = 103

// isPath tells such a name from one of an abstract address.
func isPath(name string) bool { return filepath.IsAbs(name) }

// socketIn returns a new name in the run directory.
func socketIn(runDir string) (string, error) {
	dir := filepath.Join(runDir, socketDir)
	path := filepath.Join(dir, newToken())
	if len(path) > longestSocket {
		return "", fmt.Errorf("%s is too long for a socket, which has %d bytes: take a shorter --run-dir", path, longestSocket)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	sweepSockets(dir)
	return path, nil
}

// sweepSockets removes what watchdogs have left that were killed.
func sweepSockets(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, path := range left {
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			_ = conn.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(path)
		}
	}
}

// private returns an error unless the directory of a socket is this user's alone.
func private(name string) error {
	dir := filepath.Dir(name)
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || info.Mode().Perm() != 0o700 || int(owner.Uid) != os.Geteuid() {
		return &fs.PathError{Op: "use", Path: dir, Err: errors.New("it is not a directory that its owner alone can enter (0700)")}
	}
	return nil
}

func listenAt(name string) (net.Listener, error) {
	if isPath(name) {
		if err := private(name); err != nil {
			return nil, err
		}
	}
	return net.Listen("unix", address(name))
}

// dialAt connects to a watchdog. What others listen to is none.
func dialAt(name string) (net.Conn, error) {
	if isPath(name) {
		if err := private(name); err != nil {
			return nil, err
		}
	}
	conn, err := net.DialTimeout("unix", address(name), armTime)
	if err != nil {
		return nil, err
	}
	if _, err := rootPeer(conn, name); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// watchdogArgs is the command line of a watchdog.
func watchdogArgs(o Options, name string) []string {
	return append(append([]string{}, o.Program...), "watchdog", "--state-dir", o.StateDir, "--run-dir", o.RunDir, name)
}

// detach starts a process in a session of its own, with nothing of this one's.
func detach(args []string) (<-chan error, error) {
	var said strings.Builder
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stderr = "/", &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		ended <- fmt.Errorf("it ended at once: %w %s", errors.Join(err), strings.TrimSpace(said.String()))
	}()
	return ended, nil
}
