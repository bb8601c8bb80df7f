package live

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// filters names the filters of tc on the way in and out of an interface: they see
// packets before and behind all rules, and may change them or send them away.
func (h *HostRules) filters() error {
	qdiscs, err := netlink.QdiscList(nil)
	if err != nil {
		return fmt.Errorf("read the queues of the interfaces: %w", err)
	}
	for _, q := range qdiscs {
		if q.Type() != "clsact" && q.Type() != "ingress" {
			continue
		}
		link, err := netlink.LinkByIndex(q.Attrs().LinkIndex)
		if err != nil {
			continue // it went meanwhile, and its filters with it
		}
		for _, side := range []struct {
			parent uint32
			name   string
		}{{netlink.HANDLE_MIN_INGRESS, "ingress"}, {netlink.HANDLE_MIN_EGRESS, "egress"}} {
			found, err := netlink.FilterList(link, side.parent)
			if err == nil && len(found) > 0 {
				h.Beside = append(h.Beside, Beside{Name: fmt.Sprintf("tc filter on %s, %s", link.Attrs().Name, side.name)})
			}
		}
	}
	return nil
}

// The kinds of programs on a control group that see packets
// (BPF_CGROUP_INET_*, linux/bpf.h).
var groupPrograms = []struct {
	attach uint32
	name   string
}{{0, "ingress"}, {1, "egress"}}

// mostGroups bounds how many control groups are asked.
const mostGroups = 5000

// groups names the control groups whose programs see packets: systemd makes such
// for IPAddressDeny. They can refuse what belongs to the group, and no more.
func (h *HostRules) groups() {
	root := groupRoot("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
	if root == "" {
		return
	}
	if found := groupsWithPrograms(root); len(found) > 0 {
		h.Beside = append(h.Beside, Beside{Refuses: true, Name: fmt.Sprintf("BPF programs on %d control groups (%s)", len(found), listed(found))})
	}
}

// groupRoot returns which of the directories is the root of the unified
// hierarchy of control groups, "" if none is.
func groupRoot(dirs ...string) string {
	for _, dir := range dirs {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	return ""
}

func groupsWithPrograms(root string) []string {
	asked := 0
	var found []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return nil
		case asked == mostGroups:
			return fs.SkipAll
		}
		asked++
		if hasProgram(path) {
			name, _ := filepath.Rel(root, path)
			found = append(found, name)
		}
		return nil
	})
	slices.Sort(found)
	return found
}

// listed names some of a list.
func listed(names []string) string {
	const most = 3
	text := ""
	for i, n := range names[:min(most, len(names))] {
		if i > 0 {
			text += ", "
		}
		text += n
	}
	if len(names) > most {
		text += ", …"
	}
	return text
}

// hasProgram asks the kernel whether programs for packets are attached to the
// control group. It says no where it may not be asked.
func hasProgram(path string) bool {
	dir, err := os.Open(path)
	if err != nil {
		return false
	}
	defer dir.Close()
	for _, p := range groupPrograms {
		// struct { target_fd, attach_type, query_flags, attach_flags __u32;
		// prog_ids __aligned_u64; prog_cnt __u32; … } of union bpf_attr.
		attr := struct {
			target, attach, query, flags uint32
			ids                          uint64
			count, pad                   uint32
		}{target: uint32(dir.Fd()), attach: p.attach}
		_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_QUERY, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		runtime.KeepAlive(dir)
		if errno == 0 && attr.count > 0 {
			return true
		}
	}
	return false
}
