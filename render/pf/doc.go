// Package pf renders a policy for pf(4), the packet filter of OpenBSD, FreeBSD
// and macOS.
//
//	Ruleset ─ Render ─▶ Program ─ Text ─▶ pf.conf, or the anchor fwctl
//
// Read [Render], then [Program] and [Rule]: a program is a list of typed lines,
// in the words of pf.conf(5), which the printer writes in the grammar of one
// [Dialect]. The package is pure. It asks nobody: not the host, not the clock.
//
// # What decides a packet
//
// pf judges a packet at every interface that it crosses, and knows no hooks. A
// packet for this host is one that comes in for an address of it, a broadcast or
// multicast address: the macro this_host. A packet from this host is one that
// goes out without having come in ("! received-on any"; where the grammar lacks
// that, by its source address). A packet through this host is any other, and is
// judged twice, where it comes in and where it goes out. With routed = "ignore" it
// passes, so what a kernel takes for its own and this_host lacks would pass too:
// see neverRouted.
//
// Every decision is quick, so that the order of the lines is the order of the
// policy's meaning. Only in a whole file the defaults stand first and are not
// quick: what the anchors of others decide then holds, and the file reads as
// pf.conf is usually written.
//
// # Where pf says something else
//
//   - There is no invalid state. A stray segment matches no state and no rule
//     that opens one, and is refused like the default.
//   - A limit counts completed handshakes, per address, and bites after the
//     handshake: TCP only. Elsewhere it is an error.
//   - There is no clock: what has ended goes when the rules are rendered again.
//   - A log line carries the rule's label, no prefix, and is not rate limited.
//   - Protocol 1 over IPv6 and protocol 58 over IPv4 are thrown away by pf.
//   - OpenBSD lets no unsolicited ICMP reply open a state.
//   - macOS cannot tell a packet through the host from one for it: its kernel
//     leaves (self) empty. There everything that comes in is judged as inbound,
//     and a policy that wants more of routed packets is refused.
package pf
