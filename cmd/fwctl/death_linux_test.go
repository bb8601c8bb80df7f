package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/internal/fault"
	"github.com/fwctl/fwctl/internal/gen"
)

// terminal is a pseudo-terminal (pty(7)).
type terminal struct{ master, slave *os.File }

func newTerminal() (*terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return nil, err
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	return &terminal{master, slave}, err
}

// hangUp closes the terminal, which the kernel tells its session.
func (t *terminal) hangUp() {
	_ = t.slave.Close()
	_ = t.master.Close()
}

// on makes a command the leader of a session on the terminal.
func (t *terminal) on(c *exec.Cmd) {
	c.Stdin, c.Stdout, c.Stderr = t.slave, t.slave, t.slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
}

// A terminal that is closed at any moment of an apply, or of the wait for its
// confirmation, leaves the old rules in force, and nothing running.
func TestHangUp(t *testing.T) {
	eachBackend(t, func(b *box) {
		b.obeyOld()
		r := rand.New(rand.NewPCG(gen.Seed(b.T), 31+uint64(len(b.backend.name))))
		n := gen.Dose(b.T, "FWCTL_HANGUPS", 8)
		during := 0
		for i := range n {
			tty, err := newTerminal()
			if err != nil {
				b.Fatal(err)
			}
			c := b.fwctl("apply", "--confirm", "1s", b.new)
			tty.on(c)
			if err := b.in(c.Start); err != nil {
				b.Fatal(err)
			}
			longest := []time.Duration{20, 60, 300}[i%3] * time.Millisecond // before, in and after the change
			if b.pf != "" {
				longest *= 4 // so many programs take their time
			}
			time.Sleep(time.Duration(r.Int64N(int64(longest))))
			tty.hangUp()
			if b.decides() == "new" {
				during++
			}
			_ = c.Wait()
			b.quiet(20 * time.Second)
			b.stands(fmt.Sprintf("hang-up %d", i))
			b.tidy(fmt.Sprintf("hang-up %d", i))
			if b.Failed() {
				return
			}
		}
		b.want(0, "apply", "--no-confirm", b.new)
		b.Logf("%d hang-ups, %d of them while the new rules were in force", n, during)
	})
}

// fwctl, killed at any system call of an apply, leaves the old policy in force; the
// next apply works.
func TestKilledAnywhere(t *testing.T) {
	eachBackend(t, (*box).dieAnywhere)
	t.Run("from nftables to iptables", func(t *testing.T) {
		t.Parallel()
		b := newBox(t, boxBackends[0])
		b.newBackend = []string{"--backend", "iptables"}
		b.dieAnywhere()
	})
}

func (b *box) dieAnywhere() {
	b.Helper()
	b.obeyOld()
	whole := b.killed(0, false)
	if whole.Killed || whole.Status.ExitStatus() != 0 {
		b.Fatalf("%+v", whole)
	}
	b.want(0, "rollback")
	r := rand.New(rand.NewPCG(gen.Seed(b.T), 32+uint64(len(b.backend.name))))
	n := gen.Dose(b.T, "FWCTL_KILLS", 12)
	kills := 0
	for i := range n {
		at, after := 1+r.IntN(whole.Calls), i%2 == 1
		if n >= whole.Calls { // every one of them, and then behind it
			at, after = 1+i%whole.Calls, i/whole.Calls%2 == 1
		}
		out := b.killed(at, after)
		if !out.Killed {
			b.quiet(20 * time.Second)
			continue // this run made fewer
		}
		kills++
		b.quiet(30 * time.Second)
		b.stands(fmt.Sprintf("killed at call %d of %d (number %d)", at, whole.Calls, out.Call))
		b.tidy(fmt.Sprintf("killed at call %d", at))
		if i%5 == 0 {
			b.want(0, append([]string{"apply", "--no-confirm", b.new}, b.newBackend...)...)
			if got := b.decides(); got != "new" {
				b.Errorf("after that apply: %s", got)
			}
			b.obeyOld()
		}
		if b.Failed() {
			return
		}
	}
	b.Logf("%d kills at %d calls", kills, whole.Calls)
}

// killed runs an apply of the new policy that is killed at a system call.
func (b *box) killed(at int, after bool) (out fault.Outcome) {
	b.Helper()
	c := b.fwctl(append([]string{"apply", "--detach", "--confirm", "1s", b.new}, b.newBackend...)...)
	err := b.in(func() (err error) { out, err = fault.Kill(c, at, after); return err })
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// With the watchdog killed as well, the next status puts things right, and so does
// a boot.
func TestKilledWithTheWatchdog(t *testing.T) {
	eachBackend(t, func(b *box) {
		b.obeyOld()
		whole := b.killed(0, false)
		b.want(0, "rollback")
		r := rand.New(rand.NewPCG(gen.Seed(b.T), 33+uint64(len(b.backend.name))))
		for i := range gen.Dose(b.T, "FWCTL_KILLS", 12) {
			b.killed(1+r.IntN(whole.Calls), false)
			kill(b.processes())
			b.quiet(10 * time.Second)
			command := [][]string{{"status"}, {"boot"}, {"apply", "--no-confirm", b.old}}[i%3]
			pending := len(b.leftPending()) > 0
			status, text := b.run(command...)
			// What the dead one started may hold its lock until it has ended.
			for end := time.Now().Add(5 * time.Second); status == exitError && strings.Contains(text, "another fwctl holds") && time.Now().Before(end); {
				status, text = b.run(command...)
			}
			if command[0] != "status" && status != 0 || pending && !strings.Contains(text, "taken back: ") {
				b.Errorf("%s exits with %d\n%s", command[0], status, text)
			}
			b.want(0, "apply", "--dry-run", b.old) // sweeps nothing, waits for nothing
			b.stands(fmt.Sprintf("%d: killed with the watchdog, then %s", i, command))
			if b.Failed() {
				b.Log(text)
				return
			}
		}
	})
}
