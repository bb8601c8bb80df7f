package pf

import "slices"

// Dialect is one of the grammars of pf.conf. The zero value is OpenBSD.
type Dialect uint8

// The dialects.
const (
	OpenBSD    Dialect = iota // 7.6 and later
	FreeBSD                   // 15, the grammar it shares with OpenBSD
	FreeBSDOld                // 12 and later, the grammar of OpenBSD 4.5 alone
	MacOS                     // the grammar of OpenBSD 4.3 with Apple's additions
)

var dialectNames = [...]string{"openbsd", "freebsd", "freebsd-old", "macos"}

// String returns the name by which ParseDialect knows the dialect.
func (d Dialect) String() string { return dialectNames[d] }

// ParseDialect reads "openbsd", "freebsd", "freebsd-old" or "macos".
func ParseDialect(s string) (Dialect, bool) {
	i := slices.Index(dialectNames[:], s)
	return Dialect(max(i, 0)), i >= 0
}

// traits are the points in which the dialects differ, as far as a policy can
// reach them.
type traits struct {
	system     string   // its name in messages
	receivedOn bool     // rules can ask where a packet that goes out came in
	match      bool     // rules can set a tag without deciding
	self       bool     // the kernel fills (self); XNU's pf_if.c knows no groups and leaves it empty
	groups     []string // interface groups that hold all interfaces of a driver; nil: no groups at all
	egress     bool     // the group egress is kept by the kernel
	sctpPorts  bool     // port works with sctp
	classful   bool     // takes a link's broadcast to 10.255.255.255 for one to 10.20.0.0/16 (in_ouraddr in ip_input.c)
	natAnchors bool     // translation in an anchor needs nat-anchor and rdr-anchor
	loopback   string   // what `on` and `set skip on` call the loopback interfaces
	reassembly Line     // what makes it put fragments together; nil: it does
}

// Cloned interfaces are in the group of their driver; hardware is not, so that
// `on em` is accepted and matches nothing (ifconfig(8), if_clone).
var (
	openBSDGroups = []string{
		"aggr", "bpe", "bridge", "carp", "egre", "enc", "eoip", "etherip", "gif", "gre", "lo", "mgre", "mpe", "mpip",
		"mpw", "nvgre", "pair", "pflog", "pflow", "pfsync", "ppp", "pppoe", "sec", "svlan", "tap", "tpmr", "trunk",
		"tun", "veb", "vether", "vlan", "vport", "vxlan", "wg",
	}
	freeBSDGroups = []string{
		"bridge", "disc", "edsc", "enc", "epair", "gif", "gre", "ipsec", "lagg", "lo", "me", "ovpn", "pflog", "pfsync",
		"stf", "tap", "tun", "vlan", "vmnet", "vxlan", "wg", "wlan",
	}
)

var allTraits = [...]traits{
	OpenBSD: {
		system: "OpenBSD", receivedOn: true, match: true, self: true, groups: openBSDGroups, egress: true, classful: true,
		loopback: "lo",
	},
	FreeBSD: {
		system: "FreeBSD", receivedOn: true, match: true, self: true, groups: freeBSDGroups, sctpPorts: true, natAnchors: true,
		loopback: "lo", reassembly: Option{"reassemble", "yes"},
	},
	FreeBSDOld: {
		system: "FreeBSD with the old grammar", self: true, groups: freeBSDGroups, natAnchors: true,
		loopback: "lo", reassembly: Scrub{},
	},
	MacOS: {
		system: "macOS", natAnchors: true, loopback: "lo0", reassembly: Scrub{},
	},
}

func (d Dialect) traits() traits { return allTraits[d] }
