package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// flow is what a frame of a flood carries: UDP from one address to one port.
type flow struct {
	Src  netip.Addr
	Port uint16
}

// frame is an Ethernet frame with an IPv4 UDP datagram of 18 bytes, 60 bytes in
// all, the least that Ethernet carries.
func frame(src, dst net.HardwareAddr, from, to netip.Addr, sport, port uint16) []byte {
	f := make([]byte, 60)
	copy(f, dst)
	copy(f[6:], src)
	binary.BigEndian.PutUint16(f[12:], unix.ETH_P_IP)
	ip := f[14:34]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], 46)
	copy(ip[12:], from.AsSlice())
	copy(ip[16:], to.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	binary.BigEndian.PutUint16(f[34:], sport)
	binary.BigEndian.PutUint16(f[36:], port)
	binary.BigEndian.PutUint16(f[38:], 26) // no checksum: IPv4 allows it
	return f
}

// sum is the Internet checksum (RFC 1071) before its complement.
func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// blaster sends ready frames out of one interface, as fast as one CPU can. The
// other end of a veth pair works each frame off before the send returns, on the
// same CPU and in the same thread's time.
type blaster struct {
	fd   int
	msgs []mmsghdr
	iovs []unix.Iovec
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

func newBlaster(ifname string, to netip.Addr, peer net.HardwareAddr, flows []flow) (*blaster, error) {
	ifc, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0) // protocol 0: receives nothing
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifc.Index}); err != nil {
		return nil, fmt.Errorf("bind packet socket to %s: %w", ifname, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return nil, fmt.Errorf("bypass the queue of %s: %w", ifname, err)
	}
	b := &blaster{fd: fd, msgs: make([]mmsghdr, len(flows)), iovs: make([]unix.Iovec, len(flows))}
	for i, fl := range flows {
		f := frame(ifc.HardwareAddr, peer, fl.Src, to, uint16(10000+i), fl.Port)
		b.iovs[i].Base = &f[0]
		b.iovs[i].SetLen(len(f))
		b.msgs[i].hdr.Iov = &b.iovs[i]
		b.msgs[i].hdr.SetIovlen(1)
	}
	return b, nil
}

// pass sends every frame once and returns the time it took on the wall and on
// this thread's CPU.
func (b *blaster) pass() (wall, cpu time.Duration, err error) {
	t0, c0 := time.Now(), threadTime()
	for sent := 0; sent < len(b.msgs); {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.msgs[sent])), uintptr(len(b.msgs)-sent), 0, 0, 0)
		switch {
		case errno == unix.EINTR || errno == unix.ENOBUFS:
			continue
		case errno != 0:
			return 0, 0, fmt.Errorf("sendmmsg: %w", errno)
		}
		sent += int(n)
	}
	return time.Since(t0), threadTime() - c0, nil
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// pin ties the goroutine to one thread and that to one CPU, so that the frames
// are worked off where they are sent.
func pin() error {
	runtime.LockOSThread()
	var now, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil {
		return err
	}
	for cpu := range 8 * len(now) * 8 {
		if now.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	return unix.SchedSetaffinity(0, &one)
}

// mix is a list of n flows, as many for few services as for many, so that
// connection tracking has the same work. Of two flows one is let in and the other
// asks for a service from a source that it does not know.
func mix(services []service, n int) []flow {
	r := rand.New(rand.NewPCG(1, 2))
	flows := make([]flow, n)
	for i := range flows {
		s := services[r.IntN(len(services))]
		flows[i] = flow{s.Src, s.Port}
		if i%2 == 1 {
			flows[i].Src = stranger
		}
	}
	return flows
}
