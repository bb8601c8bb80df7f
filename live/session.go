package live

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// ReachKind tells the ways to reach a host apart.
type ReachKind uint8

// How somebody reaches the host.
const (
	ReachUnknown    ReachKind = iota // nobody knows: started by cron, by a unit, under a detached terminal
	ReachConnection                  // over TCP
	ReachConsole                     // at a terminal of the host itself: its screen or a serial line
)

// Reach is how whoever started a process reaches the host.
type Reach struct {
	Kind   ReachKind
	Remote netip.AddrPort // of a connection: the other end
	Local  netip.AddrPort // of a connection: the host's end
	// By is how it is known, from the process outwards: "sshd (process 812)",
	// "tmux client 77, sshd (process 70)", "SSH_CONNECTION", "console tty1". Of
	// ReachUnknown it is why, or empty.
	By string
}

// Connection is the connection as the host's rules see it come in.
func (r Reach) Connection() Connection {
	return Connection{Proto: packet.TCP, Src: r.Remote, Dst: r.Local}
}

// by puts in front how the rest was found.
func (r Reach) by(how string) Reach {
	if r.By != "" {
		how += ", " + r.By
	}
	r.By = how
	return r
}

// process is what /proc/PID/stat says of a process, as far as we ask.
type process struct {
	pid, parent int
	name        string
	tty         tty
}

func (p process) String() string { return fmt.Sprintf("%s (process %d)", p.name, p.pid) }

// parseStat reads /proc/PID/stat. The name stands in parentheses and may itself
// have parentheses, spaces and line breaks (proc_pid_stat(5)); after it come
// numbers only.
func parseStat(text string) (process, error) {
	head, rest, ok1 := cutLast(text, ")")
	id, name, ok2 := strings.Cut(head, "(")
	f := strings.Fields(rest)
	if !ok1 || !ok2 || len(f) < 5 {
		return process{}, fmt.Errorf("read a process: %q is no state", text)
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(id))
	parent, err2 := strconv.Atoi(f[1])
	dev, err3 := strconv.ParseInt(f[4], 10, 32) // printed as if it had a sign
	if err1 != nil || err2 != nil || err3 != nil {
		return process{}, fmt.Errorf("read a process: %q is no state", text)
	}
	return process{pid, parent, printable(name), tty(uint32(int32(dev)))}, nil
}

// cutLast is strings.Cut for the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// printable keeps what a process calls itself from steering the terminal that
// it is shown on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// tty is the device of a terminal; zero is none.
type tty uint32

func (t tty) major() uint32 { return uint32(t) >> 8 & 0xfff }
func (t tty) minor() uint32 { return uint32(t)&0xff | uint32(t)>>12&0xfff00 }

// console reports whether the terminal is a screen or a serial line of the host
// (Linux: Documentation/admin-guide/devices.txt).
func (t tty) console() bool {
	switch t.major() {
	case 5:
		return t.minor() == 1 // /dev/console; the others stand for terminals elsewhere
	case 4, // tty1, ttyS0
		166, 188, // ttyACM0, ttyUSB0
		204, // ttyAMA0 and many others
		229: // hvc0
		return true
	}
	return false
}

// pseudo reports whether a program holds the other end of the terminal.
func (t tty) pseudo() bool { return t.major() >= 136 && t.major() <= 143 }

// parseSSH reads SSH_CONNECTION: the client's address and port, then the
// host's. Zones are left off, as /proc/net has none.
func parseSSH(s string) (TCPConnection, bool) {
	f := strings.Fields(s)
	if len(f) != 4 {
		return TCPConnection{}, false
	}
	remote, ok1 := parseEnd(f[0], f[1])
	local, ok2 := parseEnd(f[2], f[3])
	return TCPConnection{Local: local, Remote: remote}, ok1 && ok2
}

func parseEnd(host, port string) (netip.AddrPort, bool) {
	a, err1 := netip.ParseAddr(host)
	n, err2 := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a.WithZone("").Unmap(), uint16(n)), err1 == nil && err2 == nil
}

// environment is that of a process, as its file in /proc has it.
type environment []string

// get returns the first value, which is the one that getenv(3) finds.
func (e environment) get(name string) string {
	for _, v := range e {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// detaches reports whether the environment is that of a program under one which
// outlives the connection that it was started over: what it says of that may be
// long past.
func (e environment) detaches() bool {
	for _, name := range []string{"TMUX", "STY", "ZELLIJ", "ABDUCO_SESSION"} {
		if e.get(name) != "" {
			return true
		}
	}
	return false
}

// parseLogin reads a file of /run/systemd/sessions: the process that a login
// began with, and whether it is one at a seat of the host.
func parseLogin(text string) (leader int, local bool) {
	f := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		f[name] = value
	}
	leader, _ = strconv.Atoi(f["LEADER"])
	return leader, f["REMOTE"] == "0" && f["SEAT"] != ""
}

// parseScope finds the login in /proc/PID/cgroup: "c2" in
// "0::/user.slice/user-0.slice/session-c2.scope".
func parseScope(text string) string {
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '/' || r == '\n' }) {
		id, ok1 := strings.CutPrefix(part, "session-")
		id, ok2 := strings.CutSuffix(id, ".scope")
		if ok1 && ok2 {
			return id
		}
	}
	return ""
}

// parseOwner reads /proc/PID/status: the user and the group that the process
// belongs to; to whom it has changed, if it began as root.
func parseOwner(text string) (uid, gid uint32, ok bool) {
	ids := map[string][]uint32{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "Uid:" && f[0] != "Gid:" {
			continue
		}
		for _, v := range f[1:3] { // real, effective
			n, err := strconv.ParseUint(v, 10, 32)
			if err != nil {
				return 0, 0, false
			}
			ids[f[0]] = append(ids[f[0]], uint32(n))
		}
	}
	u, g := ids["Uid:"], ids["Gid:"]
	if len(u) != 2 || len(g) != 2 {
		return 0, 0, false
	}
	return cmp.Or(u...), cmp.Or(g...), true
}
