package pfctl

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/fwctl/fwctl/read/pf"
)

// Main is the program; it returns its exit status.
func Main() int {
	dir := os.Getenv("PFCTL_DIR")
	if dir == "" {
		fmt.Fprintln(os.Stderr, "pfctl: /dev/pf: No such file or directory")
		return 1
	}
	c := &call{dir: dir, args: os.Args[1:], in: os.Stdin, out: os.Stdout, errs: os.Stderr}
	n, err := c.record()
	if err == nil {
		err = c.hook("before", n)
	}
	if err == nil {
		err = locked(dir, c.do)
	}
	if err == nil {
		err = c.hook("after", n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pfctl:", err)
		return 1
	}
	return 0
}

// call is one call of pfctl.
type call struct {
	dir   string
	args  []string
	in    io.Reader
	out   io.Writer
	errs  io.Writer
	state *State

	options map[byte][]string // -a fwctl: a → fwctl; of those without a word the list has ""
	rest    []string
	input   []byte
}

// valued are the options that take a word.
const valued = "aDFfiKkLopsStTVx"

// accepted are the options that pfctl has on a system (pfctl(8)).
func accepted(d pf.Dialect) string {
	switch d {
	case pf.OpenBSD:
		return "deghNnPqrvzaDFfiKkLopSstTVx"
	case pf.MacOS:
		return "AdeghmNnOqRrvzaDFfiKkopstTx"
	default:
		return "AdeghMmNnOPqRrvzaDFfiKkopstTx"
	}
}

// known refuses an option that the system's pfctl does not have.
func (c *call) known() error {
	for o := range c.options {
		if strings.IndexByte(accepted(c.state.grammar()), o) < 0 {
			return said("illegal option -- " + string(o))
		}
	}
	return nil
}

// parse takes the command line apart, as getopt(3) does.
func (c *call) parse() {
	c.options = map[byte][]string{}
	args := c.args
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0][1:]
		args = args[1:]
		for word != "" {
			o := word[0]
			word = word[1:]
			value := ""
			if strings.IndexByte(valued, o) >= 0 {
				if value = word; value == "" && len(args) > 0 {
					value, args = args[0], args[1:]
				}
				word = ""
			}
			c.options[o] = append(c.options[o], value)
		}
	}
	c.rest = args
}

func (c *call) has(o byte) bool { return len(c.options[o]) > 0 }

func (c *call) value(o byte) string {
	if !c.has(o) {
		return ""
	}
	return c.options[o][0]
}

// record writes down that the call was made, and what it reads.
func (c *call) record() (n int, err error) {
	c.parse()
	if c.value('f') == "-" || c.has('T') && slices.Contains(c.options['f'], "-") {
		if c.input, err = io.ReadAll(c.in); err != nil {
			return 0, err
		}
	}
	err = locked(c.dir, func() error {
		path := filepath.Join(c.dir, "calls")
		text, _ := os.ReadFile(path)
		n = strings.Count(string(text), "\n") + 1
		if c.input != nil {
			if err := os.MkdirAll(filepath.Join(c.dir, "input"), 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(c.dir, "input", strconv.Itoa(n)), c.input, 0o600); err != nil {
				return err
			}
		}
		return os.WriteFile(path, append(text, strings.Join(c.args, " ")+"\n"...), 0o600)
	})
	return n, err
}

// hook runs a script of the directory, if there is one; not for calls by a script.
func (c *call) hook(name string, n int) error {
	path := filepath.Join(c.dir, name)
	if _, err := os.Stat(path); err != nil || os.Getenv("PFCTL_CALL") != "" {
		return nil
	}
	cmd := exec.Command("/bin/sh", append([]string{path}, c.args...)...)
	cmd.Env = append(os.Environ(), "PFCTL_CALL="+strconv.Itoa(n), "PFCTL_PARENT="+strconv.Itoa(os.Getppid()))
	cmd.Stderr = c.errs
	return cmd.Run()
}

