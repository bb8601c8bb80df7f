// Package nftables makes the kernel hold a rendered table and nothing else of
// ours: it reads what is there, works out the difference and sends only that,
// under the generation that it read.
//
//	Program ─ encode ─▶ desired ─┐
//	kernel ─ live, read ─▶ table ┴─ diff ─▶ changes ─ send ─▶ kernel ─ read back
//
// Base chains are created once and then kept; sets and maps are kept and their
// elements swapped; counters and limits of what does not change survive.
//
// One transaction decides (send_linux.go). A packet that is among the old rules in
// that moment goes on among them, but finds the sets as they are then. So a set gets
// other elements where it is only if every packet meets the old ones or the new ones
// (torn_linux.go). Else a new set takes its place, under another name
// (names_linux.go): office.v4 is then office.v4/2 in the kernel, until that gets a
// successor in turn. The old set goes when no packet can be among the old rules.
package nftables
