package live

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// relays run a program on a terminal of their own and pass everything on to the
// one that they were started from.
var relays = []string{"sudo", "su", "doas", "script"}

// atConsole looks at the terminal of the first process of the line.
func atConsole(line []process) Reach {
	if len(line) == 0 {
		return Reach{}
	}
	at := line[0].tty
	for _, p := range line {
		if p.tty != at && slices.Contains(relays, p.name) {
			at = p.tty
		} else if p.tty != at {
			break
		}
	}
	switch {
	case at.console():
		return Reach{Kind: ReachConsole, By: "console " + at.name()}
	case at.pseudo():
		return atSeat(line)
	}
	return Reach{}
}

// name is that of the device file, below /dev.
func (t tty) name() string {
	number := fmt.Sprintf("%d:%d", t.major(), t.minor())
	to, err := os.Readlink("/sys/dev/char/" + number)
	if err != nil {
		return number
	}
	return filepath.Base(to)
}

// atSeat knows a pseudo-terminal on the host's own screen by its login: one at a
// seat, from which the process descends. What has only been left behind by such a
// login may be shown to others since.
func atSeat(line []process) Reach {
	id := login(line[0].pid)
	if id == "" {
		return Reach{}
	}
	text, _ := os.ReadFile("/run/systemd/sessions/" + id)
	leader, local := parseLogin(string(text))
	if !local || !slices.ContainsFunc(line, func(p process) bool { return p.pid == leader }) {
		return Reach{}
	}
	return Reach{Kind: ReachConsole, By: "session " + id + " at the console"}
}

// login returns the name of the login that the process belongs to, by logind or
// else by the kernel's audit, of which logind takes its numbers.
func login(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if id := parseScope(string(text)); id != "" {
		return id
	}
	text, _ = os.ReadFile(fmt.Sprintf("/proc/%d/sessionid", pid))
	if id, err := strconv.ParseUint(string(text), 10, 32); err == nil && id != math.MaxUint32 { // that one is none
		return strconv.FormatUint(id, 10)
	}
	return ""
}
