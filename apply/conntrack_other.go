//go:build !linux

package apply

import "github.com/fwctl/fwctl/live"

// track has nothing to do where no backend tracks connections of its own.
func track() error { return nil }

// untrack has nothing to do either.
func untrack([]live.Connection) error { return nil }

// abort has nothing to do either.
func abort([]live.TCPConnection) error { return nil }
