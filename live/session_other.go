//go:build !linux

package live

import (
	"os"
	"path/filepath"
	"syscall"
)

// ReachOf returns how whoever started this process reaches the host. No system here
// tells the connections of processes, so the environment does; of other processes
// nothing is known.
func ReachOf(pid int) Reach {
	if pid != 0 {
		return Reach{}
	}
	terminal, _ := device(os.Stdin.Stat())
	return environment(os.Environ()).toldBy(terminal, consoles())
}

// device is the number of a terminal; false for what is none.
func device(info os.FileInfo, err error) (uint64, bool) {
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return 0, false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(s.Rdev), true //nolint:gosec // a number to compare
}

func consoles() map[uint64]string {
	out := map[uint64]string{}
	for _, pattern := range consoleNames {
		paths, _ := filepath.Glob("/dev/" + pattern)
		for _, path := range paths {
			if n, ok := device(os.Stat(path)); ok {
				out[n] = filepath.Base(path)
			}
		}
	}
	return out
}

// consoleNames are the terminals at a host, as patterns below /dev: the screens of
// OpenBSD (wscons(4)), FreeBSD (vt(4)) and the serial lines of both.
var consoleNames = []string{"console", "ttyC*", "ttyv*", "tty0*", "ttyu*"}
