// Package iptables brings a Program of render/iptables into the kernel through
// the programs of iptables and ipset, and takes it out again.
//
// [Open] finds the programs and decides for one of the two variants, nf_tables
// or legacy; [Conn.Plan], [Conn.Apply], [Conn.Remove] and [Conn.Present] do the
// work. Read apply_linux.go first, then diff_linux.go.
//
//	iptables-save ─ read ─▶ state ┐
//	                              ├─ diff ─▶ text for iptables-restore --noflush
//	Program ────────────▶ state ┘
//
// Only the difference is sent, rule by rule, in one restore a family: what stays
// keeps its counters and the tables of its limits. The chains of others are
// never written to, but for our one jump, which is addressed by what it says and
// not by its number. New sets are made before the restore and old ones destroyed
// after it.
package iptables
