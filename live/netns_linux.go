package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ownNetns returns the inode of the thread's network namespace.
func ownNetns() (uint64, error) {
	inode, err := netnsInode("/proc/thread-self/ns/net")
	if err != nil {
		return 0, fmt.Errorf("find the network namespace: %w", err)
	}
	return inode, nil
}

// netnsInode reads a link "net:[4026531840]".
func netnsInode(link string) (uint64, error) {
	text, err := os.Readlink(link)
	if err != nil {
		return 0, err
	}
	inode, ok := parseNetns(text)
	if !ok {
		return 0, fmt.Errorf("%s leads to %q", link, text)
	}
	return inode, nil
}

func parseNetns(text string) (uint64, bool) {
	text, ok := strings.CutPrefix(text, "net:[")
	inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
	return inode, ok && err == nil
}

// door is a file that leads into a network namespace.
type door struct {
	Netns
	paths []string // several: processes end
}

// doors are the ways into the network namespaces, each once, and what hid others.
type doors struct {
	known  map[uint64]*door
	order  []uint64
	hidden int // processes whose namespace may not be looked at
}

func (ds *doors) add(ns Netns, path string) {
	d := ds.known[ns.Inode]
	if d == nil {
		d = &door{Netns: ns}
		ds.known[ns.Inode] = d
		ds.order = append(ds.order, ns.Inode)
	}
	const enough = 8
	if len(d.paths) < enough {
		d.paths = append(d.paths, path)
	}
}

// findDoors looks where network namespaces are mounted, as /run/netns has them, and
// in which ones processes and their threads are.
func findDoors() *doors {
	ds := &doors{known: map[uint64]*door{}}
	mounts, _ := os.ReadFile("/proc/thread-self/mountinfo")
	for _, m := range parseNetnsMounts(string(mounts)) {
		ds.add(m.Netns, m.paths[0])
	}
	for _, pid := range processes() {
		dir := fmt.Sprintf("/proc/%d/task", pid)
		for _, tid := range entryNames(dir) {
			path := filepath.Join(dir, tid, "ns/net")
			inode, err := netnsInode(path)
			if errors.Is(err, fs.ErrPermission) {
				if hasFiles(pid) {
					ds.hidden++
				}
				break
			}
			if err == nil {
				ds.add(Netns{Inode: inode}, path)
			}
		}
	}
	return ds
}

// parseNetnsMounts finds the mounted network namespaces in /proc/PID/mountinfo
// (proc_pid_mountinfo(5)), where blanks are written \040.
func parseNetnsMounts(text string) []door {
	var out []door
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if inode, ok := parseNetns(f[3]); ok {
			path := unescapeMount(f[4])
			out = append(out, door{Netns{inode, printable(filepath.Base(path))}, []string{path}})
		}
	}
	return out
}

func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// elsewhere adds the listeners of all network namespaces but the own one.
func (s *listening) elsewhere(ctx context.Context, own uint64) {
	s.notes = append(s.notes, everyOther(ctx, own, "sockets there may be missing", func(ns Netns) {
		if err := s.sockets(ns); err != nil {
			s.note("the sockets of network namespace %s could not be read: %v", ns, err)
		}
	})...)
}

// everyOther does the work in each network namespace but the own one, on a thread that
// is there; the notes say which could not be entered, and what is missing because others
// were not found.
func everyOther(ctx context.Context, own uint64, missing string, work func(Netns)) (notes []string) {
	ds := findDoors()
	if ds.hidden > 0 {
		notes = append(notes, fmt.Sprintf("the network namespace of %s may not be looked at (needs CAP_SYS_PTRACE, as root has it): %s", others(ds.hidden), missing))
	}
	inodes := slices.DeleteFunc(ds.order, func(inode uint64) bool { return inode == own })
	done := make(chan struct{})
	go func() {
		defer close(done)
		shut, err := ds.visit(ctx, inodes, work)
		if err != nil {
			shut = append(shut, fmt.Sprintf("no other network namespace was entered: %v", err))
		}
		notes = append(notes, shut...)
	}()
	<-done
	return notes
}

// visit does the work in one network namespace after the other, and brings the thread
// back; if that fails, it stays locked and ends with the goroutine.
func (ds *doors) visit(ctx context.Context, inodes []uint64, work func(Netns)) (notes []string, err error) {
	runtime.LockOSThread()
	back, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer back.Close()
	var shut []string
	var why error
	for _, inode := range inodes {
		if ctx.Err() != nil {
			break
		}
		d := ds.known[inode]
		switch entered, err := d.enter(); {
		case err != nil:
			shut, why = append(shut, d.String()), err
		case entered:
			work(d.Netns)
		}
	}
	if len(shut) > 0 {
		notes = append(notes, fmt.Sprintf("network namespaces that could not be entered (needs CAP_SYS_ADMIN): %s: %v", someOf(shut), why))
	}
	if unix.Setns(int(back.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return notes, nil
}

// enter brings the thread into the namespace, unless it has ended since.
func (d *door) enter() (entered bool, err error) {
	for _, path := range d.paths {
		if err = d.open(path); err == nil {
			return true, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOtherNetns) {
		return false, nil
	}
	return false, err
}

// open brings the thread into the namespace, by one of its files.
func (d *door) open(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := d.leadsInto(f); err != nil {
		return err
	}
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

// errOtherNetns says that a process has ended, and its number is another's.
var errOtherNetns = errors.New("it is another network namespace by now")

// leadsInto reports whether the open file is still that of the namespace.
func (d *door) leadsInto(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Ino != d.Inode {
		return errOtherNetns
	}
	return nil
}
