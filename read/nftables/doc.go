// Package nftables decodes what the kernel answers to nf_tables dumps: tables,
// chains, rules, sets and their elements, as bytes of netlink messages.
//
// It loses nothing: an expression is kept as its name and its attributes, known
// or not. Read [Table] first. The numbers are those of
// linux/netfilter/nf_tables.h. The package is pure; the room live asks the
// kernel.
package nftables
