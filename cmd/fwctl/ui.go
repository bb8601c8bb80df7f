package main

// What fwctl says to people, and how:
//
//   - The answer goes to standard output and nothing else does. All talk goes to
//     standard error: what was done, warnings, errors.
//   - Talk begins with "fwctl: ", in lower case, without a final period. A way out
//     stands below it, indented, as "hint: …".
//   - Problems of a policy are printed all at once: place, severity, what is
//     wrong; the line with a caret below; the hint. They are the answer of check,
//     and talk everywhere else.
//   - A verdict names the rule and the line of the policy that made it.
//   - --json gives one JSON document on standard output, on success and on
//     failure; it always has "changed", and fields are only ever added.
//   - --quiet leaves answers and errors.
//   - Colour marks what the words say already. It is off in files and pipes, with
//     NO_COLOR and with TERM=dumb.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/fwctl/fwctl/apply"
	"github.com/fwctl/fwctl/live"
	"github.com/fwctl/fwctl/rules"
)

type ui struct {
	in             io.Reader
	stdout, stderr io.Writer
	json, quiet    bool
	color          string
	painted        map[io.Writer]bool
	program        []string // by which fwctl starts itself
	width          int      // of the lines of an answer; 0: as long as they are
}

func newUI(stdin io.Reader, stdout, stderr io.Writer) *ui {
	return &ui{in: stdin, stdout: stdout, stderr: stderr, color: "auto", painted: map[io.Writer]bool{}}
}

// settle makes up its mind about colour and the length of lines.
func (u *ui) settle() error {
	u.width = lineWidth(u.stdout)
	for _, w := range []io.Writer{u.stdout, u.stderr} {
		switch u.color {
		case "always":
			u.painted[w] = true
		case "never":
		case "auto":
			u.painted[w] = isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		default:
			return oneOf("color", u.color, "auto", "always", "never")
		}
	}
	return nil
}

// lineWidth is what the environment says (COLUMNS, POSIX.1-2017, 8.3), else the terminal's;
// 0, if the stream is none.
func lineWidth(stream any) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if f, ok := stream.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil {
			return n
		}
	}
	return 0
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// The colours, as SGR codes (ECMA-48).
const (
	red    = "1;31"
	yellow = "1;33"
	cyan   = "36"
	green  = "32"
)

