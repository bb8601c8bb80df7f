package iptables

import (
	"fmt"
	"slices"
	"strings"

	read "github.com/fwctl/fwctl/read/iptables"
	render "github.com/fwctl/fwctl/render/iptables"
)

// tables are those in which fwctl has something, in the order in which packets meet
// them.
var tables = []string{"mangle", "filter"}

// state is what one family holds of fwctl's in one table, or should.
type state struct {
	table  string
	chains []*chain
	jumps  []jump
	misuse []string // rules of others that lead into our chains: "-A X -j FWCTL-INPUT"
}

type chain struct {
	name  string
	rules []rule
}

// rule is one rule. Its key is made when its text does not do.
type rule struct {
	read.Rule
	key string
}

// jump is a rule of a built-in chain that leads into one of ours.
type jump struct {
	from string
	at   int // from 1
	rule rule
}

// wanted is the state of a table that a family of a Program describes.
func wanted(f *render.Family, table string) *state {
	s, t := &state{table: table}, f.Table
	if table == "mangle" {
		t = f.Mangle
	}
	for _, c := range t.Chains {
		w := &chain{name: c.Name, rules: make([]rule, len(c.Rules))}
		for i := range c.Rules {
			w.rules[i].Text = c.Rules[i].Args()
		}
		s.chains = append(s.chains, w)
	}
	for _, j := range t.Jumps {
		s.jumps = append(s.jumps, jump{from: j.From, at: 1, rule: rule{Rule: read.Rule{Text: j.Args()}}})
	}
	return s
}

// found is the state of a table that iptables-save shows; t may be nil.
func found(t *read.Table, table string) *state {
	s := &state{table: table}
	if t == nil {
		return s
	}
	for _, c := range t.Chains {
		if isOwn(c.Name) {
			f := &chain{name: c.Name, rules: make([]rule, len(c.Rules))}
			for i, r := range c.Rules {
				f.rules[i].Rule = r
			}
			s.chains = append(s.chains, f)
			continue
		}
		s.foreign(c)
	}
	return s
}

// foreign looks for rules that lead from a chain of others to ours.
func (s *state) foreign(c *read.Chain) {
	for i, r := range c.Rules {
		switch {
		case isForeign(r):
		case c.Policy == "-":
			s.misuse = append(s.misuse, "-A "+c.Name+" "+r.Text)
		default:
			s.jumps = append(s.jumps, jump{from: c.Name, at: i + 1, rule: rule{Rule: r}})
		}
	}
}

// edit is what has to be sent to a family, and what to say of it.
type edit struct {
	command  string
	table    string
	lines    []string // of the restore, between "*TABLE" and "COMMIT"
	changes  []string // one for each thing that becomes another
	counters bool     // some lines carry counters
	closing  int      // verdicts that refuse, more than before
}

func (e *edit) empty() bool { return len(e.lines) == 0 }

// text is the input of iptables-restore.
func (e *edit) text() string {
	return "*" + e.table + "\n" + strings.Join(e.lines, "\n") + "\nCOMMIT\n"
}

func (e *edit) send(format string, args ...any) {
	e.lines = append(e.lines, fmt.Sprintf(format, args...))
}

func (e *edit) say(format string, args ...any) {
	command := e.command
	if e.table != "filter" {
		command += " -t " + e.table
	}
	e.changes = append(e.changes, command+" "+fmt.Sprintf(format, args...))
}

// diff finds the way from one state to another: chains first, so that rules can
// name them, then all that goes, then all that comes, the jumps when all is
// there, and what is left over last. What goes goes first, because nf_tables
// looks for loops and deep nesting after every rule: so each state on the way is
// a part of the old one or of the new one, never of both.
func diff(command string, from, to *state, protocols read.Protocols) *edit {
	e := &edit{command: command, table: to.table}
	old := map[string]*chain{}
	for _, c := range from.chains {
		old[c.name] = c
	}
	var rewrites []*rewrite
	for _, c := range to.chains {
		was := old[c.name]
		if was == nil {
			e.send(":%s - [0:0]", c.name)
			e.say("-N %s", c.name)
			was = &chain{name: c.name}
		}
		rewrites = append(rewrites, newRewrite(was, c, protocols))
		delete(old, c.name)
	}
	for _, r := range rewrites {
		e.remove(r, protocols)
	}
	e.flush(from, old)
	for _, r := range rewrites {
		e.add(r, protocols)
	}
	e.jumps(from, to, protocols)
	e.leftovers(from, old)
	return e
}

// flush empties the chains that are no longer wanted; they may lead to each other.
func (e *edit) flush(from *state, old map[string]*chain) {
	for _, c := range from.chains {
		if old[c.name] != nil && len(c.rules) > 0 {
			e.send("-F %s", c.name)
		}
	}
}

// leftovers removes the chains that are no longer wanted.
func (e *edit) leftovers(from *state, old map[string]*chain) {
	for _, c := range from.chains {
		if old[c.name] != nil {
			e.send("-X %s", c.name)
			e.say("-X %s", c.name)
		}
	}
}

// jumps puts ours where they belong. They are deleted by what they say: were
// they deleted by number, a rule of others that came in between would go.
func (e *edit) jumps(from, to *state, protocols read.Protocols) {
	same := func(a, b jump) bool {
		return a.from == b.from && a.at == b.at && a.rule.same(&b.rule, protocols)
	}
	for _, name := range []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT"} {
		of := func(s *state) []jump {
			return slices.DeleteFunc(slices.Clone(s.jumps), func(j jump) bool { return j.from != name })
		}
		was, is := of(from), of(to)
		if slices.EqualFunc(was, is, same) {
			continue
		}
		for _, j := range was {
			e.send("-D %s %s", name, j.rule.Text)
			e.say("-D %s %s", name, j.rule.Text)
		}
		for _, j := range is {
			e.send("-I %s %d %s", name, j.at, j.rule.Text)
			e.say("-I %s %d %s", name, j.at, j.rule.Text)
		}
	}
}

