//go:build !linux

package live

import (
	"errors"
	"syscall"
)

// bindTo cannot bind a socket to an interface on this system.
func bindTo(string) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error {
		return errors.New("sockets are bound to interfaces on Linux only")
	}
}
