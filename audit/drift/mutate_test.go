package drift_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// mutant is a ruleset of which one thing was changed.
type mutant struct {
	text  string
	what  string // the change, for the log
	where string // the chain or set that it was made in
}

// line is a line of a ruleset and what it is part of.
type line struct {
	n    int
	text string
	in   string // the chain or set
	kind lineKind
}

type lineKind uint8

const (
	otherLine lineKind = iota
	ruleLine
	elementLine
	baseLine // type, hook, priority and policy of a base chain
)

// A mutation changes a line, or says that it cannot.
type mutation struct {
	name string
	on   lineKind
	do   func(r *rand.Rand, s string) (string, bool)
}

// replaceOne replaces one of the places that the expression finds.
func replaceOne(expr string, with func(r *rand.Rand, found string) string) func(*rand.Rand, string) (string, bool) {
	re := regexp.MustCompile(expr)
	return func(r *rand.Rand, s string) (string, bool) {
		places := re.FindAllStringIndex(s, -1)
		if len(places) == 0 {
			return s, false
		}
		p := places[r.IntN(len(places))]
		out := s[:p[0]] + with(r, s[p[0]:p[1]]) + s[p[1]:]
		return out, out != s
	}
}

// flipBit flips one bit of a number that stands behind other characters.
func flipBit(bits int) func(*rand.Rand, string) string {
	digits := regexp.MustCompile(`\d+$`)
	return func(r *rand.Rand, s string) string {
		at := digits.FindStringIndex(s)
		if at == nil {
			return s // the last digit of an IPv6 address may be a letter
		}
		n, err := strconv.Atoi(s[at[0]:])
		if err != nil {
			return s
		}
		return s[:at[0]] + strconv.Itoa(n^1<<r.IntN(bits))
	}
}

func oneOf(words ...string) func(*rand.Rand, string) string {
	return func(r *rand.Rand, _ string) string { return words[r.IntN(len(words))] }
}

func swap(a, b string) func(*rand.Rand, string) string {
	return func(_ *rand.Rand, s string) string { return strings.NewReplacer(a, b, b, a).Replace(s) }
}

// insertBehind puts words behind what was found.
func insertBehind(words string) func(*rand.Rand, string) string {
	return func(_ *rand.Rand, s string) string { return s + words }
}

