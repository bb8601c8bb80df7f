package live

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindTo binds a socket to an interface before it connects (SO_BINDTODEVICE, socket(7)).
// A packet to an own address then counts as come in there, though it goes by loopback.
func bindTo(link string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), link) })
		return errors.Join(err, failed)
	}
}
