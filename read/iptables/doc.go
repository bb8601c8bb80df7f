// Package iptables reads the text of iptables-save and ip6tables-save: tables,
// chains, rules, their counters, and the words of each rule.
//
// [Parse] takes the text apart without judging it. Lines that it does not know,
// such as the warnings that some variants mix in, are kept in [Save.Unknown] and
// never make it fail. [Rule.Key] says the same of two rules that mean the same
// though their texts differ in what iptables-save spells anew.
//
// [Filter] says what the tables do with packets at a hook: statement.go takes a
// rule apart, match.go and its neighbours hold what each match means, target.go
// each target, ipset.go the sets of `ipset save` ([ParseSets]).
package iptables
