package main

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameserver is a name server of the box, at the address that its resolv.conf names.
// A name that it does not know does not exist.
type nameserver struct {
	mu    sync.Mutex
	addrs map[string][]netip.Addr
	fails map[dnsmessage.Type]string // the name for which queries of the type fail
	asked int
}

// serveNames starts a name server and makes the box ask it.
func (b *box) serveNames() *nameserver {
	b.Helper()
	s := &nameserver{addrs: map[string][]netip.Addr{}, fails: map[dnsmessage.Type]string{}}
	var conn net.PacketConn
	err := b.in(func() (err error) { conn, err = net.ListenPacket("udp4", "127.0.0.1:53"); return err })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	go s.serve(b.T, conn)
	b.resolver = b.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
	return s
}

// set gives a name these addresses; without any it does not exist.
func (s *nameserver) set(name string, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.addrs, name+".")
	for _, a := range addrs {
		s.addrs[name+"."] = append(s.addrs[name+"."], netip.MustParseAddr(a))
	}
}

// fail makes queries of these types for a name fail, and no others.
func (s *nameserver) fail(name string, types ...dnsmessage.Type) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.fails)
	for _, t := range types {
		s.fails[t] = name + "."
	}
}

// queries is how many came so far.
func (s *nameserver) queries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *nameserver) serve(t *testing.T, conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf[:n]); err != nil || len(m.Questions) != 1 {
			t.Errorf("a query that is none: %v", err)
			continue
		}
		s.answer(&m)
		if out, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(out, from)
		}
	}
}

// answer makes an answer of a query.
func (s *nameserver) answer(m *dnsmessage.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	q := m.Questions[0]
	name := q.Name.String()
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	switch addrs, known := s.addrs[name]; {
	case s.fails[q.Type] == name:
		m.RCode = dnsmessage.RCodeServerFailure
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	default:
		for _, a := range addrs {
			h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET, TTL: 1}
			switch {
			case a.Is4() && q.Type == dnsmessage.TypeA:
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
			case a.Is6() && q.Type == dnsmessage.TypeAAAA:
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
			}
		}
	}
}
