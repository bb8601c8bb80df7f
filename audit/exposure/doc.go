// Package exposure tells what of this host can really be reached, by whom, and whether
// that is what the policy says.
//
//	sockets that wait, published ports ─▶ doors ─┐
//	all rules of the host ─▶ packet.Way ─────────┴─▶ who gets in ─┬─▶ findings (FWnnn)
//	                                      the policy, its expect ─┘
//
// Read report.go first, then reach.go (who gets in, for each door) and find.go (what is
// wrong with that). Each kind of finding has a code that stays, in codes.go. monitor.go
// writes the report for other programs, html.go for people: page.html, with the sources
// against the doors (matrix.go) and the same as a picture (picture.go).
package exposure