// do carries the call out.
func (c *call) do() (err error) {
	if c.state, err = Read(c.dir); err != nil {
		return err
	}
	if err := c.known(); err != nil {
		return err
	}
	switch {
	case c.has('T'):
		err = c.tables()
	case c.has('F'):
		err = c.flush()
	case c.has('k'):
		c.kill()
	case c.has('s'):
		return c.show(c.value('s'))
	case c.has('f'):
		err = c.load()
	}
	if c.has('e') {
		err = c.enable(true)
	}
	if c.has('d') {
		err = c.enable(false)
	}
	if err != nil || c.has('n') {
		return err
	}
	return c.state.Write(c.dir)
}

func (c *call) enable(on bool) error {
	if c.state.Enabled == on {
		return fmt.Errorf("pf already %s", map[bool]string{true: "enabled", false: "not enabled"}[on])
	}
	c.state.Enabled = on
	fmt.Fprintln(c.errs, map[bool]string{true: "pf enabled", false: "pf disabled"}[on])
	return nil
}

func (c *call) load() error {
	name, text := c.value('f'), c.input
	if name == "-" {
		name = "stdin"
	} else {
		var err error
		if text, err = os.ReadFile(name); err != nil {
			return err
		}
	}
	if table := c.state.overflow(string(text)); table != "" && !c.has('n') {
		return fmt.Errorf("%s: cannot define table %s: Cannot allocate memory", name, table)
	}
	problems := c.state.Load(c.value('a'), string(text))
	for _, p := range problems {
		fmt.Fprintf(c.errs, "%s:%d: syntax error\n", name, p.Line)
	}
	if len(problems) > 0 {
		return said("Syntax error in config file: pf rules not loaded")
	}
	return nil
}

func (c *call) flush() error {
	anchor := c.value('a')
	what := c.value('F')
	if what == "rules" || what == "all" {
		c.state.Rules[anchor] = ""
		c.state.sweep()
	}
	if what == "Tables" || what == "all" {
		c.state.Tables = slices.DeleteFunc(c.state.Tables, func(t Table) bool { return t.Anchor == anchor })
	}
	fmt.Fprintln(c.errs, map[string]string{"rules": "rules cleared", "Tables": "0 tables deleted."}[what])
	return nil
}

// said is an error in the words of pfctl.
type said string

// Error returns them.
func (s said) Error() string { return string(s) }

// kill ends states by their numbers.
func (c *call) kill() {
	before := len(c.state.States)
	if k := c.options['k']; len(k) == 2 && k[0] == "id" {
		c.state.States = slices.DeleteFunc(c.state.States, func(f Flow) bool { return f.ID == k[1] })
	}
	fmt.Fprintf(c.errs, "killed %d states\n", before-len(c.state.States))
}

func (c *call) show(what string) error {
	s, anchor := c.state, c.value('a')
	switch what[:1] {
	case "r":
		return c.showRules(anchor)
	case "n": // it keeps no translations
	case "e":
		for _, line := range s.Ether {
			fmt.Fprintln(c.out, line)
		}
	case "m":
		fmt.Fprintf(c.out, "states        hard limit   100000\ntables        hard limit     1000\ntable-entries hard limit %8d\n", cmp.Or(s.Room, 200_000))
	case "A":
		for _, name := range slices.Sorted(maps.Keys(s.Rules)) {
			if name != "" {
				fmt.Fprintf(c.out, "  %s\n", name)
			}
		}
	case "T":
		for _, t := range s.Tables {
			if t.Anchor == anchor {
				fmt.Fprintln(c.out, t.Name)
			}
		}
	case "i":
		fmt.Fprintf(c.out, "Status: %s for 0 days 00:10:12              Debug: err\n\n", map[bool]string{true: "Enabled", false: "Disabled"}[s.Enabled])
	case "I":
		for _, name := range []string{"all", "egress", "em0", "lo", "lo0"} {
			if c.has('v') && slices.Contains(s.Skip, name) {
				name += " (skip)"
			}
			fmt.Fprintln(c.out, name)
		}
	case "s":
		for _, f := range s.States {
			fmt.Fprintln(c.out, f.Text)
			if len(c.options['v']) > 1 {
				fmt.Fprintf(c.out, "   id: %s creatorid: 5a3c1f02\n", f.ID)
			}
		}
	default:
		return fmt.Errorf("unknown show modifier '%s'", what)
	}
	return nil
}

