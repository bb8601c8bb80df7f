// Command fwctl renders, applies and explains a host firewall policy.
//
// Each command has its file. ui.go owns every message that a person reads and
// says how they are written; files.go finds the policy; the work is done in the
// other rooms.
package main
