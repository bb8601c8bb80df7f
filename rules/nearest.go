package rules

import (
	"slices"
	"strconv"
	"strings"
)

// quote writes a string of the policy in a message.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return strconv.Quote(s)
}

// alternatives writes "drop, reject or accept".
func alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// nearest returns the hint `did you mean "x"?` for the word that is nearest to
// s, "" if none is near.
func nearest(s string, words []string) string { return nearestOr(s, words, "") }

func nearestOr(s string, words []string, otherwise string) string {
	if best := nearestWord(s, words); best != "" {
		return "did you mean " + quote(best) + "?"
	}
	return otherwise
}

// synonyms are words of other firewalls and what they are here.
var synonyms = map[string]string{
	"deny": "drop", "block": "drop", "discard": "drop", "refuse": "reject", "allow": "accept", "pass": "accept", "permit": "accept",
	"all": "any", "everyone": "any", "everybody": "any", "world": "any", "anywhere": "any", "internet": "any",
	"localhost": "loopback", "self": "host", "me": "host", "lan": "private",
}

// nearestWord returns the word that is nearest to s, "" if none is near.
func nearestWord(s string, words []string) string {
	if other := synonyms[strings.ToLower(s)]; slices.Contains(words, other) {
		return other
	}
	best, least := "", 1+max(1, len(s)/3)
	for _, w := range slices.Sorted(slices.Values(words)) {
		if d := distance(strings.ToLower(s), w, least); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to get from a to b (optimal string alignment), up to a bound from
// which it no longer counts.
func distance(a, b string, bound int) int {
	if d := len(a) - len(b); d >= bound || -d >= bound || len(a) > 2*maxName {
		return bound
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], bound)
}
