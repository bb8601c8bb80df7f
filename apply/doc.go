// Package apply brings a policy into the kernel, sees that it can be taken back, and
// keeps what was confirmed.
//
//	lock -> load, resolve -> guard -> stage the state -> announce, arm the watchdog
//	     -> transaction -> prove -> wait for a confirmation -> commit the state
//
// Read [Options] and [Apply] first. The backends, each below this directory,
// know how to change the kernel; this package knows when: one change at a time
// ([Lock]), nobody locked out by it (guard.go), the new state on disk before the
// change and in force only once it is confirmed ([Store]), the old policy put back
// when something fails, is refuted (prove.go) or is not confirmed.
//
// From the moment at which the kernel may be another, a file of the state says so: a
// trial (pending.go), with all that is needed to end it. Whoever has the lock ends it,
// by [Store.settle]: apply itself, [Confirm], [TakeBack], the watchdog ([Watch], a
// process of its own, which holds in memory what it would restore), or, when all of
// them are gone, the next [Boot] or [Look]. The change counts as confirmed when the
// confirmed bundle has its new name; what is left to do then is done by whoever
// comes next.
//
// [Boot] loads the confirmed state without policy file, network or names; [Look]
// says how things stand; [Rollback] applies an earlier policy; [Refresh] reads names and
// feeds of the confirmed policy again; [Off] removes what is fwctl's.
//
// Nothing is printed here: results are values, which the command puts into words. The
// systemd journal is told of every change (events.go).
package apply
