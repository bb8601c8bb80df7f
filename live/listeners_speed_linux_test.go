package live_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/internal/gen"
	"github.com/fwctl/fwctl/live"
)

// Sockets that wait are found among many connections, and so are their processes,
// without a look at the connections. The full dose, of 2,000 sockets beside 16,000
// connections, is that of a soak.
func TestListenersSpeed(t *testing.T) {
	inNamespace(t)
	full := gen.Dose(t, "FWCTL_LISTENERS", 1) > 1
	listeners, connected, bound := 200, 1600, 500*time.Millisecond
	if full {
		listeners, connected, bound = 2000, 16000, 100*time.Millisecond
	}
	mayOpen(t, listeners+connected+100)
	run(t, "ip link set lo up")
	ends := connectMany(t, connected/2)
	for port := range listeners {
		fd := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, 0)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 2000 + port}); err != nil {
			t.Fatal(err)
		}
		listenOn(t, fd)
	}
	var ours, firsts, sockets, theirs []time.Duration
	for range 9 {
		ours = append(ours, timed(t, live.ListenOptions{}, listeners+1))
		firsts = append(firsts, timed(t, live.ListenOptions{Owners: live.FirstOwner}, listeners+1))
		sockets = append(sockets, timed(t, live.ListenOptions{Owners: live.NoOwners}, listeners+1))
		start := time.Now()
		if out, err := exec.Command("ss", "-H", "-ltnup").Output(); err != nil || len(out) == 0 {
			t.Fatalf("ss: %v, %d bytes", err, len(out))
		}
		theirs = append(theirs, time.Since(start))
	}
	t.Logf("%d listeners, %d ends of connections: median %v with all processes, %v with one each, %v without; ss %v",
		listeners, ends, median(ours), median(firsts), median(sockets), median(theirs))
	// A machine that is busy is so for ss, too.
	if m := median(ours); m > bound && m > median(theirs)*3/4 {
		t.Errorf("%v, want at most %v", m, bound)
	}
}

func timed(t *testing.T, o live.ListenOptions, want int) time.Duration {
	t.Helper()
	start := time.Now()
	ls, notes, err := live.Listeners(t.Context(), o)
	took := time.Since(start)
	if err != nil || len(ls) != want || len(unexpected(notes)) > 0 {
		t.Fatalf("%d listeners, want %d; %q, %v", len(ls), want, notes, err)
	}
	for _, l := range ls {
		if owned := o.Owners != live.NoOwners; owned != (len(l.Owners) == 1) {
			t.Fatalf("%v has %d owners", l, len(l.Owners))
		}
	}
	return took
}

func median(ds []time.Duration) time.Duration {
	ds = slices.Sorted(slices.Values(ds))
	return ds[len(ds)/2].Round(10 * time.Microsecond)
}

// connectMany makes connections, and returns how many ends they have.
func connectMany(t *testing.T, n int) int {
	t.Helper()
	l := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, 0)
	at := &unix.SockaddrInet4{Port: 1999, Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Bind(l, at); err != nil {
		t.Fatal(err)
	}
	listenOn(t, l)
	run(t, "echo '10000 65000' > /proc/sys/net/ipv4/ip_local_port_range")
	for range n {
		c := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, 0)
		if err := unix.Connect(c, at); err != nil {
			t.Fatal(err)
		}
		a, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(a) })
	}
	return 2 * n
}

func rawSocket(t *testing.T, family, kind, proto int) int {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		t.Fatal(fmt.Errorf("socket: %w", err))
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func listenOn(t *testing.T, fd int) {
	t.Helper()
	if err := unix.Listen(fd, 16); err != nil {
		t.Fatal(err)
	}
}

// mayOpen skips the test, in CI it fails, where so many descriptors are not allowed.
func mayOpen(t *testing.T, n int) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Max = max(limit.Max, uint64(n)) // needs CAP_SYS_RESOURCE
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %d descriptors: ulimit -n", n)
	}
	t.Skipf("needs %d descriptors: ulimit -n", n)
}
