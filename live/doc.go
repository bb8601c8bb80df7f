// Package live reads the running host, and changes nothing on it: its links,
// addresses and time zone ([Facts]), the addresses of DNS names ([Resolve]),
// the files of a policy ([Files]), and who else has rules in the kernel
// ([Survey]).
//
// Facts go into rules.Host and from there into rules.Resolve as an argument;
// no other room looks at the host itself.
package live
