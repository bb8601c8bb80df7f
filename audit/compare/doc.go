// Package compare proves that two rulesets decide every packet alike, or finds
// the packets that they decide differently: a description of all of them, their
// number, and one of them with the rule that decides it on each side.
//
// A [Side] is a ruleset as its meaning, whatever language it was written in;
// [Compare] puts both of one hook and family into one packet.Space. What no
// packet decides, and what is not understood, is an unknown there, the same one
// on both sides where the text is the same. The package is pure.
package compare
