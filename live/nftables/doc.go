// Package nftables asks the kernel what nf_tables holds: the generation id,
// tables, chains, rules, sets and elements, with the protocol that makes a dump
// a snapshot. Decoding is the room read's.
package nftables
