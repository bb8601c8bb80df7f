package pf

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// RoomError says that the tables hold more addresses than pf has room for.
type RoomError struct {
	Need, Room int
	File       string // which sets the limit
}

// Error says which line makes room.
func (e *RoomError) Error() string {
	return fmt.Sprintf("the tables need room for %d addresses while they are loaded, and pf has it for %d: add `set limit table-entries %d` to %s and load it by `pfctl -f %[4]s`",
		e.Need, e.Room, 2*e.Need, e.File)
}

// few is how many addresses nobody counts.
const few = 10_000

// room returns an error if pf would refuse the tables, which pfctl -n does not find out:
// while new ones are loaded the old ones count, too.
func (c *Conn) room(ctx context.Context, want, held *holding) error {
	need := want.addresses() + held.addresses()
	if need <= few {
		return nil
	}
	text, err := c.run(ctx, "", "-s", "memory")
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] != "table-entries" {
			continue
		}
		if room, err := strconv.Atoi(f[3]); err == nil && room < need {
			return &RoomError{need, room, c.mainFile}
		}
	}
	return nil
}

// addresses counts those of all tables.
func (h *holding) addresses() (n int) {
	for _, t := range h.tables {
		n += len(t.Entries)
	}
	return n
}
