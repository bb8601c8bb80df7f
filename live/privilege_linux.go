package live

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrPrivilege says what a change to the host's rules needs.
var ErrPrivilege = errors.New("changing the host's rules needs CAP_NET_ADMIN: run it as root")

// Privilege returns ErrPrivilege unless this process may change the rules of its
// network namespace (capabilities(7)).
func Privilege() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil || data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return ErrPrivilege
	}
	return nil
}
