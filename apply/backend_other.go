//go:build !linux

package apply

import (
	"context"
	"errors"
)

var openers map[string]func(context.Context) (backend, error)

var errMissing = errors.New("not installed")

// generation is the number of the kernel's ruleset; this system has none.
func generation(context.Context) (uint32, error) { return 0, ErrNoBackend }

// namespace identifies the network namespace and this run of the kernel.
func namespace() string { return "" }
