// Package live reads the running host, and changes nothing on it: its links,
// addresses and time zone ([Facts]), the addresses of DNS names ([Resolve]), who
// else has rules in the kernel ([Look]), everything in the kernel that decides on
// packets, read as one state ([Rules]), which sockets take packets from anybody and
// whose they are ([Listeners]), what those speak ([Speaks]), which ports lead into
// containers ([Published]), its connections ([Connections], [Established]) and which of
// them the administrator came in over ([ReachOf]), and whether a file can be trusted
// ([Trust]).
//
// Facts go into rules.Host and from there into rules.Resolve as an argument;
// no other room looks at the host itself.
package live
