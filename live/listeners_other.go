//go:build !linux

package live

import (
	"context"
	"fmt"
	"os/exec"
	"os/user"
	"runtime"
	"slices"
	"strconv"
)

// lister is the program that lists sockets with their processes, and how it is read.
type lister struct {
	args []string
	read func(text string) []Listener
}

// listers are those of the systems; each comes with its system.
var listers = map[string]lister{
	"openbsd": {[]string{"fstat"}, parseFstat},
	"freebsd": {[]string{"sockstat", "-46l"}, parseSockstat},
	"darwin":  {[]string{"lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-iUDP", "-F", "pcLtPn"}, parseLsof},
}

// Listeners lists the sockets that take packets from anybody, and the processes that
// have them open, as fstat(1), sockstat(1) or lsof(8) print them. Root sees those of
// all users.
func Listeners(ctx context.Context, o ListenOptions) ([]Listener, []string, error) {
	l, known := listers[runtime.GOOS]
	if !known {
		return nil, nil, fmt.Errorf("list the listeners: not known how on %s", runtime.GOOS)
	}
	text, err := exec.CommandContext(ctx, l.args[0], l.args[1:]...).Output()
	if err != nil && len(text) == 0 { // lsof fails where some process went meanwhile
		return nil, nil, fmt.Errorf("list the listeners: %s: %w", l.args[0], err)
	}
	found := l.read(string(text))
	for i := range found {
		if u, err := user.Lookup(found[i].User); err == nil {
			uid, _ := strconv.ParseUint(u.Uid, 10, 32)
			found[i].UID = uint32(uid)
		}
		if o.Owners == NoOwners {
			found[i].Owners = nil
		}
	}
	slices.SortFunc(found, Listener.compare)
	var notes []string
	if Privilege() != nil {
		notes = append(notes, "sockets of other users may be missing: listing them needs root")
	}
	return found, notes, nil
}
