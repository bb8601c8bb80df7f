//go:build !linux

package live

import "context"

// Look reads who else has rules on this host. On this system it knows of none.
func Look(context.Context) (*Survey, error) { return &Survey{}, nil }
