package live

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// Trust refuses a file that others than root may write, be it by its mode, by
// its owner or through a directory above it: who can write the policy can open
// the host. The name is a slash path below the root directory. It asks only when
// fwctl runs as root; another user cannot apply anything.
func Trust(name string, info fs.FileInfo) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if why := writable(info); why != "" {
		return fmt.Errorf("others may write it: %s", why)
	}
	real, err := filepath.EvalSymlinks("/" + name)
	if err != nil {
		return err
	}
	return cmp.Or(trustAbove(path.Dir(real)), trustAbove(path.Dir("/"+name)))
}

// trustAbove looks at the directories from dir up to the root.
func trustAbove(dir string) error {
	for ; ; dir = path.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		// In a directory with the sticky bit nobody can replace another's file.
		if why := writable(info); why != "" && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("others may replace it: directory %s is writable, %s", dir, why)
		}
		if dir == "/" || dir == "." {
			return nil
		}
	}
}

// writable says how somebody who is not root may write the file, "" if nobody.
func writable(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	mode := info.Mode().Perm()
	switch {
	case st.Uid != 0:
		return fmt.Sprintf("it belongs to user %d", st.Uid)
	case mode&0o002 != 0:
		return fmt.Sprintf("its mode is %04o", mode)
	case mode&0o020 != 0 && st.Gid != 0:
		return fmt.Sprintf("its mode is %04o and its group is %d", mode, st.Gid)
	}
	return ""
}
