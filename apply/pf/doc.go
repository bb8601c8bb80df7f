// Package pf brings a Program of render/pf into the anchor fwctl through pfctl(8),
// and takes it out again.
//
// [Open] finds pfctl and the dialect of the system; [Conn.Plan], [Conn.Apply],
// [Conn.Remove] and [Conn.Present] do the work, [Conn.Ready] says whether pf asks
// the anchor at all. Read apply.go first, then held.go.
//
//	pfctl -a fwctl -sr, -T show ─ read ─▶ Config ┐
//	                                             ├─ compare ─▶ nothing, or one pfctl -a fwctl -f -
//	Program ─ Text ─ read ────────────▶ Config ┘
//
// A load of the anchor is atomic, its tables included, and touches nothing else. It is
// tried by pfctl -n before, and sent with "-o none": pfctl's optimizer would merge
// and reorder rules, and the listing would no longer tell whether it is what was sent.
// A table that limits fill keeps its addresses.
//
// What is held against what is wanted are rules as read/pf prints them. Should a pfctl
// print a rule in a way that read/pf reads otherwise, the anchor would be loaded
// again by each apply, which does no harm; whether the rules mean the policy is proved
// apart from that.
//
// The package is the same on every system: on Linux it works with whatever pfctl is in
// PATH, which is how it is tested.
package pf
