// Package gen makes random policies and the packets that try them, for tests.
//
// [Policy] writes a policy that uses everything the language has, over a small
// universe of addresses, ports and interfaces, so that rules meet each other;
// it is good on [Host]. [Packets] takes a ruleset, from here or elsewhere, and
// picks packets at and around the edges of everything that it names. Only
// packets that a kernel takes to its hook are made, each in the connection state
// that a kernel gives it ([KernelState]).
//
// Everything is drawn from the random source that is handed in: the same seed
// gives the same policy and the same packets.
package gen
