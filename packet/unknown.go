package packet

import (
	"fmt"
	"time"
)

// The same unknowns occur in a policy and in every language that it is rendered
// in. Readers that make them here make them equal.

// TimeBefore is the unknown that stands for "before this instant", the same for
// every language.
func TimeBefore(t time.Time) Cond {
	return Unknown{Key: "before " + t.UTC().Format(time.RFC3339)}
}

// Unspent is the unknown that stands for a limit that the packet's source has
// not used up. Owner is the comment on the rule: the ID of the service.
func Unspent(owner string, count uint64, per time.Duration, is6 bool) Cond {
	source := "address"
	if is6 {
		source = "/64"
	}
	return Unknown{Key: fmt.Sprintf("%s: fewer than %d new connections in %s from one %s", owner, count, per, source)}
}
