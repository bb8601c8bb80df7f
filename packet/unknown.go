package packet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The same unknowns occur in a policy and in every language that it is rendered
// in. Readers that make them here make them equal.

// TimeBefore is the unknown that stands for "before this instant", the same for
// every language.
func TimeBefore(t time.Time) Cond {
	return Unknown{Key: before + t.UTC().Format(time.RFC3339Nano)}
}

const before = "before "

// Clock is the condition that the unknowns of TimeBefore in some filters fit
// together and to the time that it is: an instant that is over stays over, and
// what lies before an instant lies before every later one.
func Clock(now time.Time, filters ...*Filter) Cond {
	times := instants(filters)
	c := All{}
	for i, t := range times {
		switch {
		case !now.Before(t):
			c = append(c, Not{TimeBefore(t)})
		case i+1 < len(times):
			c = append(c, Any{Not{TimeBefore(t)}, TimeBefore(times[i+1])})
		}
	}
	return c
}

// During is Clock for every instant from one to another: what lies behind the last
// has not come.
func During(from, to time.Time, filters ...*Filter) Cond {
	c := All{Clock(from, filters...)}
	for _, t := range instants(filters) {
		if to.Before(t) {
			c = append(c, TimeBefore(t))
		}
	}
	return c
}

// instants returns those that the unknowns of TimeBefore name, in order.
func instants(filters []*Filter) []time.Time {
	var times []time.Time
	for _, f := range filters {
		for key := range f.Unknowns() {
			text, isTime := strings.CutPrefix(key, before)
			if t, err := time.Parse(time.RFC3339, text); isTime && err == nil {
				times = append(times, t)
			}
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// Unspent is the unknown that stands for a limit that the packet's source has
// not used up. Owner is the comment on the rule: the ID of the service.
func Unspent(owner string, count uint64, per time.Duration, is6 bool) Cond {
	source := "address"
	if is6 {
		source = "/64"
	}
	return Unknown{Key: fmt.Sprintf("%s%s%d new connections in %s from one %s", owner, unspent, count, per, source)}
}

const unspent = ": fewer than "

// ReadUnspent reads what Unspent wrote as the key of an unknown.
func ReadUnspent(key string) (owner string, count uint64, per time.Duration, ok bool) {
	owner, rest, ok := strings.Cut(key, unspent)
	f := strings.Fields(rest) // "10 new connections in 1m0s from one address"
	if !ok || len(f) < 5 {
		return "", 0, 0, false
	}
	count, err1 := strconv.ParseUint(f[0], 10, 64)
	per, err2 := time.ParseDuration(f[4])
	return owner, count, per, err1 == nil && err2 == nil
}

// ReadTimeBefore reads the instant from the key of what TimeBefore made.
func ReadTimeBefore(key string) (time.Time, bool) {
	text, is := strings.CutPrefix(key, before)
	t, err := time.Parse(time.RFC3339Nano, text)
	return t, is && err == nil
}

func isUnspent(key string) bool { return strings.Contains(key, unspent) }
