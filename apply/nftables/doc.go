// Package nftables makes the kernel hold a rendered table and nothing else of
// ours: it reads what is there, works out the difference and sends only that, in
// one transaction under the generation that it read.
//
//	Program ─ encode ─▶ desired ─┐
//	kernel ─ live, read ─▶ table ┴─ diff ─▶ changes ─ one batch ─▶ kernel ─ read back
//
// Base chains are created once and then kept, with their policy; sets and maps
// are kept and their elements swapped; counters and limits of what does not
// change survive.
package nftables
