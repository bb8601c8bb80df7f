package live

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Listener is a socket that takes packets from anybody: TCP and SCTP that listen,
// UDP and UDP-Lite that are not connected.
type Listener struct {
	Proto packet.Proto
	Addr  netip.Addr // without a zone; unspecified: all of the host's, see Takes
	Port  uint16
	// V6Only says that a socket of IPv6 takes no IPv4 (IPV6_V6ONLY, ipv6(7)). It is
	// false for sockets of IPv4.
	V6Only bool
	// Interface is the name of the one interface by which packets have to come
	// (SO_BINDTODEVICE, socket(7)); empty: any.
	Interface string
	UID       uint32 // of whoever made the socket
	User      string // its name in /etc/passwd; empty: it has none there
	Inode     uint64 // what its descriptors lead to, "socket:[INODE]"; zero: nobody can have it open
	Netns     Netns
	// Owners are the processes that have it open, by number. Of a socket of the
	// kernel's own (WireGuard, NFS) there are none; whether others could not be told
	// is in the notes.
	Owners []Owner
	// Made is where the socket was made, as far as the kernel remembers; it is looked up
	// only where no owner was found, and needs control groups of version 2.
	Made  Place
	Proxy Proxy // if its owner only carries what comes here into a container
}

// Proxy is a program that listens for a container, or only keeps the port for it; the
// zero Proxy: none.
type Proxy struct {
	Program   string         // "docker-proxy", "conmon"
	To        netip.AddrPort // of the container; the zero AddrPort: it does not tell
	Container Container      // as far as it is known
}

// Owner is a process that has a socket open.
type Owner struct {
	PID     int    // as /proc counts
	Process string // its name, up to 15 bytes (proc_pid_comm(5)), made printable
	// Exe is the program's file; Argv0 what it calls itself. Both are printable, and
	// empty if they cannot be read.
	Exe, Argv0 string
	// Leader is the process that it comes from by forks alone: the furthest of its
	// parents that run the same program, by name and file; itself if its parent does not.
	Leader int
	Place
}

// Place is where systemd or an engine of containers has put a process.
type Place struct {
	Unit      string // systemd's, "sshd.service"; empty: none
	UserUnit  string // of a user's own systemd, whose Unit is "user@1000.service"
	Container Container
}

// Container is one that a process runs in; the zero Container: none.
type Container struct {
	Engine string // "docker", "podman", "cri-o", "containerd", "lxc", "kubernetes"; "container" if the path does not tell
	ID     string // the engine's, 64 hexadecimal digits mostly; LXC has names only
	Name   string // empty: nobody told
}

// String writes "docker container web", or the beginning of the id for want of a name;
// nothing for the zero Container.
func (c Container) String() string {
	if c == (Container{}) {
		return ""
	}
	name := c.Name
	if name == "" {
		name = c.ID[:min(len(c.ID), 12)]
	}
	if c.Engine == "container" {
		return "container " + name
	}
	return c.Engine + " container " + name
}

// Netns is a network namespace; the zero Netns is that of whoever asked.
type Netns struct {
	Inode uint64 // of /proc/PID/ns/net; no two that exist at once have the same (namespaces(7))
	Name  string // the file's name where it is mounted, as in /run/netns; empty: nowhere
}

// String writes "net:[4026532281]", with its name in front; nothing for the zero Netns.
func (n Netns) String() string {
	if n == (Netns{}) {
		return ""
	}
	s := fmt.Sprintf("net:[%d]", n.Inode)
	if n.Name != "" {
		return n.Name + " (" + s + ")"
	}
	return s
}

// OwnersWanted is which processes of a socket are looked for.
type OwnersWanted uint8

// Which processes of a socket are looked for.
const (
	AllOwners  OwnersWanted = iota // every descriptor of every process is looked at
	FirstOwner                     // one each: ends with the socket that was found last
	NoOwners                       // only what the kernel tells of the sockets
)

// ListenOptions are what Listeners looks at. The zero value asks for the sockets of
// this network namespace and all their processes.
type ListenOptions struct {
	AllNamespaces bool // those of every network namespace that can be found and entered (CAP_SYS_ADMIN)
	Owners        OwnersWanted
}

// String writes "0.0.0.0:8000/tcp".
func (l Listener) String() string {
	s := netip.AddrPortFrom(l.Addr, l.Port).String() + "/" + l.Proto.String()
	if l.Interface != "" {
		s += " on " + l.Interface
	}
	return s
}

// Takes reports whether packets of the family reach the socket: one of all IPv6
// addresses takes IPv4, too, unless it is V6Only.
func (l Listener) Takes(is6 bool) bool {
	if l.Addr.Is6() == is6 {
		return true
	}
	return !is6 && l.Addr.IsUnspecified() && !l.V6Only
}

// compare brings listeners into one order.
func (l Listener) compare(o Listener) int {
	return cmp.Or(
		cmp.Compare(l.Netns.Inode, o.Netns.Inode), cmp.Compare(l.Proto, o.Proto), cmp.Compare(l.Port, o.Port),
		l.Addr.Compare(o.Addr), strings.Compare(l.Interface, o.Interface), cmp.Compare(l.Inode, o.Inode))
}

// someOf lists names for a note, shortened.
func someOf(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
