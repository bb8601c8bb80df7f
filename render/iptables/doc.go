// Package iptables renders a Ruleset as what fwctl owns of iptables and
// ip6tables: chains FWCTL-* in tables filter and mangle, one jump each from the built-in
// chains, and sets of ipset for large groups.
//
// [Render] makes a [Program]; [Family.Text] prints it for `iptables-restore
// --noflush` and `ip6tables-restore --noflush`, [Program.SetText] the sets for
// `ipset restore`. Read program.go first, then render.go (the chains, in the
// order of a packet's path) and opening.go (how a service gets its rules).
//
//	FWCTL-INPUT        loopback, connection state, baseline
//	FWCTL-INPUT/icmp   the baseline's part of ICMP
//	FWCTL-INPUT/new    invalid state, blocks, icmp, services, the default
//	FWCTL-ssh          a service that takes more than two rules
//	FWCTL-ssh/limit    what a packet that fits still has to pass; also /log
//	FWCTL-OUT-dns      [outbound.dns]; FWCTL-FWD-vpn: [route.vpn]
//	FWCTL-BLOCK-bad    a block that takes more than two rules
//	FWCTL-INPUT/deny   the default, where it is more than a drop
//
// Where published ports are enforced, table mangle has FWCTL-PREROUTING, which judges
// new packets for this host before they are translated (its services are FWCTL-PUB-ssh),
// and FWCTL-PUB-FORWARD, which refuses what is routed straight to a container.
//
// Accepting is RETURN into the built-in chain, so that the rules of others still
// decide: all our chains but those of blocks are therefore entered by goto (-g),
// from which RETURN leaves them all at once, and each ends in a verdict or a
// goto.
//
// The text is what iptables-save prints of it, word by word, so that a diff of
// the two shows what somebody changed.
package iptables
