package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/fwctl/fwctl/packet"
)

// Listeners lists the sockets that take packets from anybody, and the processes that
// have them open. The kernel is asked for waiting sockets only (sock_diag(7)), never
// for connections. What opens and closes meanwhile may be missing.
//
// It needs no privilege for the sockets of this network namespace. Whoever may not
// read the descriptors of others (root, or CAP_SYS_PTRACE with CAP_DAC_READ_SEARCH)
// misses processes; the notes say in one sentence each what could not be told and
// why. The error is for what leaves nothing to tell.
func Listeners(ctx context.Context, o ListenOptions) ([]Listener, []string, error) {
	var s listening
	own, err := ownNetns()
	if err != nil {
		return nil, nil, fmt.Errorf("list the listeners: %w", err)
	}
	if err := s.sockets(Netns{}); err != nil {
		return nil, nil, fmt.Errorf("list the listeners: %w", err)
	}
	if o.AllNamespaces {
		s.elsewhere(ctx, own)
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("list the listeners: %w", err)
	}
	slices.SortFunc(s.found, func(a, b diagnosed) int { return a.compare(b.Listener) })
	s.users()
	if o.Owners != NoOwners {
		s.owners(ctx, o.Owners == FirstOwner)
		s.containers(ctx)
	}
	out := make([]Listener, 0, len(s.found))
	for _, d := range s.found {
		out = append(out, d.Listener)
	}
	return out, s.notes, ctx.Err()
}

// listening is what is found out about listeners, and what is not.
type listening struct {
	found []diagnosed
	notes []string
}

func (s *listening) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// sockets adds the listeners of the thread's network namespace, which it calls ns.
func (s *listening) sockets(ns Netns) error {
	d, err := dialDiag()
	if err != nil {
		return err
	}
	defer d.nl.Close()
	names := linkNames{}
	for _, proto := range []packet.Proto{packet.TCP, packet.UDP, packet.UDPLite, packet.SCTP} {
		found, err := d.listeners(proto)
		if errors.Is(err, errNoDiag) {
			found, err = s.fromFiles(proto)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", proto, err)
		}
		for _, f := range found {
			f.Netns = ns
			f.Interface = names.of(f.index)
			s.found = append(s.found, f)
		}
	}
	return nil
}

// diagFiles are where the kernel tells of a protocol's sockets without sock_diag
// (proc_net(5)). The protocol is not there if they are not.
var diagFiles = map[packet.Proto][]string{
	packet.TCP: {"tcp", "tcp6"}, packet.UDP: {"udp", "udp6"}, packet.UDPLite: {"udplite", "udplite6"},
}

// fromFiles is for a kernel that cannot be asked.
func (s *listening) fromFiles(proto packet.Proto) ([]diagnosed, error) {
	if proto == packet.SCTP {
		if _, err := os.Stat("/proc/thread-self/net/sctp"); err == nil {
			s.note("sockets of SCTP are not listed: %v", errNoDiag)
		}
		return nil, nil
	}
	var out []diagnosed
	for _, file := range diagFiles[proto] {
		text, err := socketFile(file)
		if err != nil {
			return nil, err
		}
		ls, err := parseSockets(text, proto)
		if err != nil {
			return nil, err
		}
		for _, l := range ls {
			out = append(out, diagnosed{Listener: l})
		}
	}
	if len(out) > 0 {
		s.note("of %s it is not known which sockets are bound to an interface or take IPv6 only: %v", proto, errNoDiag)
	}
	return out, nil
}

// linkNames remembers the names of interfaces of a network namespace.
type linkNames map[uint32]string

// of returns the interface's name; "#7" for one that has gone, "" for zero.
func (n linkNames) of(index uint32) string {
	if index == 0 {
		return ""
	}
	if _, known := n[index]; !known {
		n[index] = fmt.Sprintf("#%d", index)
		if l, err := netlink.LinkByIndex(int(index)); err == nil {
			n[index] = l.Attrs().Name
		}
	}
	return n[index]
}
