package apply

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// start starts a watchdog under a name and returns a channel that has an error
// when it ends before it was reached. Where systemd runs it becomes a unit of its
// own, since the end of a session may end all processes of it; in another network
// namespace than systemd's that cannot be.
func start(ctx context.Context, o Options, name string) (<-chan error, error) {
	args := append(append([]string{}, o.Program...), "watchdog", "--state-dir", o.StateDir, "--run-dir", o.RunDir, name)
	if underSystemd() {
		run, err := exec.LookPath("systemd-run")
		if err == nil {
			unit := append([]string{
				"--quiet", "--collect", "--unit=fwctl-watchdog-" + name, "--description=takes a change of fwctl back unless it is confirmed",
				"--property=DefaultDependencies=no", "--property=OOMScoreAdjust=-900", "--property=IgnoreSIGPIPE=yes", "--property=KillMode=mixed", "--",
			}, args...)
			if exec.CommandContext(ctx, run, unit...).Run() == nil {
				return make(chan error), nil
			}
		}
	}
	return detach(args)
}

// underSystemd reports whether systemd runs this host and sees the network that
// this process sees.
func underSystemd() bool {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return false
	}
	for _, ns := range []string{"net", "mnt"} {
		its, err1 := os.Readlink("/proc/1/ns/" + ns)
		mine, err2 := os.Readlink("/proc/thread-self/ns/" + ns)
		if err1 != nil || err2 != nil || its != mine {
			return false
		}
	}
	return true
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

// A watchdog listens at an abstract address, which needs no directory: it is the
// network namespace's, and gone with the process (unix(7)).
func address(name string) string { return "@fwctl-watchdog-" + name }

func listenAt(name string) (net.Listener, error) { return net.Listen("unix", address(name)) }

// dialAt connects to a watchdog. What others than root listen to is none.
func dialAt(name string) (net.Conn, error) {
	conn, err := net.DialTimeout("unix", address(name), armTime)
	if err != nil {
		return nil, err
	}
	if _, err := rootPeer(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// rootPeer returns the process at the other end, which has to be of this user.
func rootPeer(conn net.Conn) (pid int, err error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var perr error
	if err := raw.Control(func(fd uintptr) { peer, perr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if perr == nil && int(peer.Uid) != os.Geteuid() {
		perr = errors.New("the other end is another user's")
	}
	if perr != nil {
		return 0, perr
	}
	return int(peer.Pid), nil
}
