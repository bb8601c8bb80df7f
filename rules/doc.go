// Package rules is the policy: as written, as meant, and what it decides.
//
//	policy.toml ─ Load ─▶ Policy ─ Resolve(Host) ─▶ Ruleset ─ Decide(packet) ─▶ Decision
//
// Read [Ruleset] and [Rule] first: every renderer, the evaluator and the audit
// work from them. [Policy] is what the file says, with the place of every
// value; [Host] is what is known of the machine, handed in as an argument and
// never read here. [Ruleset.Decide] is the reference for what a policy means:
// everything else is tested against it.
//
// The package is pure: files come through an fs.FS, facts through Host.
//
// # The map
//
//   - sections.go and profile.go are the table of every section and key, of a
//     policy and of a profile. Load refuses what is not in it, and [Schema] is
//     written from it.
//   - syntax.go makes a tree with places of a file; form.go checks its values;
//     values.go, address.go, ports.go and shape.go read strings; feed.go reads
//     files of addresses; load.go and settle.go put several files together;
//     check.go looks at sections, profile_use.go fills in profiles.
//   - resolve.go, groups.go, addresses.go and overlap.go make the Ruleset.
//   - decide.go and baseline.go are the evaluator.
//   - lint.go and subset.go find what was probably not meant; sample.go tries
//     the policy's own tests.
//
// Everything that is wrong is a [Problem] with its place; [Problem.Text] prints
// it. Load and Resolve find all of them in one run: after an error in Load,
// Resolve still looks for the rest, and returns no Ruleset.
//
// # Details of the language
//
// What the description of the language leaves open is decided here:
//
//   - An inbound block must have from, an outbound one at least one of to, ports
//     and protocols. An [outbound.*] or [route.*] section must have to.
//   - A service for every protocol (protocols = ["any"]) overlaps with no other:
//     it trusts a peer, it does not claim a port.
//   - Of two services of one file that share a port, the word shared of one is
//     read for both, with a warning; in different files it is an error.
//   - source_ports must name every protocol of ports, and no other.
//   - An except cannot hold the host's own addresses, which change, nor a group
//     that is bound to interfaces; names in it must be resolved, so that the facts
//     of the host must be given. Nor can it take anything out of a group that holds
//     the host's own addresses.
//   - A group that is bound to interfaces cannot stand in to of a service or an
//     inbound block. In to of a route or an outbound section its interfaces are
//     those by which packets leave.
//   - "@eth1" stands in to of a service or an inbound block. While the facts of the
//     host are not given, it is no address in a service and an error in a block.
//   - A prefix whose address has bits behind its length is an error, in files of
//     addresses, too: nobody can tell which of the two was meant.
//   - Shell patterns of include do not match a leading dot. A file that several
//     others include is read once.
//   - A test speaks of the first packet of a flow; it leaves out the loopback
//     interface unless it names it; its icmp is IPv4 alone, its icmpv6 IPv6.
//   - A profile's rows for one audience make one rule; those that have a to of
//     their own make another for each, named by audience and first row.
package rules
