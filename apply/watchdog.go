package apply

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// The watchdog is a process of its own, outside of the session of whoever applies,
// that takes a change back unless it is told to leave it. It is started before the
// kernel is changed and has by then read all that it needs for that:
//
//	fwctl apply ── hold ─▶ watchdog    read what to go back to; from now on the end of fwctl is noticed
//	            ── wait ─▶             the change is made; wait for this long
//	fwctl confirm, rollback, … ── end ─▶   it was settled by somebody else: go
//
// Whoever settles a change has the lock, so only one does.

// order is what the watchdog is told, a line of JSON.
type order struct {
	Do    string        `json:"do"` // hold, wait, end; called and gone are who applies itself
	Token string        `json:"token,omitempty"`
	PID   int           `json:"pid,omitempty"` // of who holds
	Wait  time.Duration `json:"wait,omitempty"`
	End   *Ended        `json:"end,omitempty"`

	from *bufio.Writer
}

// Ended is how the wait for a confirmation ended.
type Ended struct {
	Confirmed bool     `json:"confirmed"`
	By        string   `json:"by"` // "alice (sudo)", or "the watchdog"
	Settled   *Settled `json:"settled,omitempty"`
	Error     string   `json:"error,omitempty"` // why the rules from before could not be restored
}

const (
	// armTime is how long a watchdog may take to stand ready, callTime how long one
	// waits for who started it to call.
	armTime, callTime = 20 * time.Second, 5 * time.Second
	// changeTime is how long a change of the kernel may take: who holds the lock
	// for longer was stopped, and is ended.
	changeTime = 5 * time.Minute
	// The watchdog tries again when it fails: others may hold what it needs.
	backTries, backPause = 120, 5 * time.Second
)

// watchdog is the process that Watch is.
type watchdog struct {
	Options
	name    string
	store   *Store
	orders  chan order
	pending *trial
	before  *stored
	holder  *bufio.Writer
	pid     int // of who applies
	waits   bool
}

// Watch is the process of the watchdog. It listens under the name and returns when
// what it watches is settled. It has to be started outside of any session.
func Watch(ctx context.Context, o Options, name string) error {
	l, err := listenAt(name)
	if err != nil {
		return fmt.Errorf("start the watchdog: %w", err)
	}
	defer l.Close()
	w := &watchdog{Options: o, name: name, store: NewStore(o.StateDir), orders: make(chan order)}
	go w.accept(ctx, l)
	return w.watch(ctx)
}

func (w *watchdog) accept(ctx context.Context, l net.Listener) {
	for first := true; ; {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		pid, err := rootPeer(conn, w.name)
		if err != nil {
			_ = conn.Close()
			continue
		}
		if first {
			w.pid = pid
			w.orders <- order{Do: "called"}
		}
		go w.listen(ctx, conn, first)
		first = false
	}
}

// listen takes the orders of one connection. The first is that of who applies.
func (w *watchdog) listen(ctx context.Context, conn net.Conn, holds bool) {
	defer func() { _ = conn.Close() }()
	out := bufio.NewWriter(conn)
	send := func(o order) {
		o.from = out
		select {
		case w.orders <- o:
		case <-ctx.Done():
		}
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var o order
		if json.Unmarshal(lines.Bytes(), &o) != nil {
			return
		}
		send(o)
	}
	if holds {
		send(order{Do: "gone"})
	}
}

// watch follows orders and the clock.
func (w *watchdog) watch(ctx context.Context) error {
	timer := time.NewTimer(callTime)
	for {
		select {
		case <-ctx.Done(): // the host goes down, or somebody wants it so
			return w.takeBack(context.WithoutCancel(ctx))
		case <-timer.C:
			w.endHolder()
			return w.takeBack(ctx)
		case o := <-w.orders:
			switch o.Do {
			case "called":
				timer.Reset(changeTime)
			case "hold":
				if err := w.hold(o); err != nil {
					return err
				}
			case "wait":
				w.waits = true
				timer.Reset(o.Wait)
			case "gone":
				if w.holder = nil; !w.waits {
					return w.takeBack(ctx)
				}
			case "end":
				w.tell(o.End)
				return nil
			}
		}
	}
}

// hold reads what the change is and what it would be taken back to.
func (w *watchdog) hold(o order) error {
	p, err := w.store.pending()
	if err == nil && (p == nil || p.Token != o.Token) {
		err = errors.New("the state does not have that change")
	}
	if err != nil {
		return fmt.Errorf("watch a change: %w", err)
	}
	w.pending, w.before, w.holder = p, w.store.before(untold), o.from
	if w.pid == 0 {
		w.pid = o.PID
	}
	w.tell(nil)
	return nil
}

