package nftables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	read "github.com/fwctl/fwctl/read/nftables"
)

// tries bounds how often an interrupted read begins again; between two tries
// lies a pause that grows by retryPause.
const (
	tries      = 20
	retryPause = 5 * time.Millisecond
)

// ErrUnstable says that other programs changed the rules faster than they could
// be read.
var ErrUnstable = errors.New("the rules change faster than they can be read")

// Table reads a table as it stood in one generation, and the id of that
// generation. A table that does not exist is nil. Sets that hold more than
// atMost elements are read without them and marked Unread: the kernel walks a
// set anew for every 32 KiB of a dump, a million ranges take more than a minute.
//
// A dump is no snapshot: another program's commit may fall into it, mostly with
// a flag or a new generation id as a sign, sometimes without one. So a read
// counts when two in a row are equal under one generation.
func (c *Conn) Table(ctx context.Context, family uint8, table string, atMost uint32) (*read.Table, uint32, error) {
	var last *read.Table
	var lastGen uint32
	var lastOK bool
	for try := range tries {
		t, gen, err := c.once(family, table, atMost)
		switch {
		case err == nil && lastOK && gen == lastGen && read.Equal(t, last):
			return t, gen, nil
		case err != nil && !errors.Is(err, errInterrupted):
			return nil, 0, fmt.Errorf("read table %s: %w", table, err)
		}
		if err != nil || lastOK {
			if err := pause(ctx, time.Duration(try)*retryPause); err != nil {
				return nil, 0, err
			}
		}
		last, lastGen, lastOK = t, gen, err == nil
	}
	return nil, 0, fmt.Errorf("read table %s: %w", table, ErrUnstable)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// once reads the table between two equal generation ids.
func (c *Conn) once(family uint8, table string, atMost uint32) (*read.Table, uint32, error) {
	gen, err := c.Generation()
	if err != nil {
		return nil, 0, err
	}
	t, err := c.dump(family, table, atMost)
	if err != nil {
		return nil, 0, err
	}
	after, err := c.Generation()
	if err == nil && after != gen {
		err = errInterrupted
	}
	return t, gen, err
}

func (c *Conn) dump(family uint8, table string, atMost uint32) (*read.Table, error) {
	msgs, err := c.ask(unix.NFT_MSG_GETTABLE, family, 0, []netlink.Attribute{name(unix.NFTA_TABLE_NAME, table)})
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, nil
	case err != nil:
		return nil, err
	case len(msgs) == 0:
		return nil, nil
	}
	t, err := read.DecodeTable(family, msgs[0])
	if err != nil {
		return nil, err
	}
	if err := c.chains(t); err != nil {
		return nil, err
	}
	if err := c.rules(t); err != nil {
		return nil, err
	}
	return t, c.sets(t, atMost)
}

func (c *Conn) chains(t *read.Table) error {
	msgs, err := c.ask(unix.NFT_MSG_GETCHAIN, t.Family, netlink.Dump, nil)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if !ofTable(m, t.Name) {
			continue
		}
		ch, err := read.DecodeChain(m)
		if err != nil {
			return err
		}
		t.Chains = append(t.Chains, ch)
	}
	return nil
}

// ofTable reports whether the message's first attribute, which names the table
// in every kind of message, is the table.
func ofTable(m []byte, table string) bool {
	want := name(1, table).Data
	return len(m) >= 4+len(want) && bytes.Equal(m[4:4+len(want)], want)
}

func (c *Conn) rules(t *read.Table) error {
	msgs, err := c.ask(unix.NFT_MSG_GETRULE, t.Family, netlink.Dump, []netlink.Attribute{name(unix.NFTA_RULE_TABLE, t.Name)})
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if !ofTable(m, t.Name) {
			continue
		}
		r, err := read.DecodeRule(m)
		if err != nil {
			return err
		}
		t.Rules = append(t.Rules, r)
	}
	return nil
}

func (c *Conn) sets(t *read.Table, atMost uint32) error {
	msgs, err := c.ask(unix.NFT_MSG_GETSET, t.Family, netlink.Dump, []netlink.Attribute{name(unix.NFTA_SET_TABLE, t.Name)})
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if !ofTable(m, t.Name) {
			continue
		}
		s, err := read.DecodeSet(m)
		if err != nil {
			return err
		}
		if s.Unread = s.Count > atMost; !s.Unread {
			if s.Elements, err = c.Elements(t.Family, t.Name, s.Name); err != nil {
				return err
			}
		}
		t.Sets = append(t.Sets, s)
	}
	return nil
}

// Elements reads the elements of one set, in the order of their keys. What it
// returns is of one generation only if the caller sees the same id before and
// after.
func (c *Conn) Elements(family uint8, table, set string) ([]read.Element, error) {
	msgs, err := c.ask(unix.NFT_MSG_GETSETELEM, family, netlink.Dump, []netlink.Attribute{
		name(unix.NFTA_SET_ELEM_LIST_TABLE, table), name(unix.NFTA_SET_ELEM_LIST_SET, set)})
	if err != nil {
		return nil, err
	}
	var es []read.Element
	for _, m := range msgs {
		if es, err = read.AppendElements(es, m); err != nil {
			return nil, err
		}
	}
	read.SortElements(es)
	return es, nil
}

// HasTable reports whether the table exists.
func (c *Conn) HasTable(family uint8, table string) (bool, error) {
	msgs, err := c.ask(unix.NFT_MSG_GETTABLE, family, 0, []netlink.Attribute{name(unix.NFTA_TABLE_NAME, table)})
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return len(msgs) > 0, err
}
