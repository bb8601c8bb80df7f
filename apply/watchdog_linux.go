package apply

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// start starts a watchdog under a name and returns a channel that has an error
// when it ends before it was reached. Where systemd runs it becomes a unit of its
// own, since the end of a session may end all processes of it; in another network
// namespace than systemd's that cannot be.
func start(ctx context.Context, o Options, name string) (<-chan error, error) {
	args := watchdogArgs(o, name)
	if !isPath(name) && underSystemd() {
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

// A watchdog listens at an abstract address, which needs no directory: it is the
// network namespace's, and gone with the process (unix(7)). For pf it does as where
// there are no such addresses.
func watchdogName(o Options) (string, error) {
	if o.Backend == PF {
		return socketIn(o.RunDir)
	}
	return newToken(), nil
}

func address(name string) string {
	if isPath(name) {
		return name
	}
	return "@fwctl-watchdog-" + name
}

// rootPeer returns the process at the other end, which has to be of this user; zero
// where the place of the socket says so.
func rootPeer(conn net.Conn, name string) (pid int, err error) {
	if isPath(name) {
		return 0, nil
	}
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
