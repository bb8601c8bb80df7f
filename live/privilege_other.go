//go:build !linux

package live

import (
	"errors"
	"os"
)

// ErrPrivilege says what a change to the host's rules needs.
var ErrPrivilege = errors.New("changing the host's rules needs root")

// Privilege returns ErrPrivilege unless this process runs as root.
func Privilege() error {
	if os.Geteuid() != 0 {
		return ErrPrivilege
	}
	return nil
}
