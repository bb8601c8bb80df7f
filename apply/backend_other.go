//go:build !linux

package apply

import (
	"context"
	"errors"

	pfapply "github.com/fwctl/fwctl/apply/pf"
)

// openers are the backends of a system with pf.
var openers = map[string]func(context.Context) (backend, error){PF: openPF}

// usual are the backends that are tried unasked, in the order of preference.
var usual = []string{PF}

// missing reports whether a backend's programs are not installed.
func missing(err error) bool { return errors.Is(err, pfapply.ErrMissing) }

// generation is the number of the kernel's ruleset; this system has none.
func generation(context.Context) (uint32, error) {
	return 0, errors.New("the rules of pf have no generations")
}

// namespace identifies the network namespace and this run of the kernel. Here there is
// one network, and nothing that tells one run from another for sure: the time of the
// boot moves with the clock. So a change that nobody has confirmed is taken back after
// a reboot, too.
func namespace() string { return "" }
