package iptables

import (
	"slices"
	"strings"
)

// statement is a rule taken apart: what a packet must be, and what becomes of it.
type statement struct {
	own     part    // the rule's own options: -p, -s, -d, -i, -o, -f
	matches []*part // in the order in which the kernel asks them
	target  *part   // nil: the rule only counts
	isGoto  bool
	last    *part // the one that was opened last
}

// part is a match with its options, or the target with its own.
type part struct {
	name    string // "tcp", "REJECT"; "" for the rule's own options
	target  bool
	options []option
}

// option is one option of a part.
type option struct {
	name  string // in its usual form, without dashes: "s" for --source, "dport" for --destination-port
	not   bool
	args  []string
	known bool // it is one of the part's own
}

// String writes a part as iptables-save does, more or less, and the same part
// always alike: it names unknowns.
func (p *part) String() string {
	words := make([]string, 0, 1+len(p.options))
	for i := range p.options {
		words = append(words, p.options[i].String())
	}
	slices.Sort(words)
	switch {
	case p.target:
		words = slices.Insert(words, 0, "-j "+p.name)
	case p.name != "":
		words = slices.Insert(words, 0, "-m "+p.name)
	}
	return strings.Join(words, " ")
}

// String writes an option as iptables-save does, more or less.
func (o *option) String() string {
	s := "--" + o.name
	if len(o.name) == 1 {
		s = "-" + o.name
	}
	if o.not {
		s = "! " + s
	}
	for _, a := range o.args {
		s += " " + rangeText(a)
	}
	return s
}

// rangeText writes a range from zero, and one of a single number, as iptables-save
// does.
func rangeText(word string) string {
	lo, hi, isRange := strings.Cut(word, ":")
	switch {
	case !isRange || hi == "" || strings.Contains(hi, ":"):
		return word
	case lo == "":
		return "0" + word
	case lo == hi:
		return lo
	}
	return word
}

// option returns the option of that name, nil if the part has none or several.
func (p *part) option(name string) *option {
	var found *option
	for i := range p.options {
		if p.options[i].name != name {
			continue
		}
		if found != nil {
			return nil
		}
		found = &p.options[i]
	}
	return found
}

// arg is the option's only word.
func (o *option) arg() (string, bool) {
	if o == nil || len(o.args) != 1 {
		return "", false
	}
	return o.args[0], true
}

// spellings are the other names of options: getopt tables of iptables.c and of
// the extensions.
var spellings = map[string]string{
	"protocol": "p", "proto": "p", "source": "s", "src": "s", "destination": "d", "dst": "d",
	"in-interface": "i", "out-interface": "o", "fragment": "f", "fragments": "f", "jump": "j", "goto": "g", "match": "m",
	"ipv4": "4", "ipv6": "6", "set-counters": "c",
	"source-port": "sport", "destination-port": "dport", "source-ports": "sports", "destination-ports": "dports", "port": "ports",
	"mac-src": "mac-source", "ttl": "ttl-eq", "hl": "hl-eq", "set": "set",
}

// parse takes the words of a rule apart.
func parse(words []string) *statement {
	st := &statement{}
	st.last = &st.own
	not := false
	for i := 0; i < len(words); {
		w := words[i]
		i++
		switch {
		case w == "!":
			not = true
			continue
		case !isOption(w):
			st.own.options = append(st.own.options, option{name: w}) // a word that belongs to nothing
			continue
		}
		name, attached := optionName(w)
		o := option{name: name, not: not, args: attached}
		not = false
		if attached == nil {
			i = o.take(words, i)
		}
		st.add(o)
	}
	return st
}

// isOption reports whether a word begins with a dash and is no number.
func isOption(w string) bool {
	return len(w) > 1 && w[0] == '-' && (w[1] < '0' || w[1] > '9' || w == "-4" || w == "-6")
}

