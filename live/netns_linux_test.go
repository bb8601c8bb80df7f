package live_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/live"
)

// listenBy starts a process by way of a program that brings it into another network
// namespace, where it listens on all addresses; it returns that namespace.
func listenBy(t *testing.T, port int, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], append(argv[1:], self(t))...)
	cmd.Env = append(os.Environ(), actAs+"=listen", fmt.Sprintf("LIVE_TEST_PORT=%d", port))
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatalf("no listener: %v", err)
	}
	in, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// listen is what listenBy starts.
func listen() {
	if _, err := net.Listen("tcp4", "0.0.0.0:"+os.Getenv("LIVE_TEST_PORT")); err != nil {
		os.Exit(1)
	}
	fmt.Println("ready")
	time.Sleep(time.Minute)
}

// Sockets are found in the network namespaces of processes and in mounted ones, those
// mounted twice once; and no thread stays there.
func TestListenersOfAllNamespaces(t *testing.T) {
	if elsewhere(t) {
		return
	}
	inNamespace(t)
	before, _ := os.Readlink("/proc/thread-self/ns/net")
	held := listenBy(t, 7001, "unshare", "--net")
	mounted := mountedTwice(t)
	in := listenBy(t, 7002, "nsenter", "--net="+mounted)
	own, err := net.Listen("tcp4", "0.0.0.0:7000")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	ls, notes, err := live.Listeners(t.Context(), live.ListenOptions{AllNamespaces: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%q", notes)
	want := []string{"7000 in ", "7001 in " + held, "7002 in a blank (" + in + ")"}
	if got := places(t, ls); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if after, _ := os.Readlink("/proc/thread-self/ns/net"); after != before {
		t.Errorf("the thread is in %s, was in %s", after, before)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, task := range tasks {
		if at, _ := os.Readlink(task); at == held || at == in {
			t.Errorf("%s was left in %s", task, at)
		}
	}
}

// A program that carries packets into a container is told from others by its file, and
// tells where they go.
func TestListenersOfProxies(t *testing.T) {
	inNamespace(t)
	run(t, "ip link set lo up")
	program := filepath.Join(t.TempDir(), "docker-proxy")
	run(t, fmt.Sprintf("cp '%s' '%s'", self(t), program))
	listenBy(t, 7004, program, "-proto", "tcp", "-container-ip", "172.17.0.2", "-container-port", "80")
	listenBy(t, 7005, "env")
	ls, notes, err := live.Listeners(t.Context(), live.ListenOptions{})
	if err != nil || len(ls) != 2 || len(unexpected(notes)) > 0 {
		t.Fatalf("%v, %q, %v", ls, notes, err)
	}
	want := live.Proxy{Program: "docker-proxy", To: netip.MustParseAddrPort("172.17.0.2:80")}
	if ls[0].Proxy.Program != want.Program || ls[0].Proxy.To != want.To || ls[1].Proxy != (live.Proxy{}) {
		t.Errorf("%+v and %+v, want %+v and none", ls[0].Proxy, ls[1].Proxy, want)
	}
}

// places are the ports of the test and where they were found.
func places(t *testing.T, ls []live.Listener) (out []string) {
	t.Helper()
	for _, l := range ls {
		if l.Port < 7000 || l.Port > 7002 {
			continue // of who runs the test
		}
		out = append(out, fmt.Sprintf("%d in %s", l.Port, l.Netns))
		if len(l.Owners) != 1 {
			t.Errorf("%v has owners %v", l, l.Owners)
		}
	}
	slices.Sort(out)
	return out
}

// mountedTwice makes a network namespace that two files lead into, and no process is in.
func mountedTwice(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file, again := filepath.Join(dir, "a blank"), filepath.Join(dir, "again")
	run(t, fmt.Sprintf("touch '%[1]s' '%[2]s'; unshare --net='%[1]s' true; mount --bind '%[1]s' '%[2]s'", file, again))
	t.Cleanup(func() {
		_ = unix.Unmount(again, unix.MNT_DETACH)
		_ = unix.Unmount(file, unix.MNT_DETACH)
	})
	return file
}

// Whoever is nobody still sees all sockets, and is told that processes are missing; so
// is root without the right to look into others.
func TestListenersWithoutPrivilege(t *testing.T) {
	inNamespace(t)
	l, err := net.Listen("tcp4", "0.0.0.0:7003")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	program := forOthers(t)
	wants := []string{
		"0.0.0.0:7003/tcp [] user root", "note: the descriptors of ", "may not be read (needs CAP_SYS_PTRACE",
		"note: no process was found that has these open: 0.0.0.0:7003/tcp", "note: the network namespace of ",
	}
	if group := makeGroup(t, "fwctl-test.service"); group != "" {
		listenBy(t, 7006, "sh", "-ec", "echo $$ > '"+group+"/cgroup.procs'; exec \"$0\"")
		wants = append(wants, "0.0.0.0:7006/tcp (made in fwctl-test.service)")
	}
	nobody := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	for _, as := range [][]string{
		nobody,
		append(slices.Clip(nobody), "--inh-caps=+net_admin", "--ambient-caps=+net_admin"),
		{"setpriv", "--bounding-set=-sys_ptrace"},
	} {
		cmd := exec.Command(as[0], append(as[1:], program)...)
		cmd.Env = append(os.Environ(), actAs+"=listeners")
		out, err := cmd.CombinedOutput()
		for _, want := range wants {
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%q: %v: %s\nwant %q in it", as, err, out, want)
			}
		}
	}
}

// unexpected are the notes that do not come from processes of the machine which nobody
// may look into.
func unexpected(notes []string) []string {
	return slices.DeleteFunc(slices.Clone(notes), func(n string) bool {
		return strings.Contains(n, "of another may not be") || strings.Contains(n, "of others may not be")
	})
}

// makeGroup makes a control group of version 2 and returns its directory; "" where there
// are none.
func makeGroup(t *testing.T, name string) string {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(root, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		group := filepath.Join(root, name)
		if err := os.Mkdir(group, 0o755); err != nil {
			t.Logf("not tried in a control group: %v", err)
			return ""
		}
		t.Cleanup(func() {
			for range 100 { // until the process in it has gone
				if unix.Rmdir(group) == nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("%s stays", group)
		})
		return group
	}
	return ""
}

// forOthers copies this program to where every user may run it.
func forOthers(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fwctl-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	run(t, fmt.Sprintf("chmod 755 '%s'; cp '%s' '%s/program'; chmod 755 '%s/program'", dir, self(t), dir, dir))
	return filepath.Join(dir, "program")
}

// printListeners is what the test without privilege starts.
func printListeners() {
	ls, notes, err := live.Listeners(context.Background(), live.ListenOptions{AllNamespaces: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, l := range ls {
		fmt.Println(l, l.Owners, "user", l.User)
	}
	for _, n := range notes {
		fmt.Println("note:", n)
	}
}