// same reports whether two rules say the same.
func (r *rule) same(o *rule, protocols read.Protocols) bool {
	return r.Text == o.Text || r.keyed(protocols) == o.keyed(protocols)
}

func (r *rule) keyed(protocols read.Protocols) string {
	if r.key == "" {
		r.key = r.Key(protocols)
	}
	return r.key
}

// rewrite is the way of one chain: rules that differ go and come, the others
// stay where they are.
type rewrite struct {
	was, is *chain
	stay    [][2]int         // the places, in was and is, of the rules that stay
	gone    map[string]*rule // those that go, by key
}

func newRewrite(was, is *chain, protocols read.Protocols) *rewrite {
	return &rewrite{was: was, is: is, stay: match(was, is, protocols), gone: map[string]*rule{}}
}

// remove sends what goes, from the end, so that numbers stay true.
func (e *edit) remove(r *rewrite, protocols read.Protocols) {
	if len(r.stay) == 0 && len(r.was.rules) > 1 {
		e.send("-F %s", r.is.name)
		e.sayAll("-D", r.was)
		return
	}
	stay := len(r.stay)
	for i := len(r.was.rules) - 1; i >= 0; i-- {
		if stay > 0 && r.stay[stay-1][0] == i {
			stay--
			continue
		}
		old := &r.was.rules[i]
		e.send("-D %s %d", r.is.name, i+1)
		e.say("-D %s %s", r.is.name, old.Text)
		e.closing -= weight(old)
		r.gone[old.keyed(protocols)] = old
	}
}

// add sends what comes, from the beginning.
func (e *edit) add(r *rewrite, protocols read.Protocols) {
	stay := 0
	for j := range r.is.rules {
		if stay < len(r.stay) && r.stay[stay][1] == j {
			stay++
			continue
		}
		e.insert(r, j, stay == len(r.stay), protocols)
	}
}

// insert sends the chain's j-th rule. One that only moved takes its counters
// along.
func (e *edit) insert(rw *rewrite, j int, last bool, protocols read.Protocols) {
	r := &rw.is.rules[j]
	counters := ""
	if len(rw.gone) > 0 {
		if old := rw.gone[r.keyed(protocols)]; old != nil && old.Packets > 0 {
			counters = fmt.Sprintf("[%d:%d] ", old.Packets, old.Bytes)
			e.counters = true
		}
	}
	if last {
		e.send("%s-A %s %s", counters, rw.is.name, r.Text)
	} else {
		e.send("%s-I %s %d %s", counters, rw.is.name, j+1, r.Text)
	}
	e.say("-A %s %s", rw.is.name, r.Text)
	e.closing += weight(r)
}

func (e *edit) sayAll(verb string, c *chain) {
	for i := range c.rules {
		e.say("%s %s %s", verb, c.name, c.rules[i].Text)
		e.closing -= weight(&c.rules[i])
	}
}

// weight is 1 of a rule that refuses, -1 of one that accepts, else 0.
func weight(r *rule) int {
	switch r.Target() {
	case "DROP", "REJECT":
		return 1
	case "RETURN":
		return -1
	}
	return 0
}

// match pairs the rules that stay: those in which both begin and end, and
// between them a longest run of equal ones in the order of both. Equal rules of
// one chain are paired first with first.
func match(was, is *chain, protocols read.Protocols) [][2]int {
	same := func(i, j int) bool { return was.rules[i].same(&is.rules[j], protocols) }
	head, n, m := 0, len(was.rules), len(is.rules)
	for head < min(n, m) && same(head, head) {
		head++
	}
	for n > head && m > head && same(n-1, m-1) {
		n, m = n-1, m-1
	}
	places := map[string][]int{}
	for i := head; i < n; i++ {
		k := was.rules[i].keyed(protocols)
		places[k] = append(places[k], i)
	}
	var middle [][2]int
	for j := head; j < m; j++ {
		k := is.rules[j].keyed(protocols)
		if at := places[k]; len(at) > 0 {
			middle = append(middle, [2]int{at[0], j})
			places[k] = at[1:]
		}
	}
	return slices.Concat(diagonal(0, 0, head), ascending(middle), diagonal(n, m, len(was.rules)-n))
}

// diagonal is n pairs from one on.
func diagonal(i, j, n int) [][2]int {
	pairs := make([][2]int, n)
	for k := range pairs {
		pairs[k] = [2]int{i + k, j + k}
	}
	return pairs
}

// ascending returns a longest part of the pairs, which ascend in their second
// number, that ascends in the first, too (patience sorting).
func ascending(pairs [][2]int) [][2]int {
	var tails []int // the pair that ends the best run of each length
	before := make([]int, len(pairs))
	for n, p := range pairs {
		at, _ := slices.BinarySearchFunc(tails, p[0], func(t, first int) int { return pairs[t][0] - first })
		before[n] = -1
		if at > 0 {
			before[n] = tails[at-1]
		}
		if at == len(tails) {
			tails = append(tails, n)
		} else {
			tails[at] = n
		}
	}
	if len(tails) == 0 {
		return nil
	}
	out := make([][2]int, len(tails))
	for n, i := tails[len(tails)-1], len(tails)-1; i >= 0; n, i = before[n], i-1 {
		out[i] = pairs[n]
	}
	return out
}
