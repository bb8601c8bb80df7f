package live

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Limits for what is walked through, should it go in a circle.
const (
	maxAncestors = 256
	maxJumps     = 8 // from terminal to terminal: tmux in ssh in tmux
)

// ReachOf returns how whoever started the process reaches the host; 0 is this
// process. Connections are those of the network namespace of this process. It
// needs root to look at the processes of others; without, it takes the
// environment's word for a connection that exists.
func ReachOf(pid int) Reach {
	if pid == 0 {
		// In a namespace of processes /proc may count them differently from getpid(2).
		self, err := os.Readlink("/proc/self")
		if err != nil {
			return Reach{By: "no /proc"}
		}
		pid, _ = strconv.Atoi(self)
	}
	all, err := tcpSockets()
	if err != nil {
		return Reach{By: err.Error()}
	}
	return sockets(all).reach(pid, maxJumps)
}

// sockets are all TCP sockets of a network namespace.
type sockets []socket

// reach goes from the process up to the first of its ancestors that tells.
func (ss sockets) reach(pid, jumps int) Reach {
	if jumps == 0 {
		return Reach{By: "it leads through too many terminals"}
	}
	line := ancestors(pid)
	for i := range line {
		if r, found := ss.multiplexed(line[:i+1], jumps); found {
			return r
		}
		if r, found := ss.holder(line[:i+1], jumps); found {
			return r
		}
	}
	if slices.ContainsFunc(line, func(p process) bool { return environ(p.pid).detaches() }) {
		return Reach{By: "it runs under a terminal that can be detached"}
	}
	if r, found := ss.told(line, jumps); found {
		return r
	}
	return atConsole(line)
}

// ancestors returns the process, its parent and so on, without the first of all
// processes: that one holds connections on behalf of others.
func ancestors(pid int) []process {
	var out []process
	for pid > 0 && len(out) < maxAncestors {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		p, err := parseStat(string(text))
		if err != nil {
			break
		}
		out = append(out, p)
		if pid = p.parent; pid == 1 {
			break
		}
	}
	return out
}

// environ reads the environment that the process was started with; nothing if
// it may not.
func environ(pid int) environment {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return strings.Split(string(text), "\x00")
}

// holder says whether the last process of the line holds the connection. Of sshd
// every one will do, of another program only one that it accepted: what a shell
// or an editor has opened leads away from the host.
func (ss sockets) holder(line []process, jumps int) (Reach, bool) {
	p, below := line[len(line)-1], line[:len(line)-1]
	if p.name == "ssh" {
		return Reach{}, false // what it accepts, it forwards
	}
	sshd := strings.HasPrefix(p.name, "sshd")
	held := slices.DeleteFunc(ss.of(p), func(s socket) bool { return !sshd && !ss.listens(s) })
	if len(held) == 0 {
		return Reach{}, false
	}
	if s, ok := own(held, below, sshd); ok {
		return ss.origin(s, p.String(), jumps), true
	}
	return Reach{By: fmt.Sprintf("%s has %d connections", p, len(held))}, true
}

// of returns the connections that the process has open, by descriptor.
func (ss sockets) of(p process) []socket {
	var out []socket
	for _, inode := range openSockets(p.pid) {
		i := slices.IndexFunc(ss, func(s socket) bool { return s.inode == inode && slices.Contains(connected, s.state) })
		if i >= 0 && !slices.Contains(out, ss[i]) {
			out = append(out, ss[i])
		}
	}
	return out
}

// own picks the connection out of several. A server of SSH also has those that it
// forwards, but tells its shell which one is its own. Without a shell that has
// been told, it is the first: sshd forwards nothing before it knows for whom.
func own(held []socket, below []process, sshd bool) (socket, bool) {
	if n := len(below); n > 0 {
		c, _ := parseSSH(environ(below[n-1].pid).get("SSH_CONNECTION"))
		if i := slices.IndexFunc(held, func(s socket) bool { return s.connects(c) }); i >= 0 {
			return held[i], true
		}
	}
	return held[0], sshd || len(held) == 1
}

// connects reports whether the socket is the host's end of the connection.
func (s socket) connects(c TCPConnection) bool { return s.local == c.Local && s.remote == c.Remote }

// listens reports whether the connection came in: some socket listens where it
// arrived.
func (ss sockets) listens(c socket) bool {
	return slices.ContainsFunc(ss, func(s socket) bool {
		return s.state == stateListen && s.local.Port() == c.local.Port() &&
			(s.local.Addr().IsUnspecified() || s.local.Addr() == c.local.Addr())
	})
}

// openSockets returns the inodes of the sockets that the process has open, by
// descriptor; none if it may not look.
func openSockets(pid int) []uint64 {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir)
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return number(a) - number(b) })
	var out []uint64
	for _, e := range entries {
		to, _ := os.Readlink(filepath.Join(dir, e.Name()))
		to, ok := strings.CutPrefix(to, "socket:[")
		inode, err := strconv.ParseUint(strings.TrimSuffix(to, "]"), 10, 64)
		if ok && err == nil {
			out = append(out, inode)
		}
	}
	return out
}

// number is the name of a directory entry, if it is one.
func number(e os.DirEntry) int {
	n, _ := strconv.Atoi(e.Name())
	return n
}

// origin follows a connection that begins on this host (`ssh localhost`, a port
// that SSH forwards, a proxy) to the process which opened it: in from outside
// leads only how that one is reached. If nothing is known of it, the connection
// itself is the answer.
func (ss sockets) origin(s socket, by string, jumps int) Reach {
	r := Reach{Kind: ReachConnection, Remote: s.remote, Local: s.local, By: by}
	i := slices.IndexFunc(ss, func(o socket) bool {
		return o.inode != 0 && o.connects(TCPConnection{Local: s.remote, Remote: s.local})
	})
	if i < 0 {
		return r
	}
	p, ok := opener(ss[i].inode)
	if !ok {
		return r
	}
	r.By += ", from " + p.String()
	if ss.tunnels(p, ss[i]) {
		return Reach{By: r.By + ", which has others"}
	}
	outer := ss.reach(p.pid, jumps-1)
	if outer.Kind == ReachUnknown && outer.By == "" {
		return r
	}
	return outer.by(r.By)
}

// tunnels reports whether the process has opened another connection than this.
// It may then be the near end of a tunnel (`ssh -R`), through which somebody comes
// who is not where the tunnel was started. What sshd opens, it opens for those who
// came in over its own.
func (ss sockets) tunnels(p process, this socket) bool {
	return !strings.HasPrefix(p.name, "sshd") && slices.ContainsFunc(ss.of(p), func(s socket) bool {
		return s != this && !ss.listens(s)
	})
}

// opener finds a process that has the socket open.
func opener(inode uint64) (process, bool) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid := number(e)
		if pid == 0 || !slices.Contains(openSockets(pid), inode) {
			continue
		}
		if line := ancestors(pid); len(line) > 0 {
			return line[0], true
		}
	}
	return process{}, false
}

// told takes SSH_CONNECTION from the nearest environment that has it, if there is
// such a connection now.
func (ss sockets) told(line []process, jumps int) (Reach, bool) {
	for i, p := range line {
		c, ok := parseSSH(environ(p.pid).get("SSH_CONNECTION"))
		if !ok {
			continue
		}
		at := slices.IndexFunc(ss, func(s socket) bool { return s.connects(c) && slices.Contains(connected, s.state) })
		if at < 0 {
			return Reach{}, false
		}
		by := "SSH_CONNECTION"
		if i > 0 {
			by += " of " + p.String()
		}
		return ss.origin(ss[at], by, jumps), true
	}
	return Reach{}, false
}
