package live

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// needs skips a test that the machine cannot run, but fails it in CI.
func needs(t *testing.T, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

// A program for packets on a control group is found, wherever it hangs.
func TestGroupPrograms(t *testing.T) {
	root := t.TempDir()
	needs(t, unix.Mount("none", root, "cgroup2", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	before := groupsWithPrograms(root)
	group := filepath.Join(root, "fwctl-test")
	needs(t, os.Mkdir(group, 0o755))
	t.Cleanup(func() { _ = os.Remove(group) })
	needs(t, attach(t, group))
	var want []string
	want = append(append(want, before...), "fwctl-test")
	slices.Sort(want)
	if got := groupsWithPrograms(root); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// attach lets a program that accepts everything see the packets that come to a
// control group.
func attach(t *testing.T, group string) error {
	prog, err := load(t, 8, 1) // BPF_PROG_TYPE_CGROUP_SKB: let it pass
	if err != nil {
		return err
	}
	dir, err := os.Open(group)
	if err != nil {
		return err
	}
	defer dir.Close()
	attr := struct{ target, prog, attach, flags uint32 }{target: uint32(dir.Fd()), prog: uint32(prog)}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_ATTACH, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)); errno != 0 {
		return errno
	}
	return nil
}

// load loads a program of a type (linux/bpf.h) that returns a number, and unloads
// it with the test.
func load(t *testing.T, kind, returns uint32) (fd int, err error) {
	code := []uint64{uint64(returns)<<32 | 0xb7, 0x95} // r0 = returns; exit
	license := append([]byte("GPL"), 0)
	attr := struct {
		typ, count      uint32
		insns, license  uint64
		level, size     uint32
		buf             uint64
		version, flags  uint32
		name            [16]byte
		ifindex, attach uint32
	}{
		typ: kind, count: uint32(len(code)),
		insns: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	prog, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if errno != 0 {
		return -1, errno
	}
	t.Cleanup(func() { _ = unix.Close(int(prog)) })
	return int(prog), nil
}

// What acts on packets beside the rules is named.
func TestBeside(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	ns, err := netns.New()
	needs(t, err)
	defer ns.Close()
	for _, line := range []string{
		"ip link add eth0 type veth peer name eth1",
		"nft 'table netdev n { chain c { type filter hook ingress device eth0 priority 0; drop; }; chain empty { type filter hook ingress device eth1 priority 0; }; }'",
		"nft 'table bridge b { chain c { type filter hook forward priority 0; policy drop; }; }'",
		"nft 'table arp a { chain c { type filter hook input priority 0; drop; }; }'",
		"tc qdisc add dev eth0 clsact",
		"tc filter add dev eth0 ingress protocol ip u32 match ip dport 1 0xffff flowid 1:1",
	} {
		if out, err := exec.Command("sh", "-ec", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	prog, err := load(t, 6, 2) // BPF_PROG_TYPE_XDP: XDP_PASS
	needs(t, err)
	link, err := netlink.LinkByName("eth1")
	if err != nil {
		t.Fatal(err)
	}
	needs(t, netlink.LinkSetXdpFd(link, prog))
	h, err := Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range h.Beside {
		if !b.Refuses {
			got = append(got, b.Name)
		}
	}
	text := strings.Join(got, "; ")
	for _, want := range []string{"chain c of table netdev n", "chain c of table bridge b", "tc filter on eth0, ingress", "XDP program on eth1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q, want %q in it", text, want)
		}
	}
	for _, not := range []string{"empty", "arp"} {
		if strings.Contains(text, not) {
			t.Errorf("%q, want no %q in it", text, not)
		}
	}
	t.Log(text)
}
