// Package nftables renders a Ruleset as the one nftables table that fwctl owns,
// `table inet fwctl`.
//
// [Render] makes a [Program], a tree of the words of nft(8): table, chain, rule,
// statement, set, map, element. [Program.Text] prints it for `nft -f`; the room
// apply sends the same tree over netlink. Read program.go first, then render.go
// (the chains, in the order of the packet's path) and dispatch.go (how a port
// finds its service in one look-up).
//
// The shape serves replacement in place: every set and map has a name and no
// rule holds an anonymous one, so that a change swaps elements and rules under
// base chains that stay.
//
//	chain input    loopback, established, baseline, invalid, blocks, icmp, services, the default
//	map input.ports        protocol and port to the verdict, or to the chain that decides
//	map input.tcp          the same for ranges of TCP ports
//	set input.from4.24     protocol, port and /24 network: services open to single networks
//	chain from.office      who: the sources of a group
//	chain service.ssh      a service with conditions of its own
//	chain prerouting       published ports, where they are enforced: new packets for this host, before
//	                       their translation, go to chain published, which asks as input does;
//	                       its maps and chains are published.*, so that each place counts for itself
//	chain service.ssh/judged   at input, what prerouting has counted and logged already
//	set office.v4          a group's addresses
package nftables