// optionName is the usual name of an option, with a value that is written in the
// same word: "--dport=22", "-ptcp".
func optionName(w string) (string, []string) {
	if w[1] != '-' {
		if len(w) > 2 {
			return w[1:2], []string{w[2:]}
		}
		return w[1:], nil
	}
	name, value, has := strings.Cut(w[2:], "=")
	if short, ok := spellings[name]; ok {
		name = short
	}
	if has {
		return name, []string{value}
	}
	return name, nil
}

// verbatim are the options whose value may begin with a dash or be a "!".
func verbatim(name string) bool {
	switch name {
	case "comment", "log-prefix", "nflog-prefix", "ulog-prefix", "string", "hex-string", "name", "bytecode":
		return true
	}
	return false
}

// take takes the words that belong to the option, from index i on, and returns
// the index behind them. A "!" before a value is how old versions negate.
func (o *option) take(words []string, i int) int {
	if verbatim(o.name) {
		if i < len(words) {
			o.args = words[i : i+1]
			i++
		}
		return i
	}
	for ; i < len(words) && !isOption(words[i]); i++ {
		if words[i] != "!" {
			o.args = append(o.args, words[i])
			continue
		}
		if i+1 == len(words) || isOption(words[i+1]) || len(o.args) > 0 {
			break // it belongs to what follows
		}
		o.not = true
	}
	return i
}

// add gives an option to the part that it belongs to.
func (st *statement) add(o option) {
	switch o.name {
	case "m":
		st.open(&part{}, o)
		st.matches = append(st.matches, st.last)
	case "j", "g":
		st.target, st.isGoto = &part{target: true}, o.name == "g"
		st.open(st.target, o)
	case "p", "s", "d", "i", "o", "f", "4", "6", "c":
		o.known = true
		st.own.options = append(st.own.options, o)
	default:
		p := st.owner(o.name)
		o.known = p.knows(o.name)
		p.options = append(p.options, o)
	}
}

// open begins a part whose name is the option's value. More words than one are
// no name; the part is then not known to anybody.
func (st *statement) open(p *part, o option) {
	p.name = strings.Join(o.args, " ")
	if o.not {
		p.name = "! " + p.name
	}
	st.last = p
}

// owner finds the part that an option belongs to as iptables does: the one that
// was opened last if it knows the option, then the other matches, then the
// protocol's own match, which need not be named. What nobody knows is the last
// one's.
func (st *statement) owner(name string) *part {
	if st.last.claims(name) {
		return st.last
	}
	for _, p := range slices.Backward(st.matches) {
		if p.knows(name) {
			return p
		}
	}
	if p := (&part{name: implied(st.own.option("p"))}); p.knows(name) {
		st.matches = append(st.matches, p)
		return p
	}
	return st.last
}

// knows reports whether an option is one of a match's own.
func (p *part) knows(name string) bool {
	m, ok := modules[p.name]
	return ok && !p.target && slices.Contains(m.options, name)
}

// claims reports whether the part that was opened last takes an option: a match
// whose options are not listed takes all.
func (p *part) claims(name string) bool {
	if p.target {
		return slices.Contains(targetOptions[p.name], name)
	}
	return p.name != "" && (modules[p.name].options == nil || p.knows(name))
}

// targetOptions are those whose names a match has, too.
var targetOptions = map[string][]string{"CONNMARK": {"mask"}, "SET": {"timeout"}}

// implied is the match that the rule's protocol stands for.
func implied(p *option) string {
	switch name, _ := p.arg(); strings.ToLower(name) {
	case "tcp", "6":
		return "tcp"
	case "udp", "17":
		return "udp"
	case "udplite", "136":
		return "udplite"
	case "sctp", "132":
		return "sctp"
	case "dccp", "33":
		return "dccp"
	case "icmp", "1":
		return "icmp"
	case "icmpv6", "ipv6-icmp", "58":
		return "icmp6"
	}
	return ""
}
