// Package plan says what a policy would change for whom, were it applied: which
// packets get in, out or through that do not now, and which no longer; which
// live connections it would not accept; which listeners that is about.
//
// [Make] compares the host as it is with the host as it would be: the rules of
// others stay, and in the place of fwctl's own stands the policy. The package is
// pure; what it needs of the host is in its [Question].
package plan
