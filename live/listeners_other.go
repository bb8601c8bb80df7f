//go:build !linux

package live

import (
	"context"
	"errors"
)

// Listeners lists the sockets that take packets from anybody. On this system it
// cannot.
func Listeners(context.Context, ListenOptions) ([]Listener, []string, error) {
	return nil, nil, errors.New("listeners can be listed on Linux only")
}
