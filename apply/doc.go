// Package apply brings a policy into the kernel and keeps what was confirmed.
//
//	lock -> load, resolve -> render -> stage the state -> transaction -> prove -> commit the state
//
// Read [Options] and [Apply] first. The backends, each below this directory,
// know how to change the kernel; this package knows when: one change at a time
// ([Lock]), the new state on disk before the change and in force only after it
// ([Store]), the old policy put back when something fails or is refuted (prove.go).
// [Boot] loads the confirmed state without policy file, network or names; [Look]
// says how things stand; [Off] removes what is fwctl's.
//
// Nothing is printed here: results are values, which the command puts into words.
package apply
