package netlab

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fwctl/fwctl/packet"
)

// Poured counts the packets of a kind that came to their hook and those that came
// through.
type Poured struct{ Reached, Passed int64 }

// Pour sends packets over and over, as fast as it can, until the function is called that
// it returns: first packets of flows for input or forward, by an interface of a cable.
// There are at most 255 kinds, and one pour at a time. While it goes on nothing is to be
// probed.
func (l *Lab) Pour(kinds ...[]packet.Packet) (stop func() ([]Poured, error), err error) {
	if err := l.counters(len(kinds)); err != nil {
		return nil, err
	}
	var all []func() error
	for i, kind := range kinds {
		for _, p := range kind {
			c, err := l.card(p.In)
			if err != nil {
				return nil, err
			}
			if err := l.join(c, p.Dst); err != nil {
				return nil, err
			}
			f, err := l.frame(c, p, uint16(i+1))
			if err != nil {
				return nil, err
			}
			all = append(all, func() error { _, err := unix.Write(c.wire, f); return err })
		}
	}
	var ended atomic.Bool
	var senders sync.WaitGroup
	for range 2 {
		senders.Go(func() {
			for i := 0; !ended.Load(); i++ {
				_ = all[i%len(all)]() // the counters tell how many came
			}
		})
	}
	return func() ([]Poured, error) {
		ended.Store(true)
		senders.Wait()
		return l.counted(len(kinds))
	}, nil
}

// counters loads a table that counts packets by their tag, before and behind whatever
// filters.
func (l *Lab) counters(kinds int) error {
	var b strings.Builder
	b.WriteString("table inet netlab-pour\ndelete table inet netlab-pour\ntable inet netlab-pour {\n")
	for _, c := range []struct {
		name, hook string
		place      int
	}{{"reached", "input", -999_999}, {"reached", "forward", -999_999}, {"passed", "input", 999_999}, {"passed", "forward", 999_999}} {
		fmt.Fprintf(&b, "chain %s.%s { type filter hook %s priority %d;\n", c.name, c.hook, c.hook, c.place)
		for i := range kinds {
			fmt.Fprintf(&b, "meta nfproto ipv4 @nh,8,8 %[3]d @nh,32,16 %[1]d counter comment \"%[2]s %[1]d\"\n", i+1, c.name, probeClass)
			fmt.Fprintf(&b, "meta nfproto ipv6 @nh,4,8 %[3]d @nh,16,16 %[1]d counter comment \"%[2]s %[1]d\"\n", i+1, c.name, probeClass)
		}
		b.WriteString("}\n")
	}
	b.WriteString("}\n")
	_, err := l.NFT(b.String(), "-f", "-")
	return err
}

// counted reads the counters once they stand still.
func (l *Lab) counted(kinds int) ([]Poured, error) {
	var last string
	for {
		now, err := l.NFT("", "list", "table", "inet", "netlab-pour")
		if err != nil {
			return nil, err
		}
		if now == last {
			break
		}
		last = now
		time.Sleep(20 * time.Millisecond)
	}
	sum := make([]Poured, kinds)
	for line := range strings.Lines(last) {
		_, after, ok := strings.Cut(line, "counter packets ")
		if !ok {
			continue
		}
		count, rest, _ := strings.Cut(after, " ")
		_, comment, _ := strings.Cut(rest, `comment "`)
		name, kind, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(comment), `"`), " ")
		n, err1 := strconv.ParseInt(count, 10, 64)
		i, err2 := strconv.Atoi(kind)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("not a counter: %s", line)
		}
		if name == "reached" {
			sum[i-1].Reached += n
		} else {
			sum[i-1].Passed += n
		}
	}
	return sum, nil
}
