package live

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// users fills in the names of the users, each looked up once.
func (s *listening) users() {
	names := map[uint32]string{}
	for i := range s.found {
		uid := s.found[i].UID
		if _, known := names[uid]; !known {
			names[uid] = ""
			if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
				names[uid] = printable(u.Username)
			}
		}
		s.found[i].User = names[uid]
	}
}

// owners fills in the processes, or only the first one of each socket.
func (s *listening) owners(ctx context.Context, first bool) {
	w := walk{wanted: map[uint64][]int{}, first: first}
	for _, d := range s.found {
		if d.Inode != 0 {
			w.wanted[d.Inode] = nil
		}
	}
	w.processes(ctx)
	told := map[int]Listener{}
	var orphans []string
	for i := range s.found {
		d := &s.found[i]
		for _, pid := range w.wanted[d.Inode] {
			o, known := told[pid]
			if !known {
				o = ownedBy(pid)
				told[pid] = o
			}
			d.Owners = append(d.Owners, o.Owners...)
			d.Proxy = cmp.Or(d.Proxy, o.Proxy)
		}
		if len(d.Owners) == 0 {
			orphans = append(orphans, d.String())
		}
	}
	s.explain(w.closed, orphans)
}

// explain says why processes are missing.
func (s *listening) explain(closed int, orphans []string) {
	if closed > 0 {
		s.note("the descriptors of %d processes of others may not be read (needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH): processes that have sockets open may be missing", closed)
	}
	if len(orphans) > 0 {
		s.note("no process was found that has these open: %s%s", someOf(orphans), map[bool]string{
			true:  "",
			false: "; they are the kernel's own, or of processes that /proc does not show",
		}[closed > 0])
	}
}

// walk goes through the descriptors of all processes, once.
type walk struct {
	wanted map[uint64][]int // processes by the inode of a socket
	first  bool             // one process of each is enough
	left   int              // sockets without any
	closed int              // processes that may not be looked into
}

func (w *walk) processes(ctx context.Context) {
	w.left = len(w.wanted)
	if w.left == 0 {
		return
	}
	for _, pid := range processes() {
		if ctx.Err() != nil || w.first && w.left == 0 {
			return
		}
		if err := w.descriptors(pid); errors.Is(err, fs.ErrPermission) && hasFiles(pid) {
			w.closed++
		}
	}
}

// hasFiles reports whether a process may have files open: it is no thread of the
// kernel's, and has not ended.
func hasFiles(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := cutLast(string(text), ")")
	return mayHaveFiles(strings.Fields(rest))
}

// mayHaveFiles reads what stands behind the name in /proc/PID/stat.
func mayHaveFiles(f []string) bool {
	const kernelThread = 0x00200000 // PF_KTHREAD, linux/sched.h
	if len(f) < 7 || f[0] == "Z" || f[0] == "X" {
		return false
	}
	flags, err := strconv.ParseUint(f[6], 10, 32)
	return err == nil && flags&kernelThread == 0
}

// descriptors looks at those of one process. The kernel takes microseconds for each,
// and no less for two at a time.
func (w *walk) descriptors(pid int) error {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	var link [64]byte
	for _, name := range names {
		n, err := unix.Readlinkat(int(dir.Fd()), name, link[:])
		if err != nil {
			continue // closed since
		}
		if inode, ok := socketInode(link[:n]); ok {
			w.holds(pid, inode)
		}
		if w.first && w.left == 0 {
			break
		}
	}
	return err
}

// holds notes that the process has the socket open, perhaps once more.
func (w *walk) holds(pid int, inode uint64) {
	pids, wanted := w.wanted[inode]
	if !wanted || w.first && len(pids) > 0 || len(pids) > 0 && pids[len(pids)-1] == pid {
		return
	}
	if len(pids) == 0 {
		w.left--
	}
	w.wanted[inode] = append(pids, pid)
}

// socketInode reads "socket:[4711]".
func socketInode(link []byte) (uint64, bool) {
	digits, ok := bytes.CutPrefix(link, []byte("socket:["))
	if !ok || len(digits) < 2 {
		return 0, false
	}
	var n uint64
	for _, c := range digits[:len(digits)-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// processes lists the numbers of all processes, in order.
func processes() []int {
	var out []int
	for _, name := range entryNames("/proc") {
		if pid, err := strconv.Atoi(name); err == nil {
			out = append(out, pid)
		}
	}
	slices.Sort(out)
	return out
}

// entryNames lists a directory, unsorted; nothing if it may not.
func entryNames(path string) []string {
	dir, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return names
}

// ownedBy reads who a process is, and whether it is a proxy; what has gone or may not
// be read stays empty.
func ownedBy(pid int) Listener {
	dir := fmt.Sprintf("/proc/%d", pid)
	file := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		return string(text)
	}
	o := Owner{PID: pid, Process: printable(strings.TrimSuffix(file("comm"), "\n")), Place: parseCgroup(file("cgroup"))}
	exe, _ := os.Readlink(filepath.Join(dir, "exe"))
	o.Exe = printable(exe)
	args := strings.Split(strings.TrimSuffix(file("cmdline"), "\x00"), "\x00")
	o.Argv0 = printable(args[0])
	return Listener{Owners: []Owner{o}, Proxy: parseProxy(o, args[1:])}
}

// containers asks the engines for the names of containers, if there are any.
func (s *listening) containers(ctx context.Context) {
	if !slices.ContainsFunc(s.found, diagnosed.nameless) {
		return
	}
	all, notes := Containers(ctx)
	s.notes = append(s.notes, notes...)
	for i := range s.found {
		d := &s.found[i]
		for j, o := range d.Owners {
			d.Owners[j].Container = named(all, o.Container)
		}
		if d.Proxy.To.IsValid() {
			d.Proxy.Container = cmp.Or(d.Proxy.Container, at(all, d.Proxy.To.Addr()))
		}
		d.Proxy.Container = named(all, d.Proxy.Container)
	}
}

// nameless reports whether a container has to do with the socket whose name is not
// known.
func (d diagnosed) nameless() bool {
	if d.Proxy != (Proxy{}) && d.Proxy.Container.Name == "" {
		return true
	}
	return slices.ContainsFunc(d.Owners, func(o Owner) bool { return o.Container.ID != "" && o.Container.Name == "" })
}
