package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

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
		switch {
		case errors.Is(err, fs.ErrPermission):
			return err // their names may be read, and no more
		case err != nil:
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
