// Package netlab is a laboratory for packet filters: it sends real packets
// through the real kernel and says what became of each.
//
//	a Lab is two network namespaces:
//
//	  client                         host (the rules under test live here)
//	  c0 ───────────────────────────  eth0 ┐
//	  c1 ───────────────────────────  eth1 │ input ─▶ this host
//	  c2 ───────────────────────────  wg0  │ forward ─▶ any other of them
//	  ...                                  ┘ output ─▶ raw sockets send
//
// [New] makes one for the facts of a host, [Lab.Do] runs code in the host's
// namespace (to load rules there), [Lab.Probe] injects packets and returns the
// verdict of each. The namespaces have no names: they vanish with the process.
//
// # How a verdict is seen
//
// Every probe carries a 16-bit tag: in the IP identification or the low half of
// the IPv6 flow label, told from all other traffic by the traffic class. The
// lab's own nftables table stands before and behind everything under test at
// each hook and writes tags into sets: reached (the packet came to its hook),
// passed and left (it came out behind all rules: accepted). The answers to
// refused packets (TCP reset, port unreachable) tell the tag of what they answer,
// and are seen behind the output rules under test: a reset that does not get out
// is no reject. A packet that did not even reach its hook is an error, not a
// drop, but for rules at prerouting ([Lab.Early]). Everything ends behind the last rule: nothing is delivered, so no
// connection tracking entry is ever kept and every probe is the first packet of
// its flow.
//
// # Connection states
//
// New, Invalid and Untracked are what the packet's own form makes of it (see
// gen.KernelState); Untracked is also made on request for input and forward, by
// notrack. For Established and for Related an entry is put into the connection
// tracking table first: Established works for TCP, UDP and echo replies, Related
// for ICMP errors. Other combinations are errors.
//
// # What cannot be probed
//
// The kernel itself throws away before any hook: sources that are multicast,
// broadcast, or (but to a broadcast or multicast) unspecified; IPv6 loopback
// addresses on other interfaces; multicast of scope 0 and 1. IPv6 protocol
// numbers that are extension headers (0, 43, 44, 51, 59, 60) are no protocols to
// it. A packet through the host needs a destination that is neither local, nor
// multicast, nor link-local, and a source that is not link-local for IPv6.
package netlab
