package live

import (
	"cmp"
	"context"
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
	}
	s.makers()
	s.explain(w.closed)
}

// makers fills in where sockets were made that nobody was found to have open.
func (s *listening) makers() {
	wanted := map[uint64]string{}
	for _, d := range s.found {
		if len(d.Owners) == 0 && d.cgroup != 0 {
			wanted[d.cgroup] = ""
		}
	}
	groupPaths(groupRoot("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), wanted)
	for i, d := range s.found {
		if len(d.Owners) == 0 {
			s.found[i].Made = parseCgroupPath(wanted[d.cgroup])
		}
	}
}

// groupPaths finds the paths of control groups by their ids, which are the inodes of
// their directories.
func groupPaths(root string, wanted map[uint64]string) {
	left := len(wanted)
	if root == "" || left == 0 {
		return
	}
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil {
			return nil
		}
		if _, ok := wanted[st.Ino]; ok {
			wanted[st.Ino] = strings.TrimPrefix(path, root)
			left--
		}
		if left == 0 {
			return fs.SkipAll
		}
		return nil
	})
}

// others writes "3 processes of others".
func others(n int) string {
	if n == 1 {
		return "a process of another"
	}
	return fmt.Sprintf("%d processes of others", n)
}

// explain says why processes are missing.
func (s *listening) explain(closed int) {
	if closed > 0 {
		s.note("the descriptors of %s may not be read (needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, as root has them): owners of sockets may be missing", others(closed))
	}
	var orphans []string
	for _, d := range s.found {
		if len(d.Owners) > 0 {
			continue
		}
		text := d.String()
		if unit := cmp.Or(d.Made.UserUnit, d.Made.Unit); unit != "" {
			text += " (made in " + unit + ")"
		}
		orphans = append(orphans, text)
	}
	switch {
	case len(orphans) > 0 && closed > 0:
		s.note("no process was found that has these open: %s", someOf(orphans))
	case len(orphans) > 0:
		s.note("no process was found that has these open: %s; they are the kernel's own, or of processes that /proc does not show", someOf(orphans))
	}
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
	o.Leader = leader(pid, file("comm"), exe)
	args := strings.Split(strings.TrimSuffix(file("cmdline"), "\x00"), "\x00")
	o.Argv0 = printable(args[0])
	return Listener{Owners: []Owner{o}, Proxy: parseProxy(o, args[1:])}
}

// leader finds the furthest parent of a process that runs the same program.
func leader(pid int, comm, exe string) int {
	for {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := cutLast(string(stat), ")")
		f := strings.Fields(rest)
		if len(f) < 2 {
			return pid
		}
		parent, err := strconv.Atoi(f[1])
		if err != nil || parent <= 1 {
			return pid
		}
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent))
		file, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", parent))
		if string(name) != comm || file != exe {
			return pid
		}
		pid = parent
	}
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
		d.Proxy.Container, d.Made.Container = named(all, d.Proxy.Container), named(all, d.Made.Container)
	}
}

// nameless reports whether a container has to do with the socket whose name is not
// known.
func (d diagnosed) nameless() bool {
	if d.Proxy != (Proxy{}) && d.Proxy.Container.Name == "" {
		return true
	}
	nameless := func(c Container) bool { return c.ID != "" && c.Name == "" }
	return nameless(d.Made.Container) || slices.ContainsFunc(d.Owners, func(o Owner) bool { return nameless(o.Container) })
}