var (
	ipv4Octet  = `\b\d+\.\d+\.\d+\.\d+`
	ipv6Digit  = `\b2001:db8:[0-9a-f:]*[0-9a-f]`
	nftMutants = []mutation{
		{"port", ruleLine, replaceOne(`(dport|sport)( !=)? \d+`, flipBit(16))},
		{"port", elementLine, replaceOne(`(tcp|udp|sctp|dccp|udplite) \. \d+`, flipBit(16))},
		{"port", elementLine, replaceOne(`^\s*(elements = \{ )?\d+`, flipBit(16))},
		{"protocol", elementLine, replaceOne(`\b(tcp|udp)\b`, swap("tcp", "udp"))},
		{"protocol", ruleLine, replaceOne(`\b(tcp|udp) (dport|sport)`, swap("tcp", "udp"))},
		{"prefix", ruleLine, replaceOne(`/\d+`, flipBit(4))},
		{"prefix", elementLine, replaceOne(`/\d+`, flipBit(4))},
		{"address", ruleLine, replaceOne(ipv4Octet, flipBit(8))},
		{"address", elementLine, replaceOne(ipv4Octet, flipBit(8))},
		{"address", elementLine, replaceOne(ipv6Digit, flipBit(3))},
		{"verdict", ruleLine, replaceOne(`\b(accept|drop)\b`, swap("accept", "drop"))},
		{"verdict", ruleLine, replaceOne(`\breject( with [a-z0-9-]+( type [a-z-]+)?| with tcp reset)?`, oneOf("drop", "accept"))},
		{"verdict", ruleLine, replaceOne(`\bjump [a-z0-9._-]+`, oneOf("accept", "drop"))},
		{"verdict", elementLine, replaceOne(`: accept`, oneOf(": drop"))},
		{"verdict", elementLine, replaceOne(`: jump [a-z0-9._-]+`, oneOf(": accept", ": drop"))},
		{"negation", ruleLine, replaceOne(`\b(ip6? [sd]addr|iifname|oifname|th [sd]port|tcp dport|udp dport|fib daddr type)\b`, insertBehind(" !="))},
		{"negation", ruleLine, replaceOne(`ct state [a-z,]+`, swap("ct state", "ct state !="))},
		{"state", ruleLine, replaceOne(`\b(established|related|invalid)\b`, oneOf("new", "invalid", "related"))},
		{"interface", ruleLine, replaceOne(`"(eth0|eth1|wg0|wg1|docker0|lo|wg\*|eth\*)"`, oneOf(`"eth0"`, `"eth1"`, `"wg0"`, `"lo"`))},
		{"icmp type", elementLine, replaceOne(`\b(echo-request|destination-unreachable|time-exceeded|parameter-problem)\b`, oneOf("echo-reply", "redirect", "timestamp-request"))},
		{"icmp type", ruleLine, replaceOne(`\becho-request\b`, oneOf("echo-reply", "timestamp-request"))},
		{"policy", baseLine, replaceOne(`policy (accept|drop)`, swap("accept", "drop"))},
		{"priority", baseLine, replaceOne(`priority [a-z0-9-]+`, oneOf("priority -300", "priority 10", "priority -5"))},
		{"hook", baseLine, replaceOne(`hook (input|output)`, swap("input", "output"))},
		{"deleted rule", ruleLine, func(*rand.Rand, string) (string, bool) { return "", true }},
		{"deleted element", elementLine, func(_ *rand.Rand, s string) (string, bool) { return "", strings.HasSuffix(s, ",") }},
		{"inserted rule", ruleLine, func(r *rand.Rand, s string) (string, bool) {
			return insertions[r.IntN(len(insertions))] + "\n" + s, true
		}},
	}
	insertions = []string{
		"accept", "drop", "tcp dport 2222 accept", "udp dport 53 drop", "ip saddr 10.0.0.0/8 accept", "ip saddr 198.51.100.0/24 drop",
		"ip6 saddr 2001:db8:1::/48 accept", `iifname "eth1" accept`, `iifname "wg*" drop`, "ct state new accept", "meta l4proto udp accept",
		"tcp flags syn drop", "ip daddr 192.0.2.10 accept", "fib daddr type multicast drop", "ct state established drop", "return",
		"meta mark 7 accept", "ip ttl 1 drop", "limit rate 5000/second accept", "reject",
	}
	iptMutants = []mutation{
		{"port", ruleLine, replaceOne(`--(dport|sport|dports|sports) \d+`, flipBit(16))},
		{"protocol", ruleLine, replaceOne(`-p (tcp -m tcp|udp -m udp)`, swap("tcp", "udp"))},
		{"prefix", ruleLine, replaceOne(`/\d+`, flipBit(4))},
		{"address", ruleLine, replaceOne(ipv4Octet, flipBit(8))},
		{"address", ruleLine, replaceOne(ipv6Digit, flipBit(3))},
		{"verdict", ruleLine, replaceOne(`-j (RETURN|DROP|ACCEPT)`, oneOf("-j RETURN", "-j DROP", "-j ACCEPT"))},
		{"verdict", ruleLine, replaceOne(`-j REJECT.*`, oneOf("-j DROP", "-j ACCEPT"))},
		{"verdict", ruleLine, replaceOne(`-[jg] FWCTL-\S+`, oneOf("-j RETURN", "-j DROP"))},
		{"negation", ruleLine, replaceOne(` (-s|-d|-i|-o) `, func(_ *rand.Rand, s string) string { return " !" + s })},
		{"negation", ruleLine, replaceOne(` --(ctstate|dport|dst-type|match-set) `, func(_ *rand.Rand, s string) string { return " !" + s })},
		{"interface", ruleLine, replaceOne(`-[io] \S+`, func(r *rand.Rand, s string) string { return s[:3] + []string{"eth0", "eth1", "wg0", "lo"}[r.IntN(4)] })},
		{"state", ruleLine, replaceOne(`\b(RELATED|ESTABLISHED|INVALID)\b`, oneOf("NEW", "INVALID", "RELATED"))},
		{"icmp type", ruleLine, replaceOne(`--icmp-type \d+`, flipBit(3))},
		{"deleted rule", ruleLine, func(*rand.Rand, string) (string, bool) { return "", true }},
		{"policy", baseLine, replaceOne(`(ACCEPT|DROP)`, swap("ACCEPT", "DROP"))},
		{"inserted rule", ruleLine, func(r *rand.Rand, s string) (string, bool) {
			chain, _, _ := strings.Cut(strings.TrimPrefix(s, "-A "), " ")
			add := []string{"-j ACCEPT", "-j DROP", "-p tcp -m tcp --dport 2222 -j ACCEPT", "-p udp -m udp --dport 53 -j DROP", "-i eth1 -j ACCEPT",
				"-i wg+ -j DROP", "-m conntrack --ctstate NEW -j ACCEPT", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP", "-j RETURN"}
			return "-A " + chain + " " + add[r.IntN(len(add))] + "\n" + s, true
		}},
	}
)

// mutate changes one thing of a ruleset. Swapped rules are a mutation, too.
func mutate(r *rand.Rand, text string, all []mutation, lines []line) (mutant, bool) {
	if r.IntN(12) == 0 {
		return swapped(r, text, lines)
	}
	m := all[r.IntN(len(all))]
	l := lines[r.IntN(len(lines))]
	if l.kind != m.on {
		return mutant{}, false
	}
	changed, ok := m.do(r, l.text)
	if !ok {
		return mutant{}, false
	}
	return mutant{replaceLine(text, l.n, changed), fmt.Sprintf("%s in %s:\n  - %s\n  + %s", m.name, l.in, strings.TrimSpace(l.text), strings.TrimSpace(changed)), l.in}, true
}

func replaceLine(text string, n int, with string) string {
	all := strings.Split(text, "\n")
	all[n] = with
	return strings.Join(all, "\n")
}

// swapped exchanges a rule and the one behind it.
func swapped(r *rand.Rand, text string, lines []line) (mutant, bool) {
	i := r.IntN(len(lines))
	if i+1 >= len(lines) || lines[i].kind != ruleLine || lines[i+1].kind != ruleLine || lines[i].in != lines[i+1].in {
		return mutant{}, false
	}
	a, b := lines[i], lines[i+1]
	text = replaceLine(replaceLine(text, a.n, b.text), b.n, a.text)
	return mutant{text, fmt.Sprintf("order in %s:\n  %s\n  %s", a.in, strings.TrimSpace(a.text), strings.TrimSpace(b.text)), a.in}, true
}

// nftLines takes a text of nft apart.
func nftLines(text string) []line {
	var out []line
	in, inChain, elements := "", false, false
	for n, s := range strings.Split(text, "\n") {
		l := line{n: n, text: s, in: in}
		t := strings.TrimSpace(s)
		words := strings.Fields(t)
		switch {
		case len(words) == 3 && words[2] == "{" && (words[0] == "chain" || words[0] == "set" || words[0] == "map"):
			in, inChain = words[1], words[0] == "chain"
		case t == "" || strings.HasPrefix(t, "comment") || strings.HasPrefix(t, "table"):
		case t == "}":
			elements = false
		case inChain && strings.HasPrefix(t, "type "):
			l.kind = baseLine
		case inChain:
			l.kind = ruleLine
		case strings.HasPrefix(t, "elements ="):
			elements = true
			if strings.HasSuffix(t, "}") {
				l.kind, elements = elementLine, false
			}
		case elements:
			l.kind = elementLine
		}
		if l.kind != otherLine {
			out = append(out, l)
		}
	}
	return out
}

// iptLines takes a text of iptables-save apart.
func iptLines(text string) []line {
	var out []line
	for n, s := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(s, ":INPUT") || strings.HasPrefix(s, ":FORWARD") || strings.HasPrefix(s, ":OUTPUT"):
			out = append(out, line{n, s, strings.Fields(s)[0][1:], baseLine})
		case strings.HasPrefix(s, "-A "):
			out = append(out, line{n, s, strings.Fields(s)[1], ruleLine})
		}
	}
	return out
}
