//go:build !linux

package apply

import "context"

func backends() map[string]backend { return nil }

// generation is the number of the kernel's ruleset; this system has none.
func generation(context.Context) (uint32, error) { return 0, ErrNoBackend }

// namespace identifies the network namespace and this run of the kernel.
func namespace() string { return "" }
