// Package house holds the rules of the house that a test can check: which room
// may import which, that each room has a map, that exported names are
// explained, how long functions are. The tests are the point; the package has
// only what they share with the commands size and skips below it.
//
// Start with [Load] and the table in imports_test.go.
package house