// tell tells who holds how it ended; nil: that the watchdog stands ready.
func (w *watchdog) tell(e *Ended) {
	if w.holder == nil {
		return
	}
	if e == nil {
		e = &Ended{}
	}
	_ = json.NewEncoder(w.holder).Encode(e)
	_ = w.holder.Flush()
}

// endHolder ends a process that changes the kernel for too long. It has the lock.
func (w *watchdog) endHolder() {
	if w.waits || w.holder == nil || w.pid <= 1 {
		return
	}
	if p, err := os.FindProcess(w.pid); err == nil {
		_ = p.Kill()
	}
}

// takeBack settles the change, and tries until it can.
func (w *watchdog) takeBack(ctx context.Context) error {
	for try := 1; ; try++ {
		s, err := w.try(ctx)
		if err == nil {
			w.tell(&Ended{Confirmed: s != nil && s.Confirmed, By: "the watchdog", Settled: s})
			return nil
		}
		if try == backTries {
			w.tell(&Ended{By: "the watchdog", Error: err.Error()})
			return err
		}
		if e := w.pause(); e != nil {
			w.tell(e)
			return nil
		}
	}
}

// pause waits before another try. It returns how it ended where somebody else has
// settled the change meanwhile.
func (w *watchdog) pause() *Ended {
	after := time.After(backPause)
	for {
		select {
		case <-after:
			return nil
		case o := <-w.orders:
			if o.Do == "end" {
				return o.End
			}
		}
	}
}

func (w *watchdog) try(ctx context.Context) (*Settled, error) {
	lock, err := TakeLock(ctx, w.RunDir, "watchdog", bootWait)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	p, err := w.store.pending()
	if err != nil && w.pending == nil {
		return nil, err
	}
	if err != nil {
		p = w.pending // the disk does not tell any more, but this does
	}
	if p == nil {
		w.store.sweep() // somebody else was faster, or nothing was changed yet
		return nil, nil
	}
	if p.Watchdog != w.name {
		return nil, nil
	}
	if w.pending == nil {
		w.before = w.store.before(untold)
	}
	why := "it was broken off"
	if w.waits {
		why = "nobody confirmed it in time"
	}
	return w.store.settle(ctx, w.RunDir, p, w.before, why)
}

// watch is the connection to a watchdog by which it is held.
type watch struct {
	name  string
	conn  net.Conn
	lines *bufio.Scanner
}

// arm starts a watchdog, which then waits to be told what to watch.
func arm(ctx context.Context, o Options) (*watch, error) {
	name, err := watchdogName(o)
	if err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	ended, err := start(ctx, o, name)
	if err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	conn, err := reach(ctx, name, ended)
	if err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return &watch{name, conn, bufio.NewScanner(conn)}, nil
}

// reach connects to a watchdog that was just started.
func reach(ctx context.Context, name string, ended <-chan error) (net.Conn, error) {
	late := time.After(armTime)
	for {
		conn, err := dialAt(name)
		if err == nil {
			return conn, nil
		}
		select {
		case err := <-ended:
			return nil, err
		case <-late:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (w *watch) send(o order) error {
	return json.NewEncoder(w.conn).Encode(o)
}

// hold makes the watchdog watch a change. It stands ready when hold returns.
func (w *watch) hold(token string) error {
	_ = w.conn.SetReadDeadline(time.Now().Add(armTime))
	err := w.send(order{Do: "hold", Token: token, PID: os.Getpid()})
	if err == nil {
		_, err = w.next()
	}
	if err != nil {
		return fmt.Errorf("arm the watchdog: %w", err)
	}
	return w.conn.SetReadDeadline(time.Time{})
}

// next reads what the watchdog has to tell.
func (w *watch) next() (*Ended, error) {
	if !w.lines.Scan() {
		if err := w.lines.Err(); err != nil {
			return nil, err
		}
		return nil, errors.New("the watchdog has ended")
	}
	e := &Ended{}
	return e, json.Unmarshal(w.lines.Bytes(), e)
}

// end lets the watchdog go; nil has none.
func (w *watch) end() {
	if w != nil {
		_ = w.send(order{Do: "end", End: &Ended{}})
		_ = w.conn.Close()
	}
}

// leave ends the connection: what is not settled is the watchdog's then.
func (w *watch) leave() {
	if w != nil {
		_ = w.conn.Close()
	}
}
