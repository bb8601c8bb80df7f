package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | skips ALLOWED")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "skips:", err)
		os.Exit(1)
	}
}

func run(allowed string, in io.Reader, out io.Writer) error {
	text, err := os.ReadFile(allowed)
	if err != nil {
		return err
	}
	allow, err := parseAllowed(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", allowed, err)
	}
	w := &watcher{allow: allow, out: out, said: map[string][]string{}}
	if err := w.read(in); err != nil {
		return err
	}
	return w.verdict()
}

// parseAllowed reads the list of tests that may skip: a regular expression over
// "package.Test/subtest", two spaces, the reason.
func parseAllowed(text string) ([]*regexp.Regexp, error) {
	var allow []*regexp.Regexp
	for n, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		expr, reason, _ := strings.Cut(line, "  ")
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("line %d gives no reason", n+1)
		}
		re, err := regexp.Compile("^(?:" + expr + ")$")
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		allow = append(allow, re)
	}
	return allow, nil
}

// event is one line of `go test -json` (go doc cmd/test2json).
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// name is the test's full name, or the package's where the event is about all
// of it.
func (e event) name() string {
	if e.Test == "" {
		return e.Package
	}
	return e.Package + "." + e.Test
}

// watcher follows the events of one run.
type watcher struct {
	allow  []*regexp.Regexp
	out    io.Writer
	said   map[string][]string // what each running test printed
	ran    int                 // tests that passed or failed, subtests too
	failed []string
	denied []string // skipped, and not allowed to
}

func (w *watcher) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(w.out, lines.Text()) // not an event: a word of the go command
			continue
		}
		w.see(e)
	}
	return lines.Err()
}

func (w *watcher) see(e event) {
	name := e.name()
	switch e.Action {
	case "output", "build-output":
		w.hear(e)
		return
	case "skip":
		if e.Test != "" {
			w.skip(name)
		}
	case "fail":
		w.failed = append(w.failed, name)
		fmt.Fprint(w.out, strings.Join(w.said[name], ""))
	}
	if e.Test != "" && (e.Action == "pass" || e.Action == "fail") {
		w.ran++
	}
	if e.Action != "run" && e.Action != "start" && e.Action != "pause" && e.Action != "cont" {
		delete(w.said, name)
	}
}

// hear prints what the package and the compiler say and keeps what a test says
// for the case that it fails or skips.
func (w *watcher) hear(e event) {
	switch {
	case e.Test != "":
		w.said[e.name()] = append(w.said[e.name()], e.Output)
	case e.Output == "PASS\n":
	default:
		fmt.Fprint(w.out, e.Output)
	}
}

func (w *watcher) skip(name string) {
	verdict := "allowed"
	if !w.allowed(name) {
		verdict = "NOT ALLOWED"
		w.denied = append(w.denied, name)
	}
	var reason []string
	for _, s := range w.said[name] {
		if s = strings.TrimSpace(s); !strings.HasPrefix(s, "=== ") && !strings.HasPrefix(s, "--- ") {
			reason = append(reason, s)
		}
	}
	fmt.Fprintf(w.out, "skip (%s)\t%s\t%s\n", verdict, name, strings.Join(reason, " "))
}

func (w *watcher) allowed(name string) bool {
	for _, re := range w.allow {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}

func (w *watcher) verdict() error {
	fmt.Fprintf(w.out, "%d tests ran\n", w.ran)
	var errs []error
	if len(w.failed) > 0 {
		errs = append(errs, fmt.Errorf("failed: %s", strings.Join(w.failed, ", ")))
	}
	if len(w.denied) > 0 {
		errs = append(errs, fmt.Errorf("skipped, but may not here: %s", strings.Join(w.denied, ", ")))
	}
	if w.ran == 0 {
		errs = append(errs, errors.New("no test ran"))
	}
	return errors.Join(errs...)
}
