// Package packet holds what every other room speaks about: one packet as a
// host firewall sees it, the values of its header fields, the notation in which
// a person writes one, and the verdict on it.
//
// Start with [Packet] and [Parse]. A [Filter] is rules of any language in one form:
// base chains, conditions, outcomes. [Filter.Decide] follows one packet through it
// (concrete.go), a [Space] all packets at once, as decision diagrams: diagram.go has
// the nodes, space.go and product.go build them from a filter, difference.go compares
// two and picks a witness, report.go puts a set of packets into words. path.go joins
// the filters of several hooks to the way of a packet.
//
// The package is pure: it reads no host and imports nothing but the standard library.
package packet
