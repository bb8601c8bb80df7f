// Package adopt writes policies from what a host has already: Import from the
// rules of another firewall, [Start] from what listens and who is connected ([See],
// init*.go). It changes nothing on the host; nothing here can apply what it writes.
//
//	text ─ a format's reader ─▶ Ruleset ─ Import ─▶ Policy (TOML) and what it could not say
//
// A ruleset is a list in which order decides, a policy is a set in which blocks win
// over services. Import goes from one to the other by meaning: [Ruleset] holds
// packet filters, whatever language they were written in, and what a rule is turned
// into is checked against what the whole list does with its packets.
//
//   - iptables.go, ufw.go, ufw_added.go and firewalld.go read the formats, the last two
//     by writing what they mean as rules of iptables (script.go); the text of nft is
//     the kernel's to read, so the command brings its filters.
//   - known.go leaves out of a filter what no policy can ask for, and says why;
//     silence.go, the chains that only log.
//   - walk.go follows all packets at once through the rest: what each rule asks for,
//     and what it decides.
//   - cover.go chooses blocks and services; boxes.go and cut.go take sets of packets
//     apart into what one section can say; icmp.go settles defaults.icmp.
//   - section.go, unite.go, name.go, group.go and write.go make the text.
//   - check.go reads the text as fwctl will and holds each rule against it: what it
//     decides otherwise is a [Left], with a packet.
//
// Import proves nothing: the command compares [Result.Imported] with [Result.Means].
//
// What is compared are first packets of flows, without those that every policy
// decides by itself: loopback, the necessary baseline, and a destination port of 0,
// which a policy cannot name. How the ruleset differs there is in [Result.Own].
package adopt
