package live

import (
	"bufio"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// The programs of BSD systems that list sockets with their processes. Each prints a
// line for each process that has a socket open; the readers make a listener of those
// that have the same address.

// parseFstat reads what fstat(1) of OpenBSD prints:
//
//	root     sshd       70215    3* internet stream tcp 0x0 *:22
//	_x       named       1711   21* internet6 dgram udp [::1]:53
//
// A connected socket has an arrow and another address. Sockets of IPv6 take no IPv4
// there (inet6(4)).
func parseFstat(text string) []Listener {
	var all waiting
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || f[4] != "internet" && f[4] != "internet6" || strings.ContainsAny(line, "<>") {
			continue
		}
		is6 := f[4] == "internet6"
		all.add(f[0], f[1], f[2], f[6], f[len(f)-1], is6, is6)
	}
	return all
}

// parseSockstat reads what "sockstat -46l" of FreeBSD prints:
//
//	root     sshd       1234  3  tcp6   *:22      *:*
//	?        ?          ?     ?  tcp4   *:2049    *:*
//
// tcp46 is a socket that takes both families.
func parseSockstat(text string) []Listener {
	var all waiting
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 7 || f[0] == "USER" || !strings.HasSuffix(f[6], "*:*") {
			continue
		}
		proto := strings.TrimRight(f[4], "46")
		is6 := strings.HasSuffix(f[4], "6")
		all.add(f[0], f[1], f[2], proto, f[5], is6, is6 && !strings.HasSuffix(f[4], "46"))
	}
	return all
}

// parseLsof reads what "lsof -nP -iTCP -sTCP:LISTEN -iUDP -F pcLtPn" of macOS prints, a
// field a line: those of a process, then those of each of its sockets.
func parseLsof(text string) []Listener {
	var all waiting
	var pid, command, user, family, proto string
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			continue
		}
		switch value := line[1:]; line[0] {
		case 'p':
			pid, command, user = value, "", ""
		case 'c':
			command = value
		case 'L':
			user = value
		case 't':
			family = value
		case 'P':
			proto = strings.ToLower(value)
		case 'n':
			if !strings.Contains(value, "->") {
				all.add(user, command, pid, proto, value, family == "IPv6", false)
			}
		}
	}
	return all
}

// waiting is listeners in the making.
type waiting []Listener

// add adds what one process has open. Addresses that are no address are none of IP.
func (all *waiting) add(user, command, pid, proto, local string, is6, v6only bool) {
	p, known := packet.ParseProto(proto)
	addr, port, ok := localAddr(local, is6)
	if !known || !ok || p != packet.TCP && p != packet.UDP && p != packet.SCTP {
		return
	}
	l := Listener{Proto: p, Addr: addr, Port: port, V6Only: v6only && addr.Is6()}
	if user != "?" {
		l.User = user
	}
	i := slices.IndexFunc(*all, func(o Listener) bool { return o.Proto == l.Proto && o.Addr == l.Addr && o.Port == l.Port })
	if i < 0 {
		i = len(*all)
		*all = append(*all, l)
	}
	n, err := strconv.Atoi(pid)
	if err != nil {
		return
	}
	owners := &(*all)[i].Owners
	if !slices.ContainsFunc(*owners, func(o Owner) bool { return o.PID == n }) {
		*owners = append(*owners, Owner{PID: n, Process: command})
	}
}

// localAddr reads "*:22", "127.0.0.1:25", "[::1]:25" and "fe80::1%lo0:123".
func localAddr(s string, is6 bool) (netip.Addr, uint16, bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return netip.Addr{}, 0, false
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		return netip.Addr{}, 0, false
	}
	host := strings.Trim(s[:i], "[]")
	switch {
	case host == "*" && is6:
		return netip.IPv6Unspecified(), uint16(port), true
	case host == "*":
		return netip.IPv4Unspecified(), uint16(port), true
	}
	a, err := netip.ParseAddr(host)
	return a.Unmap().WithZone(""), uint16(port), err == nil
}
