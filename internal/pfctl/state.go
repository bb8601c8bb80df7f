package pfctl

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/fwctl/fwctl/read/pf"
)

// State is what pf holds.
type State struct {
	Dialect    string            `json:"dialect"` // "openbsd", …
	Enabled    bool              `json:"enabled"`
	Reassemble bool              `json:"reassemble"` // set reassemble yes
	Skip       []string          `json:"skip"`       // interfaces of set skip
	Rules      map[string]string `json:"rules"`      // of an anchor, "" for the main ones, as pfctl -sr prints them
	Tables     []Table           `json:"tables"`
	Room       int               `json:"room"` // for addresses in all tables; zero: 200,000
	States     []Flow            `json:"states"`
	Ether      []string          `json:"ether,omitempty"` // rules for Ethernet frames, as FreeBSD prints them
}

// Table is a table in the kernel.
type Table struct {
	Anchor  string   `json:"anchor"`
	Name    string   `json:"name"`
	Persist bool     `json:"persist"`
	Const   bool     `json:"const"`
	Entries []string `json:"entries"`
}

// Flow is a state.
type Flow struct {
	ID   string `json:"id"`
	Text string `json:"text"` // "all tcp 192.0.2.10:22 <- 203.0.113.9:51234       ESTABLISHED:ESTABLISHED"
}

// Read returns the state in a directory.
func Read(dir string) (*State, error) {
	s := &State{Dialect: pf.OpenBSD.String(), Rules: map[string]string{}}
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(text, s)
}

// Write puts the state into a directory.
func (s *State) Write(dir string) error {
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, ".state.json")
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, "state.json"))
}

// locked does something while no other call reads or changes the state.
func locked(dir string, do func() error) error {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return do()
}

func (s *State) grammar() pf.Dialect {
	all := []pf.Dialect{pf.OpenBSD, pf.FreeBSD, pf.FreeBSDOld, pf.MacOS}
	i := slices.IndexFunc(all, func(d pf.Dialect) bool { return d.String() == s.Dialect })
	return all[max(i, 0)]
}

// table finds a table; nil if there is none.
func (s *State) table(anchor, name string) *Table {
	i := slices.IndexFunc(s.Tables, func(t Table) bool { return t.Anchor == anchor && t.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Tables[i]
}

// Load makes a text the rules and tables of an anchor, "" for the main ones, at once.
// What pfctl refuses comes back as problems, and nothing is changed.
func (s *State) Load(anchor, text string) []pf.Problem {
	c := pf.Parse(text, s.grammar())
	if len(c.Problems) > 0 {
		return c.Problems
	}
	s.define(anchor, c.Lines)
	for _, l := range c.Lines {
		if o, ok := l.(*pf.Option); ok && anchor == "" {
			s.set(o.Words)
		}
	}
	s.Rules[anchor] = c.Expand().Print()
	s.sweep()
	return nil
}

// overflow names the first table of a text for which there is no room, "" if there is.
// pfctl -n does not ask.
func (s *State) overflow(text string) string {
	n := s.entries()
	for _, l := range pf.Parse(text, s.grammar()).Lines {
		if t, ok := l.(*pf.Table); ok {
			if n += len(t.Entries); n > cmp.Or(s.Room, 200_000) {
				return t.Name
			}
		}
	}
	return ""
}

// entries counts the addresses in all tables.
func (s *State) entries() (n int) {
	for _, t := range s.Tables {
		n += len(t.Entries)
	}
	return n
}

// define makes the tables. A list replaces what was there.
func (s *State) define(anchor string, lines []pf.Statement) {
	for _, l := range lines {
		switch l := l.(type) {
		case *pf.Anchor:
			s.define(anchor, l.Body)
		case *pf.Table:
			t := s.table(anchor, l.Name)
			if t == nil {
				s.Tables = append(s.Tables, Table{Anchor: anchor, Name: l.Name})
				t = s.table(anchor, l.Name)
			}
			t.Persist, t.Const = l.Persist, l.Const
			if l.Listed {
				t.Entries = []string{}
				for _, e := range l.Entries {
					t.Entries = append(t.Entries, addresses(e)...)
				}
			}
		}
	}
}

// addresses are those of an entry: self are the host's, as they are now.
func addresses(e pf.Entry) (out []string) {
	if e.Name != "self" {
		return []string{e.String()}
	}
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			out = append(out, n.IP.String())
		}
	}
	return out
}

func (s *State) set(words []string) {
	switch words[0] {
	case "skip":
		s.Skip = slices.DeleteFunc(slices.Clone(words[1:]), func(w string) bool { return strings.Contains("on{},", w) })
	case "reassemble":
		s.Reassemble = words[1] == "yes"
	}
}

// sweep removes the tables that no rule names, unless they persist.
func (s *State) sweep() {
	s.Tables = slices.DeleteFunc(s.Tables, func(t Table) bool {
		return !t.Persist && !strings.Contains(s.Rules[t.Anchor], "<"+t.Name+">")
	})
}
