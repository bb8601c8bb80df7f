package main

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// screen gathers what is written to a terminal.
type screen struct {
	*terminal
	mu   sync.Mutex
	text bytes.Buffer
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	tty, err := newTerminal()
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{terminal: tty}
	t.Cleanup(s.hangUp)
	go func() { _, _ = io.Copy(s, tty.master) }()
	return s
}

// Write adds to what is seen.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shows waits until a text is seen.
func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(s.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the terminal never shows %q:\n%s", text, s)
		}
	}
}

// waiting starts an apply of the new policy on a terminal, and returns when it waits.
func (b *box) waiting(args ...string) (*exec.Cmd, *screen) {
	b.Helper()
	s := newScreen(b.T)
	c := b.fwctl(append(append([]string{"apply"}, args...), b.new)...)
	s.on(c)
	if err := b.in(c.Start); err != nil {
		b.Fatal(err)
	}
	s.shows(b.T, "waiting for fwctl confirm")
	if got := b.decides(); got != "new" {
		b.Errorf("while it waits the kernel does what is %s", got)
	}
	return c, s
}

// On a terminal apply waits. Ctrl-C takes the change back at once, a confirmation
// from elsewhere ends the wait with success, the end of time with a rollback.
func TestApplyWaits(t *testing.T) {
	b := newBox(t, boxBackends[0])
	b.obeyOld()
	ends := map[string]struct {
		do     func(*exec.Cmd, *screen)
		status int
		shows  string
	}{
		"Ctrl-C":      {func(_ *exec.Cmd, s *screen) { _, _ = s.master.WriteString("\x03") }, exitBack, "the rules from before were put back"},
		"Ctrl-Z":      {func(_ *exec.Cmd, s *screen) { _, _ = s.master.WriteString("\x1a\x03") }, exitBack, "the rules from before were put back"},
		"terminated":  {func(c *exec.Cmd, _ *screen) { _ = c.Process.Signal(syscall.SIGTERM) }, exitBack, "the rules from before were put back"},
		"rolled back": {func(*exec.Cmd, *screen) { b.want(0, "rollback") }, exitBack, "the rules from before were put back"},
		"too late":    {func(*exec.Cmd, *screen) {}, exitBack, "nobody confirmed it in time"},
		"watchdog killed": {func(c *exec.Cmd, _ *screen) {
			for _, pid := range b.processes() {
				if pid != c.Process.Pid {
					kill([]int{pid})
				}
			}
		}, exitBack, "the rules from before were put back"},
	}
	for name, end := range ends {
		c, s := b.waiting("--confirm", "3s")
		end.do(c, s)
		_ = c.Wait()
		if got := c.ProcessState.ExitCode(); got != end.status {
			b.Errorf("%s: status %d, want %d\n%s", name, got, end.status, s)
		}
		s.shows(t, end.shows)
		b.quiet(5 * time.Second)
		b.stands(name)
		b.tidy(name)
	}
	server := b.listen("8000")
	p := b.plug()
	c, s := b.waiting("--confirm", "30s")
	if status, said := p.logIn(server).run("confirm"); status != 0 {
		b.Fatalf("confirm: %d, %s", status, said)
	}
	_ = c.Wait()
	if got := c.ProcessState.ExitCode(); got != 0 {
		b.Errorf("confirmed: status %d\n%s", got, s)
	}
	s.shows(t, "confirmed by ")
	b.quiet(2 * time.Second)
	if got := b.decides(); got != "new" {
		b.Errorf("confirmed: the kernel does what is %s", got)
	}
}
