// Package pf reads the rules of pf(4): pf.conf(5) and what pfctl(8) prints, of
// OpenBSD, FreeBSD and macOS.
//
//	text ─ Parse ─▶ Config ─ Filter, Source ─▶ packet.Filter
//	                  ├─ Expand, Print ─▶ text, as pfctl -sr
//	                  └─ Lint ─▶ what is accepted and does not do what it seems to
//
// Read [Parse] and [Config], then [Rule]; [Filter] is the meaning. The package is
// pure: what the text does not say (addresses, members of interface groups, the
// contents of tables and anchors, other files) comes in [Options].
//
// # How rules become chains
//
// pf tries all rules, and the last one that matches decides, unless a quick one
// ends it before. A packet.Filter tries rules until one decides: see cross. An
// anchor's rules are put in where it stands, under its own conditions; where the order
// counts they are a chain of their own, so that its line is asked once: see anchor.go,
// also for what a quick anchor ends, which is not the same on any two systems.
//
// pf knows no hooks. A packet is judged where it comes in and where it goes out:
// input is the first, output the second, forward both. What has a state passes
// without being asked.
//
// # What is not modelled
//
//   - IP options and extension headers, but that a fragment of IPv6 without its first
//     header counts as of protocol 44 (not on macOS).
//   - Reassembly, which OpenBSD does unless told otherwise: what rules say of fragments
//     counts.
//   - Protocol 1 over IPv6 and protocol 58 over IPv4, which pf throws away: they
//     count as what rules say of them.
//   - What pf throws away before it asks the rules: UDP to port 0, on OpenBSD TCP too;
//     TCP flags that no connection has; neighbour discovery from afar. It counts as what
//     rules say of it.
//   - macOS asks rdr rules backwards for what goes out.
//   - In the old grammar a state is kept of what is translated, whatever the rules say.
//   - Queues, priorities, routing tables: they decide no packet.
//
// Everything else that a rule asks for and a packet does not tell (the owner of a
// socket, rates, probabilities, names that are not known) is a named unknown.
package pf