func (u *ui) paint(w io.Writer, code, s string) string {
	if !u.painted[w] || code == "" || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// print writes a part of the answer.
func (u *ui) print(format string, args ...any) { fmt.Fprintf(u.stdout, format, args...) }

// say writes talk.
func (u *ui) say(format string, args ...any) {
	if !u.quiet {
		fmt.Fprintf(u.stderr, "fwctl: "+format+"\n", args...)
	}
}

// warn writes talk that --quiet does not silence.
func (u *ui) warn(format string, args ...any) {
	fmt.Fprintf(u.stderr, "fwctl: "+u.paint(u.stderr, yellow, "warning:")+" "+format+"\n", args...)
}

// hint writes the way out below an error or warning.
func (u *ui) hint(text string) {
	if text != "" {
		fmt.Fprintf(u.stderr, "  hint: %s\n", text)
	}
}

// progressAfter is how long work takes before it is spoken of.
const progressAfter = time.Second

// working says on a terminal what takes long, and for how long already. The
// function that it returns ends that.
func (u *ui) working(what string) (done func()) {
	start := time.Now()
	return u.every(func() string { return fmt.Sprintf("%s, %s", what, time.Since(start).Round(time.Second)) })
}

// every writes a line that changes, every second.
func (u *ui) every(line func() string) (done func()) {
	if u.quiet || !isTerminal(u.stderr) {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		shown := false
		tick := time.NewTicker(progressAfter)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				shown = true
				fmt.Fprintf(u.stderr, "\r\x1b[Kfwctl: %s", line())
			case <-stop:
				if shown {
					fmt.Fprint(u.stderr, "\r\x1b[K")
				}
				return
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// countdown says on a terminal how much time is left. The function that it returns
// ends that.
func (u *ui) countdown(what string, until time.Time) (done func()) {
	return u.every(func() string {
		return fmt.Sprintf("%s, %s left", what, max(time.Until(until).Round(time.Second), 0))
	})
}

// answer gives the answer: the value with --json, else what text prints.
func (u *ui) answer(value any, text func()) error {
	if !u.json {
		text()
		return nil
	}
	e := json.NewEncoder(u.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// failed is the answer of a command that could not give one.
type failed struct {
	Changed      bool               `json:"changed"`
	Error        string             `json:"error"`
	Hint         string             `json:"hint,omitempty"`
	Problems     rules.Problems     `json:"problems,omitempty"`
	Translations []live.Translation `json:"translations,omitempty"`
	Closing      []live.Translation `json:"closing,omitempty"` // of these, what published = "enforce" would close
}

// finish puts a command's error into words and returns the exit status.
func (u *ui) finish(err error) int {
	var s status
	switch {
	case err == nil:
		return exitGood
	case errors.As(err, &s):
		return int(s)
	}
	f, code := u.describe(err)
	if u.json {
		_ = u.answer(f, nil)
	}
	if len(f.Problems) > 0 && !u.json {
		u.problems(u.stderr, f.Problems)
	}
	fmt.Fprintf(u.stderr, "fwctl: %s\n", u.paint(u.stderr, red, "error: ")+f.Error)
	for _, t := range f.Translations {
		closing := ""
		if slices.Contains(f.Closing, t) {
			closing = `, which no service names: "enforce" would close it`
		}
		fmt.Fprintf(u.stderr, "  %s%s\n", t, closing)
	}
	u.hint(f.Hint)
	return code
}

// describe finds the words for an error, and its exit status.
func (u *ui) describe(err error) (failed, int) {
	f := failed{Error: err.Error()}
	var (
		wrong     *usageError
		bad       *policyError
		refused   *apply.RefusedError
		published *apply.PublishedError
		held      *apply.HeldError
		pending   *apply.PendingError
		way       *apply.WayError
		lockout   *apply.LockoutError
		damaged   *apply.DamagedError
		back      *apply.RolledBackError
		stuck     *apply.StuckError
	)
	switch {
	case errors.As(err, &wrong):
		f.Hint = wrong.hint
	case errors.As(err, &stuck):
		f.Changed = true
		f.Hint = "`fwctl status` compares the kernel with the confirmed policy; `fwctl boot` loads it again"
		return f, exitUnknown
	case errors.As(err, &back):
		f.Error += "; the rules from before were put back"
		return f, exitBack
	case errors.As(err, &refused):
		f.Problems = refused.Problems
		f.Error = counted(refused.Problems) + "; nothing was changed"
	case errors.As(err, &bad):
		f.Problems = bad.problems
		f.Error = counted(bad.problems)
	case errors.As(err, &published):
		f.Translations = published.Translations
		f.Closing = published.Closing
		f.Hint = `say published = "enforce" in [defaults], and the services decide about these ports, or "ignore", and they stay as open as their container engine makes them`
	case errors.As(err, &pending):
		f.Hint = "`fwctl confirm` keeps it, `fwctl rollback` takes it back"
	case errors.As(err, &lockout):
		f.Error += "; nothing was changed"
		f.Hint = "--force applies it all the same; the watchdog takes it back unless a new connection confirms it"
		if !lockout.Own {
			f.Hint = "--force=keep shuts them out"
		}
	case errors.As(err, &way):
		f.Hint = "open a new one: ssh -o ControlPath=none HOST fwctl confirm; a console of the host counts, too"
	case errors.Is(err, apply.ErrUnknownBefore):
		f.Hint = "`fwctl off` removes them; --no-confirm replaces them and confirms at once"
	case errors.As(err, &damaged):
		f.Hint = "`fwctl boot` loads what can be trusted, and removes what cannot"
	case errors.As(err, &held):
		f.Hint = "wait for it; one change at a time"
	}
	return f, exitError
}

// counted says how many problems of each severity there are.
func counted(ps rules.Problems) string {
	var parts []string
	for _, s := range []rules.Severity{rules.Error, rules.Warning, rules.Note} {
		if n := len(ps.Of(s)); n > 0 {
			parts = append(parts, plural(n, s.String()))
		}
	}
	if len(parts) == 0 {
		return "no problems"
	}
	return strings.Join(parts, ", ")
}

// plural writes "1 error", "2 errors".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// problems prints problems with the lines they are in.
func (u *ui) problems(w io.Writer, ps rules.Problems) {
	for _, p := range ps {
		u.problem(w, p)
	}
}

func (u *ui) problem(w io.Writer, p rules.Problem) {
	text := p.Text()
	severity := " " + p.Severity.String() + ":"
	fmt.Fprint(w, strings.Replace(text, severity, u.paint(w, severityColor[p.Severity], severity), 1))
}

var severityColor = map[rules.Severity]string{rules.Error: red, rules.Warning: yellow, rules.Note: cyan}

// margin is the white space that puts a caret under a column, counted in bytes:
// tabs stay tabs, and a letter of several bytes takes one place.
func margin(line string, col int) string {
	var b strings.Builder
	for i, r := range line {
		if i >= col-1 {
			break
		}
		if r == '\t' {
			b.WriteRune('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// list prints lines below a heading.
func (u *ui) list(w io.Writer, lines []string) {
	for _, l := range lines {
		fmt.Fprintf(w, "  %s\n", l)
	}
}

// short is a digest as people compare it.
func short(digest string) string { return digest[:min(12, len(digest))] }

// timeForm is how times are shown to people, in the host's zone.
const timeForm = "2006-01-02 15:04:05 MST"

// agree asks a person, who has to be at a terminal.
func (u *ui) agree(question string) error {
	if !isTerminal(u.in) {
		return usage("there is no terminal to ask at", "--yes says that you know")
	}
	fmt.Fprintf(u.stderr, "fwctl: %s [y/N] ", question)
	var word string
	_, _ = fmt.Fscanln(u.in, &word)
	if word == "y" || word == "yes" {
		return nil
	}
	return errors.New("not agreed to; nothing was changed")
}

// into is the same ui, but what it answers goes into memory, painted if it will be printed
// and no file is to hold it.
func (u *ui) into(w io.Writer, file string) *ui {
	shown := *u
	shown.stdout = w
	shown.painted = map[io.Writer]bool{w: file == "" && u.painted[u.stdout]}
	if file != "" {
		shown.width = 0
	}
	return &shown
}

// put prints an answer, or replaces the file that it is for.
func (u *ui) put(file string, text []byte) error {
	if file == "" {
		_, err := u.stdout.Write(text)
		return err
	}
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	if err := os.WriteFile(tmp, text, 0o644); err != nil { //nolint:gosec // for whoever collects it
		return fmt.Errorf("write the answer: %w", err)
	}
	return os.Rename(tmp, file)
}
