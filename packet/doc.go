// Package packet holds what every other room speaks about: one packet as a
// host firewall sees it, the values of its header fields, the notation in which
// a person writes one, and the verdict on it.
//
// Start with [Packet] and [Parse]. The package is pure: it reads no host and
// imports nothing but the standard library.
package packet
