//go:build !linux

package apply

import (
	"context"
	"errors"
	"net"
)

var errNoWatchdog = errors.New("this system has no watchdog yet")

func start(context.Context, Options, string) (<-chan error, error) { return nil, errNoWatchdog }

func listenAt(string) (net.Listener, error) { return nil, errNoWatchdog }

func dialAt(string) (net.Conn, error) { return nil, errNoWatchdog }

func rootPeer(net.Conn) (int, error) { return 0, errNoWatchdog }
