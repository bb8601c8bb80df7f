// Package nftables decodes what the kernel answers to nf_tables dumps: tables,
// chains, rules, sets and their elements, as bytes of netlink messages.
//
// It loses nothing: an expression is kept as its name and its attributes, known
// or not. Read [Table] first. The numbers are those of
// linux/netfilter/nf_tables.h. The package is pure; the room live asks the
// kernel.
//
// [Filter] and [Source] say what tables do with packets: exec.go follows a rule's
// expressions as the kernel does, with registers whose bits are constants, bits of
// a packet's fields (bits.go), or unknown. text.go and its neighbours write a rule
// in the words of nft(8), for people. [Equal] compares two readings.
package nftables