func (c *call) showRules(anchor string) error {
	bodies := anchor == "*"
	if bodies {
		anchor = ""
	}
	text, known := c.state.Rules[anchor]
	if !known && anchor != "" {
		return said("Anchor '" + anchor + "' not found.")
	}
	parsed := pf.Parse(text, c.state.grammar())
	c.bodies(parsed.Lines, bodies)
	listing := parsed.Print()
	if c.has('P') == (c.state.grammar() == pf.OpenBSD) {
		listing = withNames(listing)
	}
	_, err := io.WriteString(c.out, listing)
	return err
}

// withNames puts the names of services in the place of ports, where pfctl does.
func withNames(listing string) string {
	for port, name := range map[string]string{"22": "ssh", "25": "smtp", "53": "domain", "80": "http", "443": "https", "631": "ipp", "8080": "http-alt"} {
		for _, op := range []string{"= ", "!= "} {
			for _, end := range []string{" ", "\n"} {
				listing = strings.ReplaceAll(listing, " port "+op+port+end, " port "+op+name+end)
			}
		}
	}
	return listing
}

// bodies puts the rules of anchors where they are evaluated, or leaves them out.
func (c *call) bodies(lines []pf.Statement, show bool) {
	for _, l := range lines {
		a, ok := l.(*pf.Anchor)
		switch {
		case !ok || a.Name == "":
		case !show:
			a.Inline, a.Body = false, nil
		case !a.Inline && strings.HasSuffix(a.Name, "/*"):
			a.Body, a.Inline = c.below(strings.TrimSuffix(a.Name, "*")), true
		case !a.Inline:
			a.Body = pf.Parse(c.state.Rules[a.Name], c.state.grammar()).Lines
			a.Inline = true
		}
	}
}

// below are the anchors directly below a path, in order.
func (c *call) below(path string) []pf.Statement {
	var out []pf.Statement
	for _, name := range slices.Sorted(maps.Keys(c.state.Rules)) {
		child, ok := strings.CutPrefix(name, path)
		if ok && !strings.Contains(child, "/") {
			out = append(out, &pf.Anchor{Keyword: "anchor", Name: child, Inline: true, Body: pf.Parse(c.state.Rules[name], c.state.grammar()).Lines})
		}
	}
	return out
}

func (c *call) tables() error {
	anchor, name := c.value('a'), c.value('t')
	t := c.state.table(anchor, name)
	words := c.rest
	if c.has('f') {
		words = strings.FieldsFunc(string(c.input), func(r rune) bool { return unicode.IsSpace(r) || r == ',' })
	}
	op := c.value('T')
	if t == nil {
		if op == "show" || op == "kill" || op == "flush" || op == "expire" {
			return said("Table does not exist.")
		}
		c.state.Tables = append(c.state.Tables, Table{Anchor: anchor, Name: name, Persist: true})
		t = c.state.table(anchor, name)
	}
	switch op {
	case "show":
		for _, e := range t.Entries {
			fmt.Fprintf(c.out, "   %s\n", e)
		}
	case "add":
		t.Entries = append(slices.DeleteFunc(t.Entries, func(e string) bool { return slices.Contains(words, e) }), words...)
	case "delete":
		t.Entries = slices.DeleteFunc(t.Entries, func(e string) bool { return slices.Contains(words, e) })
	case "replace":
		t.Entries = words
	case "flush", "expire":
		t.Entries = nil
	case "kill":
		c.state.Tables = slices.DeleteFunc(c.state.Tables, func(x Table) bool { return x.Anchor == anchor && x.Name == name })
	default:
		return fmt.Errorf("unknown table command '%s'", op)
	}
	return nil
}
