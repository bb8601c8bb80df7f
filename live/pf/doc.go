// Package pf reads what pf(4) holds, by way of pfctl(8): the main rules with those of
// all anchors where they stand, the translations of the old grammar, the contents of
// the tables that rules name, and the interfaces that are left alone.
//
//	pfctl ─ Conn.Read ─▶ Held ─ Source ─▶ packet.Source
//
// Read [Open] and [Conn.Read]. Nothing is changed. Interface groups come from
// ifconfig(8), which no system call of Go's tells.
package pf
