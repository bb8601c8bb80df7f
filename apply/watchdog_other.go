//go:build !linux

package apply

import (
	"context"
	"net"
)

// start starts a watchdog under a name and returns a channel that has an error when it
// ends before it was reached.
func start(_ context.Context, o Options, name string) (<-chan error, error) {
	return detach(watchdogArgs(o, name))
}

// watchdogName is where a watchdog listens.
func watchdogName(o Options) (string, error) { return socketIn(o.RunDir) }

func address(name string) string { return name }

// rootPeer returns no process: that the other end is this user's, the place of the
// socket says.
func rootPeer(net.Conn, string) (pid int, err error) { return 0, nil }
