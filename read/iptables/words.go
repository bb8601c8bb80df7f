package iptables

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// Words splits the text of a rule as iptables-restore does: at blanks, but not
// within double quotes, where a backslash takes the next character as it is.
func Words(text string) []string {
	var words []string
	var word strings.Builder
	inside, quoted := false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
		case c == '"':
			quoted, inside = !quoted, true
		case !quoted && (c == ' ' || c == '\t'):
			if inside {
				words = append(words, word.String())
				word.Reset()
				inside = false
			}
		default:
			word.WriteByte(c)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words
}

// Target returns the target of a rule, that of -j or -g; "" if it has none.
func (r *Rule) Target() string {
	words := Words(r.Text)
	for i := len(words) - 2; i >= 0; i-- {
		if words[i] == "-j" || words[i] == "-g" {
			return words[i+1]
		}
	}
	return ""
}

// Protocols are the names that a host gives to protocols: its /etc/protocols,
// from which iptables-save takes them.
type Protocols map[string]packet.Proto

// ParseProtocols reads the text of /etc/protocols.
func ParseProtocols(text string) Protocols {
	m := Protocols{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if n, err := strconv.ParseUint(f[1], 10, 8); err == nil {
			m[f[0]] = packet.Proto(n)
		}
	}
	return m
}

// number is the protocol's number in decimal, or the word itself if nobody knows
// it. What iptables has built in comes before the host's names.
func (m Protocols) number(word string) string {
	switch word {
	case "icmpv6", "ipv6-icmp":
		return strconv.Itoa(int(packet.ICMPv6))
	case "mh", "ipv6-mh":
		return "135"
	}
	if p, ok := m[word]; ok {
		return strconv.Itoa(int(p))
	}
	if p, ok := packet.ParseProto(word); ok {
		return strconv.Itoa(int(p))
	}
	return word
}

// clause is one part of a rule: the plain options, a match with its own, or the
// target with its own.
type clause struct {
	name    string              // "", "-m tcp", "-j LOG"
	options map[string][]string // by flag, with "! " in front where negated
}

// Key names what a rule says: two rules with one key mean the same. It looks
// past the order of options and matches, the names of protocols, masks and
// units that are implied. An order of matches that matters, that of limits, is
// lost: fwctl puts at most one limit in a rule.
func (r *Rule) Key(protocols Protocols) string {
	clauses := clausesOf(Words(r.Text))
	keys := make([]string, len(clauses))
	for i, c := range clauses {
		c.normalise(protocols)
		keys[i] = c.String()
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// takesDash reports whether an option's value may begin with a dash.
func takesDash(flag string) bool { return flag == "--comment" || flag == "--log-prefix" }

func clausesOf(words []string) []*clause {
	c := &clause{options: map[string][]string{}}
	all := []*clause{c}
	flag, not := "", ""
	for i := 0; i < len(words); i++ {
		w, more := words[i], i+1 < len(words)
		switch {
		case more && (w == "-m" || w == "-j" || w == "-g"):
			i++
			c, flag = &clause{name: w + " " + words[i], options: map[string][]string{}}, ""
			all = append(all, c)
		case more && takesDash(w):
			i++
			c.options[w] = []string{words[i]}
		case w == "!":
			not = "! "
		case len(w) > 1 && w[0] == '-':
			if w[1] != '-' {
				c = all[0] // -s, -d, -i, -o and -p are the rule's own wherever they stand
			}
			flag, not = not+w, ""
			c.options[flag] = []string{}
		default:
			c.options[flag] = append(c.options[flag], not+w)
			not = ""
		}
	}
	return all
}

func (c *clause) String() string {
	var b strings.Builder
	b.WriteString(c.name)
	for _, flag := range slices.Sorted(maps.Keys(c.options)) {
		b.WriteString(" " + flag)
		for _, v := range c.options[flag] {
			b.WriteString(" " + strconv.Quote(v))
		}
	}
	return b.String()
}

func (c *clause) normalise(protocols Protocols) {
	switch c.name {
	case "":
		c.each("-p", protocols.number)
		c.each("-s", withMask)
		c.each("-d", withMask)
	case "-m hashlimit":
		c.hashlimit()
	case "-m limit":
		c.each("--limit", period)
	}
}

// each rewrites the value of a flag, negated or not.
func (c *clause) each(flag string, rewrite func(string) string) {
	for _, f := range []string{flag, "! " + flag} {
		if v := c.options[f]; len(v) == 1 {
			c.options[f] = []string{rewrite(v[0])}
		}
	}
}

func withMask(s string) string {
	switch {
	case strings.Contains(s, "/"):
		return s
	case strings.Contains(s, ":"):
		return s + "/128"
	}
	return s + "/32"
}

// A unit of a rate: its length in millionths of a second.
var units = []struct {
	name string
	long uint64
}{{"second", 1e6}, {"minute", 60e6}, {"hour", 3600e6}, {"day", 86400e6}}

// unit finds a unit by its name or the beginning of it, as iptables does.
func unit(word string) (uint64, bool) {
	for _, u := range units {
		if word != "" && strings.HasPrefix(u.name, word) {
			return u.long, true
		}
	}
	return 0, false
}

// period turns a rate into the time that one packet takes, in millionths of a
// second: "10/min" and "600/hour" are the same rate.
func period(rate string) string {
	amount, word, _ := strings.Cut(rate, "/")
	long, ok := unit(word)
	n, err := strconv.ParseUint(amount, 10, 64)
	if !ok || err != nil || n == 0 {
		return rate
	}
	return strconv.FormatUint(long/n, 10) + "us"
}

// hashlimit adds what iptables-save leaves out: the life of an entry, which is
// the unit of the rate, and a mask of all bits.
func (c *clause) hashlimit() {
	for _, flag := range []string{"--hashlimit-above", "--hashlimit-upto"} {
		v := c.options[flag]
		if len(v) != 1 {
			continue
		}
		if _, given := c.options["--hashlimit-htable-expire"]; !given {
			_, word, _ := strings.Cut(v[0], "/")
			if long, ok := unit(word); ok {
				c.options["--hashlimit-htable-expire"] = []string{strconv.FormatUint(long/1000, 10)}
			}
		}
		c.options[flag] = []string{period(v[0])}
	}
}
