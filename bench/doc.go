// Command bench measures fwctl beside what it has to stand up to, in one run on
// one machine: `nft -f` and `iptables-restore` of rules that a person would have
// written by hand for the same policy, a bare netlink batch, and other tools
// where they are installed. It prints ratios, each with the limit that the house
// has set, and fails if one is broken. It is what `make bench` runs.
//
// All work is done in network namespaces of its own. Read main.go for the rows
// and policy.go for what is measured; flood_linux.go sends the packets.
package main
